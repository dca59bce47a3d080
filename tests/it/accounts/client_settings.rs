//! Settings that web clients store for their users.

use super::*;

const SETTINGS: &str = "/api/v1/users/user/settings";
const UPDATE: &str = "/api/v1/users/user/settings/update";
/// More than half of the limit.
const LONG: usize = 150 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_merged_and_belong_to_one_user() {
    let server = server(&[]).await;
    let second = server.add_second_user().await;
    let version = json!(env!("CARGO_PKG_VERSION"));
    let empty = json!({"ui": {"version": version}});
    assert_eq!(
        get(&server, SETTINGS, &server.key).await,
        (200, empty.clone())
    );

    let theme = json!({"ui": {"theme": "dark", "version": "99"}});
    let stored = json!({"ui": {"theme": "dark", "version": version}});
    let response = post(&server, UPDATE, &server.key, theme).await;
    assert_eq!(response, (200, stored.clone()));
    let (status, both) = post(&server, UPDATE, &server.key, json!({"sound": [1]})).await;
    assert_eq!(
        (status, &both["ui"], &both["sound"]),
        (200, &stored["ui"], &json!([1]))
    );
    assert_eq!(get(&server, SETTINGS, &server.key).await, (200, both));
    assert_eq!(get(&server, SETTINGS, second).await, (200, empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_a_limit_and_end_with_their_user() {
    let server = server(&[]).await;
    let second = server.add_second_user().await;
    let long = |name: &str| json!({name: "x".repeat(LONG)});
    let (status, _) = post(&server, UPDATE, second, long("a")).await;
    assert_eq!(status, 200);
    let (refused_status, refused) = post(&server, UPDATE, second, long("b")).await;
    assert_eq!(refused_status, 413, "{refused}");
    assert!(
        refused["detail"].as_str().unwrap().contains("settings"),
        "{refused}"
    );
    let (_, kept) = get(&server, SETTINGS, second).await;
    assert_eq!((kept["a"].is_string(), kept["b"].is_null()), (true, true));
    for body in [
        json!({"ui": "x"}),
        json!({"ui": [1]}),
        json!([]),
        json!("x"),
    ] {
        let (invalid_status, response) = post(&server, UPDATE, second, body.clone()).await;
        assert_eq!(invalid_status, 400, "{body}: {response}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let deep = server
        .client
        .post(server.url(UPDATE))
        .bearer_auth(second)
        .body(deep);
    assert_eq!(deep.send().await.unwrap().status(), 413);

    let (deletion_status, _) = delete(&server, "/api/v1/users/second", &server.key).await;
    assert_eq!(deletion_status, 200);
    let count = "SELECT COUNT(*) FROM user_settings";
    assert_eq!(server.database.number(count).await, 0);
}
