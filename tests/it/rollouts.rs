//! New versions of an engine in a running server: installed, watched, rolled back, and taken from the directory.

mod crash_points;
mod crashes;
mod directory;
mod failures;
mod hosts;
mod refusals;
mod removal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pinhole::config::Strategy;
use pinhole::releases::{Install, InstallReport, ReleaseError, Releases};
use pinhole_tests::TestServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::grants::{digest, hostile};

/// Jobs that run at the same time.
const CLIENTS: usize = 16;
/// Versions that replace each other while they run.
const SWAPS: usize = 40;
/// How long a test waits for something that happens soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with one version of the engine `hostile`.
pub(super) struct RolloutFixture {
    pub(super) server: TestServer,
    pub(super) engines: TempDir,
}

impl RolloutFixture {
    pub(super) async fn new(variables: &[(&str, &str)]) -> Self {
        let engines = tempfile::tempdir().unwrap();
        std::fs::write(engines.path().join("hostile.wasm"), hostile("plain")).unwrap();
        let mut all = vec![
            ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", "hostile"),
            // The engine needs a URL, and the prompts of these tests send no request.
            ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
        ];
        all.extend(variables);
        Self {
            server: TestServer::start(&all).await,
            engines,
        }
    }

    pub(super) fn releases(&self) -> &Arc<Releases> {
        &self.server.app.releases
    }

    pub(super) async fn install(&self, bytes: Vec<u8>) -> Result<InstallReport, ReleaseError> {
        self.releases().install(upload(bytes)).await
    }

    /// The digest that serves most users.
    pub(super) fn serving(&self) -> String {
        self.releases()
            .engines()
            .get("hostile")
            .unwrap()
            .digest
            .clone()
    }

    pub(super) fn state(&self, version: &[u8]) -> String {
        let status = self.releases().status("hostile").unwrap();
        let digest = digest(version);
        let mut versions = status.versions.iter();
        let found = versions.find(|it| it.digest == digest);
        found.map_or_else(|| "none".to_owned(), |it| it.state.clone())
    }

    async fn generate(&self, prompt: &str) -> (u16, Value) {
        let body = json!({"prompt": prompt});
        self.server.post_json("/v1/images/generations", &body).await
    }

    /// Lets the watch see the jobs that have ended.
    async fn judge(&self) {
        let outcomes = &self.server.app.jobs.outcomes;
        self.releases().judge_rollouts(outcomes).await.unwrap();
    }
}

pub(super) fn upload(bytes: Vec<u8>) -> Install {
    Install {
        bytes,
        by: "ada".into(),
        ..Install::default()
    }
}

/// Waits until something is true.
pub(super) async fn until(what: &str, is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn installed_version_serves_and_becomes_current_after_enough_jobs() {
    let fixture = RolloutFixture::new(&[("PINHOLE_WATCH_JOBS", "3")]).await;
    let (old, new) = (hostile("plain"), hostile("again"));
    let report = fixture.install(new.clone()).await.unwrap();
    assert_eq!(
        (report.engine.as_str(), report.state.as_str()),
        ("hostile", "candidate")
    );
    assert_eq!(
        (fixture.serving(), report.digest),
        (digest(&new), digest(&new))
    );
    assert_eq!(
        (fixture.state(&old), fixture.state(&new)),
        ("current".into(), "candidate".into())
    );
    for _ in 0..2 {
        assert_eq!(fixture.generate("picture").await.0, 200);
    }
    // What the user does wrong says nothing about a version.
    assert_eq!(fixture.generate("unknown").await.0, 400);
    fixture.judge().await;
    assert_eq!(fixture.state(&new), "candidate");
    fixture.generate("picture").await;
    fixture.judge().await;
    assert_eq!(
        (fixture.state(&old), fixture.state(&new)),
        ("retired".into(), "current".into())
    );

    // Rolled back by a person, it is refused without force.
    let to = fixture
        .releases()
        .roll_back("hostile", None, "blurred", "ada")
        .await
        .unwrap();
    assert_eq!((to, fixture.serving()), (digest(&old), digest(&old)));
    assert_eq!(fixture.state(&new), "rolled-back");
    let refused = fixture.install(new.clone()).await.unwrap_err();
    assert!(
        refused.to_string().contains("was rolled back (blurred)"),
        "{refused}"
    );
    let forced = Install {
        is_forced: true,
        ..upload(new.clone())
    };
    fixture.releases().install(forced).await.unwrap();
    assert_eq!(fixture.serving(), digest(&new));
    let history = fixture.releases().history("hostile").await.unwrap();
    let what: Vec<_> = history.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "installed",
            "rolled-back",
            "promoted",
            "installed",
            "installed"
        ]
    );
    assert_eq!(history[1].why, "blurred");
}

