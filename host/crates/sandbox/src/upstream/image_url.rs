//! Images at URLs that an upstream returned.
//!
//! The URL is the string at a JSON pointer of a response, so an engine cannot write into it what it knows. It
//! can be relative to the upstream's base URL. Each URL, the target of a redirect too, is checked before its host's name is resolved. The request counts against
//! the limits of the call like any other.

use std::sync::Arc;

use tokio_util::context::TokioContext;
use wasmtime::component::Resource;

use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::Error;
use crate::grant::Upstream;
use crate::image_request::{ImageRequest, ImageResponse};
use crate::network::{Denial, IMAGE_NOT_ALLOWED, RequestFailure};
use crate::resources::{ImageResource, SendError};
use crate::state::State;
use pinhole_egress as egress;
use pinhole_egress::{ImageRoute, Url};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, Refusal};

/// Length of an image URL in bytes.
pub(super) const MAX_URL_BYTES: usize = 16 << 10;
/// Redirects that an image URL may follow.
const MAX_REDIRECTS: usize = 3;

impl State {
    /// Fetches the image at a URL in a response of this upstream, without credentials.
    pub(super) async fn fetch_image(
        &mut self,
        upstream: &Arc<str>,
        text: &str,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.network.last_failure = None;
        self.refuse_secret(text)?;
        let upstreams = self.network.upstreams.clone();
        let Some(Upstream { destination, .. }) = upstreams.get(&**upstream) else {
            return Err(Error::Denied(IMAGE_NOT_ALLOWED.to_owned()).into());
        };
        let resolved = destination.image_url(text);
        let mut url = resolved.map_err(|refusal| self.deny_image_url(refusal))?;
        let mut redirects = 0;
        loop {
            let request = self.prepare_image_request(upstream, &url)?;
            match self.send_image_request(request).await? {
                ImageResponse::Body(body) => {
                    return self.push_upstream_image(body.text.shortened().clone());
                }
                ImageResponse::Redirect(target) => {
                    self.refuse_secret(target.as_str())?;
                    url = target;
                }
                ImageResponse::Status(status) => {
                    let origin = url.origin().ascii_serialization();
                    let reason = format!("{origin} returned status {status} for an image URL");
                    self.network.last_failure = Some(RequestFailure::of_url(reason));
                    return Err(Error::Status(status.as_u16()).into());
                }
            }
            redirects += 1;
            Guard::Hops
                .refuse_if(redirects > MAX_REDIRECTS, || {
                    format!("it redirects more than {MAX_REDIRECTS} times")
                })
                .map_err(|refusal| self.deny_image_url(refusal))?;
        }
    }

    /// Refuses a URL with a secret, which an upstream would send to another host with it.
    fn refuse_secret(&mut self, url: &str) -> Result<(), Error> {
        if !self.redactor.contains_secret_text(url, Guard::SecretUrl) {
            return Ok(());
        }
        let reason = "an image URL contains a secret of the settings";
        self.network.last_failure = Some(RequestFailure::of_url(reason));
        Err(Error::Denied(IMAGE_NOT_ALLOWED.to_owned()))
    }

    /// Counts a request for an image, and checks that it is granted.
    fn prepare_image_request(
        &mut self,
        upstream: &Arc<str>,
        url: &Url,
    ) -> Result<ImageRequest, Error> {
        let counted = self.network.count_request();
        counted.map_err(|denial| self.deny(denial))?;
        self.context.usage.count_request();
        let route = match self.network.image_route(upstream, url) {
            Ok(route) => route,
            Err(denial) => {
                self.network.last_failure = Some(RequestFailure::of_url(&denial.refusal));
                return Err(self.deny(denial));
            }
        };
        let connection = self
            .network
            .reserve_connection()
            .map_err(|denial| self.deny(denial))?;
        let name = (route == ImageRoute::Own).then_some(&**upstream);
        Ok(ImageRequest {
            traffic: self.call_usage.traffic_row(name),
            upstreams: self.network.upstreams.clone(),
            upstream: upstream.clone(),
            url: url.clone(),
            route,
            max_bytes: self.limits.image.max_bytes,
            deadline: self.network.deadline(),
            memory: self.memory.clone(),
            recorder: self.recorder.clone(),
            _connection: connection,
        })
    }

    /// Sends a request for an image. Its sockets are on the server's runtime.
    async fn send_image_request(
        &mut self,
        request: ImageRequest,
    ) -> Result<ImageResponse, UpstreamError> {
        let url = request.url.clone();
        let (io, cancel) = (self.network.io.clone(), self.context.cancel.clone());
        let pending = self
            .network
            .host_tasks
            .spawn(TokioContext::new(request.send(), io));
        let sent = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(self.tell_cancelled().into()),
            sent = pending => sent?,
        };
        sent.map_err(|error| match error {
            SendError::Egress(failure) => self.report_image_failure(failure, &url).into(),
            SendError::Limit(exceeded) => exceeded.into(),
        })
    }

    /// Records a URL that is refused for its spelling or its redirects.
    fn deny_image_url(&mut self, refusal: Refusal) -> Error {
        let engine = &self.engine;
        let refusal =
            refusal.map_reason(|reason| format!("an image URL of engine {engine}: {reason}"));
        self.network.last_failure = Some(RequestFailure::of_url(&refusal));
        self.deny(Denial {
            kind: RefusalKind::Address,
            refusal,
            guest_message: IMAGE_NOT_ALLOWED,
        })
    }

    /// Retains a failure for the operator, and records it if it is a refusal. Returns the error for the guest,
    /// which names no hosts.
    fn report_image_failure(&mut self, error: egress::Error, url: &Url) -> Error {
        let error = error.with_private_remedy(|| self.network.private_image_remedy(url));
        // The target of a redirect that is refused for its spelling may contain a secret.
        let text = error.to_string();
        let reason = self.redactor.redact_text(&text, Guard::SecretUrl);
        if let Some(kind) = error.refusal_kind() {
            let refusal = Refusal {
                guard: error.guard(),
                reason: format!("an image URL of engine {}: {reason}", self.engine),
            };
            self.record(kind, &refusal);
        }
        self.network.last_failure = Some(RequestFailure::of_url(reason));
        match error {
            egress::Error::Denied { .. } => Error::Denied(IMAGE_NOT_ALLOWED.to_owned()),
            egress::Error::Connect(_) | egress::Error::Disconnected(_) => {
                Error::Connect("the image URL cannot be fetched".to_owned())
            }
            egress::Error::Timeout => Error::Timeout,
            egress::Error::TooLarge { .. } => Error::TooLarge,
            egress::Error::Unusable(_) => {
                Error::Malformed("the response of the image URL cannot be used".to_owned())
            }
        }
    }
}
