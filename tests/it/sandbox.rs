//! Does the sandbox hold? The engine `hostile` misbehaves as its prompt says; whatever it does, the
//! server goes on and the engine `sketch` still draws.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pinhole::engine::bindings::{ErrorKind, Job};
use pinhole::engine::{Control, Error, Limits, Made, Produced};
use pinhole_tests::{Answer, PIXEL, Seen, Server, Upstream, engines, guests, program};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// What the guest must never see.
const KEY: &str = "hostile-key-4711";
/// Far more than any test takes, so that only the limit ends a job that the test set lower.
const LIMITS: Limits = Limits {
    running: Duration::from_secs(600),
    grace: Duration::from_secs(600),
    ..Limits::job(Duration::from_secs(600))
};
/// For the limits that a test waits for.
const SHORT: Duration = Duration::from_millis(300);
/// For the limits within which something must still happen, on a busy machine too.
const ENOUGH: Duration = Duration::from_secs(3);

type Running = JoinHandle<Result<Made, Error>>;

/// A server with the engines `hostile` and `sketch`, and the upstream that `hostile` was granted.
struct Place {
    server: Arc<Server>,
    upstream: Upstream,
    engines: TempDir,
}

impl Place {
    /// With an upstream that answers everything with `{}`.
    async fn start(variables: &[(&str, &str)]) -> Self {
        Self::with(Upstream::json(200, json!({})).await, variables).await
    }

    async fn with(upstream: Upstream, variables: &[(&str, &str)]) -> Self {
        let engines = folder(&["hostile", "sketch"]);
        let base = format!("{}/base", upstream.url());
        let defaults = [
            ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            ("HOSTILE_BASE_URL", &base),
            ("HOSTILE_API_KEY", KEY),
            ("HOSTILE_NOTE", "a note"),
        ];
        let server = Server::start(&[&defaults, variables].concat()).await;
        Self {
            server: Arc::new(server),
            upstream,
            engines,
        }
    }

    /// A job of `hostile` through HTTP that must fail: its status, OpenAI's code and the message.
    async fn fails(&self, prompt: &str, count: u32) -> (u16, String, String) {
        let body = json!({"prompt": prompt, "n": count});
        let (status, answer) = self.server.ask("/v1/images/generations", &body).await;
        let text = |pointer| match answer.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            _ => panic!("{prompt}: {status} {answer}"),
        };
        (status, text("/error/code"), text("/error/message"))
    }

    /// Starts a job of `hostile` under these limits.
    fn run(&self, prompt: &str, limits: Limits, control: &Control) -> Running {
        run(&self.server, "hostile", prompt, limits, control)
    }

    /// The same, to its end.
    async fn call(&self, prompt: &str, limits: Limits) -> Result<Made, Error> {
        self.run(prompt, limits, &control()).await.unwrap()
    }

    /// Another engine's job still gives a picture, through HTTP.
    async fn still_draws(&self) {
        let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
        let (status, answer) = self.server.ask("/v1/images/generations", &body).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["data"][0]["b64_json"].is_string(), "{answer}");
    }

    /// What the program writes for the operator when it runs a job with the log switched on.
    fn log_of(&self, prompt: &str) -> String {
        let output = Command::new(program())
            .args(["generate", prompt, "--engine", "hostile"])
            .env_clear()
            .env("PINHOLE_DATA", self.server.data.path())
            .env("PINHOLE_ENGINES", self.engines.path())
            .env("HOSTILE_BASE_URL", self.upstream.url())
            .env("PINHOLE_LOG", "info")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A folder with these components.
fn folder(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let file = format!("{name}.wasm");
        let own = engines().join(&file);
        let from = if own.exists() {
            own
        } else {
            guests().join(&file)
        };
        std::fs::copy(from, folder.path().join(file)).unwrap();
    }
    folder
}

fn run(
    server: &Server,
    engine: &'static str,
    prompt: &str,
    limits: Limits,
    control: &Control,
) -> Running {
    let (app, control) = (server.app.clone(), control.clone());
    let job = Job {
        prompt: prompt.to_owned(),
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        parameters: "{}".to_owned(),
    };
    tokio::spawn(async move {
        let engines = &app.jobs.engines;
        let current = app.jobs.current();
        let binding = current.binding(engine).unwrap();
        let bound = binding.generating().unwrap();
        let made = engines.make(&binding.component, bound, &control, limits, job, None);
        made.await
    })
}

fn control() -> Control {
    Control::new("test".to_owned())
}

