//! Jobs whose process ends before them.

use std::process::Command;

use pinhole_tests::{ServerProcess, http_client, program};

use super::*;
use crate::files::start_command;

struct Client {
    client: reqwest::Client,
    key: String,
}

impl Client {
    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.bearer_auth(&self.key).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn start_job(&self, server: &ServerProcess) -> Value {
        let request = self.client.post(format!("{}{JOBS}", server.url));
        self.send(request.body(json!({"prompt": "a fox"}).to_string()))
            .await
    }

    /// The jobs whose row has this state.
    async fn list(&self, server: &ServerProcess, state: &str) -> Vec<Value> {
        let request = self
            .client
            .get(format!("{}{JOBS}?state={state}", server.url));
        let mut page = self.send(request).await;
        page["jobs"].as_array_mut().map(std::mem::take).unwrap()
    }

    async fn job(&self, server: &ServerProcess, id: &str) -> Value {
        let request = self.client.get(format!("{}{JOBS}/{id}", server.url));
        self.send(request).await
    }
}

/// An upstream that never responds to an order, and a server process that uses it with one slot.
async fn start_process(data: &tempfile::TempDir, upstream: &FakeUpstream) -> ServerProcess {
    let base = format!("{}/v1", upstream.url());
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("PINHOLE_SLOTS", "1"),
        ("PINHOLE_DRAIN_SECS", "0"),
    ];
    start_command(Command::new(program()), data.path(), &variables)
}

async fn hanging_upstream() -> FakeUpstream {
    FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await
}

/// Ends the server like this while a job runs and one waits, and checks the jobs after the next start.
async fn check_interrupted(end: impl FnOnce(ServerProcess)) {
    let upstream = hanging_upstream().await;
    let data = tempfile::tempdir().unwrap();
    let first = start_process(&data, &upstream).await;
    let client = Client {
        client: http_client(),
        key: first.key.clone().unwrap(),
    };
    let running = client.start_job(&first).await;
    upstream.wait_for_requests(1).await;
    let waiting = client.start_job(&first).await;
    // The database has both.
    while client.list(&first, "running").await.is_empty() {}
    end(first);

    let next = start_process(&data, &upstream).await;
    let running = client.job(&next, id(&running)).await;
    assert_eq!(running["state"], "interrupted", "{running}");
    assert_eq!(running["error"]["code"], "interrupted");
    let message = running["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the server was restarted while this job ran"),
        "{message}"
    );
    assert!(message.contains("may charge for it"), "{message}");
    assert!(running["ended_at"].is_i64());
    let waiting = client.job(&next, id(&waiting)).await;
    assert_eq!(waiting["state"], "interrupted", "{waiting}");
    let expected = "the server was restarted before this job began";
    assert_eq!(waiting["error"]["message"], expected);
    assert_eq!(upstream.request_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_interrupts_its_jobs_at_the_next_start() {
    // Dropping it kills the process.
    check_interrupted(drop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_server_interrupts_its_jobs() {
    check_interrupted(|server| server.shut_down().unwrap()).await;
}
