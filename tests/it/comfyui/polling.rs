//! Without a socket, or once it is gone: queue and history are asked.

use std::sync::Mutex;

use pinhole::engine::bindings::ErrorKind;

use super::*;

const QUEUE: &str = "GET /queue";

/// Answers looks at the history with these, one after another, and then as the run says.
fn histories(
    first: impl IntoIterator<Item = Answer>,
) -> impl Fn(&Seen) -> Option<Answer> + Clone + Send + Sync + 'static {
    let mut first: Vec<Answer> = first.into_iter().collect();
    first.reverse();
    let first = Arc::new(Mutex::new(first));
    move |seen| match seen.line() == HISTORY {
        true => first.lock().unwrap().pop(),
        false => None,
    }
}

fn nothing() -> Answer {
    Answer::json(200, &json!({}))
}

/// The queue as it was recorded while our job ran, with others behind it.
fn running() -> Answer {
    Answer::json(200, &run("interrupted")["queue"])
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_socket_is_to_be_had_queue_and_history_are_asked() {
    let state = watch::Sender::new("pending");
    let now = state.subscribe();
    let comfy = Comfy::without_socket(run("two pictures"), move |seen| {
        match (seen.line().as_str(), *now.borrow()) {
            (HISTORY, "done") => None,
            (HISTORY, _) => Some(nothing()),
            (QUEUE, "pending") => {
                let waiting = json!([[39, "third", {}, {}, []], [38, JOB, {}, {}, []]]);
                let queue = json!({
                    "queue_running": [[37, "first", {}, {}, []]], "queue_pending": waiting,
                });
                Some(Answer::json(200, &queue))
            }
            (QUEUE, "running") => Some(running()),
            _ => None,
        }
    })
    .await;
    let server = comfy.server(&[]).await;
    let (job, control) = spawn(&server, foxes());
    let pending = told(&control, |progress| progress.queue_position.is_some()).await;
    assert_eq!(pending.queue_position, Some(1));
    state.send_replace("running");
    let running = told(&control, |progress| progress.note.is_some()).await;
    assert_eq!(running.note.as_deref(), Some("running"));
    assert_eq!(running.queue_position, None);
    state.send_replace("done");
    let finished = soon(job).await.unwrap().unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);

    let lines = comfy.lines();
    assert_eq!(lines[..4], ["GET /ws", "POST /prompt", HISTORY, QUEUE]);
    let [first, second] = VIEWS;
    assert_eq!(lines[lines.len() - 3..], [HISTORY, first, second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_goes_away_costs_the_progress_and_nothing_else() {
    for closes in [true, false] {
        let talk = move |mut line: Line| async move {
            line.begin().await;
            let frames = line.frames();
            line.play(&frames[..10]).await;
            if closes {
                line.socket.close(None).await.unwrap();
                line.stay().await;
            }
        };
        let history = histories([nothing()]);
        let answer = move |seen: &Seen| match seen.line() == QUEUE {
            true => Some(running()),
            false => history(seen),
        };
        let comfy = Comfy::start(run("two pictures"), answer, talk).await;
        let server = comfy.server(&[]).await;
        let finished = generate(&server, foxes()).await.unwrap();
        assert_eq!(pictures(&finished), [FIRST, SECOND]);
        let [first, second] = VIEWS;
        let expected = [
            "GET /ws",
            "POST /prompt",
            HISTORY,
            QUEUE,
            HISTORY,
            first,
            second,
        ];
        assert_eq!(comfy.lines(), expected, "{closes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_leads_nowhere_does_not_hold_the_job_up() {
    let silent = |mut line: Line| async move {
        line.begin().await;
        line.stay().await;
    };
    let comfy = Comfy::start(run("two pictures"), |_| None, silent).await;
    let server = comfy.server(&[]).await;
    let finished = generate(&server, foxes()).await.unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
    assert_eq!(comfy.lines()[..3], ["GET /ws", "POST /prompt", HISTORY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_comes_late_is_waited_for() {
    // On its way from the queue into the history the job is nowhere for a moment.
    let history = histories([nothing()]);
    let comfy = Comfy::start(run("two pictures"), history, Line::play_all).await;
    let server = comfy.server(&[]).await;
    let finished = generate(&server, foxes()).await.unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
    let [first, second] = VIEWS;
    let expected = [
        "GET /ws",
        "POST /prompt",
        HISTORY,
        QUEUE,
        HISTORY,
        first,
        second,
    ];
    assert_eq!(comfy.lines(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_anew_is_asked_again() {
    let unready = || Answer::typed(503, "text/html", "<html>starting</html>");
    let history = histories([unready(), unready()]);
    let comfy = Comfy::without_socket(run("two pictures"), history).await;
    let server = comfy.server(&[]).await;
    let finished = generate(&server, foxes()).await.unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
    assert_eq!(comfy.lines()[2..5], [HISTORY; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_nowhere_any_more_is_given_up() {
    // The server was started anew: the socket breaks, and queue and history are empty.
    let restarted = |mut line: Line| async move {
        line.begin().await;
        let frames = line.frames();
        line.play(&frames[..10]).await;
    };
    let comfy = Comfy::start(run("two pictures"), |_| None, restarted).await;
    comfy
        .run
        .send_modify(|run| run["history"] = Value::Object(Default::default()));
    check_given_up(&comfy).await;

    // Somebody emptied the queue: the socket lives, but will say no more about our job.
    let emptied = |mut line: Line| async move {
        line.begin().await;
        for jobs in [2, 0] {
            let data = json!({"status": {"exec_info": {"queue_remaining": jobs}}});
            let frame = json!({"text": {"type": "status", "data": data}});
            line.play(&[frame]).await;
        }
        line.stay().await;
    };
    let comfy = Comfy::start(run("two pictures"), |_| None, emptied).await;
    comfy
        .run
        .send_modify(|run| run["history"] = Value::Object(Default::default()));
    check_given_up(&comfy).await;
}

async fn check_given_up(comfy: &Comfy) {
    let server = comfy.server(&[]).await;
    let error = generate(&server, foxes()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Upstream);
    assert_eq!(
        error.to_string(),
        "ComfyUI no longer has the job: it was removed, or the server was started anew"
    );
    let expected = ["GET /ws", "POST /prompt", HISTORY, QUEUE, HISTORY, QUEUE];
    assert_eq!(comfy.lines(), expected);
}
