//! What comes over the socket: progress, previews and pictures; ours, and not those of others.

use std::sync::Arc;

use tokio::sync::{Barrier, mpsc};

use super::*;

const OTHER: &str = "99999999-5a7d-4e2b-9c64-1d2e3f405162";

/// Where the frames of this kind are.
fn places(frames: &[Value], kind: &str) -> Vec<usize> {
    let found = frames.iter().enumerate().filter(|(_, frame)| {
        frame["text"]["type"] == kind || frame.get("preview").is_some() && kind == "preview"
    });
    found.map(|(place, _)| place).collect()
}

/// Everything that matters in a report.
fn shown(control: &Control) -> (Option<f32>, Option<u32>, Option<String>, bool) {
    let progress = control.progress.borrow().clone();
    let preview = progress.preview.is_some();
    (
        progress.fraction,
        progress.queue_position,
        progress.note,
        preview,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_previews_are_told_as_they_come() {
    let (step, greeting) = (Arc::new(Barrier::new(2)), mpsc::unbounded_channel());
    let (turn, (greet, mut greeted)) = (step.clone(), greeting);
    let talk = move |mut line: Line| {
        let (turn, greet) = (turn.clone(), greet.clone());
        async move {
            greet.send(line.begin().await).unwrap();
            let frames = line.frames();
            let (previews, steps) = (places(&frames, "preview"), places(&frames, "progress"));
            let mut from = 0;
            // The first preview, the step that follows it, and the last step.
            for place in [previews[0], steps[0], steps[3]] {
                line.play(&frames[from..=place]).await;
                line.taken().await;
                turn.wait().await;
                turn.wait().await;
                from = place + 1;
            }
            line.play(&frames[from..]).await;
            line.stay().await;
        }
    };
    let comfy = Comfy::start(run("previews"), |_| None, talk).await;
    let server = comfy.server(&[]).await;
    let (job, control) = spawn(&server, fox());
    let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}});
    assert_eq!(soon(greeted.recv()).await.unwrap(), flags);

    soon(step.wait()).await;
    let progress = control.progress.borrow().clone();
    let preview = progress.preview.unwrap();
    assert_eq!(preview.media_type(), "image/jpeg");
    assert_eq!(&preview.bytes()[..], PREVIEW);
    let previewed = progress.fraction.unwrap();
    soon(step.wait()).await;

    soon(step.wait()).await;
    let (first, position, note, _) = shown(&control);
    assert_eq!((position, note.as_deref()), (None, Some("step 1 of 4")));
    assert!(first.unwrap() > previewed, "{first:?} after {previewed}");
    soon(step.wait()).await;

    soon(step.wait()).await;
    let (last, _, note, _) = shown(&control);
    assert_eq!(note.as_deref(), Some("step 4 of 4"));
    assert!(last > first && last < Some(1.0), "{last:?}");
    soon(step.wait()).await;

    let finished = soon(job).await.unwrap().unwrap();
    assert_eq!(pictures(&finished), [FIRST]);
    let view = "GET /view?filename=sd_00001_.png&subfolder=&type=output";
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", HISTORY, view]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_other_jobs_are_not_ours() {
    let step = Arc::new(Barrier::new(2));
    let turn = step.clone();
    let talk = move |mut line: Line| {
        let turn = turn.clone();
        async move {
            line.begin().await;
            let frames = line.frames();
            let ours = places(&frames, "progress")[0];
            line.play(&frames[..=ours]).await;
            line.taken().await;
            turn.wait().await;
            turn.wait().await;
            // Nodes of the same names, every kind of picture, success, failure and the end.
            for run in ["previews", "picture over the socket", "corrupt checkpoint"] {
                let mut foreign = list(&run_of(run, OTHER), "frames").to_vec();
                foreign.retain(|frame| frame["text"]["type"] != "status");
                line.play(&foreign).await;
            }
            line.taken().await;
            turn.wait().await;
            turn.wait().await;
            line.play(&frames[ours + 1..]).await;
            line.stay().await;
        }
    };
    let comfy = Comfy::start(run("previews"), |_| None, talk).await;
    let server = comfy.server(&[]).await;
    let (job, control) = spawn(&server, fox());
    soon(step.wait()).await;
    let before = shown(&control);
    assert_eq!(before.2.as_deref(), Some("step 1 of 4"));
    soon(step.wait()).await;
    soon(step.wait()).await;
    assert_eq!(shown(&control), before);
    assert!(!job.is_finished());
    soon(step.wait()).await;
    let finished = soon(job).await.unwrap().unwrap();
    assert_eq!(pictures(&finished), [FIRST]);
    assert_eq!(comfy.lines()[..3], ["GET /ws", "POST /prompt", HISTORY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_may_send_its_picture_over_the_socket() {
    let recorded = run("picture over the socket");
    let mut described = recorded.clone();
    let frames = described["frames"].as_array_mut().unwrap();
    let png = frames.iter_mut().find(|frame| frame["bare"] == "png");
    // To a client that wants to know whose a picture is.
    *png.unwrap() = json!({"preview": {
        "node_id": "9", "prompt_id": JOB, "display_node_id": "9", "parent_node_id": null,
        "real_node_id": "9", "image_type": "image/png",
    }});
    let comfy = Comfy::start(recorded.clone(), |_| None, Line::play_all).await;
    let server = comfy.server(&[]).await;
    for run in [recorded, described] {
        let before = comfy.lines().len();
        comfy.run.send_replace(run);
        // The previews are of another form: asked for two, it still gives the one.
        let finished = generate(&server, foxes()).await.unwrap();
        assert_eq!(pictures(&finished), [FIRST]);
        assert_eq!(
            comfy.lines()[before..],
            ["GET /ws", "POST /prompt", HISTORY]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_make_no_sense_do_no_harm() {
    let talk = |mut line: Line| async move {
        line.begin().await;
        let odd = [
            Message::text("no JSON"),
            Message::text("[]"),
            Message::text(r#"{"type": "progress"}"#),
            Message::text(r#"{"type": "custom.node", "data": [1]}"#),
            Message::binary(Vec::new()),
            Message::binary(b"\0\0\0\x04\xff\xff\xff\xff".to_vec()),
            Message::binary(b"\0\0\0\x03\0\0\0\x01xhello".to_vec()),
            Message::binary(b"\0\0\0\x09\0\0\0\0".to_vec()),
            message(
                &json!({"preview": {"prompt_id": JOB, "node_id": 7, "image_type": "image/png"}}),
            ),
        ];
        for message in odd {
            line.socket.send(message).await.unwrap();
        }
        let frames = line.frames();
        line.play(&frames).await;
        line.stay().await;
    };
    let comfy = Comfy::start(run("two pictures"), |_| None, talk).await;
    let server = comfy.server(&[]).await;
    let finished = generate(&server, foxes()).await.unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
    let [first, second] = VIEWS;
    let expected = ["GET /ws", "POST /prompt", HISTORY, first, second];
    assert_eq!(comfy.lines(), expected);
}
