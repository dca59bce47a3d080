//! Emits the progress of a job as events.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::{JobContext, Progress};
use serde::Serialize;
use serde_json::{Value, json};

use super::job_record::ProgressRecord;
use crate::event::{MessageEvents, PROGRESS};
use crate::files::encode_data_url;

/// Time between two events of a job. Reports in between are merged.
const INTERVAL: Duration = Duration::from_millis(250);
/// Length of a preview that is emitted, in bytes.
const MAX_PREVIEW_BYTES: usize = 128 << 10;

/// The data of an event.
#[derive(Serialize)]
struct ProgressEvent<'a> {
    #[serde(flatten)]
    record: ProgressRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
}

/// Waits for a job without a row and emits its progress.
pub async fn follow<T>(
    events: &MessageEvents,
    context: &JobContext,
    job: impl Future<Output = T>,
) -> T {
    tokio::select! {
        biased;
        done = job => done,
        never = emit_progress(events, context, None) => never,
    }
}

/// Emits what a job reports from this call on. `job_id` is its id if it has a row. Never returns.
pub(super) fn emit_progress<T>(
    events: &MessageEvents,
    context: &JobContext,
    job_id: Option<&str>,
) -> impl Future<Output = T> {
    emit_every(INTERVAL, events, context, job_id)
}

fn emit_every<T>(
    interval: Duration,
    events: &MessageEvents,
    context: &JobContext,
    job_id: Option<&str>,
) -> impl Future<Output = T> {
    let mut reports = context.progress.subscribe();
    async move {
        let mut last_preview = None;
        // The sender lives as long as `context`.
        while reports.changed().await.is_ok() {
            let progress = reports.borrow_and_update().clone();
            events.emit(PROGRESS, event_data(progress, job_id, &mut last_preview));
            tokio::time::sleep(interval).await;
        }
        std::future::pending().await
    }
}

/// The preview as a data URL, if it is short enough.
pub(super) fn preview_url(preview: &Image) -> Option<String> {
    (preview.bytes().len() <= MAX_PREVIEW_BYTES).then(|| encode_data_url(preview))
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
        for (width, bytes, is_emitted) in [
            (2, MAX_PREVIEW_BYTES, true),
            (3, MAX_PREVIEW_BYTES + 1, false),
        ] {
            let progress = Progress {
                preview: Some(Image::sample(width, bytes)),
                ..Progress::default()
            };
            let data = event_data(progress, None, &mut last);
            assert_eq!(data.get("preview").is_some(), is_emitted, "{bytes}");
        }
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
        tokio::select! {
            biased;
            () = job => {}
            () = emit_every(interval, &message_events, &context, None) => {}
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
