//! A server on PostgreSQL whose connections, or whose right to write, are lost.

mod fail_over;
mod outage;
mod postgres_pair;
mod statements;

use pinhole_tests::{TestDatabase, TestServer, postgres_server};
use serde_json::{Value, json};

const CHATS: &str = "/api/v1/chats/";

/// A server on PostgreSQL. `None` if this machine has none.
async fn server() -> Option<TestServer> {
    let database = TestDatabase::create_postgres(postgres_server()?).await;
    Some(TestServer::with_database(database, &[]).await)
}

async fn add_chat(server: &TestServer) -> (u16, Value) {
    let body = json!({"chat": {"title": "Foxes"}});
    server.post_json("/api/v1/chats/new", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_read_succeed_after_all_connections_were_lost() {
    let Some(server) = server().await else { return };
    assert_eq!(add_chat(&server).await.0, 200);
    for _ in 0..5 {
        let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        server.database.number(end).await;
        let listed = server.get(CHATS).send().await.unwrap();
        assert_eq!(listed.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_accepts_no_writes_is_503_until_it_does() {
    let Some(server) = server().await else { return };
    let set = async |is_read_only: &str| {
        let statement = format!(
            "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database())
             || ' SET default_transaction_read_only = {is_read_only}'; END $$"
        );
        let statement = format!("BEGIN READ WRITE; {statement}; COMMIT");
        server.database.run(statement).await;
        let end = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        server.database.number(end).await;
    };
    set("on").await;
    let response = server.post("/api/v1/chats/new", &json!({"chat": {}}));
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(server.get(CHATS).send().await.unwrap().status(), 200);
    set("off").await;
    // The connections of the server that accepted no writes are not used again.
    assert_eq!(add_chat(&server).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_rows_are_503_and_reads_go_through() {
    let Some(server) = server().await else { return };
    assert_eq!(add_chat(&server).await.0, 200);
    let lock = server.database.lock().await;
    let (status, refused) = add_chat(&server).await;
    assert_eq!(status, 503, "{refused}");
    assert_eq!(server.get(CHATS).send().await.unwrap().status(), 200);
    lock.unlock().await;
    assert_eq!(add_chat(&server).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unnamed_statements_read_and_write() {
    let Some(postgres) = postgres_server() else {
        return;
    };
    let database = TestDatabase::create_postgres(postgres).await;
    let variables = [
        ("PINHOLE_DATABASE_STATEMENTS", "unnamed"),
        ("DATABASE_POOL_SIZE", "2"),
    ];
    let server = TestServer::with_database(database, &variables).await;
    assert_eq!(add_chat(&server).await.0, 200);
    let listed = server.get(CHATS).send().await.unwrap();
    assert_eq!(listed.status(), 200);
    let prepared = "SELECT COUNT(*) FROM pg_prepared_statements";
    assert_eq!(server.database.number(prepared).await, 1, "only its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_two_servers_do_not_overwrite_each_other() {
    let Some(server) = server().await else { return };
    let other = TestServer::with_database_of(&server, &[]).await;
    let set = |name: &str, value: Value| json!({ name: value });
    let settings = "/api/v1/settings";
    assert_eq!(
        server
            .post_json(settings, &set("IMAGE_STEPS", json!(7)))
            .await
            .0,
        200
    );
    // The other server has not read it yet.
    let url = set("WEBUI_URL", json!("https://images.example"));
    let (status, response) = other.post_json(settings, &url).await;
    assert_eq!(status, 200, "{response}");
    let text = other
        .get(settings)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains("https://images.example"), "{text}");
    let steps = server.database.text(
        "SELECT value FROM settings WHERE path = $1",
        "image_generation.steps",
    );
    assert_eq!(steps.await, "7");
    let snapshot = other.app.jobs.snapshot();
    assert_eq!(snapshot.settings.steps, Some(7));
}
