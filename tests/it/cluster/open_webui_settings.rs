//! Settings that an Open WebUI has in the same Redis.

use std::time::Duration;

use http::StatusCode;
use tokio::time::timeout;

use super::changes::{set_size, size, wait_for_size};
use super::*;
use crate::events::PATIENCE;

const SHARED: (&str, &str) = ("PINHOLE_REDIS_CONFIG", "open-webui");
/// Time between two looks at Redis.
const LOOK: Duration = Duration::from_millis(20);

impl Hosts {
    /// Stores a setting as Open WebUI does.
    async fn set_in_redis(&self, name: &str, json: &str) {
        let key = format!("{}:config:{name}", self.prefix);
        let _: () = self.command(&["SET", &key, json]).await;
    }

    /// The setting that Open WebUI reads.
    async fn in_redis(&self, name: &str) -> Option<Value> {
        let key = format!("{}:config:{name}", self.prefix);
        let json: Option<String> = self.command(&["GET", &key]).await;
        json.map(|it| serde_json::from_str(&it).unwrap())
    }

    async fn wait_until_in_redis(&self, name: &str, expected: Option<Value>) {
        let mut looks = tokio::time::interval(LOOK);
        let is_there = async {
            while self.in_redis(name).await != expected {
                looks.tick().await;
            }
        };
        let waited = timeout(PATIENCE, is_there).await;
        assert!(waited.is_ok(), "{name} is not {expected:?}");
    }

    /// Waits until both hosts have compared all settings: each reads all of them, and then changes some.
    async fn wait_for_looks(&self, sizes: [&str; 2]) {
        for size in sizes {
            self.set_in_redis("IMAGE_SIZE", &json!(size).to_string())
                .await;
            wait_for_size(&self.first, size).await;
            wait_for_size(&self.second, size).await;
        }
    }

