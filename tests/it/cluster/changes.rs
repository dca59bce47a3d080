//! Changes of the database that another host makes.

use http::StatusCode;
use tokio::time::timeout;

use super::*;
use crate::cut::Network;
use crate::events::PATIENCE;

/// The size of images that a host uses.
pub(super) async fn size(host: &TestServer) -> Value {
    let response = host.get("/api/v1/images/config").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let config: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    config["IMAGE_SIZE"].clone()
}

pub(super) async fn set_size(host: &TestServer, size: &str) {
    let change = json!({"IMAGE_SIZE": size});
    let (status, body) = host.post_json("/api/v1/settings", &change).await;
    assert_eq!(status, 200, "{body}");
}

pub(super) async fn wait_for_size(host: &TestServer, expected: &str) {
    let is_set = async { while size(host).await != expected {} };
    timeout(PATIENCE, is_set).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_another_host_are_applied_with_and_without_redis() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    set_size(&hosts.first, "320x320").await;
    wait_for_size(&hosts.second, "320x320").await;
    set_size(&hosts.second, "384x384").await;
    wait_for_size(&hosts.first, "384x384").await;
    // A change of one setting does not undo that of another host.
    let change = json!({"IMAGE_STEPS": 7});
    let (status, body) = hosts.first.post_json("/api/v1/settings", &change).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(size(&hosts.first).await, "384x384");
    hosts.proxy.set(Network::Cut);
    set_size(&hosts.first, "448x448").await;
    wait_for_size(&hosts.second, "448x448").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_that_is_pinned_on_another_host_is_pinned_here() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    let revision = |host: &TestServer| {
        let list = host.app.releases.list();
        let mut engines = list.engines.into_iter();
        engines.find(|it| it.name == "sketch").unwrap().revision
    };
    let before = revision(&hosts.second);
    let path = "/api/v1/engines/sketch/pin";
    let (status, body) = hosts.first.post_json(path, &json!({})).await;
    assert!((200..300).contains(&status), "{status} {body}");
    let is_followed = async {
        while revision(&hosts.second) == before {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_followed).await.unwrap();
}
