//! Collects the images that an engine produced, and downloads those that it names by URL.

use pinhole_egress::{Destination, Egress, Error as EgressError};
use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use pinhole_images::Image;
use pinhole_sandbox::contract::ErrorKind;
use pinhole_sandbox::{Error as EngineError, JobContext, Limits, ProducedImage, ResolvedSettings};
use tokio::time::Instant;

/// Collects the images of one job.
pub(super) struct ImageCollector<'a> {
    pub(super) egress: &'a Egress,
    pub(super) audit: &'a AuditLog,
    /// The binding's name.
    pub(super) engine: &'a str,
    pub(super) context: &'a JobContext,
    pub(super) settings: &'a ResolvedSettings,
    pub(super) limits: &'a Limits,
    pub(super) deadline: Instant,
}

impl ImageCollector<'_> {
    /// The images in memory. Skips an image that cannot be downloaded, unless it is the only one.
    pub(super) async fn collect(
        &self,
        produced: &[ProducedImage],
    ) -> Result<Vec<Image>, EngineError> {
        let (mut images, mut first_error) = (Vec::with_capacity(produced.len()), None);
        for source in produced {
            let collected = match source {
                ProducedImage::Image(image) => Ok(image.clone()),
                ProducedImage::Url(url) => self.download(url).await,
            };
            match collected {
                Ok(image) => images.push(image),
                Err(error) => {
                    let job = &self.context.job;
                    tracing::warn!(job, "job {job}: skipped an image: {error}");
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if images.is_empty() => Err(error),
            _ => Ok(images),
        }
    }

    async fn download(&self, url: &str) -> Result<Image, EngineError> {
        let upstreams = self.settings.upstreams.values();
        let granted: Vec<&Destination> = upstreams.map(|it| &it.destination).collect();
        let image_limits = self.limits.image;
        let bytes = self
            .egress
            .fetch(url, &granted, image_limits.max_bytes, self.deadline)
            .await
            .map_err(|error| {
                if let Some(kind) = error.refusal_kind() {
                    self.record_refusal(kind, error.guard(), &error.to_string());
                }
                download_error(&error)
            })?;
        let image = Image::from_bytes(bytes, image_limits).map_err(|refusal| {
            self.record_refusal(RefusalKind::Picture, refusal.guard, &refusal.reason);
            EngineError::protocol(refusal.reason)
        })?;
        let is_secret = |part: &[u8]| self.settings.redactor.finds_secret(part);
        Ok(image.with_metadata(self.limits.metadata, is_secret))
    }

    fn record_refusal(&self, kind: RefusalKind, guard: Option<Guard>, reason: &str) {
        let engine = self.engine;
        self.audit.record(&Event {
            kind,
            guard,
            actor: self.context.actor(),
            engine,
            job: &self.context.job,
            message: &format!("an image URL of engine {engine}: {reason}"),
        });
    }
}

/// A failed download, as an error of the engine.
fn download_error(error: &EgressError) -> EngineError {
    let (kind, message) = match error {
        EgressError::Denied { .. } => (ErrorKind::Forbidden, "the image URL is not allowed"),
        // Not the upstream's own URL, so the operator cannot correct it.
        EgressError::Connect(_) | EgressError::Disconnected(_) => {
            (ErrorKind::Upstream, "the image URL cannot be fetched")
        }
        EgressError::Timeout => (ErrorKind::Timeout, "the image URL did not respond in time"),
        EgressError::TooLarge { .. } => (ErrorKind::Protocol, "the image at the URL is too large"),
        EgressError::Unusable(_) => (
            ErrorKind::Protocol,
            "the response of the image URL cannot be used",
        ),
    };
    EngineError::engine(kind, message.to_owned(), Some(error.to_string()))
}
