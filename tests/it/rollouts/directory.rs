//! The engine directory of a running server.

use std::fs;
use std::io::Write;

use super::*;

/// A server that follows its directory.
async fn following() -> RolloutFixture {
    let fixture = RolloutFixture::new(&[]).await;
    tokio::spawn(fixture.releases().clone().follow_directory());
    fixture
}

impl RolloutFixture {
    fn path(&self, file: &str) -> std::path::PathBuf {
        self.engines.path().join(file)
    }

    async fn until_serving(&self, version: &[u8]) {
        let expected = digest(version);
        until("another version serves", || {
            let engines = self.releases().engines();
            engines
                .get("hostile")
                .is_some_and(|it| it.digest == expected)
        })
        .await;
    }

    async fn installations(&self) -> usize {
        let history = self.releases().history("hostile").await.unwrap();
        history.iter().filter(|it| it.what == "installed").count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_file_serves_within_seconds_and_once() {
    let fixture = following().await;
    // By rename.
    fs::write(fixture.path("new.part"), hostile("again")).unwrap();
    fs::rename(fixture.path("new.part"), fixture.path("hostile.wasm")).unwrap();
    fixture.until_serving(&hostile("again")).await;
    assert_eq!(fixture.state(&hostile("plain")), "current");
    assert_eq!(fixture.installations().await, 2);

    // The version before, copied back, ends the rollout.
    fs::write(fixture.path("hostile.wasm"), hostile("plain")).unwrap();
    fixture.until_serving(&hostile("plain")).await;
    assert_eq!(fixture.state(&hostile("again")), "retired");
    assert_eq!(fixture.installations().await, 2);

    // Deleted and written again.
    fs::remove_file(fixture.path("hostile.wasm")).unwrap();
    fs::write(fixture.path("hostile.wasm"), hostile("narrow")).unwrap();
    fixture.until_serving(&hostile("narrow")).await;
    assert_eq!(fixture.installations().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_copied_slowly_is_installed_once() {
    let fixture = following().await;
    let bytes = hostile("again");
    let mut file = fs::File::create(fixture.path("hostile.wasm")).unwrap();
    for part in bytes.chunks(bytes.len() / 8) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(fixture.generate("picture").await.0, 200);
    }
    drop(file);
    fixture.until_serving(&bytes).await;
    assert_eq!(fixture.installations().await, 2);
    assert!(fixture.releases().engines().rejected.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_file_becomes_an_engine_and_its_removal_ends_it() {
    let fixture = following().await;
    let sketch = fs::read(pinhole_tests::engines().join("sketch.wasm")).unwrap();
    fs::write(fixture.path("sketch.wasm"), &sketch).unwrap();
    let serves = || {
        fixture
            .server
            .app
            .jobs
            .snapshot()
            .binding("sketch")
            .is_some()
    };
    until("the new engine serves", serves).await;
    let body = json!({"prompt": "a fox", "engine": "sketch", "size": "64x64"});
    let (status, _) = fixture
        .server
        .post_json("/v1/images/generations", &body)
        .await;
    assert_eq!(status, 200);
    fs::remove_file(fixture.path("sketch.wasm")).unwrap();
    until("the engine stops", || !serves()).await;
    // It is granted already when it comes back.
    fs::write(fixture.path("sketch.wasm"), &sketch).unwrap();
    until("the engine serves again", serves).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_file_is_refused_after_a_while_and_the_old_version_serves() {
    let fixture = following().await;
    let bytes = hostile("again");
    fs::write(fixture.path("hostile.wasm"), &bytes[..bytes.len() / 2]).unwrap();
    until("the file is refused", || {
        !fixture.releases().engines().rejected.is_empty()
    })
    .await;
    let engines = fixture.releases().engines();
    assert_eq!(engines.rejected[0].file, "hostile.wasm");
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
    assert_eq!(fixture.generate("picture").await.0, 200);
    fs::write(fixture.path("hostile.wasm"), &bytes).unwrap();
    fixture.until_serving(&bytes).await;
    assert!(fixture.releases().engines().rejected.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn second_file_of_an_engine_serves_when_the_first_is_gone() {
    let fixture = following().await;
    fs::write(fixture.path("zebra.wasm"), hostile("again")).unwrap();
    until("the file is refused", || {
        !fixture.releases().engines().rejected.is_empty()
    })
    .await;
    let reason = fixture.releases().engines().rejected[0].reason.clone();
    assert_eq!(
        reason,
        "names its engine hostile, as hostile.wasm already does"
    );
    fs::remove_file(fixture.path("hostile.wasm")).unwrap();
    fixture.until_serving(&hostile("again")).await;
}