/// What the engine said: the kind and the message.
fn said(outcome: Result<Made, Error>) -> (ErrorKind, String) {
    match outcome {
        Err(Error::Engine { error, .. }) => (error.kind, error.message),
        other => panic!("{other:?}"),
    }
}

/// An upstream on which `/base/allowed/slow` is never answered.
async fn slow_upstream() -> Upstream {
    Upstream::start(async |seen: Seen| {
        if seen.target.ends_with("/slow") {
            std::future::pending::<()>().await;
        }
        Answer::json(200, &json!({}))
    })
    .await
}

const SLOW: &str = "GET /base/allowed/slow";
const STOPPED: &str = "GET /base/allowed/stopped";

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_engine_does_is_an_answer_and_the_server_draws_on() {
    // With one slot, a job that kept its slot would leave none for the next.
    let place = Place::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, count, code, gist) in [
        (
            "grow",
            1,
            "upstream",
            "stopped: it needs more than 268435456 bytes of memory",
        ),
        (
            "trap",
            1,
            "upstream",
            "crashed: it panicked; its log line says where",
        ),
        ("recurse", 1, "upstream", "the engine crashed: "),
        (
            "calls",
            1,
            "upstream",
            "stopped: it called the host more than 200000 times",
        ),
        (
            "handles",
            1,
            "upstream",
            "stopped: it holds more handles than a job may",
        ),
        ("big-list", 1, "upstream", "too much data is being copied"),
        (
            "big-list 1",
            1,
            "protocol",
            "details are longer than 65536 bytes",
        ),
        ("many", 4, "protocol", "gave 5 pictures, 4 at most"),
        ("none", 1, "protocol", "gave no picture and no reason"),
        (
            "text",
            1,
            "protocol",
            "not a PNG, JPEG, WebP, GIF or AVIF image",
        ),
    ] {
        let (status, named, message) = place.fails(prompt, count).await;
        assert_eq!((status, named.as_str()), (502, code), "{prompt}: {message}");
        assert!(message.contains(gist), "{prompt}: {message}");
        place.still_draws().await;
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
    assert_eq!(place.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_broken_is_named() {
    let place = Place::start(&[("PINHOLE_SLOTS", "1")]).await;
    for (prompt, limits, gist) in [
        (
            "spin",
            Limits {
                running: SHORT,
                ..LIMITS
            },
            "it ran for more than 300ms",
        ),
        (
            "log",
            Limits {
                host_calls: 50,
                ..LIMITS
            },
            "it called the host more than 50 times",
        ),
        (
            "calls",
            Limits {
                host_calls: 50,
                ..LIMITS
            },
            "it called the host more than 50 times",
        ),
        (
            "grow",
            Limits {
                memory_bytes: 8 << 20,
                ..LIMITS
            },
            "more than 8388608 bytes of memory",
        ),
        (
            "handles",
            Limits {
                handles: 3,
                ..LIMITS
            },
            "it holds more handles",
        ),
        (
            "handles",
            Limits {
                held_bytes: 500,
                ..LIMITS
            },
            "more than 500 bytes of answers and images",
        ),
    ] {
        match place.call(prompt, limits).await {
            Err(Error::Limit(message)) => assert!(message.contains(gist), "{prompt}: {message}"),
            other => panic!("{prompt}: {other:?}"),
        }
        place.still_draws().await;
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_when_its_time_is_over() {
    let place = Place::with(slow_upstream().await, &[]).await;
    // Told to stop, the one that computes would use up its running time too.
    let limits = Limits {
        wall: SHORT,
        running: ENOUGH,
        ..LIMITS
    };
    // Asleep in the host, waiting for an upstream, computing: the wall clock knows no difference.
    for prompt in ["sleep", "wait", "spin"] {
        match place.call(prompt, limits).await {
            Err(Error::Deadline(wall)) => assert_eq!(wall, SHORT, "{prompt}"),
            other => panic!("{prompt}: {other:?}"),
        }
        place.still_draws().await;
    }
    // One that was late may still tell its upstream.
    place.upstream.wait_for(2).await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_that_the_time_was_over() {
    let place = Place::start(&[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    let (status, code, message) = place.fails("sleep", 1).await;
    assert_eq!((status, code.as_str()), (504, "timeout"), "{message}");
    assert_eq!(message, "the engine was stopped: it took longer than 1s");
    let drawn = run(&place.server, "sketch", "a hill", LIMITS, &control());
    assert_eq!(drawn.await.unwrap().unwrap().pictures.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_that_compute_for_ever_keep_nobody_from_drawing() {
    let place = Place::start(&[("PINHOLE_SLOTS", "5")]).await;
    let control = control();
    let limits = Limits {
        grace: Duration::ZERO,
        ..LIMITS
    };
    let mut spinning = Vec::new();
    for _ in 0..4 {
        let mut progress = control.progress.subscribe();
        spinning.push(place.run("spin", limits, &control));
        progress.changed().await.unwrap();
        assert_eq!(progress.borrow().note.as_deref(), Some("spinning"));
    }
    place.still_draws().await;
    assert!(spinning.iter().all(|job| !job.is_finished()));

    // They do not listen when they are told to stop: they are ended, and their slots come back.
    control.cancel.cancel();
    for job in spinning {
        let (kind, message) = said(job.await.unwrap());
        assert_eq!(
            (kind, message.as_str()),
            (ErrorKind::Cancelled, "the job was cancelled")
        );
    }
    for _ in 0..5 {
        place.still_draws().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_beyond_the_grant_leaves_the_process() {
    let place = Place::start(&[]).await;
    let requests = [
        // An upstream or a path that was not declared.
        "reach other /allowed/x",
        "reach  /allowed/x",
        "reach API /allowed/x",
        "reach api",
        "reach api /",
        "reach api /secret",
        "reach api /allowed",
        "reach api /allowed-too/x",
        "reach api /Allowed/x",
        "reach api /base/allowed/x",
        "reach api allowed/x",
        // A declared path as a way to another.
        "reach api /allowed/../secret",
        "reach api /allowed/..",
        "reach api /allowed/./x",
        "reach api /allowed/%2e%2e/secret",
        "reach api /allowed/.%2E/secret",
        "reach api /allowed/%2E%2e%2fsecret",
        "reach api /allowed/..%2fsecret",
        "reach api /allowed/..%5csecret",
        "reach api /allowed/..\\secret",
        "reach api /allowed/x%00",
        "reach api /allowed/\t../secret",
        "reach api /allowed/x\r\nx-injected: 1",
        "reach api /allowed/x HTTP/1.1",
        "reach api /allowed/x#y",
        "reach api /allowed/ä",
        // A path as a way to another host.
        "reach api //x",
        "reach api //127.0.0.1:1/allowed/x",
        "reach api /allowed//x",
        "reach api @127.0.0.1:1/allowed/x",
        "reach api http://127.0.0.1:1/allowed/x",
        "reach api ?/allowed/x",
        // A method that was not declared.
        "send POST api /allowed/x",
        "send get api /allowed/x",
        "send HEAD api /allowed/x",
        "send CONNECT api /allowed/x",
        "send G\u{0}T api /allowed/x",
        "send  api /allowed/x",
        // The same doors for WebSockets.
        "connect other /allowed/x",
        "connect api /secret",
        "connect api /allowed/../secret",
        "connect api //x",
        "connect api /allowed/%2e%2e/secret",
    ];
    for prompt in requests {
        let (status, code, message) = place.fails(prompt, 1).await;
        assert_eq!(
            (status, code.as_str()),
            (502, "forbidden"),
            "{prompt:?}: {message}"
        );
        // The guest learns no more than that.
        let method = prompt.contains('\u{0}') || prompt.starts_with("send  ");
        assert!(method || message == "not granted", "{prompt:?}: {message}");
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
    place.still_draws().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_what_was_refused_and_the_engine_does_not() {
    let place = Place::start(&[]).await;
    let outcome = place.call("reach api /secret?token=1", LIMITS).await;
    match outcome {
        Err(Error::Engine { error, failure }) => {
            assert_eq!(
                (error.kind, error.message.as_str()),
                (ErrorKind::Forbidden, "not granted")
            );
            assert_eq!(
                failure.unwrap(),
                "engine hostile may not GET \"/secret\" on upstream api: it did not declare it"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_the_hosts_own_are_refused() {
    let place = Place::start(&[]).await;
    for header in [
        "authorization Bearer mine",
        "Authorization Bearer mine",
        "host 127.0.0.1:1",
        "cookie token=1",
        "x-forwarded-for 127.0.0.1",
        "X-Forwarded-Host evil",
        "forwarded for=127.0.0.1",
        "transfer-encoding chunked",
        "content-length 5",
        "content-type text/html",
        "connection upgrade",
        "upgrade websocket",
        "proxy-authorization Basic eDp5",
        "sec-websocket-key x",
        "te trailers",
        "trailer x",
        "expect 100-continue",
        "x-note a\r\nx-injected: 1",
        "x-note a\nb",
        "x-note\u{0} a",
        "x:note a",
        "ä a",
        " a",
    ] {
        let (status, code, message) = place.fails(&format!("header {header}"), 1).await;
        assert_eq!(
            (status, code.as_str()),
            (502, "forbidden"),
            "{header:?}: {message}"
        );
    }
    assert_eq!(place.upstream.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_request_carries_the_hosts_credential_and_the_engines_header() {
    let place = Place::start(&[]).await;
    let outcome = place.call("header x-note two  words", LIMITS).await;
    assert_eq!(
        said(outcome),
        (ErrorKind::Upstream, "status 200".to_owned())
    );
    let [seen] = place.upstream.seen().try_into().unwrap();
    assert_eq!(seen.line(), "GET /base/allowed/x");
    assert_eq!(seen.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(seen.header("x-note"), "two  words");
    assert_eq!(seen.header("host"), place.upstream.address.to_string());
    assert!(seen.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_web_socket_carries_the_credential_too() {
    let upstream = Upstream::start(async |_| Answer::web_socket(async |socket| drop(socket))).await;
    let place = Place::with(upstream, &[]).await;
    let outcome = place.call("connect api /allowed/ws?id=1", LIMITS).await;
    assert_eq!(said(outcome), (ErrorKind::Upstream, "connected".to_owned()));
    let [seen] = place.upstream.seen().try_into().unwrap();
    assert_eq!(seen.line(), "GET /base/allowed/ws?id=1");
    assert_eq!(seen.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_sees_its_settings_and_never_a_secret() {
    let place = Place::start(&[]).await;
    let (_, message) = said(place.call("settings", LIMITS).await);
    let seen: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(seen["note"], "a note");
    assert_eq!(seen["base-url"], format!("{}/base", place.upstream.url()));
    assert_eq!(seen["api-key"], Value::Null);
    assert!(!message.contains(KEY), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_makes_only_so_many_requests() {
    let place = Place::start(&[]).await;
    let outcome = place
        .call(
            "requests",
            Limits {
                requests: 3,
                ..LIMITS
            },
        )
        .await;
    let (_, message) = said(outcome);
    assert_eq!(message, "refused after 3: too many requests for one job");
    assert_eq!(place.upstream.lines(), ["GET /base/allowed/x"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_engine_may_tell_its_upstream_to_stop() {
    let place = Place::with(slow_upstream().await, &[]).await;
    let control = control();
    let job = place.run("wait", LIMITS, &control);
    place.upstream.wait_for(1).await;
    control.cancel.cancel();
    let (kind, message) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(message, "cancelled; telling the upstream gave: status 200");
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    let last = place.upstream.seen().pop().unwrap();
    assert_eq!(last.header("authorization"), format!("Bearer {KEY}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_its_job() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let body = json!({"prompt": "wait"});
    let asking = tokio::spawn(place.server.post("/v1/images/generations", &body).send());
    place.upstream.wait_for(1).await;
    asking.abort();
    place.upstream.wait_for(2).await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    place.still_draws().await;
    assert_eq!(place.server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_after_a_cancel_is_short() {
    // Not even the request to stop is answered.
    let upstream = Upstream::start(async |_| std::future::pending::<Answer>().await).await;
    let place = Place::with(upstream, &[("PINHOLE_SLOTS", "1")]).await;
    let control = control();
    let job = place.run(
        "wait",
        Limits {
            grace: ENOUGH,
            ..LIMITS
        },
        &control,
    );
    place.upstream.wait_for(1).await;
    control.cancel.cancel();
    let (kind, _) = said(job.await.unwrap());
    assert_eq!(kind, ErrorKind::Cancelled);
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
    place.still_draws().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_tells_its_upstream_and_gives_its_slot_back() {
    let place = Place::with(slow_upstream().await, &[("PINHOLE_SLOTS", "1")]).await;
    let job = place.run("wait", LIMITS, &control());
    place.upstream.wait_for(1).await;
    job.abort();
    place.upstream.wait_for(2).await;
    place.still_draws().await;
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_a_slot_and_none_is_refused() {
    const JOBS: usize = 8;
    const SLOTS: usize = 2;
    let gate = Arc::new(Semaphore::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let upstream = {
        let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
        Upstream::start(move |_| {
            let (gate, now, most) = (gate.clone(), now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                Answer::json(200, &json!({}))
            }
        })
        .await
    };
    let place = Place::with(upstream, &[("PINHOLE_SLOTS", &SLOTS.to_string())]).await;
    let asking: Vec<_> = (0..JOBS)
        .map(|_| {
            let server = place.server.clone();
            let body = json!({"prompt": "ask"});
            tokio::spawn(async move { server.ask("/v1/images/generations", &body).await })
        })
        .collect();
    // One goes, one comes.
    for gone in 0..JOBS {
        place.upstream.wait_for(JOBS.min(SLOTS + gone)).await;
        gate.add_permits(1);
    }
    for answer in asking {
        let (status, answer) = answer.await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(most.load(Ordering::SeqCst), SLOTS);
    assert_eq!(place.upstream.lines(), ["GET /base/allowed/x"; JOBS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_for_a_slot_can_be_cancelled_and_does_not_wait_for_ever() {
    let variables = [("PINHOLE_SLOTS", "1"), ("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let place = Place::with(slow_upstream().await, &variables).await;
    let first = control();
    let holding = place.run("wait", LIMITS, &first);
    place.upstream.wait_for(1).await;

    let second = control();
    let waiting = place.run("ask", LIMITS, &second);
    second.cancel.cancel();
    let (kind, message) = said(waiting.await.unwrap());
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Cancelled, "the job was cancelled")
    );

    let (status, code, message) = place.fails("ask", 1).await;
    assert_eq!((status, code.as_str()), (503, "unavailable"));
    assert_eq!(
        message,
        "the server is busy: no engine slot became free within 1s"
    );
    assert_eq!(place.upstream.lines(), [SLOW]);

    first.cancel.cancel();
    said(holding.await.unwrap());
    let drawn = place.call("ask", LIMITS).await.unwrap();
    assert_eq!(drawn.pictures.len(), 1);
    let asked = "GET /base/allowed/x";
    assert_eq!(place.upstream.lines(), [SLOW, STOPPED, asked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_what_an_engine_says_escaped_and_cut() {
    let place = Place::start(&[]).await;

    let log = place.log_of("trap");
    assert!(log.contains("hostile: panicked at "), "{log}");
    assert!(log.contains("panics, as it was asked to"), "{log}");
    let last = "pinhole: engine hostile: the engine crashed: it panicked; its log line says where";
    assert_eq!(log.lines().last(), Some(last), "{log}");

    let log = place.log_of("log");
    let lines = log.matches("hostile: hostile hostile").count();
    assert!((1..=32).contains(&lines), "{lines} lines");
    assert_eq!(log.matches("engine hostile says too much").count(), 1);
    assert!(log.len() < 128 << 10, "{} bytes", log.len());

    let log = place.log_of("say red\u{1b}[31m\n2026-01-01 INFO forged\r\u{202e}back");
    assert!(!log.contains(['\u{1b}', '\r', '\u{202e}']), "{log:?}");
    // What it logged, what the host logged of the failed job, and the program's own last line.
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log:?}");
    let whole = "hostile: red [31m 2026-01-01 INFO forged  back";
    assert!(lines.iter().all(|line| line.contains(whole)), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_is_there_and_empty() {
    let engines = folder(&["wasip2"]);
    let path = engines.path().to_str().unwrap();
    let variables = [("PINHOLE_ENGINES", path), ("WASIP2_NOTE", "a note")];
    let server = Server::start(&variables).await;
    let component = server.app.jobs.engines.get("wasip2").unwrap();
    assert!(
        component
            .imports
            .iter()
            .any(|name| name.starts_with("wasi:filesystem/"))
    );

    let made = run(&server, "wasip2", "look around", LIMITS, &control());
    let made = made.await.unwrap().unwrap();
    let [Produced::Held(picture)] = made.pictures.as_slice() else {
        panic!("{made:?}");
    };
    assert_eq!(picture.bytes(), PIXEL);

    let found: Value = serde_json::from_str(&made.details).unwrap();
    assert_eq!(found["variables"], json!([]));
    assert_eq!(found["arguments"], json!([]));
    for attempt in ["folder", "write", "read", "connect", "listen", "lookup"] {
        assert!(found[attempt]["error"].is_string(), "{attempt}: {found}");
    }
    // Where it is, is what its own library makes up; the clock is no secret.
    assert_eq!(found["current-folder"], json!({"ok": "/"}));
    assert!(found["clock"]["ok"].is_u64(), "{found}");
}
