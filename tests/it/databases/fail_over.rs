//! A primary that is lost, and its standby that takes its place.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use tokio::time::timeout;

use super::postgres_pair::{PostgresPair, Role};
use super::*;
use crate::cut::{Proxy, ServerAddress};
use crate::jobs_api::durable::{Comfy, Durable};

/// Far more than a fail-over takes here.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The connections to the database, other than that of the look.
async fn connections(database: &TestDatabase) -> BTreeSet<String> {
    let select = "SELECT CAST(pid AS TEXT) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.texts(select, &[]).await.into_iter().collect()
}

/// Waits until the standby has what the primary has now.
async fn wait_until_replayed(primary: &TestDatabase, standby: &TestDatabase) {
    let written = "SELECT CAST(pg_current_wal_lsn() - '0/0' AS BIGINT)";
    let written = primary.number(written).await;
    let replayed = "SELECT CAST(pg_last_wal_replay_lsn() - '0/0' AS BIGINT)";
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    while standby.number(replayed).await < written {
        looks.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_continues_with_the_standby_without_a_restart() {
    let Some(pair) = PostgresPair::start() else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    let primary = TestDatabase::create_postgres(pair.url(Role::Primary)).await;
    let TestDatabase::Postgres { name, .. } = &primary else {
        panic!("the database is PostgreSQL");
    };
    let standby = TestDatabase::Postgres {
        server: pair.url(Role::Standby),
        name: name.clone(),
        is_owner: false,
    };
    let proxy = Proxy::start(ServerAddress::of_postgres(&pair.url(Role::Primary))).await;
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy)
        .with_database(&primary)
        .with_variable("DATABASE_URL", &primary.url_at(proxy.address))
        .with_variable("DATABASE_POOL_SIZE", "4");
    let server = durable.start();
    let add_chat = async || {
        let request = durable.request(&server, Method::POST, "/api/v1/chats/new");
        let body = json!({"chat": {"title": "Foxes"}}).to_string();
        request.body(body).send().await.unwrap()
    };
    let list = async || {
        let chats = durable.request(&server, Method::GET, CHATS);
        chats.send().await.unwrap().status()
    };
    durable
        .start_job(&server, &json!({"prompt": "a fox"}))
        .await;
    comfy.wait_for_orders(1).await;
    assert_eq!(add_chat().await.status(), 200);
    timeout(PATIENCE, wait_until_replayed(&primary, &standby))
        .await
        .unwrap();

    proxy.turn_to(ServerAddress::of_postgres(&pair.url(Role::Standby)));
    pair.stop(Role::Primary);
    assert_eq!(list().await, 200);
    let before = connections(&standby).await;
    let refused = add_chat().await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    // The connection that led to a server without writes is closed.
    let is_closed = async { while before.is_subset(&connections(&standby).await) {} };
    timeout(PATIENCE, is_closed).await.unwrap();
    assert_eq!(list().await, 200);
    // The image is made while it cannot be stored.
    comfy.finish();
    let is_waiting = async {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        while !server.log().contains("cannot store images, will retry") {
            looks.tick().await;
        }
    };
    timeout(PATIENCE, is_waiting).await.unwrap();

    pair.promote();
    let is_added = async {
        loop {
            let response = add_chat().await;
            if response.status() == 200 {
                return;
            }
            assert_eq!(response.status(), 503);
        }
    };
    timeout(PATIENCE, is_added).await.unwrap();
    let job = durable.ended_job(&server).await;
    assert_eq!(
        (&job["state"], comfy.orders()),
        (&json!("done"), 1),
        "{job}"
    );
    let url = job["files"][0]["url"].as_str().unwrap();
    let image = durable
        .request(&server, Method::GET, url)
        .send()
        .await
        .unwrap();
    assert_eq!(image.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_the_standby_never_had_stores_nothing() {
    let Some(postgres) = postgres_server() else {
        return;
    };
    let database = TestDatabase::create_postgres(postgres).await;
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy).with_database(&database);
    let server = durable.start();
    let request = durable.request(&server, Method::POST, "/v1/images/generations");
    let request = request.header("idempotency-key", "k");
    let caller = tokio::spawn(request.body(json!({"prompt": "a fox"}).to_string()).send());
    comfy.wait_for_orders(1).await;
    database.execute("DELETE FROM jobs", &[]).await;
    comfy.finish();
    let response = timeout(PATIENCE, caller).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), 503, "{:?}", response.text().await);
    assert_eq!(database.number("SELECT COUNT(*) FROM files").await, 0);
    assert_eq!(durable.stored_files(), [""; 0]);
    assert_eq!((comfy.orders(), comfy.cancellations()), (1, 0));
}
