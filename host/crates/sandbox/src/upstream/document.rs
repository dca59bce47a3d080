//! JSON documents.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::body_text::BodyText;
use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Body, Error, Header, HostDocument, Request};
use crate::foreign_content;
use crate::json_document::Document;
use crate::memory_budget::Reservation;
use crate::network::RequestFailure;
use crate::resources::{DocumentResource, ImageResource, ResponseResource};
use crate::state::State;
use crate::upstream::image_url::MAX_URL_BYTES;
use pinhole_ground::guard::Guard;

/// Length of the JSON that an engine reads at once, with long strings cut, in bytes.
const MAX_JSON_BYTES: usize = 16 << 20;
/// Length of a JSON pointer in bytes.
const MAX_POINTER_BYTES: usize = 4 << 10;

impl State {
    /// Parses a JSON text of this upstream and gives the guest the document.
    pub(super) async fn push_document(
        &mut self,
        upstream: Arc<str>,
        body: BodyText,
        reservation: Arc<Reservation>,
        event_name: Option<String>,
    ) -> Result<Resource<DocumentResource>, UpstreamError> {
        let bytes = body.shortened();
        self.budget.meter.yield_before(bytes.len()).await;
        let looks_like_json = matches!(bytes.trim_ascii().first(), Some(b'{' | b'['));
        let record = |reason: &str| {
            if looks_like_json {
                return RequestFailure::of_content(reason);
            }
            RequestFailure::of_upstream(reason)
        };
        let values_bytes =
            Document::values_bytes(&body).map_err(|reason| self.malformed(&reason, record))?;
        let mut values_reservation = self.memory.reserve(values_bytes)?;
        let document = Document::parse(body).map_err(|reason| self.malformed(&reason, record))?;
        values_reservation.grow(document.copied_bytes())?;
        Ok(self.table.push(DocumentResource {
            document,
            event_name,
            upstream,
            _text_reservation: reservation,
            _values_reservation: values_reservation,
        })?)
    }

    /// Records content that cannot be used. The reason may quote it.
    fn malformed(&mut self, reason: &str, record: impl Fn(&str) -> RequestFailure) -> Error {
        let reason = self
            .redactor
            .redact_text(reason, Guard::SecretJson)
            .into_owned();
        self.network.last_failure = Some(record(&reason));
        Error::Malformed(reason)
    }

    /// Parses an image of an upstream and gives it to the guest. The error says what came instead.
    pub(super) fn push_upstream_image(
        &mut self,
        bytes: Bytes,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        match self.parse_image(bytes.clone()) {
            Ok(image) => Ok(self.push_image(image)?),
            Err(reason) => {
                let reason = match foreign_content::describe_for_image(&bytes) {
                    Some(content) => format!("the upstream returned {content}: {reason}"),
                    None => reason,
                };
                let reason = self.redactor.redact_text(&reason, Guard::SecretJson);
                Err(Error::Malformed(reason.into_owned()).into())
            }
        }
    }
}

/// The error of a missing value quotes the pointer, so its length is limited.
fn check_pointer(pointer: &str) -> Result<(), Error> {
    Guard::HandedOver
        .refuse_if(
            pointer.len() > MAX_POINTER_BYTES,
            || "the JSON pointer is too long",
        )
        .map_err(|refusal| Error::Malformed(refusal.reason))
}

impl State {
    /// The URL at this JSON pointer, and the upstream that sent the document.
    fn url_at(
        &self,
        document: &Resource<DocumentResource>,
        pointer: &str,
    ) -> Result<(Arc<str>, String), UpstreamError> {
        let DocumentResource {
            document, upstream, ..
        } = self.table.get(document)?;
        let length = document.text_length_at(pointer);
        if length.map_err(Error::Malformed)? > MAX_URL_BYTES {
            return Err(Error::TooLarge.into());
        }
        let url = document.text_at(pointer).map_err(Error::Malformed)?;
        Ok((upstream.clone(), url.into_owned()))
    }
}

impl HostDocument for State {
    async fn json(
        &mut self,
        document: Resource<DocumentResource>,
        max_string: u32,
    ) -> Result<String, UpstreamError> {
        self.budget.charge()?;
        let document = &self.table.get(&document)?.document;
        let text = document.skeleton(max_string, &self.redactor);
        if text.len() > MAX_JSON_BYTES {
            return Err(Error::TooLarge.into());
        }
        self.context.usage.count_entered(text.len());
        Ok(text)
    }

    async fn text_at(
        &mut self,
        document: Resource<DocumentResource>,
        pointer: String,
        max: u32,
    ) -> Result<String, UpstreamError> {
        self.budget.charge()?;
        check_pointer(&pointer)?;
        let document = &self.table.get(&document)?.document;
        let length = document
            .text_length_at(&pointer)
            .map_err(Error::Malformed)?;
        if length > MAX_JSON_BYTES.min(max as usize) {
            return Err(Error::TooLarge.into());
        }
        let text = document.text_at(&pointer).map_err(Error::Malformed)?;
        self.context.usage.count_entered(length);
        let redacted = self.redactor.redact_text(&text, Guard::SecretJson);
        Ok(redacted.into_owned())
    }

    async fn image_at(
        &mut self,
        document: Resource<DocumentResource>,
        pointer: String,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.budget.charge()?;
        check_pointer(&pointer)?;
        let document = &self.table.get(&document)?.document;
        let bytes = document.base64_at(&pointer).map_err(Error::Malformed)?;
        self.push_upstream_image(bytes)
    }

    async fn fetch_image_at(
        &mut self,
        document: Resource<DocumentResource>,
        pointer: String,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.budget.charge()?;
        check_pointer(&pointer)?;
        let (upstream, url) = self.url_at(&document, &pointer)?;
        self.fetch_image(&upstream, &url).await
    }

    async fn follow(
        &mut self,
        document: Resource<DocumentResource>,
        pointer: String,
        method: String,
        headers: Vec<Header>,
        body: Body,
    ) -> Result<Resource<ResponseResource>, UpstreamError> {
        self.budget.charge()?;
        check_pointer(&pointer)?;
        let (upstream, url) = self.url_at(&document, &pointer)?;
        let request = Request {
            upstream: upstream.to_string(),
            method,
            path: String::new(),
            headers,
            body,
        };
        self.follow_url(&url, request).await
    }

    async fn event_name(
        &mut self,
        document: Resource<DocumentResource>,
    ) -> wasmtime::Result<Option<String>> {
        self.budget.charge()?;
        let name = self.table.get(&document)?.event_name.as_deref();
        Ok(name.map(|name| {
            self.context.usage.count_entered(name.len());
            self.redactor
                .redact_text(name, Guard::SecretJson)
                .into_owned()
        }))
    }

    async fn drop(&mut self, document: Resource<DocumentResource>) -> wasmtime::Result<()> {
        self.table.delete(document)?;
        Ok(())
    }
}
