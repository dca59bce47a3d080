//! Operations that only Open WebUI's web client needs.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn client_operations() {
    let api = Api::start(&[]).await;
    let get = |path: &str| api.ask(Method::GET, path);
    let post = |path: &str, body: &Value| api.ask(Method::POST, path).json(body);
    for path in [
        "/api/version",
        "/api/version/updates",
        "/api/changelog",
        "/ollama/api/version",
        "/api/v1/configs/banners",
        "/api/v1/tools/",
        "/api/v1/functions/",
        "/api/v1/folders/",
        "/api/v1/folders/shared",
        "/api/v1/channels/",
        "/api/v1/prompts/",
        "/api/v1/skills/",
        "/api/v1/models/list?page=1",
        "/api/v1/knowledge/search?page=1",
        "/api/v1/prompts/list?page=1",
        "/api/v1/skills/list?page=1",
        "/api/v1/tools/list",
        "/api/v1/notes/search?query=&page=1",
        "/api/v1/search?q=&kind=all&page=1",
        "/api/v1/users/any/profile/image",
        "/api/v1/models/model/profile/image?id=any&lang=en-US",
        "/api/v1/images/engines",
        "/api/v1/users/user/settings",
        "/api/v1/models/base",
        "/api/v1/functions/list",
        "/api/v1/pipelines/list",
        "/api/v1/evaluations/feedbacks/all",
        "/api/v1/evaluations/feedbacks/list?page=1",
        "/api/v1/audio/models",
        "/api/v1/audio/voices",
    ] {
        api.case("good", get(path)).await;
    }
    let turn = json!({"model": "m", "messages": [{"id": "a1", "content": "x"}], "chat_id": "c1"});
    api.case("good", post("/api/chat/completed", &turn)).await;
    let zone = json!({"timezone": "Europe/Berlin"});
    api.case("good", post("/api/v1/auths/update/timezone", &zone))
        .await;
    let settings = "/api/v1/users/user/settings/update";
    let theme = json!({"ui": {"theme": "dark", "version": "9"}, "other": 5});
    api.case("good", post(settings, &theme)).await;
    api.case("wrong_type", post(settings, &json!({"ui": 5})))
        .await;
    let long = json!({"ui": {"x": "x".repeat(256 << 10)}});
    api.case("too_long", post(settings, &long)).await;
}

/// The pages of the administrator's area, each with the path to which it is saved and a change of it.
fn pages() -> Vec<(&'static str, &'static str, Value)> {
    let accounts = "/api/v1/auths/admin/config";
    let ldap = "/api/v1/auths/admin/config/ldap";
    let ldap_server = "/api/v1/auths/admin/config/ldap/server";
    let connections = "/api/v1/configs/connections";
    let tool_servers = "/api/v1/configs/tool_servers";
    let code = "/api/v1/configs/code_execution";
    let models = "/api/v1/configs/models";
    let evaluations = "/api/v1/evaluations/config";
    vec![
        (accounts, accounts, json!({"ENABLE_SIGNUP": true})),
        (ldap, ldap, json!({"enable_ldap": true})),
        (ldap_server, ldap_server, json!({"host": "ldap"})),
        ("/api/webhook", "/api/webhook", json!({"url": "http://x"})),
        (
            "/openai/config",
            "/openai/config/update",
            json!({"OPENAI_API_KEYS": ["key", "other"]}),
        ),
        (
            "/ollama/config",
            "/ollama/config/update",
            json!({"OLLAMA_BASE_URLS": ["http://x"]}),
        ),
        (
            connections,
            connections,
            json!({"ENABLE_DIRECT_CONNECTIONS": true}),
        ),
        (
            tool_servers,
            tool_servers,
            json!({"TOOL_SERVER_CONNECTIONS": [{"url": "http://x"}]}),
        ),
        (code, code, json!({"ENABLE_CODE_EXECUTION": true})),
        (models, models, json!({"DEFAULT_MODELS": "m"})),
        (
            evaluations,
            evaluations,
            json!({"EVALUATION_ARENA_MODELS": [{"id": "m"}]}),
        ),
        (
            "/api/v1/audio/config",
            "/api/v1/audio/config/update",
            json!({"tts": {"ENGINE": "openai"}}),
        ),
        (
            "/api/v1/retrieval/config",
            "/api/v1/retrieval/config/update",
            json!({"web": {"ENABLE_WEB_SEARCH": true}}),
        ),
        (
            "/api/v1/retrieval/embedding",
            "/api/v1/retrieval/embedding/update",
            json!({"RAG_EMBEDDING_MODEL": "m"}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn administrator_pages_save_no_change() {
    let api = Api::start(&[
        (
            "OPENAI_API_BASE_URLS",
            "http://127.0.0.1:9/v1;http://127.0.0.1:9/v2",
        ),
        ("OPENAI_API_KEYS", "secret-4711"),
        ("WEBUI_URL", "https://images.example"),
        ("JWT_EXPIRES_IN", "12h"),
    ])
    .await;
    for (path, save_path, change) in pages() {
        let values = api.case("good", api.ask(Method::GET, path)).await;
        assert!(!values.to_string().contains("4711"), "{values}");
        let save = |form: &Value| api.ask(Method::POST, save_path).json(form);
        assert_eq!(api.case("good", save(&values)).await, values);
        let refused = api.case("changed", save(&change)).await;
        let name = change.as_object().unwrap().keys().next().unwrap();
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("{name} cannot be changed")),
            "{detail}"
        );
        assert_eq!(api.case("good", api.ask(Method::GET, path)).await, values);
    }
}
