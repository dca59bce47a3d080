//! Operations of the gallery.

use super::*;

const GALLERY: &str = "/api/v1/gallery";

#[tokio::test(flavor = "multi_thread")]
async fn gallery_operations() {
    let api = Api::start(&[("WEBUI_URL", "https://images.example")]).await;
    let get = |rest: &str| api.ask(Method::GET, &format!("{GALLERY}{rest}"));
    let post = |rest: &str, body: Value| {
        let request = api.ask(Method::POST, &format!("{GALLERY}{rest}"));
        request.json(&body)
    };
    api.case("good_empty", get("")).await;
    // Two equal ones, because the order of images of one second is that of their ids.
    for _ in 0..2 {
        let body = json!({"prompt": "a fox", "size": "64x48", "seed": 5});
        let request = api.server.post("/api/v1/images/generations", &body);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let page = api.case("good", get("?limit=1&q=a")).await;
    let id = page["images"][0]["id"].as_str().unwrap().to_owned();
    let next = page["next"].as_str().unwrap();
    api.case("good_next", get(&format!("?limit=1&q=a&cursor={next}")))
        .await;
    for (case, query) in [
        ("no_limit", "?limit=0"),
        ("bad_cursor", "?cursor=x"),
        ("unknown_kind", "?kind=stolen"),
    ] {
        api.case(case, get(query)).await;
    }
    api.case("good", get("/facets")).await;
    api.case("good", get(&format!("/{id}"))).await;
    api.case("not_found", get("/nothing")).await;
    let ids = json!({"ids": [id], "starred": true});
    api.case("good", post("/star", ids.clone())).await;
    api.case("good_again", post("/star", ids.clone())).await;
    api.case("no_ids", post("/star", json!({"starred": true})))
        .await;
    api.case("good", get(&format!("/zip?ids={id}"))).await;
    api.case("not_found", get("/zip?ids=nothing")).await;
    api.case("no_ids", get("/zip?ids=")).await;
    let link = format!("/api/v1/files/{id}/link");
    let linked = |body: Value| api.ask(Method::POST, &link).json(&body);
    api.case("good", linked(json!({}))).await;
    api.case("too_long", linked(json!({"lifetime_secs": 400_000_000})))
        .await;
    let second_user = api.server.add_second_user().await;
    api.case(
        "somebody_elses",
        api.ask_as(second_user, Method::POST, &link)
            .json(&json!({})),
    )
    .await;
    api.case("good", post("/delete", ids.clone())).await;
    api.case("good", post("/restore", ids.clone())).await;
    api.case("good_nothing", post("/restore", ids)).await;
    let many: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    for (case, path) in [("too_many", "/delete"), ("too_many", "/restore")] {
        api.case(case, post(path, json!({"ids": many}))).await;
    }
}