/// The client notices nothing of a version that crashes, and the version is gone after two such jobs.
#[tokio::test(flavor = "multi_thread")]
async fn crashing_version_is_rolled_back_and_no_job_fails() {
    let fixture = RolloutFixture::new(&[]).await;
    let (old, faulty) = (hostile("plain"), hostile("faulty"));
    fixture.install(faulty.clone()).await.unwrap();
    assert_eq!(fixture.generate("picture").await.0, 200);
    for _ in 0..2 {
        assert_eq!(fixture.state(&faulty), "candidate");
        let (status, response) = fixture.generate("picture trap").await;
        assert_eq!(status, 200, "{response}");
        fixture.judge().await;
    }
    assert_eq!(fixture.serving(), digest(&old));
    assert_eq!(
        (fixture.state(&old), fixture.state(&faulty)),
        ("current".into(), "rolled-back".into())
    );
    let history = fixture.releases().history("hostile").await.unwrap();
    assert_eq!(
        (history[0].what.as_str(), history[0].user_name.as_str()),
        ("rolled-back", "")
    );
    assert!(history[0].why.contains("crashed"), "{}", history[0].why);

    // It is remembered over a restart: a crash leaves no engine without a version.
    let variables = [
        ("PINHOLE_ENGINES", fixture.engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
    ];
    let server = fixture.server.restart(&variables).await;
    assert_eq!(
        server.app.releases.engines().get("hostile").unwrap().digest,
        digest(&old)
    );
    let again = server.app.releases.install(upload(faulty)).await;
    assert!(matches!(again, Err(ReleaseError::Conflict(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_of_a_canary_serves_the_same_users_each_time() {
    let fixture = RolloutFixture::new(&[]).await;
    let install = Install {
        strategy: Some(Strategy::Canary),
        ..upload(hostile("again"))
    };
    fixture.releases().install(install).await.unwrap();
    assert_eq!(fixture.serving(), digest(&hostile("plain")));
    let jobs = &fixture.server.app.jobs;
    let snapshot = jobs.snapshot();
    let digest_of = |user: usize| {
        let requester = pinhole::jobs::Requester {
            user: Some(format!("user-{user}")),
            ..pinhole::jobs::Requester::operator()
        };
        let operation = pinhole::jobs::Operation::Generate;
        let plan = pinhole::jobs::JobPlan::new(snapshot.clone(), operation, None, None, requester);
        plan.unwrap().binding.component.digest.clone()
    };
    let new = digest(&hostile("again"));
    let users: Vec<_> = (0..1000).filter(|user| digest_of(*user) == new).collect();
    assert!(
        (50..200).contains(&users.len()),
        "{} of 1000 users",
        users.len()
    );
    assert!(users.iter().all(|user| digest_of(*user) == new));
    fixture.releases().promote("hostile", "ada").await.unwrap();
    assert_eq!(fixture.serving(), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_swapped_under_load_without_a_failed_job() {
    let fixture = RolloutFixture::new(&[("PINHOLE_REQUESTS_PER_MINUTE", "1000000")]).await;
    let versions = [hostile("plain"), hostile("again")];
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let request = fixture
                .server
                .post("/api/v1/images/generations", &json!({"prompt": "picture"}));
            let done = done.clone();
            tokio::spawn(async move {
                let mut jobs = 0;
                while !done.load(Ordering::Relaxed) {
                    let response = request.try_clone().unwrap().send().await.unwrap();
                    let status = response.status();
                    assert_eq!(status, 200, "{}", response.text().await.unwrap());
                    response.bytes().await.unwrap();
                    jobs += 1;
                }
                jobs
            })
        })
        .collect();
    for swap in 1..=SWAPS {
        let next = versions[swap % 2].clone();
        fixture.install(next.clone()).await.unwrap();
        fixture.releases().promote("hostile", "ada").await.unwrap();
        assert_eq!(fixture.serving(), digest(&next), "swap {swap}");
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    // A stored image names the version that made it.
    let response = fixture.server.get("/api/v1/files/").send().await.unwrap();
    let text = response.text().await.unwrap();
    let files: Value = serde_json::from_str(&text).unwrap();
    let made_by = files.as_array().unwrap().iter();
    let made_by: BTreeSet<_> = made_by
        .map(|file| file["meta"]["data"]["digest"].as_str().unwrap().to_owned())
        .collect();
    let expected: BTreeSet<_> = versions.iter().map(|version| digest(version)).collect();
    assert_eq!(made_by, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_engine_is_changed_by_force_only_and_removed_engine_stops() {
    let fixture = RolloutFixture::new(&[]).await;
    let releases = fixture.releases();
    releases.set_pinned("hostile", true, "ada").await.unwrap();
    let refused = fixture.install(hostile("again")).await.unwrap_err();
    assert!(
        refused.to_string().contains("pinhole engine unpin hostile"),
        "{refused}"
    );
    let forced = Install {
        is_forced: true,
        ..upload(hostile("again"))
    };
    releases.install(forced).await.unwrap();
    assert_eq!(fixture.serving(), digest(&hostile("again")));
    releases.abort("hostile", "ada").await.unwrap();
    assert_eq!(fixture.serving(), digest(&hostile("plain")));

    releases.remove("hostile", "ada").await.unwrap();
    assert_eq!(fixture.generate("picture").await.0, 400);
    // Its file does not bring it back; a person does.
    releases.look_at_directory().await;
    assert!(releases.engines().get("hostile").is_none());
    fixture.install(hostile("plain")).await.unwrap();
    assert_eq!(fixture.generate("picture").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_versions_are_kept() {
    let fixture = RolloutFixture::new(&[]).await;
    for number in 0..12_u8 {
        // A custom section with another name.
        let version = [hostile("plain"), vec![0, 2, 1, b'a' + number]].concat();
        fixture.install(version).await.unwrap();
        fixture.releases().promote("hostile", "ada").await.unwrap();
    }
    let status = fixture.releases().status("hostile").unwrap();
    let stored = std::fs::read_dir(fixture.server.data_dir.path().join("components"));
    // Current, previous and five more.
    assert_eq!((status.versions.len(), stored.unwrap().count()), (7, 7));
    let previous = &status.versions[1];
    assert!(previous.is_previous, "{previous:?}");
    let oldest = &status.versions[6].digest;
    let to = Some(&oldest[..12]);
    fixture
        .releases()
        .roll_back("hostile", to, "", "ada")
        .await
        .unwrap();
    assert_eq!(fixture.serving(), *oldest);
}
