//! The permission `features.image_generation`.

use serde_json::json;

use super::{PROHIBITED, create_user, delete, get, image_request, post, server};

#[tokio::test(flavor = "multi_thread")]
async fn every_api_needs_image_permission() {
    let server = server(&[("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "False")]).await;
    let (_, token) = create_user(&server, "ada", "user").await;
    let (_, user) = get(&server, "/api/v1/auths/", &token).await;
    assert_eq!(user["permissions"]["features"]["image_generation"], false);
    let turn = json!({"features": {"image_generation": true},
                      "messages": [{"role": "user", "content": "a fox"}]});
    for (path, body) in [
        ("/v1/images/generations", image_request()),
        ("/v1/images/edits", image_request()),
        ("/v1/images/generations", json!("no request")),
        ("/api/v1/images/generations", json!({"prompt": "a fox"})),
        (
            "/api/v1/images/edit",
            json!({"image": "x", "prompt": "a fox"}),
        ),
        ("/api/chat/completions", turn.clone()),
    ] {
        let (status, refused) = post(&server, path, &token, body).await;
        assert_eq!(status, 403, "{path}: {refused}");
        assert!(
            refused.to_string().contains(PROHIBITED),
            "{path}: {refused}"
        );
    }
    assert_eq!(server.stored_files(), 0);
    // Administrators need no permission.
    let (status, response) = post(&server, "/api/chat/completions", &server.key, turn).await;
    assert_eq!((status, server.stored_files()), (200, 1), "{response}");
}

#[tokio::test(flavor = "multi_thread")]
async fn group_grants_image_permission() {
    let server = server(&[("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "False")]).await;
    let (ada, token) = create_user(&server, "ada", "user").await;
    let draws = async || {
        post(&server, "/v1/images/generations", &token, image_request())
            .await
            .0
    };
    let group = |name: &str, may: bool| {
        let permissions = json!({"features": {"image_generation": may, "web_search": true}});
        json!({"name": name, "description": "", "permissions": permissions})
    };
    let make = async |name: &str, may: bool| {
        let path = "/api/v1/groups/create";
        let (status, created) = post(&server, path, &server.key, group(name, may)).await;
        assert_eq!(status, 200, "{created}");
        let only = json!({"features": {"image_generation": may}});
        assert_eq!(created["permissions"], only);
        format!("/api/v1/groups/id/{}", created["id"].as_str().unwrap())
    };
    let readers = make("readers", false).await;
    let painters = make("painters", true).await;
    let members = json!({"user_ids": [ada, ada, "nobody"]});
    for (path, expected_status) in [(&readers, 403), (&painters, 200)] {
        let path = format!("{path}/users/add");
        let (status, changed) = post(&server, &path, &server.key, members.clone()).await;
        assert_eq!((status, &changed["member_count"]), (200, &json!(1)));
        assert_eq!(draws().await, expected_status);
    }
    let (_, all) = get(&server, "/api/v1/groups/", &server.key).await;
    let names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["painters", "readers"]);

    let remove = format!("{painters}/users/remove");
    assert_eq!(post(&server, &remove, &server.key, members).await.0, 200);
    assert_eq!(draws().await, 403);
    let update = format!("{readers}/update");
    let (status, changed) = post(&server, &update, &server.key, group("r", true)).await;
    assert_eq!((status, &changed["name"]), (200, &json!("r")));
    assert_eq!(draws().await, 200);
    assert_eq!(
        delete(&server, &format!("{readers}/delete"), &server.key)
            .await
            .0,
        200
    );
    assert_eq!(draws().await, 403);
    assert_eq!(get(&server, &readers, &server.key).await.0, 404);
}
