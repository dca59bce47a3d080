use pinhole_tests::Server;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn sketch_draws_without_any_configuration() {
    let server = Server::start(&[]).await;
    let (status, json) = server
        .ask(
            "/v1/images/generations",
            &json!({"prompt": "a fox", "size": "64x48", "seed": 7}),
        )
        .await;
    assert_eq!(status, 200, "{json}");
    assert_eq!(json["output_format"], "png");
}
