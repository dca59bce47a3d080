//! The WIT interface `job`.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::contract::pinhole::engine::job::{Host, Progress as GuestProgress};
use crate::job_context::Progress;
use crate::resources::ImageResource;
use crate::state::State;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;
use pinhole_images::Image;

/// Length of a progress note in bytes; a longer one is cut.
const MAX_NOTE_BYTES: usize = 200;
/// Length of a preview in bytes; a longer one is dropped.
const MAX_PREVIEW_BYTES: usize = 8 << 20;

impl Host for State {
    async fn report(
        &mut self,
        progress: GuestProgress,
        preview: Option<Resource<ImageResource>>,
    ) -> wasmtime::Result<()> {
        self.budget.charge()?;
        let preview_image = match preview {
            Some(handle) => Some(self.table.get(&handle)?.image.clone()),
            None => None,
        };
        let is_short =
            |image: &Image| !Guard::PreviewBytes.applies(image.bytes().len() > MAX_PREVIEW_BYTES);
        let redact = |note: String| {
            let note = plain(&note, MAX_NOTE_BYTES);
            self.redactor
                .redact_text(&note, Guard::SecretProgress)
                .into_owned()
        };
        let fraction = progress.fraction.filter(|fraction| fraction.is_finite());
        let note = progress.note.map(redact);
        self.context.progress.send_modify(|latest| {
            *latest = Progress {
                fraction: fraction.map(|fraction| fraction.clamp(0.0, 1.0)),
                queue_position: progress.queue_position,
                note,
                // Engines report steps and previews by turns, and readers see only the latest report.
                preview: preview_image.filter(is_short).or(latest.preview.take()),
            };
        });
        Ok(())
    }

    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<bool> {
        self.budget.charge()?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms.into())) => Ok(true),
            () = self.context.cancel.cancelled() => Ok(false),
        }
    }

    async fn random(&mut self) -> wasmtime::Result<u64> {
        self.budget.charge()?;
        getrandom::u64().map_err(|error| wasmtime::format_err!("no random numbers: {error}"))
    }
}
