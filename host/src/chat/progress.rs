//! How far a job is, as events.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::event::{Event, Events, PROGRESS, Place};
use pinhole_sandbox::{JobContext, Progress};
use pinhole_images::Image;

/// Time between two of a job's events, whatever the engine reports meanwhile.
const INTERVAL: Duration = Duration::from_millis(500);
/// Length of a preview that clients are shown, in bytes.
const MAX_PREVIEW_BYTES: usize = 128 << 10;

/// Waits for a job, and tells how far it is meanwhile.
pub(super) async fn follow<T>(
    events: &Events,
    place: (&str, Place),
    control: &JobContext,
    job: impl Future<Output = T>,
) -> T {
    follow_every(INTERVAL, events, place, control, job).await
}

async fn follow_every<T>(
    interval: Duration,
    events: &Events,
    (user_id, place): (&str, Place),
    control: &JobContext,
    job: impl Future<Output = T>,
) -> T {
    let mut reports = control.progress.subscribe();
    let telling = async {
        let mut shown = None;
        // The sender lives as long as `control`.
        while reports.changed().await.is_ok() {
            let progress = reports.borrow_and_update().clone();
            events.emit(Event {
                user_id: user_id.to_owned(),
                place: place.clone(),
                kind: PROGRESS,
                data: told(progress, &mut shown),
            });
            tokio::time::sleep(interval).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        biased;
        done = job => done,
        never = telling => never,
    }
}

/// What is known, and the preview where it is another than the one before.
fn told(progress: Progress, shown: &mut Option<Image>) -> Value {
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
        let last = shown.as_ref().map(Image::bytes);
        if last != Some(preview.bytes()) && preview.bytes().len() <= MAX_PREVIEW_BYTES {
            fields.insert("preview".to_owned(), data_url(&preview).into());
            *shown = Some(preview);
        }
    }
    fields.into()
}

fn data_url(image: &Image) -> String {
    let mut url = format!("data:{};base64,", image.media_type());
    base64_simd::STANDARD.encode_append(image.bytes(), &mut url);
    url
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn only_what_is_known_is_told_and_a_preview_once() {
        let mut shown = None;
        assert_eq!(told(Progress::default(), &mut shown), json!({}));
        let first = Progress {
            fraction: Some(0.5),
            queue_position: Some(2),
            note: Some("step 1".to_owned()),
            preview: Some(Image::sample(1, 0)),
        };
        let url = base64_simd::STANDARD.encode_to_string(Image::sample(1, 0).bytes());
        let url = format!("data:image/png;base64,{url}");
        let expected =
            json!({"fraction": 0.5, "queue_position": 2, "note": "step 1", "preview": url});
        assert_eq!(told(first.clone(), &mut shown), expected);
        let again = told(first, &mut shown);
        assert_eq!(again.get("preview"), None);
        for (width, bytes, expected) in [
            (2, MAX_PREVIEW_BYTES, true),
            (3, MAX_PREVIEW_BYTES + 1, false),
        ] {
            let progress = Progress {
                preview: Some(Image::sample(width, bytes)),
                ..Progress::default()
            };
            let told = told(progress, &mut shown);
            assert_eq!(told.get("preview").is_some(), expected, "{bytes}");
        }
    }

    /// Where a job reports `all` of these while it runs, just `told` become events.
    async fn check(interval: Duration, all: &[f32], told: &[f32]) {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        let control = JobContext::new("j".to_owned());
        let mut heard = Vec::new();
        let job = async {
            for fraction in all {
                control.progress.send_replace(Progress {
                    fraction: Some(*fraction),
                    ..Progress::default()
                });
                if told.contains(fraction) {
                    heard.push(listener.next().await);
                }
                tokio::task::yield_now().await;
                heard.extend(listener.next().now_or_never());
            }
        };
        let place = Place {
            chat_id: None,
            message_id: "m".to_owned(),
        };
        follow_every(interval, &events, ("u", place), &control, job).await;
        let expected: Vec<_> = told.iter().map(|it| json!({"fraction": it})).collect();
        let heard = heard.iter().map(|heard| {
            let json: Value = serde_json::from_str(heard.json.get()).unwrap();
            json["data"]["data"].clone()
        });
        assert_eq!(heard.collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn what_is_reported_within_the_interval_is_told_after_it() {
        let for_ever = Duration::from_secs(1 << 20);
        check(for_ever, &[], &[]).await;
        check(for_ever, &[0.125, 0.25, 0.5], &[0.125]).await;
        check(Duration::ZERO, &[0.125, 0.25, 0.5], &[0.125, 0.25, 0.5]).await;
    }
}
