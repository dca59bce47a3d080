//! Stop of what another host runs.

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest};
use tokio::time::timeout;

use super::*;
use crate::cut::Network;
use crate::events::PATIENCE;
use crate::tasks::{hanging_model, start_task, turn};

async fn get(host: &TestServer, path: &str) -> Value {
    let response = host.get(path).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn task_of_another_host_is_listed_and_stopped() {
    let (model, dropped) = hanging_model("Here is ").await;
    let url = format!("{}/v1", model.url());
    let Some(hosts) = Hosts::start(&[("OPENAI_API_BASE_URL", &url)]).await else {
        return;
    };
    let second_key = hosts.first.add_second_user().await;
    let task = start_task(&hosts.first, &turn(false)).await;
    let list = "/api/tasks/chat/c1";
    let is_listed = async { while get(&hosts.second, list).await["task_ids"] != json!([task]) {} };
    timeout(PATIENCE, is_listed).await.unwrap();
    // Another user neither sees nor stops it.
    let others = hosts
        .second
        .client
        .get(hosts.second.url(list))
        .bearer_auth(second_key);
    let others = others.send().await.unwrap().text().await.unwrap();
    assert_eq!(others, r#"{"task_ids":[]}"#);
    let path = format!("/api/tasks/stop/{task}");
    let refused = hosts
        .second
        .client
        .post(hosts.second.url(&path))
        .bearer_auth(second_key);
    assert_eq!(refused.send().await.unwrap().status(), 404);
    let (unknown, _) = hosts
        .second
        .post_json("/api/tasks/stop/x", &json!({}))
        .await;
    assert_eq!(unknown, 404);

    let (status, stopped) = hosts.second.post_json(&path, &json!({})).await;
    assert_eq!(status, 200, "{stopped}");
    timeout(PATIENCE, dropped.notified()).await.unwrap();
    hosts.first.app.tasks.shut_down().await;
    let is_gone = async { while get(&hosts.second, list).await["task_ids"] != json!([]) {} };
    timeout(PATIENCE, is_gone).await.unwrap();
    let (gone, _) = hosts.second.post_json(&path, &json!({})).await;
    assert_eq!(gone, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_chat_are_stopped_on_all_hosts() {
    let (model, dropped) = hanging_model("Here is ").await;
    let url = format!("{}/v1", model.url());
    let Some(hosts) = Hosts::start(&[("OPENAI_API_BASE_URL", &url)]).await else {
        return;
    };
    start_task(&hosts.first, &turn(false)).await;
    start_task(&hosts.second, &turn(false)).await;
    let list = async || get(&hosts.second, "/api/tasks/chat/c1").await["task_ids"].clone();
    while list().await.as_array().unwrap().len() < 2 {}
    let path = "/api/tasks/chat/c1/stop";
    let (status, stopped) = hosts.second.post_json(path, &json!({})).await;
    assert_eq!((status, &stopped["message"]), (200, &json!("2 stopped")));
    timeout(PATIENCE, dropped.notified()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_says_if_the_other_host_does_not_respond() {
    let (model, _) = hanging_model("Here is ").await;
    let url = format!("{}/v1", model.url());
    let Some(hosts) = Hosts::start(&[("OPENAI_API_BASE_URL", &url)]).await else {
        return;
    };
    let task = start_task(&hosts.second, &turn(false)).await;
    let list = async || get(&hosts.first, "/api/tasks/chat/c1").await["task_ids"].clone();
    while list().await != json!([task]) {}
    hosts.proxy.set(Network::Cut);
    let path = format!("/api/tasks/stop/{task}");
    let (status, refused) = hosts.first.post_json(&path, &json!({})).await;
    assert_eq!(status, 503, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_another_host_are_stopped() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let url = format!("{}/v1", upstream.url());
    let Some(hosts) = Hosts::start(&[("IMAGES_OPENAI_API_BASE_URL", &url)]).await else {
        return;
    };
    let start = async || {
        let body = json!({"prompt": "a fox", "engine": "openai"});
        let (status, job) = hosts.first.post_json("/api/v1/jobs", &body).await;
        assert_eq!(status, 202, "{job}");
        job["id"].as_str().unwrap().to_owned()
    };
    let id = start().await;
    upstream.wait_for_requests(1).await;
    let path = format!("/api/v1/jobs/{id}");
    let stop = hosts.second.client.delete(hosts.second.url(&path));
    let stopped = stop.bearer_auth(&hosts.second.key).send().await.unwrap();
    assert_eq!(stopped.status(), 200);
    let job: Value = serde_json::from_slice(&stopped.bytes().await.unwrap()).unwrap();
    assert_eq!(job["state"], "cancelled", "{job}");

    let waited = start().await;
    upstream.wait_for_requests(2).await;
    let end = format!("/api/v1/jobs/{waited}?wait=60");
    let (ended, (status, count)) = tokio::join!(get(&hosts.second, &end), async {
        hosts
            .second
            .post_json("/api/v1/jobs/stop", &json!({}))
            .await
    });
    assert_eq!((status, count), (200, json!({"stopped": 1})));
    assert_eq!(ended["state"], "cancelled", "{ended}");
}
