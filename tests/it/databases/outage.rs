//! A database that hosts cannot reach, for longer than a lease: all of them, or one.

use std::time::Duration;

use http::Method;
use pinhole_tests::ServerProcess;
use tokio::time::{sleep, timeout};

use super::*;
use crate::cut::{Network, Proxy, ServerAddress};
use crate::files::buckets::TestBucket;
use crate::jobs_api::durable::{Comfy, Durable};

/// Longer than a lease of 30 s, and than the time for which a host orders without the database.
const OUTAGE: Duration = Duration::from_secs(36);
/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(90);

/// A host that reaches the database through a proxy of its own.
struct Host {
    durable: Durable,
    proxy: Proxy,
}

impl Host {
    async fn new(
        comfy: &Comfy,
        database: &TestDatabase,
        postgres: &str,
        bucket: &TestBucket,
    ) -> Self {
        let proxy = Proxy::start(ServerAddress::of_postgres(postgres)).await;
        let durable = Durable::with_comfy(comfy)
            .with_database(database)
            .with_bucket(bucket)
            .with_variable("DATABASE_URL", &database.url_at(proxy.address));
        Self { durable, proxy }
    }

    async fn status(&self, server: &ServerProcess, path: &str) -> u16 {
        let response = self.durable.request(server, Method::GET, path).send().await;
        response.unwrap().status().as_u16()
    }

    /// Waits until the server is ready, or is not.
    async fn wait_for_ready(&self, server: &ServerProcess, expected: u16) {
        let waiting = async { while self.status(server, "/ready").await != expected {} };
        timeout(PATIENCE, waiting).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn database_that_is_gone_for_all_hosts_ends_no_job() {
    let Some(postgres) = postgres_server() else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let database = TestDatabase::create_postgres(postgres.clone()).await;
    let (comfy, bucket) = (Comfy::start().await, TestBucket::gcs().await);
    let first = Host::new(&comfy, &database, &postgres, &bucket).await;
    let second = Host::new(&comfy, &database, &postgres, &bucket).await;
    let server = first.durable.start();
    second.durable.share_key_of(&first.durable);
    let other = second.durable.start();
    first
        .durable
        .start_job(&server, &json!({"prompt": "a fox"}))
        .await;
    comfy.wait_for_orders(1).await;

    for host in [&first, &second] {
        host.proxy.set(Network::Cut);
    }
    let chats = first.durable.request(&server, Method::GET, CHATS).send();
    let refused = chats.await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    first.wait_for_ready(&server, 503).await;
    assert_eq!(first.status(&server, "/health").await, 200);
    comfy.finish();
    sleep(OUTAGE).await;
    for host in [&second, &first] {
        host.proxy.set(Network::Open);
    }
    first.wait_for_ready(&server, 200).await;
    second.wait_for_ready(&other, 200).await;
    let job = first.durable.ended_job(&server).await;
    assert_eq!(
        (&job["state"], comfy.orders()),
        (&json!("done"), 1),
        "{job}"
    );
    // The image waits on its host until it is stored.
    let stored = "SELECT COUNT(*) FROM jobs WHERE state = 'done'";
    let is_stored = async { while database.number(stored).await < 1 {} };
    timeout(PATIENCE, is_stored).await.unwrap();
    // The host that had the job stored its image.
    assert_eq!(database.number("SELECT attempt FROM jobs").await, 1);
    let url = job["files"][0]["url"].as_str().unwrap();
    assert_eq!(second.status(&other, url).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_without_its_database_orders_nothing_and_others_take_its_jobs() {
    let Some(postgres) = postgres_server() else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let database = TestDatabase::create_postgres(postgres.clone()).await;
    let (comfy, bucket) = (Comfy::start().await, TestBucket::gcs().await);
    let mut split = Host::new(&comfy, &database, &postgres, &bucket).await;
    split.durable = split.durable.with_variable("PINHOLE_SLOTS", "1");
    let whole = Host::new(&comfy, &database, &postgres, &bucket).await;
    let server = split.durable.start();
    whole.durable.share_key_of(&split.durable);
    let other = whole.durable.start();
    // One is ordered, and one waits for its slot.
    for prompt in ["a fox", "a hen"] {
        split
            .durable
            .start_job(&server, &json!({"prompt": prompt}))
            .await;
    }
    comfy.wait_for_orders(1).await;
    split.proxy.set(Network::BlackHole);
    split.wait_for_ready(&server, 503).await;
    assert_eq!(whole.status(&other, "/ready").await, 200);
    // The other host continues the first, and orders the second.
    timeout(PATIENCE, comfy.wait_for_orders(2)).await.unwrap();
    comfy.finish();
    let ended = "SELECT COUNT(*) FROM jobs WHERE state = 'done' AND attempt = 2";
    let are_done = async { while database.number(ended).await < 2 {} };
    timeout(PATIENCE, are_done).await.unwrap();
    split.proxy.set(Network::Open);
    split.wait_for_ready(&server, 200).await;
    let has_noticed = async {
        while !server.log().contains("was taken by another process") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, has_noticed).await.unwrap();
    assert_eq!((comfy.orders(), comfy.cancellations()), (2, 0));
    assert_eq!(database.number("SELECT COUNT(*) FROM files").await, 2);
}
