//! The HTTP API of engines: who may use it, what bad input gets, what the models are, and what administrators hear.

use std::collections::BTreeSet;

use http::Method;
use pinhole::chat::event::{Event, EventTarget};
use pinhole_tests::{FakeUpstream, TestServer, engines};
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
        let body = json!({"digest": digest(b""), "allow": ["api GET /"]});
        let request = request(&server, &server.key, method.clone(), &path);
        let (status, body) = respond(request.body(body.to_string())).await;
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
    for (body, expected) in [
        (Vec::new(), "the body is empty"),
        (b"{\"name\": \"sketch\"}".to_vec(), "is not WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "is a core module"),
        (half, "the component"),
    ] {
        let (status, body) = install(&server, body).await;
        let detail = body["detail"].as_str().unwrap();
        assert_eq!(status, 400, "{detail}");
        assert!(detail.contains(expected), "{detail}");
    }
    let (status, body) = install(&server, vec![0; (64 << 20) + 1]).await;
    assert_eq!(status, 413, "{body}");
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
    let (status, body) = remove("?force=true").await;
    assert_eq!((status, &body["serves"]), (200, &json!(false)), "{body}");
    let entry = &server.app.releases.history("sketch").await.unwrap()[0];
    assert_eq!(
        (entry.what.as_str(), entry.user_name.as_str()),
        ("removed", "Administrator")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_the_bindings_that_they_may_use() {
    let bindings = json!({
        "quick": {"engine": "sketch", "model": "m", "size": "64x48"},
        "closed": {"engine": "sketch", "groups": ["artists"]},
    });
    let bindings = bindings.to_string();
    let server = TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "sketch"),
        ("IMAGE_EDIT_ENGINE", "comfyui"),
        ("PINHOLE_BINDINGS", &bindings),
    ])
    .await;
    let user = server.add_second_user().await;
    let list = async |key: &str| {
        let (status, body) = respond(request(&server, key, Method::GET, "/api/v1/engines")).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let names = |body: &Value| -> Vec<String> {
        let bindings = body["bindings"].as_array().unwrap().iter();
        bindings
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (of_user, of_administrator) = (list(user).await, list(&server.key).await);
    assert!(!names(&of_user).contains(&"closed".to_owned()));
    assert!(names(&of_administrator).contains(&"closed".to_owned()));
    assert!(of_user["releases"].is_null() && of_administrator["releases"].is_object());
    let find = |body: &Value, name: &str| -> Value {
        let mut bindings = body["bindings"].as_array().unwrap().iter();
        bindings.find(|it| it["name"] == name).unwrap().clone()
    };
    let quick = find(&of_user, "quick");
    assert_eq!(
        (
            &quick["engine"],
            &quick["default_model"],
            &quick["default_size"]
        ),
        (&json!("sketch"), &json!("m"), &json!("64x48"))
    );
    assert_eq!(quick["is_ready"], true);
    assert_eq!(find(&of_user, "sketch")["generates_by_default"], true);
    let comfyui = find(&of_user, "comfyui");
    assert_eq!(
        (&comfyui["edits_by_default"], &comfyui["abilities"]["edit"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&comfyui["is_ready"], &comfyui["reason"]),
        (
            &json!(false),
            &json!("its settings are incomplete or invalid: ask an administrator")
        )
    );
    let reason = find(&of_administrator, "comfyui")["reason"].clone();
    let reason = reason.as_str().unwrap();
    assert!(reason.contains("COMFYUI_BASE_URL"), "{reason}");
    // What a user may not use is unknown to them.
    for path in ["closed", "nobody"] {
        let path = format!("/api/v1/engines/{path}/models");
        let (status, _) = respond(request(&server, user, Method::GET, &path)).await;
        assert_eq!(status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_an_engine_agree_with_those_of_openai_clients() {
    let models = json!({"object": "list", "data": [{"id": "gpt-image-2"}, {"id": "flux"}]});
    let upstream = FakeUpstream::json(200, models).await;
    let server = TestServer::with_engine(
        "openai",
        &[
            ("IMAGES_OPENAI_API_BASE_URL", &upstream.url()),
            ("IMAGES_OPENAI_API_KEY", "key"),
        ],
    )
    .await;
    let user = server.add_second_user().await;
    for key in [user, server.key.as_str()] {
        let ids = async |path: &str, list: &str| -> BTreeSet<String> {
            let (status, body) = respond(request(&server, key, Method::GET, path)).await;
            assert_eq!(status, 200, "{body}");
            let models = body.pointer(list).unwrap().as_array().unwrap().iter();
            models
                .map(|it| it["id"].as_str().unwrap().to_owned())
                .collect()
        };
        let of_engine = ids("/api/v1/engines/openai/models", "").await;
        assert_eq!(of_engine.len(), 2);
        assert_eq!(ids("/v1/models", "/data").await, of_engine);
        assert_eq!(ids("/api/v1/images/models", "").await, of_engine);
    }
    // The list is cached.
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_hear_of_changes_of_engines() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let user = server.add_second_user().await;
    tokio::spawn(server.app.clone().announce_engine_changes());
    let mut events = EventStream::connect_as(&server, "", None).await;
    let mut other = server.client.get(server.url("/api/events"));
    other = other.bearer_auth(user);
    let mut other = other.send().await.unwrap();

    // Followers start with their task.
    tokio::task::yield_now().await;
    let second = other_version(sketch());
    let (status, report) = install(&server, second.clone()).await;
    assert_eq!(
        (status, &report["state"]),
        (200, &json!("candidate")),
        "{report}"
    );
    let (_, event) = events.next().await;
    let expected = json!({
        "engine": "sketch", "what": "installed", "digest": digest(&second),
        "version": report["version"], "state": "candidate",
    });
    assert_eq!(
        event["data"],
        json!({"type": "pinhole:engine", "data": expected})
    );
    let (status, _) = server
        .post_json("/api/v1/engines/sketch/rollback", &json!({}))
        .await;
    assert_eq!(status, 200);
    let (_, event) = events.next().await;
    assert_eq!(event["data"]["data"]["what"], "rolled-back");
    assert_eq!(event["data"]["data"]["state"], "rolled-back");

    let (status, report) = install(&server, hostile("plain")).await;
    assert_eq!(
        (status, &report["state"]),
        (200, &json!("current")),
        "{report}"
    );
    let (_, event) = events.next().await;
    assert_eq!(event["data"]["data"]["engine"], "hostile");
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
    let first = timeout(PATIENCE, other.chunk()).await.unwrap();
    let first = String::from_utf8(first.unwrap().unwrap().to_vec()).unwrap();
    assert!(
        first.contains("of the user") && !first.contains("pinhole:engine"),
        "{first}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn description_of_an_engine_has_its_figures() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let body = json!({"prompt": "a hill", "size": "32x32"});
    let (status, _) = server.post_json("/v1/images/generations", &body).await;
    assert_eq!(status, 200);
    let path = "/api/v1/engines/sketch";
    let (status, body) = respond(request(&server, &server.key, Method::GET, path)).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["figures"][0]["jobs"], 1, "{body}");
    assert_eq!(body["figures"][0]["digest"], body["serving"]["digest"]);
    assert_eq!(body["log"], json!([]));
}
