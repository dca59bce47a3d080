//! Operations of bindings, and the check of settings.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn binding_operations() {
    let api = Api::start(&[]).await;
    let post = |path: &str, body: Value| api.ask(Method::POST, path).json(&body);
    let put = |path: &str, body: Value| api.ask(Method::PUT, path).json(&body);
    let delete = |path: &str| api.ask(Method::DELETE, path);

    let small = json!({"engine": "sketch", "size": "64x64", "headers": {"X-A": "hunter22"}, "groups": ["Designers"]});
    api.case("good", put("/api/v1/bindings/small", small)).await;
    let nowhere = json!({"engine": "nowhere"});
    api.case("unknown_engine", put("/api/v1/bindings/small", nowhere))
        .await;
    let fallbacks = |names: Value| put("/api/v1/fallbacks", json!({"fallbacks": names}));
    api.case("good", fallbacks(json!(["small"]))).await;
    api.case("unknown_name", fallbacks(json!(["nowhere"])))
        .await;
    api.case("good", api.ask(Method::GET, "/api/v1/bindings"))
        .await;
    api.case("named", delete("/api/v1/bindings/small")).await;

    let resolve = "/api/v1/bindings/resolve";
    api.case("good", post(resolve, json!({"operation": "edit"})))
        .await;
    api.case("unknown_user", post(resolve, json!({"user_id": "nowhere"})))
        .await;
    for operation in ["verify", "models", "explain"] {
        let path = |name: &str| format!("/api/v1/bindings/{name}/{operation}");
        let size = json!({"settings": {"IMAGE_STEPS": 7}});
        api.case("good", post(&path("sketch"), size)).await;
        api.case("unknown", post(&path("nowhere"), json!({}))).await;
        let steps = json!({"settings": {"IMAGE_STEPS": "many"}});
        api.case("wrong_type", post(&path("sketch"), steps)).await;
    }
    let lost = json!({"definition": {"engine": "nowhere"}});
    api.case("good_but_lost", post("/api/v1/bindings/new/verify", lost))
        .await;

    assert_eq!(
        fallbacks(json!([])).request.send().await.unwrap().status(),
        200
    );
    api.case("good", delete("/api/v1/bindings/small")).await;
    api.case("unknown", delete("/api/v1/bindings/small")).await;

    let check = "/api/v1/settings/check";
    let values = json!({"IMAGE_SIZE": "64", "IMAGE_GENERATION_MODEL": "flux"});
    api.case("good", post(check, values)).await;

    let stats = |range: &str| api.ask(Method::GET, &format!("/api/v1/engines/sketch/stats{range}"));
    api.case("good", stats("")).await;
    api.case("good_day", stats("?range=24h")).await;
    let unknown = api.ask(Method::GET, "/api/v1/engines/nowhere/stats");
    api.case("unknown", unknown).await;
}
