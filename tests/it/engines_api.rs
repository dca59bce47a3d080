//! The HTTP API of engines: who may use it, what bad input gets, what the models are, and what administrators hear.

mod bindings;
mod log_stream;

use http::Method;
use pinhole::event::{Event, EventTarget};
use pinhole_tests::{TestServer, engines};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::api::engines::other_version;
use crate::events::{EventStream, PATIENCE};
use crate::grants::{digest, hostile};

const INSTALL: &str = "/api/v1/engines/install";

fn sketch() -> Vec<u8> {
    std::fs::read(engines().join("sketch.wasm")).unwrap()
}

async fn respond(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn request(server: &TestServer, key: &str, method: Method, path: &str) -> reqwest::RequestBuilder {
    let request = server.client.request(method, server.url(path));
    request
        .bearer_auth(key)
        .header("content-type", "application/json")
}

async fn install(server: &TestServer, component: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = request(server, &server.key, Method::POST, INSTALL);
    respond(request.body(component)).await
}

/// The routes that only administrators may call.
fn administrator_routes() -> Vec<(Method, String)> {
    let actions = [
        "rollback", "pin", "unpin", "promote", "abort", "grant", "requests",
    ];
    let mut routes: Vec<_> = actions
        .iter()
        .map(|action| (Method::POST, format!("/api/v1/engines/sketch/{action}")))
        .collect();
    routes.extend([
        (Method::POST, INSTALL.to_owned()),
        (Method::POST, "/api/v1/engines/update".to_owned()),
        (Method::GET, "/api/v1/engines/sketch".to_owned()),
        (Method::GET, "/api/v1/engines/sketch/history".to_owned()),
        (Method::GET, "/api/v1/engines/sketch/log".to_owned()),
        (Method::GET, "/api/v1/engines/sketch/stats".to_owned()),
        (Method::DELETE, "/api/v1/engines/sketch".to_owned()),
    ]);
    routes
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_engines_refuse_users_and_callers_without_a_key() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let user = server.add_second_user().await;
    for (method, path) in administrator_routes() {
        for key in [user, "sk-nobody"] {
            let request = request(&server, key, method.clone(), &path).body("{}");
            let (status, body) = respond(request).await;
            assert_eq!(status, 401, "{method} {path}: {body}");
        }
    }
    // Headers do not make a caller one of the control socket.
    let forged = request(&server, user, Method::DELETE, "/api/v1/engines/sketch")
        .header("x-control-user", "admin")
        .header("x-forwarded-for", "127.0.0.1");
    assert_eq!(respond(forged).await.0, 401);
    assert!(server.app.releases.engines().get("sketch").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_engines_name_an_unknown_engine() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (method, path) in administrator_routes() {
        if path == INSTALL || path.ends_with("/update") {
            continue;
        }
        let path = path.replace("sketch", "no%20body");
        let fields = json!({"digest": digest(b""), "allow": ["api GET /"]});
        let request = request(&server, &server.key, method.clone(), &path);
        let (status, body) = respond(request.body(fields.to_string())).await;
        assert_eq!(status, 404, "{method} {path}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.contains("unknown engine no body: use one of sketch"),
            "{detail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn install_refuses_bad_bodies_and_changes_nothing() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let half = sketch()[..1000].to_vec();
    for (component, expected) in [
        (Vec::new(), "the body is empty"),
        (b"{\"name\": \"sketch\"}".to_vec(), "is not WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "is a core module"),
        (half, "the component"),
    ] {
        let (status, body) = install(&server, component).await;
        let detail = body["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
    let (too_long, refusal) = install(&server, vec![0; (64 << 20) + 1]).await;
    assert_eq!(too_long, 413, "{refusal}");
    for (path, body) in [
        ("sketch/rollback", "[]"),
        ("sketch/rollback", "{\"to\": 5}"),
        ("sketch/rollback", ""),
        ("sketch/grant", "{}"),
        ("sketch/requests", "{\"allow\": \"api GET /\"}"),
        ("install?strategy=all", "x"),
        ("install?force=perhaps", "x"),
    ] {
        let path = format!("/api/v1/engines/{path}");
        let request = request(&server, &server.key, Method::POST, &path).body(body);
        let (status, response) = respond(request).await;
        assert_eq!(status, 400, "{path} {body}: {response}");
    }
    let list = server.app.releases.list();
    let [engine] = &list.engines[..] else {
        panic!("{list:?}");
    };
    assert_eq!(
        (engine.versions.len(), engine.revision),
        (1, 1),
        "{engine:?}"
    );
    let lines = server.app.audit.newest(None, 10).unwrap();
    assert!(
        lines
            .iter()
            .any(|it| it.kind == "admission" && it.message.contains("is a core module")),
        "{}",
        lines.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_with_the_name_of_a_route_is_reached_by_an_encoded_path() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let path = "/api/v1/engines/%69nstall";
    let request = request(&server, &server.key, Method::DELETE, path);
    let (status, body) = respond(request).await;
    assert_eq!(status, 404, "{body}");
    assert!(body["detail"].as_str().unwrap().contains("engine install"));
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_names_the_settings_that_need_the_engine() {
    let bindings = json!({"quick": {"engine": "sketch"}}).to_string();
    let server = TestServer::with_engine(
        "sketch",
        &[
            ("IMAGE_EDIT_ENGINE", "quick"),
            ("PINHOLE_FALLBACKS", "quick"),
            ("PINHOLE_MODEL_ALIASES", "{\"dall-e-3\": \"sketch\"}"),
            ("PINHOLE_BINDINGS", &bindings),
        ],
    )
    .await;
    let remove = async |query: &str| {
        let path = format!("/api/v1/engines/sketch{query}");
        respond(request(&server, &server.key, Method::DELETE, &path)).await
    };
    let (status, body) = remove("").await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(
        body["detail"],
        "engine sketch is needed by IMAGE_GENERATION_ENGINE, IMAGE_EDIT_ENGINE, PINHOLE_FALLBACKS (quick), \
         PINHOLE_MODEL_ALIASES (dall-e-3), PINHOLE_BINDINGS (quick): change that first, or force it"
    );
    let (forced, removed) = remove("?force=true").await;
    assert_eq!(
        (forced, &removed["serves"]),
        (200, &json!(false)),
        "{removed}"
    );
    let entry = &server.app.releases.history("sketch").await.unwrap()[0];
    assert_eq!(
        (entry.what.as_str(), entry.user_name.as_str()),
        ("removed", "Administrator")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_hear_of_changes_of_engines() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let user = server.add_second_user().await;
    tokio::spawn(server.app.clone().announce_engine_changes());
    let mut events = EventStream::connect_as(&server, "", None).await;
    let other = server.client.get(server.url("/api/events"));
    let mut other = other.bearer_auth(user).send().await.unwrap();

    let second = other_version(sketch());
    let (_, report) = install(&server, second.clone()).await;
    assert_eq!(report["state"], "candidate", "{report}");
    let (_, installed) = events.next().await;
    let expected = json!({
        "engine": "sketch", "what": "installed", "digest": digest(&second),
        "version": report["version"], "state": "candidate",
    });
    assert_eq!(
        installed["data"],
        json!({"type": "pinhole:engine", "data": expected})
    );
    let path = "/api/v1/engines/sketch/rollback";
    let (status, _) = server.post_json(path, &json!({})).await;
    assert_eq!(status, 200);
    let (_, rolled_back) = events.next().await;
    assert_eq!(rolled_back["data"]["data"]["what"], "rolled-back");
    assert_eq!(rolled_back["data"]["data"]["state"], "rolled-back");

    let (_, new) = install(&server, hostile("plain")).await;
    assert_eq!(new["state"], "current", "{new}");
    let (_, added) = events.next().await;
    assert_eq!(added["data"]["data"]["engine"], "hostile");
    // A user hears nothing of it.
    server.app.events.emit(Event {
        target: EventTarget {
            user_id: "second".to_owned(),
            chat_id: None,
            message_id: String::new(),
        },
        kind: "status",
        data: json!("of the user"),
    });
    let chunk = timeout(PATIENCE, other.chunk()).await.unwrap();
    let first = String::from_utf8(chunk.unwrap().unwrap().to_vec()).unwrap();
    assert!(
        first.contains("of the user") && !first.contains("pinhole:engine"),
        "{first}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn description_of_an_engine_has_its_figures() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let job = json!({"prompt": "a hill", "size": "32x32"});
    let (made, _) = server.post_json("/v1/images/generations", &job).await;
    assert_eq!(made, 200);
    let path = "/api/v1/engines/sketch";
    let (status, body) = respond(request(&server, &server.key, Method::GET, path)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["figures"][0]["jobs"], 1, "{body}");
    assert_eq!(body["figures"][0]["digest"], body["serving"]["digest"]);
    assert_eq!(body["log"], json!([]));
}
