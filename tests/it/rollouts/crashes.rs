//! What a crash of the server leaves: an engine always has a version, whole and served.

use std::process::Command;
use std::thread;

use pinhole::store::{EngineChange, ReleaseState, Store, TrackRow};
use pinhole_tests::{ServerProcess, environment, program};
use reqwest::StatusCode;

use super::*;

/// Kills of the server, each a little later after the start of an installation.
const KILLS: u64 = 12;
const KILL_STEP: Duration = Duration::from_millis(15);

/// The real server, which is killed while it installs.
struct KilledServer {
    engines: TempDir,
    data: TempDir,
    key: Option<String>,
}

impl KilledServer {
    fn start(&mut self) -> ServerProcess {
        let mut command = Command::new(program());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_clear();
        let engines = self.engines.path().to_str().unwrap();
        let variables = [
            ("PINHOLE_ENGINES", engines),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
        ];
        let variables = environment(&self.data, &variables);
        for name in variables.started_names() {
            command.env(name, variables.started_value(name).unwrap());
        }
        let server = ServerProcess::start(command).unwrap();
        self.key = server.key.clone().or(self.key.take());
        server
    }

    fn key(&self) -> &str {
        self.key.as_deref().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_serves_a_whole_version_at_its_next_start() {
    let mut killed = KilledServer {
        engines: tempfile::tempdir().unwrap(),
        data: tempfile::tempdir().unwrap(),
        key: None,
    };
    std::fs::write(killed.engines.path().join("hostile.wasm"), hostile("plain")).unwrap();
    pinhole_tests::copy_compiled_engines(&killed.data);
    let client = pinhole_tests::http_client();
    let versions = [hostile("again"), hostile("plain")];
    let mut served = BTreeSet::new();
    for kill in 0..KILLS {
        let server = killed.start();
        let image = client
            .post(format!("{}/v1/images/generations", server.url))
            .bearer_auth(killed.key())
            .header("content-type", "application/json")
            .body(json!({"prompt": "picture"}).to_string());
        assert_eq!(
            image.send().await.unwrap().status(),
            StatusCode::OK,
            "kill {kill}"
        );
        let details = client
            .get(format!("{}/api/v1/engines/hostile", server.url))
            .bearer_auth(killed.key());
        let details = details.send().await.unwrap().text().await.unwrap();
        let details: Value = serde_json::from_str(&details).unwrap();
        let states: Vec<_> = details["engine"]["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["state"].as_str().unwrap())
            .collect();
        let current = states.iter().filter(|state| **state == "current").count();
        let candidates = states.iter().filter(|state| **state == "candidate").count();
        assert!(current == 1 && candidates <= 1, "kill {kill}: {details}");
        served.insert(states.len());
        let version = versions[usize::try_from(kill % 2).unwrap()].clone();
        let install = client
            .post(format!("{}/api/v1/engines/install?force=true", server.url))
            .bearer_auth(killed.key())
            .body(version);
        let installing = tokio::spawn(install.send());
        let installing = if kill % 3 == 2 {
            // Killed right after its response.
            let response = installing.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::OK, "kill {kill}");
            None
        } else {
            Some(installing)
        };
        let delay = KILL_STEP * u32::try_from(kill).unwrap();
        // A thread of its own: the moment of the kill does not depend on the test's runtime.
        thread::spawn(move || {
            thread::sleep(delay);
            drop(server);
        })
        .join()
        .unwrap();
        if let Some(installing) = installing {
            installing.await.unwrap().ok();
        }
    }
    assert!(
        served.len() > 1,
        "no installation came to its end: {served:?}"
    );
}

/// The server ended after the row was written and before the version served.
#[tokio::test(flavor = "multi_thread")]
async fn written_track_serves_at_the_next_start() {
    let fixture = RolloutFixture::new(&[]).await;
    let again = hostile("again");
    fixture.install(again.clone()).await.unwrap();
    let store: &Store = &fixture.server.app.store;
    let mut rows = store.engine_rows().await.unwrap();
    let before = rows.tracks.remove(0);
    let after = TrackRow {
        candidate: None,
        percent: 0,
        previous: Some(before.current.clone()),
        current: digest(&again),
        ..before.clone()
    };
    for release in &mut rows.releases {
        release.state = if release.digest == after.current {
            ReleaseState::Current
        } else {
            ReleaseState::Retired
        };
    }
    let change = EngineChange {
        track: Some((Some(before), Some(after))),
        releases: rows.releases,
        ..EngineChange::default()
    };
    assert!(store.change_engine(&change).await.unwrap());
    // Bytes without a row are those of an installation that did not end.
    let components = fixture.server.data_dir.path().join("components");
    let orphan = components.join(format!("{}.wasm", "0".repeat(64)));
    std::fs::write(&orphan, "half").unwrap();
    let file = std::fs::File::options().write(true).open(&orphan).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7200))
        .unwrap();
    // Compiled code is lost.
    std::fs::remove_dir_all(fixture.server.data_dir.path().join("compiled")).unwrap();
    let variables = [
        ("PINHOLE_ENGINES", fixture.engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
    ];
    let server = fixture.server.restart(&variables).await;
    let engines = server.app.releases.engines();
    assert_eq!(engines.get("hostile").unwrap().digest, digest(&again));
    assert!(engines.rollout("hostile").is_none());
    assert!(!orphan.exists());
}

/// A change that the database does not take changes nothing in memory either.
#[tokio::test(flavor = "multi_thread")]
async fn change_by_another_process_is_noticed() {
    let fixture = RolloutFixture::new(&[]).await;
    let store = &fixture.server.app.store;
    let before = store.engine_rows().await.unwrap().tracks.remove(0);
    let change = EngineChange {
        track: Some((Some(before.clone()), Some(before))),
        ..EngineChange::default()
    };
    assert!(store.change_engine(&change).await.unwrap());
    let refused = fixture.install(hostile("again")).await.unwrap_err();
    assert!(matches!(refused, ReleaseError::Moved), "{refused:?}");
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
    assert_eq!(fixture.generate("picture").await.0, 200);
    // The next attempt knows the change.
    fixture.install(hostile("again")).await.unwrap();
}
