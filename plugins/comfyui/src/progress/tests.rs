use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::frame::{BinaryHeader, is_relevant};

const ONLY: Part = Part { index: 0, count: 1 };

#[derive(Deserialize)]
struct Recording {
    graph: Graph,
    prompt_id: String,
    frames: Vec<RecordedFrame>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordedFrame {
    Text(TextFrame),
    Binary {
        head_hex: String,
        metadata: Option<Value>,
    },
}

/// The result of a recording: reported fractions and notes, images, and whether the job ended.
#[derive(Default)]
struct Reports {
    fractions: Vec<f32>,
    notes: Vec<String>,
    images: Vec<Option<ImageRole>>,
    has_ended: bool,
}

fn replay(recording: Recording, prompt_id: &str) -> Reports {
    let mut tracker = JobTracker::new(&recording.graph, prompt_id, ONLY);
    let mut reports = Reports::default();
    for frame in recording.frames {
        match frame {
            RecordedFrame::Text(frame) if !is_relevant(&frame.frame_type) => {}
            RecordedFrame::Text(frame) => match tracker.apply(&frame) {
                FrameEffect::Progress => {
                    let progress = tracker.progress();
                    reports.fractions.extend(progress.fraction);
                    reports.notes.extend(progress.note);
                }
                FrameEffect::Ended => reports.has_ended = true,
                FrameEffect::Ignored => {}
                FrameEffect::Failed(error) => panic!("{error:?}"),
            },
            RecordedFrame::Binary { head_hex, metadata } => {
                let bytes: Vec<u8> = (0..16)
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&head_hex[at..at + 2], 16).unwrap())
                    .collect();
                let role = match BinaryHeader::parse(&bytes).unwrap() {
                    BinaryHeader::Image { is_png } => tracker.image_role(is_png),
                    BinaryHeader::ImageWithMetadata { .. } => {
                        tracker.image_role_from_metadata(metadata.unwrap().to_string().as_bytes())
                    }
                };
                reports.images.push(role);
            }
        }
    }
    reports.notes.dedup();
    reports
}

fn parse_recording(text: &str) -> Recording {
    serde_json::from_str(text).unwrap()
}

#[test]
fn tracker_replays_recorded_run() {
    let recording = parse_recording(include_str!("../../testdata/frames.json"));
    let id = recording.prompt_id.clone();
    let reports = replay(recording, &id);
    assert!(reports.has_ended);
    assert!(reports.fractions.is_sorted(), "{:?}", reports.fractions);
    assert!(reports.fractions.last().is_some_and(|last| *last > 0.99));
    assert_eq!(
        reports.notes,
        [
            "running CheckpointLoaderSimple",
            "running CLIPTextEncode",
            "running EmptyLatentImage",
            "running KSampler",
            "step 1 of 4",
            "step 2 of 4",
            "step 3 of 4",
            "step 4 of 4",
            "running VAEDecode",
            "running SaveImage",
        ]
    );
    assert_eq!(reports.images, [Some(ImageRole::Preview); 4]);
}

#[test]
fn image_without_metadata_counts_only_from_sending_node() {
    let recording = parse_recording(include_str!("../../testdata/frames-websocket.json"));
    let id = recording.prompt_id.clone();
    let reports = replay(recording, &id);
    assert!(reports.has_ended);
    assert_eq!(reports.images, [None, None, None, Some(ImageRole::Result)]);
}

#[test]
fn tracker_ignores_frames_of_other_job() {
    for text in [
        include_str!("../../testdata/frames.json"),
        include_str!("../../testdata/frames-websocket.json"),
    ] {
        let mut recording = parse_recording(text);
        // A status concerns the jobs of all clients.
        recording.frames.retain(
            |frame| !matches!(frame, RecordedFrame::Text(frame) if frame.frame_type == "status"),
        );
        let reports = replay(recording, "another");
        assert!(!reports.has_ended);
        assert!(reports.fractions.is_empty() && reports.notes.is_empty());
        assert!(reports.images.iter().all(Option::is_none));
    }
}

fn tracker() -> JobTracker {
    let graph = json!({
        "3": {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0]}},
        "9": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["3", 0]}},
    });
    JobTracker::new(graph.as_object().unwrap(), "mine", ONLY)
}

fn frame(frame_type: &str, data: Value) -> TextFrame {
    TextFrame {
        frame_type: frame_type.into(),
        data,
    }
}

#[test]
fn metadata_separates_results_from_previews() {
    let role = |node: &str| {
        let metadata = json!({"prompt_id": "mine", "node_id": node});
        tracker().image_role_from_metadata(metadata.to_string().as_bytes())
    };
    assert_eq!(role("3"), Some(ImageRole::Preview));
    assert_eq!(role("9"), Some(ImageRole::Result));
    assert_eq!(tracker().image_role_from_metadata(b"no JSON"), None);
}

