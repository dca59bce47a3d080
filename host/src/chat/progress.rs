//! Emits the progress of a job as events.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::{JobContext, Progress};
use serde_json::{Map, Value, json};

use super::event::{MessageEvents, PROGRESS};
use crate::files::encode_data_url;

/// Time between two events of a job. Reports in between are merged.
const INTERVAL: Duration = Duration::from_millis(250);
/// Length of a preview that is emitted, in bytes.
const MAX_PREVIEW_BYTES: usize = 128 << 10;

/// Waits for a job and emits its progress.
pub(super) async fn follow<T>(
    events: &MessageEvents,
    context: &JobContext,
    job: impl Future<Output = T>,
) -> T {
    follow_every(INTERVAL, events, context, job).await
}

async fn follow_every<T>(
    interval: Duration,
    events: &MessageEvents,
    context: &JobContext,
    job: impl Future<Output = T>,
) -> T {
    let mut reports = context.progress.subscribe();
    let emit_reports = async {
        let mut last_preview = None;
        // The sender lives as long as `context`.
        while reports.changed().await.is_ok() {
            let progress = reports.borrow_and_update().clone();
            events.emit(PROGRESS, event_data(progress, &mut last_preview));
            tokio::time::sleep(interval).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        done = job => done,
        never = emit_reports => never,
    }
}

/// The known fields, and the preview if it differs from the last one.
fn event_data(progress: Progress, last_preview: &mut Option<Image>) -> Value {
    let mut fields = Map::new();
    if let Some(fraction) = progress.fraction {
        fields.insert("fraction".to_owned(), json!(fraction));
    }
    if let Some(position) = progress.queue_position {
        fields.insert("queue_position".to_owned(), json!(position));
    }
    if let Some(note) = progress.note {
        fields.insert("note".to_owned(), json!(note));
    }
    if let Some(preview) = progress.preview {
        let last = last_preview.as_ref().map(Image::bytes);
        if last != Some(preview.bytes()) && preview.bytes().len() <= MAX_PREVIEW_BYTES {
            fields.insert("preview".to_owned(), encode_data_url(&preview).into());
            *last_preview = Some(preview);
        }
    }
    fields.into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::chat::event::{EventTarget, Events};

    #[test]
    fn event_data_contains_known_fields_and_each_preview_once() {
        let mut last = None;
        assert_eq!(event_data(Progress::default(), &mut last), json!({}));
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
        assert_eq!(event_data(first.clone(), &mut last), expected);
        let repeated = event_data(first, &mut last);
        assert_eq!(repeated.get("preview"), None);
        for (width, bytes, is_emitted) in [
            (2, MAX_PREVIEW_BYTES, true),
            (3, MAX_PREVIEW_BYTES + 1, false),
        ] {
            let progress = Progress {
                preview: Some(Image::sample(width, bytes)),
                ..Progress::default()
            };
            let data = event_data(progress, &mut last);
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
        follow_every(interval, &message_events, &context, job).await;
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
