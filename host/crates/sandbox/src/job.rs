//! The WIT interface `job`.

use std::time::Duration;

use wasmtime::component::Resource;

use super::contract::pinhole::engine::job::{Host, Progress as Reported};
use super::call::State;
use super::job_context::Progress;
use super::images::HeldImage;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;

/// Length of a progress note, in bytes; the rest is cut off.
const MAX_NOTE_BYTES: usize = 200;
/// Length of a preview that is passed on, in bytes; a longer one is left out.
const MAX_PREVIEW_BYTES: usize = 8 << 20;

impl Host for State {
    async fn report(
        &mut self,
        progress: Reported,
        preview: Option<Resource<HeldImage>>,
    ) -> wasmtime::Result<()> {
        self.charge()?;
        let preview = match preview {
            Some(handle) => Some(self.table.get(&handle)?.image.clone()),
            None => None,
        };
        let most = Guard::PreviewBytes.limit(MAX_PREVIEW_BYTES);
        let preview = preview.filter(|preview| preview.bytes().len() <= most);
        let note = progress.note.map(|note| plain(&note, MAX_NOTE_BYTES));
        let fraction = progress.fraction.filter(|fraction| fraction.is_finite());
        self.control.progress.send_replace(Progress {
            fraction: fraction.map(|fraction| fraction.clamp(0.0, 1.0)),
            queue_position: progress.queue_position,
            note: note.map(|note| self.echo.text(&note, Guard::SecretProgress).into_owned()),
            preview,
        });
        Ok(())
    }

    async fn sleep(&mut self, ms: u32) -> wasmtime::Result<bool> {
        self.charge()?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms.into())) => Ok(true),
            () = self.control.cancel.cancelled() => Ok(false),
        }
    }

    async fn random(&mut self) -> wasmtime::Result<u64> {
        self.charge()?;
        getrandom::u64().map_err(|error| wasmtime::format_err!("no random numbers: {error}"))
    }
}
