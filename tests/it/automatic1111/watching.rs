//! While the web UI draws: progress, previews, and how it is told to stop.

use pinhole::engine::Progress;
use pinhole::engine::bindings::ErrorKind;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// A web UI that draws one job for as long as it is let.
struct Drawing {
    upstream: Upstream,
    /// What its progress says: the name of a recording.
    state: watch::Sender<&'static str>,
    /// True lets the job end; an interrupt does so, too.
    ended: watch::Sender<bool>,
}

impl Drawing {
    /// `interrupted` is the status with which it takes an interrupt.
    async fn start(state: &'static str, interrupted: u16) -> Self {
        let (state, ended) = (watch::Sender::new(state), watch::Sender::new(false));
        let (progress, end) = (state.clone(), ended.clone());
        let upstream = Upstream::start(move |seen| {
            let (progress, end) = (progress.clone(), end.clone());
            async move {
                match path(&seen) {
                    "/sdapi/v1/txt2img" => {
                        end.subscribe().wait_for(|ended| *ended).await.unwrap();
                        reply(&recorded(TXT2IMG, "two"))
                    }
                    "/sdapi/v1/interrupt" => {
                        end.send_replace(true);
                        Answer::json(interrupted, &json!({}))
                    }
                    _ => web_ui(&seen, *progress.borrow()),
                }
            }
        })
        .await;
        Self {
            upstream,
            state,
            ended,
        }
    }

    /// The requests but those for progress.
    fn lines(&self) -> Vec<String> {
        lines(&asked(&self.upstream))
    }

    /// Waits until the job has arrived.
    async fn begun(&self) {
        soon(self.upstream.wait_for(2)).await;
        assert_eq!(self.lines(), ["POST /sdapi/v1/txt2img"]);
    }
}

/// A job that runs while a test looks on.
fn spawn(server: &Server) -> (JoinHandle<Result<Finished, Error>>, Control) {
    let control = Control::new("watched".into());
    let (app, watched) = (server.app.clone(), control.clone());
    let job = JobRequest {
        count: Some(2),
        ..request("a red fox")
    };
    let run = async move { app.jobs.generate(job, &watched).await };
    (tokio::spawn(run), control)
}

/// Waits for such a report.
async fn told(control: &Control, wanted: impl FnMut(&Progress) -> bool) -> Progress {
    let mut progress = control.progress.subscribe();
    soon(progress.wait_for(wanted)).await.unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_a_preview_come_while_the_pictures_are_drawn() {
    let drawing = Drawing::start("idle", 200).await;
    let server = server(&drawing.upstream, &[]).await;
    let (job, control) = spawn(&server);
    drawing.begun().await;

    drawing.state.send_replace("begun");
    let begun = told(&control, |progress| progress.fraction.is_some()).await;
    assert_eq!(begun.fraction, Some(0.01));
    assert_eq!(begun.note.as_deref(), Some("step 0 of 8"));
    assert!(begun.preview.is_none());

    drawing.state.send_replace("previewed");
    let previewed = told(&control, |progress| progress.preview.is_some()).await;
    assert_eq!(previewed.fraction, Some(0.885));
    assert_eq!(previewed.note.as_deref(), Some("step 7 of 8"));
    let preview = previewed.preview.unwrap();
    assert_eq!(preview.media_type(), "image/jpeg");
    let sent = &recorded(PROGRESS, "previewed")["current_image"];
    let bytes = base64_simd::STANDARD.decode_to_vec(sent.as_str().unwrap());
    assert_eq!(preview.bytes(), &bytes.unwrap());

    // What the web UI says falls at the end; what we tell does not.
    drawing.state.send_replace("begun");
    let step = |progress: &Progress| progress.note.as_deref() == Some("step 0 of 8");
    assert_eq!(told(&control, step).await.fraction, Some(0.885));

    drawing.ended.send_replace(true);
    let finished = soon(job).await.unwrap().unwrap();
    assert_eq!(finished.images.len(), 2);
    assert_eq!(drawing.lines(), ["POST /sdapi/v1/txt2img"]);
    let all = drawing.upstream.lines();
    assert!(
        all.contains(&"GET /sdapi/v1/progress?skip_current_image=false".to_owned()),
        "{all:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_interrupted_once() {
    // SD.Next says 204. Whatever is said, the job is over for us, and its half pictures are no success.
    for status in [200, 204, 500] {
        let drawing = Drawing::start("idle", status).await;
        let server = server(&drawing.upstream, &[]).await;
        let (job, control) = spawn(&server);
        drawing.begun().await;
        drawing.state.send_replace("begun");
        told(&control, |progress| progress.fraction.is_some()).await;
        control.cancel.cancel();
        let error = soon(job).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert_eq!(
            drawing.lines(),
            ["POST /sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"],
            "{status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_interrupted_even_before_its_progress_was_looked_at() {
    let drawing = Drawing::start("idle", 200).await;
    let server = server(&drawing.upstream, &[]).await;
    let (job, control) = spawn(&server);
    drawing.begun().await;
    drawing.state.send_replace("begun");
    control.cancel.cancel();
    let error = soon(job).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(
        drawing.lines(),
        ["POST /sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ones_job_is_not_interrupted() {
    let drawing = Drawing::start("later job", 200).await;
    let server = server(&drawing.upstream, &[]).await;
    let (job, control) = spawn(&server);
    drawing.begun().await;
    let waiting = told(&control, |progress| progress.note.is_some()).await;
    assert_eq!(waiting.note.as_deref(), Some("waiting for another job"));
    assert_eq!(waiting.fraction, None);
    control.cancel.cancel();
    let error = soon(job).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert_eq!(drawing.lines(), ["POST /sdapi/v1/txt2img"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_stops_its_job() {
    let drawing = Drawing::start("idle", 200).await;
    let server = server(&drawing.upstream, &[]).await;
    let body = json!({"prompt": "a red fox", "n": 2});
    let asking = tokio::spawn(server.post("/v1/images/generations", &body).send());
    drawing.begun().await;
    drawing.state.send_replace("begun");
    // The third request is a look at the progress; the fourth comes when its answer was read.
    soon(drawing.upstream.wait_for(4)).await;
    asking.abort();
    soon(drawing.ended.subscribe().wait_for(|ended| *ended))
        .await
        .unwrap();
    assert_eq!(
        drawing.lines(),
        ["POST /sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_too_long_is_interrupted() {
    let drawing = Drawing::start("idle", 200).await;
    let server = server(&drawing.upstream, &[("PINHOLE_JOB_TIMEOUT_SECS", "5")]).await;
    let (job, _control) = spawn(&server);
    drawing.begun().await;
    drawing.state.send_replace("begun");
    let error = soon(job).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    soon(drawing.ended.subscribe().wait_for(|ended| *ended))
        .await
        .unwrap();
    assert_eq!(
        drawing.lines(),
        ["POST /sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"]
    );
}
