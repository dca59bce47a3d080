//! The sandbox. The engine `hostile` misbehaves as its prompt says; the server must continue, and the
//! engine `sketch` must still generate images.

mod cancellation;
mod core_modules;
mod followed_urls;
mod image_urls;
mod limits;
mod log;
mod permissions;
mod queue;
mod requests;
mod wasi;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pinhole_ground::guard::Refusal;
use pinhole_sandbox::contract::{ErrorKind, Job};
use pinhole_sandbox::{Error, JobContext, JobOutput, Limits};
use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, engines, guests, program,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// A secret that the guest must never see.
const KEY: &str = "hostile-key-4711";
/// Far more time than any test takes, so that only the limit under test ends a job.
const LIMITS: Limits = Limits {
    running: Duration::from_secs(600),
    grace: Duration::from_secs(600),
    ..Limits::job(Duration::from_secs(600))
};
/// A time limit that a test waits for.
const SHORT: Duration = Duration::from_millis(300);
/// A time limit within which something must happen, also on a busy machine.
const ENOUGH: Duration = Duration::from_secs(3);

type JobHandle = JoinHandle<Result<JobOutput, Error>>;

/// A server with the engines `hostile` and `sketch`, and the upstream of `hostile`.
struct SandboxFixture {
    server: Arc<TestServer>,
    upstream: FakeUpstream,
    engines: TempDir,
}

impl SandboxFixture {
    /// The upstream responds to each request with `{}`.
    async fn start(variables: &[(&str, &str)]) -> Self {
        Self::with(FakeUpstream::json(200, json!({})).await, variables).await
    }

    async fn with(upstream: FakeUpstream, variables: &[(&str, &str)]) -> Self {
        let engines = engine_dir(&["hostile", "sketch"]);
        let base = format!("{}/base", upstream.url());
        let defaults = [
            ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            ("HOSTILE_BASE_URL", &base),
            ("HOSTILE_API_KEY", KEY),
            ("HOSTILE_NOTE", "a note"),
        ];
        let server = TestServer::start(&[&defaults, variables].concat()).await;
        Self {
            server: Arc::new(server),
            upstream,
            engines,
        }
    }

    /// Runs a job of `hostile` over HTTP that must fail. Returns status, error code and message.
    async fn failure(&self, prompt: &str, count: u32) -> (u16, String, String) {
        let body = json!({"prompt": prompt, "n": count});
        let (status, response) = self.server.post_json("/v1/images/generations", &body).await;
        let text = |pointer| match response.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            _ => panic!("{prompt}: {status} {response}"),
        };
        (status, text("/error/code"), text("/error/message"))
    }

    /// Starts a job of `hostile` with these limits.
    fn spawn(&self, prompt: &str, limits: Limits, context: &JobContext) -> JobHandle {
        spawn_job(&self.server, "hostile", prompt, limits, context)
    }

    /// Runs a job of `hostile` with these limits.
    async fn call(&self, prompt: &str, limits: Limits) -> Result<JobOutput, Error> {
        self.spawn(prompt, limits, &job_context()).await.unwrap()
    }

    /// Asserts that the engine `sketch` still generates an image over HTTP.
    async fn assert_sketch_generates(&self) {
        let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
        let (status, response) = self.server.post_json("/v1/images/generations", &body).await;
        assert_eq!(status, 200, "{response}");
        assert!(response["data"][0]["b64_json"].is_string(), "{response}");
    }

    /// The log of the program when it runs this job, which must fail.
    fn job_log(&self, prompt: &str) -> String {
        let output = Command::new(program())
            .args(["generate", prompt, "--engine", "hostile"])
            .env_clear()
            .env("PINHOLE_DATA", self.server.data_dir.path())
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

/// A directory with these components.
fn engine_dir(names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        let file = format!("{name}.wasm");
        let own = engines().join(&file);
        let from = if own.exists() {
            own
        } else {
            guests().join(&file)
        };
        std::fs::copy(from, directory.path().join(file)).unwrap();
    }
    directory
}

fn spawn_job(
    server: &TestServer,
    engine: &'static str,
    prompt: &str,
    limits: Limits,
    context: &JobContext,
) -> JobHandle {
    let (app, context) = (server.app.clone(), context.clone());
    let job = Job {
        prompt: prompt.to_owned(),
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        strength: None,
        parameters: "{}".to_owned(),
    };
    tokio::spawn(async move {
        let current = app.jobs.snapshot();
        let engines = &current.engines;
        let binding = current.binding(engine).unwrap();
        let bound = binding.generate_settings().unwrap();
        let call = engines.call(&binding.component, bound, &context, limits);
        call.generate(job).await
    })
}

fn job_context() -> JobContext {
    JobContext::new("test".to_owned())
}

/// The kind and message of the error that the engine returned.
fn engine_error(outcome: Result<JobOutput, Error>) -> (ErrorKind, String) {
    match outcome {
        Err(Error::Engine { error, .. }) => (error.kind, error.message),
        other => panic!("{other:?}"),
    }
}

/// An upstream that never responds to `/base/allowed/slow`.
async fn slow_upstream() -> FakeUpstream {
    FakeUpstream::start(async |request: RecordedRequest| {
        if request.target.ends_with("/slow") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(200, &json!({}))
    })
    .await
}

const SLOW: &str = "GET /base/allowed/slow";
const STOPPED: &str = "GET /base/allowed/stopped";