#[test]
fn queue_position_comes_from_the_queue_and_never_exceeds_the_other_jobs() {
    let mut tracker = tracker();
    let status = |jobs: u64| {
        frame(
            "status",
            json!({"status": {"exec_info": {"queue_remaining": jobs}}}),
        )
    };
    tracker.apply(&frame(
        "status",
        json!({"status": {"exec_info": {"queue_remaining": 0}}, "sid": "x"}),
    ));
    assert!(!tracker.waits_behind_others());
    // The jobs behind ours count too, so this says nothing of our position.
    tracker.apply(&status(4));
    assert_eq!(tracker.progress().queue_position, None);
    assert!(tracker.waits_behind_others());
    assert!(tracker.set_queue_position(2));
    assert!(!tracker.set_queue_position(2));
    for (jobs, expected) in [(5, 2), (2, 1), (1, 0)] {
        tracker.apply(&status(jobs));
        assert_eq!(tracker.progress().queue_position, Some(expected));
    }
    tracker.apply(&status(2));
    assert!(matches!(
        tracker.apply(&frame("execution_start", json!({"prompt_id": "mine"}))),
        FrameEffect::Progress
    ));
    assert_eq!(tracker.progress().queue_position, None);
    assert!(!tracker.waits_behind_others() && !tracker.set_queue_position(1));
}

#[test]
fn tracker_resumes_the_node_that_ran_while_it_was_not_connected() {
    let mut tracker = tracker();
    let resumed = frame("executing", json!({"node": "9"}));
    assert!(matches!(tracker.apply(&resumed), FrameEffect::Progress));
    assert_eq!(tracker.image_role(true), Some(ImageRole::Result));
    let of_another = frame("executing", json!({"node": "3", "prompt_id": "theirs"}));
    assert!(matches!(tracker.apply(&of_another), FrameEffect::Ignored));
}

#[test]
fn tracker_detects_removed_job() {
    let status = |jobs: u64| {
        let data = json!({"status": {"exec_info": {"queue_remaining": jobs}}});
        frame("status", data)
    };
    let mut removed = tracker();
    assert!(matches!(removed.apply(&status(0)), FrameEffect::Ignored));
    assert!(matches!(removed.apply(&status(2)), FrameEffect::Ignored));
    assert!(matches!(removed.apply(&status(0)), FrameEffect::Ended));
    let mut running = tracker();
    running.apply(&status(1));
    running.apply(&frame("execution_start", json!({"prompt_id": "mine"})));
    assert!(matches!(running.apply(&status(0)), FrameEffect::Ignored));
}

#[test]
fn tracker_detects_end_of_job() {
    let recorded: Vec<TextFrame> =
        serde_json::from_str(include_str!("../../testdata/frames-errors.json")).unwrap();
    for frame in recorded {
        let id = frame.data["prompt_id"].as_str().unwrap();
        let mut tracker = JobTracker::new(&Graph::new(), id, ONLY);
        assert!(matches!(tracker.apply(&frame), FrameEffect::Failed(_)));
    }
    let over = frame("executing", json!({"node": null, "prompt_id": "mine"}));
    assert!(matches!(tracker().apply(&over), FrameEffect::Ended));
    // Frames about other jobs.
    for data in [
        json!({"node": null}),
        json!({"node": null, "prompt_id": "x"}),
    ] {
        assert!(matches!(
            tracker().apply(&frame("executing", data)),
            FrameEffect::Ignored
        ));
    }
}

#[test]
fn tracker_tolerates_invalid_frames() {
    let mut tracker = tracker();
    for (frame_type, data) in [
        (
            "progress",
            json!({"prompt_id": "mine", "node": "3", "value": 1, "max": 0}),
        ),
        (
            "progress",
            json!({"prompt_id": "mine", "node": "3", "value": -5, "max": 2}),
        ),
        (
            "progress",
            json!({"prompt_id": "mine", "node": "3", "value": 1e300, "max": 2}),
        ),
        (
            "progress",
            json!({"prompt_id": "mine", "node": "expanded.1", "value": 1, "max": 2}),
        ),
        (
            "execution_cached",
            json!({"prompt_id": "mine", "nodes": {"3": 1}}),
        ),
        ("status", json!([])),
        ("executing", json!({"prompt_id": "mine"})),
        ("logs", json!({"prompt_id": "mine"})),
    ] {
        assert!(matches!(
            tracker.apply(&frame(frame_type, data)),
            FrameEffect::Ignored | FrameEffect::Progress
        ));
        let fraction = tracker.progress().fraction.unwrap_or(0.0);
        assert!((0.0..=1.0).contains(&fraction));
    }
}
