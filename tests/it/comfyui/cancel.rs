//! A job that is not wanted any more, by us or by somebody on the server.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use pinhole::engine::bindings::ErrorKind;
use tokio::sync::mpsc;

use super::*;

const CANCEL: &str = "POST /api/jobs/0f3b8c1e-5a7d-4e2b-9c64-1d2e3f405162/cancel";

/// Has the cancel of one step that servers have from 0.25 on.
fn modern(seen: &Seen) -> Option<Answer> {
    (seen.line() == CANCEL).then(|| Answer::json(200, &json!({"cancelled": true})))
}

/// Only knows how to take a job from the queue, and how to interrupt the one that runs.
fn older(seen: &Seen) -> Option<Answer> {
    let interrupt = seen.line() == "POST /interrupt";
    interrupt.then(|| Answer::typed(200, "text/plain", ""))
}

/// The job is cancelled once such a report came; the server then gets these requests besides.
async fn check(comfy: &Comfy, wanted: impl FnMut(&Progress) -> bool, expected: &[(&str, Value)]) {
    let server = comfy.server(&[]).await;
    let (job, control) = spawn(&server, fox());
    told(&control, wanted).await;
    control.cancel.cancel();
    let error = soon(job).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.to_string(), "the job was cancelled");
    let mut seen = comfy.seen();
    seen.retain(|seen| {
        seen.method == "POST" && seen.target != "/prompt" || path(seen).starts_with("/view")
    });
    let body = |seen: &Seen| match seen.body.is_empty() {
        true => Value::Null,
        false => seen.json(),
    };
    let sent: Vec<_> = seen.iter().map(|seen| (seen.line(), body(seen))).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, body)| ((*line).to_owned(), body.clone()))
        .collect();
    assert_eq!(sent, expected);
}

fn removed() -> (&'static str, Value) {
    ("POST /queue", json!({"delete": [JOB]}))
}

fn interrupted() -> (&'static str, Value) {
    ("POST /interrupt", json!({"prompt_id": JOB}))
}

/// Plays the recorded run until its sampler is at work.
async fn work(mut line: Line) {
    line.begin().await;
    let mut frames = line.frames();
    frames.retain(|frame| frame["text"]["type"] != "execution_interrupted");
    let last = frames.iter().rposition(|frame| frame.get("bare").is_some());
    line.play(&frames[..=last.unwrap()]).await;
    line.stay().await;
}

/// Plays what is heard while others' jobs are in front of ours.
async fn wait(mut line: Line) {
    line.begin().await;
    let data = json!({"status": {"exec_info": {"queue_remaining": 3}}});
    line.play(&[json!({"text": {"type": "status", "data": data}})])
        .await;
    line.stay().await;
}

fn runs(progress: &Progress) -> bool {
    progress.note.as_deref() == Some("step 2 of 1000")
}

fn waits(progress: &Progress) -> bool {
    progress.queue_position == Some(2)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_in_one_step_where_that_is_known() {
    let run = run("interrupted");
    let whole = [(CANCEL, Value::Null)];
    let comfy = Comfy::start(run.clone(), modern, work).await;
    check(&comfy, runs, &whole).await;
    let comfy = Comfy::start(run, modern, wait).await;
    check(&comfy, waits, &whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_server_is_told_by_queue_and_interrupt() {
    let run = run("interrupted");
    let steps = [(CANCEL, Value::Null), removed(), interrupted()];
    let comfy = Comfy::start(run.clone(), older, work).await;
    check(&comfy, runs, &steps).await;
    let comfy = Comfy::start(run, older, wait).await;
    check(&comfy, waits, &steps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_in_front_of_our_job_is_not_interrupted() {
    // The oldest servers interrupt whatever runs, whosever id they are told.
    let answer = |seen: &Seen| match seen.line().as_str() {
        "GET /queue" => {
            let jobs = json!([[36, "another", {}, {}, []]]);
            let queue = json!({"queue_running": jobs, "queue_pending": []});
            Some(Answer::json(200, &queue))
        }
        _ => older(seen),
    };
    let comfy = Comfy::start(run("interrupted"), answer, wait).await;
    check(&comfy, waits, &[(CANCEL, Value::Null), removed()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_between_two_looks_as_well() {
    let mut run = run("interrupted");
    run["history"] = json!({});
    let queue = run["queue"].clone();
    let comfy = Comfy::without_socket(run, move |seen| match seen.line().as_str() {
        "GET /queue" => Some(Answer::json(200, &queue)),
        _ => modern(seen),
    })
    .await;
    let running = |progress: &Progress| progress.note.as_deref() == Some("running");
    check(&comfy, running, &[(CANCEL, Value::Null)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_stops_on_the_server_is_cancelled_by_them() {
    let comfy = Comfy::playing("interrupted").await;
    let server = comfy.server(&[]).await;
    let error = generate(&server, fox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(
        error.to_string(),
        "the job was stopped on the ComfyUI server"
    );
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt"]);

    // The same from the history.
    let comfy = Comfy::without_socket(run("interrupted"), |_| None).await;
    let server = comfy.server(&[]).await;
    let body = json!({"prompt": "a red fox"});
    let (status, reply) = server.ask("/v1/images/generations", &body).await;
    assert_eq!(status, 502, "{reply}");
    assert_eq!(reply["error"]["code"], "execution_interrupted");
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", HISTORY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_back_even_before_its_id_is_known() {
    // The job is taken, but the answer with its id does not come in time.
    let client = watch::Sender::new(String::new());
    let answer = move |seen: &Seen| match seen.line().as_str() {
        "POST /prompt" => {
            client.send_replace(seen.json()["client_id"].as_str().unwrap().into());
            let never = futures_util::stream::pending::<Result<Bytes, Infallible>>();
            Some(Answer::typed(
                200,
                "application/json",
                Body::from_stream(never),
            ))
        }
        "GET /queue" => {
            let mut queue = run("interrupted")["queue"].take();
            queue["queue_running"][0][3]["client_id"] = client.borrow().as_str().into();
            Some(Answer::json(200, &queue))
        }
        _ => modern(seen),
    };
    let comfy = Comfy::start(run("interrupted"), answer, Line::stay).await;
    let server = comfy.server(&[]).await;
    let (job, control) = spawn(&server, fox());
    soon(comfy.upstream.wait_for(2)).await;
    control.cancel.cancel();
    let error = soon(job).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let expected = ["GET /ws", "POST /prompt", "GET /queue", CANCEL];
    assert_eq!(comfy.lines(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_job_along() {
    let (taken, mut followed) = mpsc::unbounded_channel();
    let talk = move |mut line: Line| {
        let taken = taken.clone();
        async move {
            line.begin().await;
            line.taken().await;
            taken.send(()).unwrap();
            line.stay().await;
        }
    };
    let comfy = Comfy::start(run("interrupted"), modern, talk).await;
    let server = comfy.server(&[]).await;
    let body = json!({"prompt": "a red fox"});
    let asking = tokio::spawn(server.post("/v1/images/generations", &body).send());
    soon(followed.recv()).await.unwrap();
    asking.abort();
    soon(comfy.upstream.wait_for(3)).await;
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", CANCEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_long_is_taken_back() {
    let comfy = Comfy::start(run("interrupted"), modern, work).await;
    let server = comfy.server(&[("PINHOLE_JOB_TIMEOUT_SECS", "5")]).await;
    let error = generate(&server, fox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    soon(comfy.upstream.wait_for(3)).await;
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", CANCEL]);
}
