//! JSON documents.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Error, HostDocument};
use crate::json_document::Document;
use crate::memory_budget::Reservation;
use crate::network::RequestFailure;
use crate::resources::{DocumentResource, ImageResource};
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
        bytes: Bytes,
        reservation: Arc<Reservation>,
        event_name: Option<String>,
    ) -> Result<Resource<DocumentResource>, UpstreamError> {
        self.budget.meter.yield_before(bytes.len()).await;
        let values_bytes = Document::values_bytes(&bytes).map_err(|it| self.malformed(it))?;
        let values_reservation = self.memory.reserve(values_bytes)?;
        let document = Document::parse(bytes).map_err(|it| self.malformed(it))?;
        Ok(self.table.push(DocumentResource {
            document,
            event_name,
            upstream,
            _text_reservation: reservation,
            _values_reservation: values_reservation,
        })?)
    }

    fn malformed(&mut self, reason: String) -> Error {
        self.network.last_failure = Some(RequestFailure::of_upstream(&reason));
        Error::Malformed(reason)
    }

    /// Parses an image of an upstream and gives it to the guest.
    pub(super) fn push_upstream_image(
        &mut self,
        bytes: Bytes,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        let image = self.parse_image(bytes).map_err(Error::Malformed)?;
        Ok(self.push_image(image)?)
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
        let text = document.text_at(&pointer).map_err(Error::Malformed)?;
        if text.len() > MAX_JSON_BYTES.min(max as usize) {
            return Err(Error::TooLarge.into());
        }
        self.context.usage.count_entered(text.len());
        let redacted = self.redactor.redact_text(text, Guard::SecretJson);
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
        self.push_upstream_image(bytes.into())
    }

    async fn fetch_image_at(
        &mut self,
        document: Resource<DocumentResource>,
        pointer: String,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.budget.charge()?;
        check_pointer(&pointer)?;
        let DocumentResource {
            document, upstream, ..
        } = self.table.get(&document)?;
        let url = document.text_at(&pointer).map_err(Error::Malformed)?;
        if url.len() > MAX_URL_BYTES {
            return Err(Error::TooLarge.into());
        }
        let (url, upstream) = (url.to_owned(), upstream.clone());
        self.fetch_image(&upstream, &url).await
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
