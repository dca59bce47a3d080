//! A disk or a database that fails during a change: the old version serves, and the change says why.

use std::process::Command;

use http::Method;
use pinhole_tests::{ServerProcess, environment, program};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Executor};

use super::*;

/// The length of a component that the limited server cannot write, in bytes.
const LONG: usize = 48 << 20;
/// Limits the length of a file to 20 or 40 MiB, as the unit of the shell is. A write beyond it then fails.
const LIMITED: &str = "trap '' XFSZ; ulimit -f 40960; exec \"$0\" \"$@\"";

const INSTALL: &str = "/api/v1/engines/install";

#[tokio::test(flavor = "multi_thread")]
async fn component_that_the_disk_does_not_take_is_refused() {
    let (engines, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(engines.path().join("hostile.wasm"), hostile("plain")).unwrap();
    let variables = [
        ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
    ];
    let variables = environment(&data, &variables);
    let start = |mut command: Command| {
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        command.args(serve).env_clear();
        for name in variables.started_names() {
            command.env(name, variables.started_value(name).unwrap());
        }
        ServerProcess::start(command).unwrap()
    };
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", LIMITED]).arg(program());
    let server = start(limited);
    let key = server.key.clone().unwrap();
    let client = pinhole_tests::http_client();
    let send = async |to: &ServerProcess, path: &str, body: Vec<u8>| {
        let request = client.post(format!("{}{path}", to.url));
        let request = request.bearer_auth(&key).body(body);
        let request = request.header("content-type", "application/json");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let image = json!({"prompt": "picture"}).to_string().into_bytes();
    // A custom section that nothing reads.
    let length = u8::try_from(LONG >> 21).unwrap();
    let mut long = hostile("again");
    long.extend([0, 0x80, 0x80, 0x80, length, 1, b'a']);
    long.resize(long.len() + LONG - 2, 0);

    let (status, refused) = send(&server, INSTALL, long.clone()).await;
    assert_eq!(status, 507, "{refused}");
    let expected =
        "the component cannot be stored in components in the data directory (File too large";
    assert!(
        refused.contains(expected) && refused.contains("install the component again"),
        "{refused}"
    );
    assert_eq!(
        send(&server, "/v1/images/generations", image.clone())
            .await
            .0,
        200
    );
    let stored = || {
        std::fs::read_dir(data.path().join("components"))
            .unwrap()
            .count()
    };
    assert_eq!(stored(), 1);
    drop(server);
    let unlimited = start(Command::new(program()));
    let (installed, report) = send(&unlimited, INSTALL, long).await;
    assert_eq!((installed, stored()), (200, 2), "{report}");
    assert_eq!(
        send(&unlimited, "/v1/images/generations", image).await.0,
        200
    );
}

impl RolloutFixture {
    async fn open_database(&self) -> SqliteConnection {
        let path = self.server.data_dir.path().join("pinhole.db");
        let options = SqliteConnectOptions::new().filename(path);
        options.connect().await.unwrap()
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.server.client.request(method, self.server.url(path));
        let request = request.bearer_auth(&self.server.key).body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    /// Asserts that no change is made while the database fails, and that the same version serves.
    async fn assert_no_change(&self, serving: &str) {
        let engine = "/api/v1/engines/hostile";
        for (method, path, body) in [
            (Method::POST, INSTALL.to_owned(), hostile("narrow")),
            (Method::POST, INSTALL.to_owned(), hostile("request")),
            (Method::POST, format!("{engine}/rollback"), b"{}".to_vec()),
            (Method::POST, format!("{engine}/promote"), Vec::new()),
            (Method::POST, format!("{engine}/abort"), Vec::new()),
            (Method::POST, format!("{engine}/pin"), Vec::new()),
            (Method::DELETE, format!("{engine}?force=true"), Vec::new()),
        ] {
            let (status, response) = self.send(method, &path, body).await;
            assert_eq!(status, 503, "{path}: {response}");
            let detail = response["detail"].as_str().unwrap();
            assert!(
                detail.contains("no engine has changed: retry"),
                "{path}: {detail}"
            );
        }
        assert_eq!(self.serving(), serving);
        assert_eq!(self.generate("picture").await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_others_lock_changes_nothing_and_pauses_verdicts() {
    let fixture = RolloutFixture::new(&[]).await;
    let faulty = hostile("faulty");
    fixture.install(faulty.clone()).await.unwrap();
    let mut lock = fixture.open_database().await;
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    for _ in 0..2 {
        assert_eq!(fixture.generate("picture trap").await.0, 200);
    }
    let outcomes = &fixture.server.app.jobs.outcomes;
    let paused = fixture.releases().judge_rollouts(outcomes).await;
    assert!(paused.is_err());
    fixture.assert_no_change(&digest(&faulty)).await;
    lock.execute("ROLLBACK").await.unwrap();
    // The crashes count now.
    fixture.judge().await;
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
    fixture.install(hostile("narrow")).await.unwrap();
    assert_eq!(fixture.serving(), digest(&hostile("narrow")));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_database_changes_nothing() {
    let fixture = RolloutFixture::new(&[]).await;
    let again = hostile("again");
    fixture.install(again.clone()).await.unwrap();
    let mut database = fixture.open_database().await;
    let rename = "ALTER TABLE engine_releases RENAME TO lost";
    database.execute(rename).await.unwrap();
    fixture.assert_no_change(&digest(&again)).await;
    let restore = "ALTER TABLE lost RENAME TO engine_releases";
    database.execute(restore).await.unwrap();
    fixture.releases().promote("hostile", "ada").await.unwrap();
    assert_eq!(fixture.state(&again), "current");
}