    async fn change(&self, changes: Value) {
        let path = "/api/v1/settings";
        let (status, body) = self.first.post_json(path, &changes).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Author, name and new value of the latest changes.
    async fn history(&self) -> Vec<String> {
        let response = self.first.get("/api/v1/settings/changes").send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let changes: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let line = |it: &Value| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            format!(
                "{}: {} {}",
                text("user_name"),
                text("name"),
                it["new_value"]
            )
        };
        changes.as_array().unwrap().iter().map(line).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_open_webui_are_changes_on_all_hosts() {
    let Some(hosts) = Hosts::start(&[SHARED]).await else {
        return;
    };
    hosts.set_in_redis("IMAGE_STEPS", "7").await;
    hosts.set_in_redis("IMAGE_SIZE", r#""320x320""#).await;
    wait_for_size(&hosts.first, "320x320").await;
    wait_for_size(&hosts.second, "320x320").await;
    let history = hosts.history().await;
    let expected = "Open WebUI: IMAGE_SIZE \"320x320\"".to_owned();
    assert!(history.contains(&expected), "{history:?}");
    hosts.wait_for_looks(["384x384", "448x448"]).await;
    let later = hosts.history().await;
    let steps = later.iter().filter(|it| it.contains("IMAGE_STEPS"));
    assert_eq!(steps.collect::<Vec<_>>(), ["Open WebUI: IMAGE_STEPS 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_settings_are_written_for_open_webui_until_they_are_removed() {
    let Some(hosts) = Hosts::start(&[SHARED]).await else {
        return;
    };
    let nodes = json!([{"type": "prompt", "key": "text", "node_ids": ["6"]}]);
    hosts
        .change(json!({
            "ENABLE_IMAGE_EDIT": false,
            "IMAGE_STEPS": 30,
            "COMFYUI_WORKFLOW_NODES": nodes,
            "IMAGES_OPENAI_API_PARAMS": {},
        }))
        .await;
    for (name, value) in [
        ("ENABLE_IMAGE_EDIT", json!(false)),
        ("IMAGE_STEPS", json!(30)),
        ("COMFYUI_WORKFLOW_NODES", nodes),
        ("IMAGES_OPENAI_API_PARAMS", json!({})),
    ] {
        hosts.wait_until_in_redis(name, Some(value)).await;
    }
    // A setting that is not stored is the environment's, and not shared.
    assert_eq!(hosts.in_redis("IMAGE_GENERATION_ENGINE").await, None);
    hosts.change(json!({"IMAGE_STEPS": null})).await;
    hosts.wait_until_in_redis("IMAGE_STEPS", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_wins_if_both_may_have_changed_a_setting() {
    let Some(hosts) = Hosts::start(&[SHARED]).await else {
        return;
    };
    set_size(&hosts.first, "320x320").await;
    let stored = Some(json!("320x320"));
    hosts
        .wait_until_in_redis("IMAGE_SIZE", stored.clone())
        .await;
    // Redis has lost what was agreed on, and Open WebUI has written before the hosts.
    let setting = format!("{}:config:IMAGE_SIZE", hosts.prefix);
    let agreed = format!("{}:pinhole:config:{{{setting}}}", hosts.prefix);
    let script = "redis.call('DEL', KEYS[2]) redis.call('SET', KEYS[1], ARGV[1])";
    let _: () = hosts
        .command(&["EVAL", script, "2", &setting, &agreed, "\"64x64\""])
        .await;
    hosts.wait_until_in_redis("IMAGE_SIZE", stored).await;
    assert_eq!(size(&hosts.first).await, "320x320");
    assert_eq!(size(&hosts.second).await, "320x320");
    // Open WebUI's next change is one.
    hosts.wait_for_looks(["384x384", "448x448"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_setting_of_open_webui_is_not_applied_and_stops_no_other() {
    let Some(hosts) = Hosts::start(&[SHARED]).await else {
        return;
    };
    hosts.change(json!({"IMAGE_STEPS": 30})).await;
    hosts
        .wait_until_in_redis("IMAGE_STEPS", Some(json!(30)))
        .await;
    // No number, no URL, no JSON, no string of Redis.
    hosts.set_in_redis("IMAGE_STEPS", "\"many\"").await;
    hosts
        .set_in_redis("COMFYUI_BASE_URL", "\"not a URL\"")
        .await;
    hosts.set_in_redis("IMAGE_EDIT_SIZE", "{").await;
    let key = format!("{}:config:ENABLE_IMAGE_EDIT", hosts.prefix);
    let _: () = hosts.command(&["HSET", &key, "a", "b"]).await;
    hosts.wait_for_looks(["320x320", "384x384"]).await;
    let history = hosts.history().await;
    let of_others = |it: &&String| !it.contains("IMAGE_SIZE");
    let others: Vec<_> = history.iter().filter(of_others).collect();
    assert_eq!(others.len(), 1, "{history:?}");
    assert!(others[0].ends_with("IMAGE_STEPS 30"), "{history:?}");
    // The database still wins once it changes.
    hosts.change(json!({"IMAGE_STEPS": 20})).await;
    hosts
        .wait_until_in_redis("IMAGE_STEPS", Some(json!(20)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_neither_reach_redis_nor_a_server_that_redis_names() {
    let Some(hosts) = Hosts::start(&[SHARED]).await else {
        return;
    };
    hosts
        .change(json!({
            "IMAGES_OPENAI_API_KEY": "topsecret-1",
            "AUTOMATIC1111_API_AUTH": "user:topsecret-2",
            "IMAGES_OPENAI_API_PARAMS": {"api_key": "topsecret-4"},
            "PINHOLE_BINDINGS": {"b": {"engine": "openai", "settings": {"api-key": "topsecret-5"}}},
        }))
        .await;
    let url = json!("http://127.0.0.1:1/v1").to_string();
    hosts.set_in_redis("IMAGES_OPENAI_API_BASE_URL", &url).await;
    hosts
        .set_in_redis("IMAGES_OPENAI_API_KEY", "\"other\"")
        .await;
    hosts.wait_for_looks(["320x320", "384x384"]).await;
    let history = hosts.history().await;
    let is_read = |it: &&String| it.starts_with("Open WebUI") && !it.contains("IMAGE_SIZE");
    assert_eq!(history.iter().find(is_read), None);
    let keys: Vec<String> = hosts
        .command(&["KEYS", &format!("{}:*config*", hosts.prefix)])
        .await;
    for key in &keys {
        let value: String = hosts.command(&["GET", key]).await;
        assert!(!value.contains("topsecret"), "{key}: {value}");
    }
    assert!(keys.iter().any(|key| key.ends_with(":config:IMAGE_SIZE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_stay_out_of_redis_without_the_variable() {
    let Some(hosts) = Hosts::start(&[]).await else {
        return;
    };
    hosts.set_in_redis("IMAGE_STEPS", "7").await;
    for size in ["320x320", "384x384"] {
        set_size(&hosts.first, size).await;
        wait_for_size(&hosts.second, size).await;
    }
    assert_eq!(hosts.in_redis("IMAGE_SIZE").await, None);
    let history = hosts.history().await;
    assert!(!history.iter().any(|it| it.contains("IMAGE_STEPS")));
}
