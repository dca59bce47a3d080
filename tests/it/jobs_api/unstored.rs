//! Jobs whose end the database cannot store.

use std::sync::Arc;

use tokio::sync::Notify;

use super::*;

async fn stored_state(server: &TestServer, id: &str) -> String {
    let select = "SELECT state FROM jobs WHERE id = $1";
    server.database.text(select, id).await
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
    let lock = server.database.lock().await;
    gate.notify_one();
    let ended = wait(&server, &job).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(stored_state(&server, id(&job)).await, "running");
    lock.unlock().await;

    // The end is stored with the images.
    server.app.active_jobs.store_ends().await;
    assert_eq!(stored_state(&server, id(&job)).await, "running");
    // Two tasks that store it at once do not take each other for another process.
    let files = &server.app.files;
    tokio::join!(files.store_spooled(), files.store_spooled());
    assert_eq!(stored_state(&server, id(&job)).await, "done");
    server.app.active_jobs.store_ends().await;
    assert_eq!(get(&server, &format!("{JOBS}/{}", id(&job))).await, ended);
    let url = ended["files"][0]["url"].as_str().unwrap();
    assert_eq!(server.get(url).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_whose_job_cannot_be_stored_orders_nothing_if_others_continue_jobs() {
    let upstream = FakeUpstream::json(200, image_response()).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("PINHOLE_DURABLE_JOBS", "on"),
    ];
    let server = TestServer::with_engine("openai", &variables).await;
    let turn = json!({
        "model": "m", "chat_id": "local:x", "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a fox"}],
    });
    let lock = server.database.lock().await;
    let (_, response) = server.post_json("/api/chat/completions", &turn).await;
    let reason = "the server's database cannot be reached: send it again";
    assert!(response.to_string().contains(reason), "{response}");
    assert_eq!(upstream.request_lines(), [""; 0]);
    lock.unlock().await;
    // Its row may exist: it is ended until that succeeds.
    server.app.active_jobs.store_ends().await;
    server.app.active_jobs.wait_until_idle().await;

    let (_, next) = server.post_json("/api/chat/completions", &turn).await;
    assert!(!next.to_string().contains(reason), "{next}");
    assert_eq!(upstream.request_lines().len(), 1);
}
