//! Two hosts with one PostgreSQL database and one bucket. Each has a data directory and an engine directory of its own.

use pinhole_tests::{TestDatabase, TestServer, postgres_server};
use tempfile::TempDir;

use super::{RolloutFixture, until};
use crate::files::buckets::TestBucket;
use crate::grants::{digest, hostile};

/// A running host that has loaded nothing.
const ADD_OTHER_HOST: &str = "INSERT INTO hosts (id, name, version, started_at, seen_at)
    SELECT 'west', 'west', '0.1', seen_at, seen_at + 3600 FROM hosts LIMIT 1";

struct HostPair {
    first: RolloutFixture,
    second: RolloutFixture,
    bucket: TestBucket,
}

impl HostPair {
    /// `None` if this machine has no PostgreSQL.
    async fn start() -> Option<Self> {
        let Some(server) = postgres_server() else {
            eprintln!("skipped: no PostgreSQL");
            return None;
        };
        let bucket = TestBucket::gcs().await;
        let database = TestDatabase::create_postgres(server).await;
        let engines = directory(&hostile("plain"));
        let first = TestServer::with_database(database, &variables(&engines, &bucket)).await;
        let first = RolloutFixture {
            server: first,
            engines,
        };
        let second = another_host(&first, &hostile("plain"), &bucket).await;
        Some(Self {
            first,
            second,
            bucket,
        })
    }

    async fn until_both_serve(&self, version: &[u8]) {
        for host in [&self.first, &self.second] {
            until("the version serves", || host.serving() == digest(version)).await;
        }
    }
}

/// An engine directory with one version.
fn directory(version: &[u8]) -> TempDir {
    let engines = tempfile::tempdir().unwrap();
    std::fs::write(engines.path().join("hostile.wasm"), version).unwrap();
    engines
}

fn variables<'a>(engines: &'a TempDir, bucket: &'a TestBucket) -> Vec<(&'a str, &'a str)> {
    let mut variables = vec![
        ("PINHOLE_ENGINES", engines.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
        ("PINHOLE_WATCH_JOBS", "1"),
    ];
    variables.extend(bucket.variables());
    variables
}

/// A host that follows the first one, and has this version in its directory.
async fn another_host(
    first: &RolloutFixture,
    version: &[u8],
    bucket: &TestBucket,
) -> RolloutFixture {
    let engines = directory(version);
    let variables = variables(&engines, bucket);
    let server = TestServer::with_database_of(&first.server, &variables).await;
    for host in [&first.server, &server] {
        tokio::spawn(host.app.clone().follow_hosts());
    }
    RolloutFixture { server, engines }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_installed_on_one_host_serves_on_all() {
    let Some(hosts) = HostPair::start().await else {
        return;
    };
    let (old, new) = (hostile("plain"), hostile("again"));
    hosts.first.install(new.clone()).await.unwrap();
    hosts.until_both_serve(&new).await;
    for host in [&hosts.first, &hosts.second] {
        assert_eq!(host.generate("picture").await.0, 200);
    }
    // A rollback by the other host, which has not installed the version.
    hosts
        .second
        .releases()
        .roll_back("hostile", None, "", "ada")
        .await
        .unwrap();
    hosts.until_both_serve(&old).await;
    let history = hosts.first.releases().history("hostile").await.unwrap();
    assert_eq!(history[0].what, "rolled-back");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_of_a_host_undo_no_upgrade() {
    let Some(hosts) = HostPair::start().await else {
        return;
    };
    let (old, new) = (hostile("plain"), hostile("again"));
    // A host of the next version of the program, with its engines.
    let third = another_host(&hosts.first, &new, &hosts.bucket).await;
    assert_eq!(third.serving(), digest(&new));
    hosts.until_both_serve(&new).await;
    // An old host starts again, and looks at its directory.
    let fourth = another_host(&hosts.first, &old, &hosts.bucket).await;
    fourth.releases().look_again();
    for _ in 0..3 {
        fourth.releases().look_at_directory().await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    }
    assert_eq!(fourth.serving(), digest(&new));
    // A host without the file stops nothing either.
    std::fs::remove_file(third.engines.path().join("hostile.wasm")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let of_fifth = variables(&empty, &hosts.bucket);
    let fifth = TestServer::with_database_of(&hosts.first.server, &of_fifth).await;
    let engines = fifth.app.releases.engines();
    assert_eq!(engines.get("hostile").unwrap().digest, digest(&new));
    hosts.until_both_serve(&new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_ends_when_all_hosts_have_the_version() {
    let Some(hosts) = HostPair::start().await else {
        return;
    };
    let new = hostile("again");
    hosts.first.install(new.clone()).await.unwrap();
    hosts.until_both_serve(&new).await;
    let database = &hosts.first.server.database;
    database.run(ADD_OTHER_HOST.to_owned()).await;
    assert_eq!(hosts.first.generate("picture").await.0, 200);
    hosts.first.judge().await;
    hosts.second.judge().await;
    assert_eq!(hosts.first.state(&new), "candidate");
    let details = async || {
        let response = hosts.first.server.get("/api/v1/engines/hostile").send();
        let bytes = response.await.unwrap().bytes().await.unwrap();
        let details: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        details["hosts"].as_array().unwrap().clone()
    };
    let is_loaded = |listed: &[serde_json::Value]| {
        let loaded = listed.iter().filter(|it| it["is_loaded"] == true);
        loaded.count()
    };
    let listed = details().await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(
        listed
            .iter()
            .any(|it| it["name"] == "west" && it["is_loaded"] == false)
    );
    let both_loaded = async { while is_loaded(&details().await) < 2 {} };
    tokio::time::timeout(super::PATIENCE, both_loaded)
        .await
        .unwrap();
    let remove = "DELETE FROM hosts WHERE id = 'west'".to_owned();
    database.run(remove).await;
    // Both may come to the verdict; one of them writes it.
    tokio::join!(hosts.first.judge(), hosts.second.judge());
    assert_eq!(hosts.first.state(&new), "current");
    until("the other host follows", || {
        hosts.second.state(&new) == "current"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn component_that_was_changed_in_the_bucket_serves_on_no_other_host() {
    let Some(hosts) = HostPair::start().await else {
        return;
    };
    let (old, new) = (hostile("plain"), hostile("again"));
    hosts.bucket.falsify_components();
    hosts.first.install(new.clone()).await.unwrap();
    let problem = async {
        loop {
            let listed = hosts.first.releases().hosts_of("hostile").await.unwrap();
            let mut problems = listed.into_iter().filter_map(|it| it.problem);
            if let Some(problem) = problems.find(|it| !it.is_empty()) {
                return problem;
            }
        }
    };
    let Ok(problem) = tokio::time::timeout(super::PATIENCE, problem).await else {
        let listed = hosts.first.releases().hosts_of("hostile").await.unwrap();
        panic!("no host has a problem: {listed:?}");
    };
    assert!(problem.contains("install the component again"), "{problem}");
    assert_eq!(hosts.second.serving(), digest(&old));
    assert_eq!(hosts.second.generate("picture").await.0, 200);
    // The remedy: it is installed again.
    hosts.bucket.restore();
    hosts.first.install(new.clone()).await.unwrap();
    hosts.until_both_serve(&new).await;
}
