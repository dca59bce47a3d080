//! Jobs that continue after their process was killed.

mod chat;
mod clocks;
mod comfy;
mod stalled;

use std::process::Command;
use std::time::Duration;

use pinhole_tests::{ServerProcess, TestDatabase, copy_compiled_engines, http_client, program};

use super::*;
use crate::files::buckets::TestBucket;
use crate::files::start_command;

pub(crate) use comfy::Comfy;

/// Far more than a crash or a job takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory, and what starts servers with it.
pub(crate) struct Durable {
    data: tempfile::TempDir,
    client: reqwest::Client,
    variables: Vec<(String, String)>,
}

impl Durable {
    fn new(variables: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data);
        let durable = [("PINHOLE_DURABLE_JOBS", "on")];
        let all = durable.iter().chain(variables);
        Self {
            data,
            client: http_client(),
            variables: all
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// A server with ComfyUI.
    pub(crate) fn with_comfy(comfy: &Comfy) -> Self {
        let url = comfy.upstream.url();
        Self::new(&[
            ("COMFYUI_BASE_URL", url.as_str()),
            ("IMAGE_GENERATION_ENGINE", "comfyui"),
            ("IMAGE_EDIT_ENGINE", "comfyui"),
            ("ENABLE_IMAGE_EDIT", "true"),
        ])
    }

    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this database.
    pub(crate) fn with_database(mut self, database: &TestDatabase) -> Self {
        let variables = database.variables().into_iter();
        self.variables
            .extend(variables.map(|(name, value)| (name.to_owned(), value)));
        self
    }

    /// Stores images in this bucket.
    pub(crate) fn with_bucket(mut self, bucket: &TestBucket) -> Self {
        let variables = bucket.variables().into_iter();
        self.variables
            .extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// Uses the administrator's key of another server with the same database.
    pub(crate) fn share_key_of(&self, other: &Self) {
        let key = "administrator-key";
        std::fs::copy(other.data.path().join(key), self.data.path().join(key)).unwrap();
    }

    pub(crate) fn start(&self) -> ServerProcess {
        let variables: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        start_command(Command::new(program()), self.data.path(), &variables)
    }

    /// Starts a server that ends at this point of a job. It may end before it listens.
    fn start_crashing(&self, point: &str) -> Option<ServerProcess> {
        let mut command = Command::new(program());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("PINHOLE_DATA", self.data.path())
            .env("PINHOLE_ENGINES", pinhole_tests::engines())
            .env("PINHOLE_LOG", "info")
            .env("PINHOLE_CRASH_AT", point)
            .envs(
                self.variables
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
        ServerProcess::start(command).ok()
    }

    pub(crate) fn request(
        &self,
        server: &ServerProcess,
        method: http::Method,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let key = server.key.clone().unwrap();
        let request = self.client.request(method, format!("{}{path}", server.url));
        request
            .bearer_auth(key)
            .header("content-type", "application/json")
    }

    async fn get(&self, server: &ServerProcess, path: &str) -> Value {
        let response = self
            .request(server, http::Method::GET, path)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }

    async fn post(&self, server: &ServerProcess, path: &str, body: &Value) -> Value {
        let request = self.request(server, http::Method::POST, path);
        let response = request.body(body.to_string()).send().await.unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        assert!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&bytes)
        );
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Starts a job on a server that may end before it responds.
    pub(crate) async fn start_job(&self, server: &ServerProcess, body: &Value) {
        let request = self.request(server, http::Method::POST, JOBS);
        request.body(body.to_string()).send().await.ok();
    }

    /// The only job, once it has ended.
    pub(crate) async fn ended_job(&self, server: &ServerProcess) -> Value {
        let list = self.get(server, JOBS).await;
        let [job] = &list["jobs"].as_array().unwrap()[..] else {
            panic!("one job: {list}");
        };
        let path = format!("{JOBS}/{}?wait=60", id(job));
        self.get(server, &path).await
    }

    /// The names of the stored images.
    pub(crate) fn stored_files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data.path().join("files")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// The names of the stored images that jobs edit.
    fn job_images(&self) -> Vec<String> {
        let mut names = self.stored_files();
        names.retain(|name| name.contains(".source") || name.contains(".mask"));
        names
    }
}

/// Waits until the server has crashed.
async fn crashed(server: Option<ServerProcess>, row: &str) {
    let Some(mut server) = server else { return };
    let waiting = async {
        while server.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(
        waited.is_ok(),
        "{row}: the server runs on\n{}",
        server.log()
    );
}

pub(super) fn assert_done(job: &Value, row: &str) {
    assert_eq!(job["state"], "done", "{row}: {job}");
    assert_eq!(
        job["files"].as_array().map(Vec::len),
        Some(1),
        "{row}: {job}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_orders_once_and_loses_no_image() {
    for point in [
        "job-accepted",
        "job-started",
        "job-noted",
        "job-marked",
        "job-made",
        "job-ended",
    ] {
        let comfy = Comfy::start().await;
        comfy.finish();
        let durable = Durable::with_comfy(&comfy);
        let server = durable.start_crashing(point).unwrap();
        durable
            .start_job(&server, &json!({"prompt": "a fox"}))
            .await;
        crashed(Some(server), point).await;
        let next = durable.start();
        assert_done(&durable.ended_job(&next).await, point);
        assert_eq!(comfy.orders(), 1, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_job_continues_with_its_order() {
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy);
    let first = durable.start();
    let source = format!("data:image/png;base64,{}", pixel_base64());
    let body = json!({"prompt": "a fox", "sources": [source]});
    durable.start_job(&first, &body).await;
    comfy.wait_for_orders(1).await;
    assert_eq!(durable.job_images().len(), 1);
    drop(first);
    let looks = comfy.looks();
    let second = durable.start();
    comfy.wait_for_look_after(looks).await;
    drop(second);
    comfy.finish();
    let third = durable.start();
    let job = durable.ended_job(&third).await;
    assert_done(&job, "edit");
    assert_eq!(job["operation"], "edit");
    assert_eq!(comfy.orders(), 1);
    assert_eq!(durable.job_images(), [""; 0]);
    let url = job["files"][0]["url"].as_str().unwrap();
    let image = durable
        .request(&third, http::Method::GET, url)
        .send()
        .await
        .unwrap();
    assert_eq!(image.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_job_without_a_note_is_interrupted() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().ends_with("txt2img") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(200, &json!([]))
    })
    .await;
    let url = upstream.url();
    let durable = Durable::new(&[
        ("AUTOMATIC1111_BASE_URL", url.as_str()),
        ("IMAGE_GENERATION_ENGINE", "automatic1111"),
    ]);
    let orders = || {
        let lines = upstream.request_lines();
        lines
            .iter()
            .filter(|line| line.ends_with("txt2img"))
            .count()
    };
    let first = durable.start();
    durable.start_job(&first, &json!({"prompt": "a fox"})).await;
    for request in 1.. {
        upstream.wait_for_requests(request).await;
        if orders() > 0 {
            break;
        }
    }
    drop(first);
    let next = durable.start();
    let job = durable.ended_job(&next).await;
    assert_eq!(job["state"], "interrupted", "{job}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("may charge for it"), "{message}");
    assert_eq!(orders(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_ends_its_server_three_times_fails() {
    let durable = Durable::new(&[("IMAGE_GENERATION_ENGINE", "sketch")]);
    let first = durable.start_crashing("job-started").unwrap();
    durable.start_job(&first, &json!({"prompt": "a fox"})).await;
    crashed(Some(first), "first").await;
    for row in ["second", "third"] {
        crashed(durable.start_crashing("job-started"), row).await;
    }
    let last = durable.start();
    let job = durable.ended_job(&last).await;
    assert_eq!(job["state"], "failed", "{job}");
    assert_eq!(job["error"]["code"], "crashed");
    let expected = "the server ended 3 times while this job ran";
    assert_eq!(job["error"]["message"], expected);
}
