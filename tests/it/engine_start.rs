//! The server serves while engines are compiled, and each engine as soon as it is ready.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use pinhole::app::App;
use pinhole::config::Config;
use pinhole::releases::{DirectoryUse, EngineStart};
use pinhole::store::Store;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::Engines;
use pinhole_tests::{TestServer, copy_compiled_engines, engines, environment, guests, program};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// How long a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// The images API that stores nothing.
const GENERATIONS: &str = "/v1/images/generations";

/// A server whose compiler waits until [`Self::open_gate`]. The code of `sketch` is stored.
struct StartingServer {
    server: TestServer,
    adding: JoinHandle<anyhow::Result<()>>,
    directory: TempDir,
}

/// The engine directory `engines`, and a compiler that waits for the file `gate`, then runs these lines.
fn gated_directory(files: &[(&str, Vec<u8>)], lines: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let engines = directory.path().join("engines");
    fs::create_dir(&engines).unwrap();
    for (name, bytes) in files {
        fs::write(engines.join(name), bytes).unwrap();
    }
    let (compiler, gate) = (
        directory.path().join("compiler"),
        directory.path().join("gate"),
    );
    let wait = format!(
        "while [ ! -e {} ]; do /bin/sleep 0.02; done",
        gate.display()
    );
    let script = format!(
        "#!/bin/sh\necho $$ > {}/pid\n{wait}\n{lines}\n",
        directory.path().display()
    );
    fs::write(&compiler, script).unwrap();
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

fn config(directory: &TempDir, data: &TempDir, variables: &[(&str, &str)]) -> Config {
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (engines, compiler) = (path("engines"), path("compiler"));
    let mut all = vec![
        ("PINHOLE_ENGINES", engines.as_str()),
        ("PINHOLE_COMPILER", compiler.as_str()),
    ];
    all.extend(variables);
    Config::new(environment(data, &all)).unwrap()
}

impl StartingServer {
    /// Starts a server with `sketch` and the file `z.wasm`, the engine `hostile`, which is not compiled yet.
    async fn new(lines: &str, variables: &[(&str, &str)]) -> Self {
        let files = [("sketch.wasm", sketch()), ("z.wasm", hostile())];
        let directory = gated_directory(&files, lines);
        let data = tempfile::tempdir().unwrap();
        copy_compiled_engines(&data);
        let config = config(&directory, &data, variables);
        let (app, start) = App::start(&config).await.unwrap();
        let server = TestServer::serve(data, None, app).await;
        let served = server.app.clone();
        let adding = tokio::spawn(async move { served.add_engines(start).await });
        Self {
            server,
            adding,
            directory,
        }
    }

    /// A server that compiles with `pinhole`.
    async fn compiling(variables: &[(&str, &str)]) -> Self {
        let lines = format!("exec {} \"$@\"", program().display());
        Self::new(&lines, variables).await
    }

    /// Lets the compiler continue, and waits until all engines are decided.
    async fn open_gate(&mut self) {
        fs::write(self.directory.path().join("gate"), "").unwrap();
        let added = tokio::time::timeout(PATIENCE, &mut self.adding).await;
        added.unwrap().unwrap().unwrap();
    }

    async fn status(&self, path: &str) -> u16 {
        self.server
            .get(path)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    /// Starts a request for an image.
    fn request(&self, engine: Option<&str>) -> JoinHandle<u16> {
        let body = json!({"prompt": "a fox", "engine": engine, "size": "64x64"});
        let request = self.server.post(GENERATIONS, &body);
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    }
}

fn sketch() -> Vec<u8> {
    fs::read(engines().join("sketch.wasm")).unwrap()
}

fn hostile() -> Vec<u8> {
    fs::read(guests().join("hostile.wasm")).unwrap()
}

async fn until(is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn request_waits_for_an_engine_that_is_being_compiled() {
    let mut starting = StartingServer::compiling(&[]).await;
    assert_eq!(starting.status("/health").await, 200);
    // Another engine could be the only one that the environment configures.
    assert_eq!(starting.status("/ready").await, 503);
    assert_eq!(starting.request(Some("sketch")).await.unwrap(), 200);
    let waiting = [None, Some("hostile"), Some("unknown")].map(|it| starting.request(it));
    let settings = starting.server.get("/api/v1/settings").send();
    let settings = tokio::spawn(settings);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!settings.is_finished() && !waiting.iter().any(JoinHandle::is_finished));

    starting.open_gate().await;
    let [default, hostile, unknown] = waiting;
    assert_eq!(default.await.unwrap(), 200);
    // The engine runs, and does not know the prompt.
    assert_eq!(hostile.await.unwrap(), 400);
    assert_eq!(unknown.await.unwrap(), 400);
    let settings: Value =
        serde_json::from_slice(&settings.await.unwrap().unwrap().bytes().await.unwrap()).unwrap();
    let names: Vec<_> = settings
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert!(
        names.iter().any(|name| **name == "HOSTILE_BASE_URL"),
        "{names:?}"
    );
    assert_eq!(starting.status("/ready").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_that_the_environment_names_serves_before_the_others() {
    let mut starting = StartingServer::compiling(&[("IMAGE_GENERATION_ENGINE", "sketch")]).await;
    assert_eq!(starting.status("/ready").await, 200);
    assert_eq!(starting.request(None).await.unwrap(), 200);
    starting.open_gate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_compilation_is_an_error_of_its_engine_alone() {
    let mut starting = StartingServer::new("echo no >&2; exit 1", &[]).await;
    let waiting = starting.request(None);
    starting.open_gate().await;
    assert_eq!(waiting.await.unwrap(), 200);
    assert_eq!(starting.status("/ready").await, 200);
    let body = json!({"prompt": "a fox", "engine": "z"});
    let (status, response) = starting.server.post_json(GENERATIONS, &body).await;
    assert_eq!(status, 400);
    let message = response["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "engine z is not available: z.wasm is not a valid component: no"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_waits_for_an_engine_no_longer_than_a_job_may_take() {
    let starting = StartingServer::compiling(&[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    let body = json!({"prompt": "a fox"});
    let response = starting
        .server
        .post(GENERATIONS, &body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    let text = response.text().await.unwrap();
    assert!(
        text.contains("the server is still starting its engines"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_compilers_and_waiting_requests() {
    let starting = StartingServer::compiling(&[]).await;
    let pid_file = starting.directory.path().join("pid");
    until(|| fs::read_to_string(&pid_file).is_ok_and(|text| text.ends_with('\n'))).await;
    let pid = fs::read_to_string(&pid_file).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    let waiting = starting.request(None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(process.exists() && !waiting.is_finished());
    starting.adding.abort();
    starting.server.app.jobs.shut_down().await;
    assert_eq!(waiting.await.unwrap(), 503);
    until(|| !process.exists()).await;
}

/// The order in which compilers finish does not decide which file gets a name.
#[tokio::test(flavor = "multi_thread")]
async fn file_gets_an_engine_name_by_its_place_and_not_by_its_speed() {
    // Other components of the same engine: a custom section with another name.
    let changed = |name: u8| [sketch(), vec![0, 2, 1, name]].concat();
    let files = [
        ("a.wasm", changed(b'a')),
        ("b.wasm", hostile()),
        ("c.wasm", changed(b'c')),
    ];
    let lines = format!("exec {} \"$@\"", program().display());
    let directory = gated_directory(&files, &lines);
    let data = tempfile::tempdir().unwrap();
    copy_compiled_engines(&data);
    let config = config(&directory, &data, &[]);
    fs::write(directory.path().join("gate"), "").unwrap();
    let engines = started(&config).await;
    assert_eq!(engines.get("sketch").unwrap().file, "a.wasm");
    assert_eq!(engines.rejected[0].file, "c.wasm");

    // From then on this file serves, whatever else is compiled.
    fs::write(directory.path().join("engines/0.wasm"), changed(b'0')).unwrap();
    let next = started(&config).await;
    assert_eq!(next.get("sketch").unwrap().file, "a.wasm");
}

#[tokio::test(flavor = "multi_thread")]
async fn file_with_the_name_of_its_engine_precedes_all_others() {
    let changed = [sketch(), vec![0, 2, 1, b'a']].concat();
    let files = [("a.wasm", changed), ("sketch.wasm", sketch())];
    let directory = gated_directory(&files, &format!("exec {} \"$@\"", program().display()));
    fs::write(directory.path().join("gate"), "").unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = config(&directory, &data, &[]);
    let engines = started(&config).await;
    assert_eq!(engines.get("sketch").unwrap().file, "sketch.wasm");
    assert_eq!(engines.rejected[0].file, "a.wasm");
}

/// The engines after a complete start.
async fn started(config: &Config) -> Engines {
    let store = Store::open(&config.data).await.unwrap();
    let (audit, decoder) = (AuditLog::default(), Decoder::default());
    let start = EngineStart::new(config, store, audit, decoder, DirectoryUse::Install).await;
    start.unwrap().finish().await.unwrap().engines()
}
