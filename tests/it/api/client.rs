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
