//! A crash at each point of each change of an engine: which version serves afterwards, and that nothing is left over.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use pinhole_tests::{ServerProcess, environment, program};

use super::*;

use Serves::{New, Nothing, Old};

/// More than the time after which a component without a row is removed.
const ORPHAN_AGE: Duration = Duration::from_hours(2);

/// The version that serves after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    Old,
    New,
    Nothing,
}

/// A real server that crashes, and its directories.
struct CrashFixture {
    engines: TempDir,
    data: TempDir,
    client: reqwest::Client,
    key: String,
}

impl CrashFixture {
    /// The engine `hostile` serves.
    fn new() -> Self {
        let mut fixture = Self {
            engines: tempfile::tempdir().unwrap(),
            data: tempfile::tempdir().unwrap(),
            client: pinhole_tests::http_client(),
            key: String::new(),
        };
        std::fs::write(fixture.file(), hostile("plain")).unwrap();
        let server = fixture.start("");
        fixture.key = server.key.clone().unwrap();
        fixture
    }

    /// The component in the engine directory.
    fn file(&self) -> PathBuf {
        self.engines.path().join("hostile.wasm")
    }

    /// The version that does not serve. Its bytes are not stored any more.
    async fn other_version(&self, server: &ServerProcess) -> Vec<u8> {
        let (plain, again) = (hostile("plain"), hostile("again"));
        let other = if self.serving(server).await == digest(&plain) {
            again
        } else {
            plain
        };
        let file = format!("{}.wasm", digest(&other));
        std::fs::remove_file(self.data.path().join("components").join(file)).ok();
        other
    }

