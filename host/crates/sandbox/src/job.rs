//! The WIT interface `job`.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::contract::pinhole::engine::job::{Host, Progress as GuestProgress};
use crate::job_context::Progress;
use crate::resources::ImageResource;
use crate::state::State;
use crate::traffic_recorder::RecordedReport;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::plain;
use pinhole_images::Image;

/// Length of a progress note in bytes; a longer one is cut.
const MAX_NOTE_BYTES: usize = 200;
/// Length of the text that a job stores, in bytes.
const MAX_REMEMBERED_BYTES: usize = 4 << 10;
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
        if let Some(recorder) = &self.recorder {
            recorder.report(RecordedReport {
                fraction,
                queue_position: progress.queue_position,
                note: note.clone(),
                preview: preview_image.as_ref().map(Image::media_type),
            });
        }
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
            biased;
            () = self.context.cancel.cancelled() => {
                self.knows_cancel = true;
                Ok(false)
            }
            () = tokio::time::sleep(Duration::from_millis(ms.into())) => Ok(true),
        }
    }

    async fn remember(&mut self, text: String) -> wasmtime::Result<Result<(), String>> {
        self.budget.charge()?;
        if text.len() > MAX_REMEMBERED_BYTES {
            return Ok(Err(format!(
                "the text is longer than {MAX_REMEMBERED_BYTES} bytes"
            )));
        }
        if let Some(journal) = &self.context.journal {
            let stored = tokio::select! {
                biased;
                () = self.context.cancel.cancelled() => Err("the job was cancelled".to_owned()),
                stored = journal.note(text.as_str().into()) => stored,
            };
            if stored.is_err() {
                return Ok(stored);
            }
        }
        self.context.memory.remember(text);
        Ok(Ok(()))
    }

    async fn remembered(&mut self) -> wasmtime::Result<Option<String>> {
        self.budget.charge()?;
        let text = self.context.memory.earlier().map(str::to_owned);
        let length = text.as_ref().map_or(0, String::len);
        self.context.usage.count_entered(length);
        Ok(text)
    }

    async fn random(&mut self) -> wasmtime::Result<u64> {
        self.budget.charge()?;
        getrandom::u64().map_err(|error| wasmtime::format_err!("no random numbers: {error}"))
    }
}
