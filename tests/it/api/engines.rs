//! Operations of engines.

use super::accounts::account;
use super::*;
use crate::grants::{digest, hostile};

/// Another version of a component: with an empty section that nothing reads.
pub(crate) fn other_version(mut component: Vec<u8>) -> Vec<u8> {
    component.extend([0, 2, 1, b'a']);
    component
}

fn sketch() -> Vec<u8> {
    std::fs::read(pinhole_tests::engines().join("sketch.wasm")).unwrap()
}

/// A server with the engines `sketch`, which generates, and `hostile`, and its engine directory.
async fn start() -> (Api, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sketch.wasm"), sketch()).unwrap();
    std::fs::write(directory.path().join("hostile.wasm"), hostile("plain")).unwrap();
    let variables = [
        ("IMAGE_GENERATION_ENGINE", "sketch"),
        ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
    ];
    let server = TestServer::start(&variables).await;
    (Api::of(server).await, directory)
}

const INSTALL: &str = "/api/v1/engines/install";

impl Api {
    fn install(&self, component: Vec<u8>, query: &str) -> ApiRequest {
        let path = format!("{INSTALL}{query}");
        self.ask(Method::POST, &path)
            .body("application/octet-stream", component)
    }

    fn act(&self, path: &str, body: &Value) -> ApiRequest {
        let path = format!("/api/v1/engines/{path}");
        self.ask(Method::POST, &path).json(body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_operations_of_users() {
    let (api, _directory) = start().await;
    let (_, user) = account(&api, "ada", "user").await;
    let get = |path: &str| api.ask_as(&user, Method::GET, path);
    api.case("good", get("/api/v1/engines")).await;
    api.case(
        "good_for_an_administrator",
        api.ask(Method::GET, "/api/v1/engines"),
    )
    .await;
    api.case("good", get("/api/v1/engines/sketch/models")).await;
    api.case("unknown", get("/api/v1/engines/nobody/models"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_operations_of_versions() {
    let (api, _directory) = start().await;
    let get = |path: &str| api.ask(Method::GET, path);
    api.case("good", get("/api/v1/engines/sketch")).await;
    api.case("unknown", get("/api/v1/engines/nobody")).await;
    api.case("good", get("/api/v1/engines/sketch/log")).await;
    api.case("unknown", get("/api/v1/engines/nobody/log")).await;

    api.case("nothing_before", api.act("sketch/rollback", &json!({})))
        .await;
    api.case("no_candidate", api.act("sketch/promote", &json!({})))
        .await;
    api.case("no_candidate", api.act("sketch/abort", &json!({})))
        .await;

    let second = other_version(sketch());
    api.case("good", api.install(second.clone(), "")).await;
    api.case("no_component", api.install(b"text".to_vec(), ""))
        .await;
    api.case(
        "unknown_strategy",
        api.install(b"x".to_vec(), "?strategy=all"),
    )
    .await;
    let why = json!({"why": "edits are blurred"});
    api.case("good", api.act("sketch/rollback", &why)).await;
    api.case("rolled_back", api.install(second.clone(), ""))
        .await;
    let two_lines = json!({"why": "a\nb"});
    api.case("two_lines", api.act("sketch/rollback", &two_lines))
        .await;
    let unknown = json!({"to": "00"});
    api.case("unknown_version", api.act("sketch/rollback", &unknown))
        .await;
    let forced = "?force=true&strategy=canary";
    api.case("good_canary", api.install(second.clone(), forced))
        .await;
    api.case("good", api.act("sketch/abort", &json!({}))).await;
    api.install(second, "?force=true").send_ok().await;
    api.case("good", api.act("sketch/promote", &json!({})))
        .await;
    api.case("good", api.act("sketch/pin", &json!({}))).await;
    let third = other_version(other_version(sketch()));
    api.case("pinned", api.install(third, "")).await;
    api.case("good", api.act("sketch/unpin", &json!({}))).await;
    api.case("good", get("/api/v1/engines/sketch/history"))
        .await;

    let remove = |query: &str| {
        let path = format!("/api/v1/engines/sketch{query}");
        api.ask(Method::DELETE, &path)
    };
    api.case("needed", remove("")).await;
    api.case("good", remove("?force=true")).await;
    api.case("unknown", remove("?force=true")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_operations_of_rights() {
    let (api, directory) = start().await;
    let request = "api GET /allowed/";
    api.case(
        "good",
        api.act("hostile/requests", &json!({"deny": [request]})),
    )
    .await;
    let undeclared = json!({"allow": ["api GET /secret"]});
    api.case("undeclared", api.act("hostile/requests", &undeclared))
        .await;

    let more = hostile("request");
    let nothing = json!({"digest": digest(&more)});
    api.case("nothing_pending", api.act("hostile/grant", &nothing))
        .await;
    api.case("good_parked", api.install(more.clone(), "")).await;
    let other = json!({"digest": digest(b"")});
    api.case("other_digest", api.act("hostile/grant", &other))
        .await;
    let reviewed = json!({"digest": format!("sha256:{}", digest(&more))});
    api.case("good", api.act("hostile/grant", &reviewed)).await;

    std::fs::write(directory.path().join("broken.wasm"), b"\0asm\x01\0\0\0").unwrap();
    api.case("good", api.act("update", &json!({}))).await;
}

impl ApiRequest {
    async fn send_ok(self) {
        let response = self.request.send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
