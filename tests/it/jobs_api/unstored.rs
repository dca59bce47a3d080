//! Jobs whose end the database cannot store.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};
use tokio::sync::Notify;

use super::*;

async fn stored_state(connection: &mut SqliteConnection, id: &str) -> String {
    let row = sqlx::query("SELECT state FROM jobs WHERE id = $1").bind(id);
    row.fetch_one(connection).await.unwrap().get("state")
}

#[tokio::test(flavor = "multi_thread")]
async fn end_is_stored_once_the_database_can() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let upstream = FakeUpstream::start(move |_| {
        let opened = opened.clone();
        async move {
            opened.notified().await;
            FakeResponse::json(200, &image_response())
        }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let job = start(&server, &json!({"prompt": "a fox"})).await;
    while get(&server, "/api/v1/jobs?state=running").await["jobs"] == json!([]) {}
    let database = server.data_dir.path().join("pinhole.db");
    let options = SqliteConnectOptions::new().filename(database);
    let mut other = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    gate.notify_one();
    let ended = wait(&server, &job).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(stored_state(&mut other, id(&job)).await, "running");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();

    server.app.active_jobs.store_ends().await;
    assert_eq!(stored_state(&mut other, id(&job)).await, "done");
    assert_eq!(get(&server, &format!("{JOBS}/{}", id(&job))).await, ended);
    server.app.files.store_spooled().await;
    let url = ended["files"][0]["url"].as_str().unwrap();
    assert_eq!(server.get(url).send().await.unwrap().status(), 200);
}
