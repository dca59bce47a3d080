//! Emits the progress of a job as events.

use std::time::Duration;

use pinhole_images::{Decoder, Image};
use pinhole_sandbox::{JobContext, Progress};
use serde::Serialize;
use serde_json::{Value, json};

use super::job_record::ProgressRecord;
use super::preview;
use crate::event::{MessageEvents, PROGRESS};

/// Time between two events of a job. Reports in between are merged.
const INTERVAL: Duration = Duration::from_millis(250);

/// The data of an event.
#[derive(Serialize)]
struct ProgressEvent<'a> {
    #[serde(flatten)]
    record: ProgressRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
}

/// Whose progress is emitted, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct ProgressEvents<'a> {
    pub events: &'a MessageEvents,
    pub context: &'a JobContext,
    /// The id of a job with a row.
    pub job_id: Option<&'a str>,
    /// Reduces long previews.
    pub decoder: &'a Decoder,
}

impl ProgressEvents<'_> {
    /// Waits for a job and emits what it reports from this call on.
    pub async fn follow<T>(self, job: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = job => done,
            never = self.emit() => never,
        }
    }

    /// Emits what the job reports from this call on. Never returns.
    pub(super) fn emit<T>(self) -> impl Future<Output = T> {
        self.emit_every(INTERVAL)
    }

    fn emit_every<T>(self, interval: Duration) -> impl Future<Output = T> {
        let mut reports = self.context.progress.subscribe();
        async move {
            let mut last_preview = None;
            // The sender lives as long as the context.
            while reports.changed().await.is_ok() {
                let mut progress = reports.borrow_and_update().clone();
                preview::reduce_long(&mut progress, self.context, self.decoder).await;
                let data = event_data(progress, self.job_id, &mut last_preview);
                self.events.emit(PROGRESS, data);
                tokio::time::sleep(interval).await;
            }
            std::future::pending().await
        }
    }
}

/// The known fields, and the preview if it differs from the last one.
fn event_data(progress: Progress, job_id: Option<&str>, last_preview: &mut Option<Image>) -> Value {
    let last = last_preview.as_ref().map(Image::bytes);
    let preview = progress.preview.clone();
    let preview = preview.filter(|it| last != Some(it.bytes()));
    let record = ProgressRecord::new(progress, preview.is_some());
    if record.preview.is_some() {
        *last_preview = preview;
    }
    json!(ProgressEvent { record, job_id })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::event::{EventTarget, Events};

    #[test]
    fn event_data_contains_known_fields_and_each_preview_once() {
        let mut last = None;
        assert_eq!(event_data(Progress::default(), None, &mut last), json!({}));
        assert_eq!(
            event_data(Progress::default(), Some("j"), &mut last),
            json!({"job_id": "j"})
        );
        let first = Progress {
            fraction: Some(0.5),
            queue_position: Some(2),
            note: Some("step 1".to_owned()),
            preview: Some(Image::sample(1, 0)),
        };
        let base64 = base64_simd::STANDARD.encode_to_string(Image::sample(1, 0).bytes());
        let url = format!("data:image/png;base64,{base64}");
        let expected =
            json!({"fraction": 0.5, "queue_position": 2, "note": "step 1", "preview": url});
        assert_eq!(event_data(first.clone(), None, &mut last), expected);
        let repeated = event_data(first, None, &mut last);
        assert_eq!(repeated.get("preview"), None);
    }

    /// Checks that a job which reports all `fractions` emits exactly the `emitted` ones.
    async fn check(interval: Duration, fractions: &[f32], emitted: &[f32]) {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        let context = JobContext::new("j".to_owned());
        let mut received = Vec::new();
        let job = async {
            for fraction in fractions {
                context.progress.send_replace(Progress {
                    fraction: Some(*fraction),
                    ..Progress::default()
                });
                if emitted.contains(fraction) {
                    received.push(listener.next().await);
                }
                tokio::task::yield_now().await;
                received.extend(listener.next().now_or_never());
            }
        };
        let message_events = events.for_message(EventTarget {
            user_id: "u".to_owned(),
            chat_id: None,
            message_id: "m".to_owned(),
        });
        let progress = ProgressEvents {
            events: &message_events,
            context: &context,
            job_id: None,
            decoder: &Decoder::default(),
        };
        tokio::select! {
            biased;
            () = job => {}
            () = progress.emit_every(interval) => {}
        }
        let expected: Vec<_> = emitted.iter().map(|it| json!({"fraction": it})).collect();
        let data: Vec<_> = received
            .iter()
            .map(|event| {
                let json: Value = serde_json::from_str(event.json.get()).unwrap();
                json["data"]["data"].clone()
            })
            .collect();
        assert_eq!(data, expected);
    }

    #[tokio::test]
    async fn follow_merges_reports_within_the_interval() {
        let endless = Duration::from_secs(1 << 20);
        check(endless, &[], &[]).await;
        check(endless, &[0.125, 0.25, 0.5], &[0.125]).await;
        check(Duration::ZERO, &[0.125, 0.25, 0.5], &[0.125, 0.25, 0.5]).await;
    }
}