    fn command(&self, crash_at: &str) -> Command {
        let mut command = Command::new(program());
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        command.args(serve).env_clear();
        let variables = [
            ("PINHOLE_ENGINES", self.engines.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
        ];
        let variables = environment(&self.data, &variables);
        for name in variables.started_names() {
            command.env(name, variables.started_value(name).unwrap());
        }
        command.env("PINHOLE_CRASH_AT", crash_at);
        command
    }

    fn start(&self, crash_at: &str) -> ServerProcess {
        ServerProcess::start(self.command(crash_at)).unwrap()
    }

    fn request(&self, server: &ServerProcess, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", server.url);
        let request = self.client.post(url).bearer_auth(&self.key);
        request.header("content-type", "application/json")
    }

    fn act(&self, server: &ServerProcess, action: &str) -> reqwest::RequestBuilder {
        let path = format!("/api/v1/engines/hostile/{action}");
        self.request(server, &path).body("{}")
    }

    fn install(&self, server: &ServerProcess, version: &[u8]) -> reqwest::RequestBuilder {
        let path = "/api/v1/engines/install?force=true";
        self.request(server, path).body(version.to_vec())
    }

    fn generate(&self, server: &ServerProcess, prompt: &str) -> reqwest::RequestBuilder {
        let body = json!({"prompt": prompt}).to_string();
        self.request(server, "/v1/images/generations").body(body)
    }

    async fn details(&self, server: &ServerProcess) -> Value {
        let url = format!("{}/api/v1/engines/hostile", server.url);
        let details = self.client.get(url).bearer_auth(&self.key);
        serde_json::from_str(&details.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// The digest that serves; empty without one.
    async fn serving(&self, server: &ServerProcess) -> String {
        let digest = &self.details(server).await["serving"]["digest"];
        digest.as_str().unwrap_or_default().to_owned()
    }

    /// Sends a request during which the server crashes.
    async fn crash(&self, mut server: ServerProcess, request: reqwest::RequestBuilder, row: &str) {
        let response = request.send().await;
        assert!(response.is_err(), "{row}: {response:?}");
        ended(&mut server, row).await;
    }

    /// Starts the server after a crash, and checks what it serves and stores.
    async fn restart(&self, digest: Option<&str>, row: &str) -> ServerProcess {
        self.age_components();
        let server = self.start("");
        let details = self.details(&server).await;
        let states: Vec<_> = details["engine"]["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                (
                    it["state"].as_str().unwrap(),
                    it["digest"].as_str().unwrap(),
                )
            })
            .collect();
        let count = |state: &str| states.iter().filter(|(it, _)| *it == state).count();
        let expected = usize::from(digest.is_some());
        assert_eq!(count("current"), expected, "{row}: {details}");
        assert!(count("candidate") <= expected, "{row}: {details}");
        let serving = details["serving"]["digest"].as_str();
        assert_eq!(serving, digest, "{row}: {details}");
        let image = self.generate(&server, "picture").send().await.unwrap();
        let status = if digest.is_some() { 200 } else { 400 };
        assert_eq!(image.status(), status, "{row}");
        // What was not installed is gone, and what serves is stored.
        let stored = self.components();
        for name in &stored {
            let is_known = states.iter().any(|(_, it)| *name == format!("{it}.wasm"));
            assert!(is_known, "{row}: {name} is left over: {details}");
        }
        let is_stored = |it: &str| stored.contains(&format!("{it}.wasm"));
        assert!(digest.is_none_or(is_stored), "{row}: {stored:?}");
        server
    }

    async fn assert_installs(&self, server: &ServerProcess, version: &[u8], row: &str) {
        let response = self.install(server, version).send().await.unwrap();
        assert_eq!(response.status(), 200, "{row}");
        assert_eq!(self.serving(server).await, digest(version), "{row}");
    }

    /// Ends a rollout, if there is one.
    async fn settle(&self, server: &ServerProcess) {
        self.act(server, "promote").send().await.unwrap();
    }

    /// How often this version was installed.
    async fn installations(&self, server: &ServerProcess, version: &[u8]) -> usize {
        let url = format!("{}/api/v1/engines/hostile/history", server.url);
        let history = self.client.get(url).bearer_auth(&self.key);
        let history = history.send().await.unwrap().text().await.unwrap();
        let history: Vec<Value> = serde_json::from_str(&history).unwrap();
        let expected = digest(version);
        let installed = history
            .iter()
            .filter(|it| it["what"] == "installed" && it["digest"] == expected);
        installed.count()
    }

    fn components(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.data.path().join("components")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// As if the crash were long ago.
    fn age_components(&self) {
        for name in self.components() {
            let path = self.data.path().join("components").join(name);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - ORPHAN_AGE).unwrap();
        }
    }
}

/// Waits until the server has crashed.
async fn ended(server: &mut ServerProcess, row: &str) {
    let waiting = async {
        while server.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{row}: the server runs on");
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_an_installation_leaves_one_whole_version() {
    let fixture = CrashFixture::new();
    for (point, serves) in [
        ("compiled", Old),
        ("stored", Old),
        ("tested", Old),
        ("prepared:installed", Old),
        ("written:installed", New),
        ("published:installed", New),
    ] {
        let server = fixture.start(point);
        let old = fixture.serving(&server).await;
        let new = fixture.other_version(&server).await;
        // A job of the old version, which the crash ends.
        let job = tokio::spawn(fixture.generate(&server, "sleep").send());
        let install = fixture.install(&server, &new);
        fixture.crash(server, install, point).await;
        assert!(job.await.unwrap().is_err(), "{point}");
        let new_digest = digest(&new);
        let expected = if serves == Old { &old } else { &new_digest };
        let restarted = fixture.restart(Some(expected), point).await;
        fixture.assert_installs(&restarted, &new, point).await;
        fixture.settle(&restarted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_version_that_declares_more_leaves_the_old_one() {
    let fixture = CrashFixture::new();
    let (old, more) = (digest(&hostile("plain")), hostile("request"));
    for (point, is_parked) in [
        ("compiled", false),
        ("stored", false),
        ("prepared:parked", false),
        ("written:parked", true),
        ("published:parked", true),
    ] {
        let server = fixture.start(point);
        let install = fixture.install(&server, &more);
        fixture.crash(server, install, point).await;
        let restarted = fixture.restart(Some(&old), point).await;
        let pending = || async { fixture.details(&restarted).await["pending"]["digest"].clone() };
        let is_pending = pending().await == digest(&more);
        assert_eq!(is_pending, is_parked, "{point}");
        let again = fixture.install(&restarted, &more).send().await.unwrap();
        assert_eq!(again.status(), 200, "{point}");
        assert_eq!(pending().await, digest(&more), "{point}");
        // It drops the bytes too.
        let aborted = fixture.act(&restarted, "abort").send().await.unwrap();
        assert_eq!(aborted.status(), 200, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_an_approval_leaves_the_old_version_or_the_granted_one() {
    let fixture = CrashFixture::new();
    for (point, variant, serves) in [
        ("prepared:installed", "request", Old),
        ("written:installed", "prefix", New),
        ("published:installed", "host", New),
    ] {
        let server = fixture.start(point);
        let old = fixture.serving(&server).await;
        let more = hostile(variant);
        let parked = fixture.install(&server, &more).send().await.unwrap();
        assert_eq!(parked.status(), 200, "{point}");
        let reviewed = json!({"digest": digest(&more)}).to_string();
        let grant = fixture.act(&server, "grant").body(reviewed.clone());
        fixture.crash(server, grant, point).await;
        let new_digest = digest(&more);
        let expected = if serves == Old { &old } else { &new_digest };
        let restarted = fixture.restart(Some(expected), point).await;
        if serves == Old {
            let again = fixture.act(&restarted, "grant").body(reviewed).send().await;
            assert_eq!(again.unwrap().status(), 200, "{point}");
        }
        fixture.assert_installs(&restarted, &more, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_promotion_leaves_the_new_version() {
    let fixture = CrashFixture::new();
    for (point, state) in [
        ("prepared:promoted", "candidate"),
        ("written:promoted", "current"),
        ("published:promoted", "current"),
    ] {
        let server = fixture.start(point);
        let new = fixture.other_version(&server).await;
        fixture.assert_installs(&server, &new, point).await;
        let promote = fixture.act(&server, "promote");
        fixture.crash(server, promote, point).await;
        let restarted = fixture.restart(Some(&digest(&new)), point).await;
        let details = fixture.details(&restarted).await;
        assert_eq!(details["engine"]["versions"][0]["state"], state, "{point}");
        fixture.settle(&restarted).await;
        let next = fixture.other_version(&restarted).await;
        fixture.assert_installs(&restarted, &next, point).await;
        fixture.settle(&restarted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_rollback_leaves_one_whole_version() {
    let fixture = CrashFixture::new();
    for (point, serves) in [
        ("prepared:rolled-back", New),
        ("written:rolled-back", Old),
        ("published:rolled-back", Old),
    ] {
        for action in ["rollback", "abort"] {
            let row = format!("{point} by {action}");
            let server = fixture.start(point);
            let old = fixture.serving(&server).await;
            let new = fixture.other_version(&server).await;
            fixture.assert_installs(&server, &new, &row).await;
            if action == "rollback" {
                let promoted = fixture.act(&server, "promote").send().await.unwrap();
                assert_eq!(promoted.status(), 200, "{row}");
            }
            let request = fixture.act(&server, action);
            fixture.crash(server, request, &row).await;
            let new_digest = digest(&new);
            let expected = if serves == Old { &old } else { &new_digest };
            let restarted = fixture.restart(Some(expected), &row).await;
            fixture.assert_installs(&restarted, &new, &row).await;
            fixture.settle(&restarted).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_removal_leaves_the_engine_or_none() {
    let fixture = CrashFixture::new();
    for (point, serves) in [
        ("prepared:removed", Old),
        ("written:removed", Nothing),
        ("published:removed", Nothing),
    ] {
        let server = fixture.start(point);
        let old = fixture.serving(&server).await;
        let url = format!("{}/api/v1/engines/hostile?force=true", server.url);
        let remove = fixture.client.delete(url).bearer_auth(&fixture.key);
        fixture.crash(server, remove, point).await;
        let expected = (serves == Old).then_some(old.as_str());
        let restarted = fixture.restart(expected, point).await;
        let new = fixture.other_version(&restarted).await;
        fixture.assert_installs(&restarted, &new, point).await;
        fixture.settle(&restarted).await;
    }
}

/// The next start decides about the file again.
#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_change_of_the_directory_is_repaired_by_the_next_start() {
    let fixture = CrashFixture::new();
    for point in [
        "compiled",
        "stored",
        "tested",
        "prepared:installed",
        "written:installed",
        "published:installed",
    ] {
        let server = fixture.start(point);
        let new = fixture.other_version(&server).await;
        let before = fixture.installations(&server, &new).await;
        std::fs::write(fixture.file(), &new).unwrap();
        let update = fixture.request(&server, "/api/v1/engines/update");
        fixture.crash(server, update, point).await;
        let restarted = fixture.restart(Some(&digest(&new)), point).await;
        let after = fixture.installations(&restarted, &new).await;
        assert_eq!(after, before + 1, "{point}");
        fixture.settle(&restarted).await;
    }
    for point in ["prepared:removed", "written:removed", "published:removed"] {
        std::fs::remove_file(fixture.file()).unwrap();
        // It crashes while it starts, or shortly after.
        if let Ok(mut server) = ServerProcess::start(fixture.command(point)) {
            ended(&mut server, point).await;
        }
        let restarted = fixture.restart(None, point).await;
        let new = fixture.other_version(&restarted).await;
        std::fs::write(fixture.file(), &new).unwrap();
        drop(restarted);
        fixture.restart(Some(&digest(&new)), point).await;
    }
}
