//! Administration of users and groups. At least one administrator always exists.

use http::Method;
use serde_json::json;

use super::{PROHIBITED, create_user, delete, get, image_request, post, request_as, server};

#[tokio::test(flavor = "multi_thread")]
async fn account_routes_need_administrator() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    let routes = [
        (Method::GET, "/api/v1/users/".to_owned()),
        (Method::GET, "/api/v1/users/default/permissions".to_owned()),
        (Method::GET, format!("/api/v1/users/{id}")),
        (Method::POST, format!("/api/v1/users/{id}/update")),
        (Method::DELETE, format!("/api/v1/users/{id}")),
        (Method::POST, "/api/v1/auths/add".to_owned()),
        (Method::GET, "/api/v1/groups/".to_owned()),
        (Method::POST, "/api/v1/groups/create".to_owned()),
        (Method::GET, "/api/v1/groups/id/5".to_owned()),
        (Method::POST, "/api/v1/groups/id/5/update".to_owned()),
        (Method::DELETE, "/api/v1/groups/id/5/delete".to_owned()),
        (Method::POST, "/api/v1/groups/id/5/users/add".to_owned()),
        (Method::POST, "/api/v1/groups/id/5/users/remove".to_owned()),
    ];
    let body = json!({"role": "admin", "name": "x", "user_ids": []});
    for (method, path) in routes {
        let (status, detail) =
            request_as(&server, method.clone(), &path, "", Some(body.clone())).await;
        assert_eq!(
            (status, detail),
            (401, json!({"detail": "Not authenticated"})),
            "{path}"
        );
        let (user_status, user_body) =
            request_as(&server, method, &path, &token, Some(body.clone())).await;
        assert_eq!(
            (user_status, user_body),
            (401, json!({"detail": PROHIBITED})),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_administrator_cannot_be_removed() {
    let server = server(&[]).await;
    let (_, known) = get(&server, "/api/v1/auths/", &server.key).await;
    let first = format!("/api/v1/users/{}", known["id"].as_str().unwrap());
    let demote = format!("{first}/update");
    let user = json!({"role": "user"});
    assert_eq!(
        post(&server, &demote, &server.key, user.clone()).await.0,
        400
    );
    assert_eq!(delete(&server, &first, &server.key).await.0, 403);
    let password = json!({"password": "set by another"});
    assert_eq!(post(&server, &demote, &server.key, password).await.0, 400);

    let (ada, token) = create_user(&server, "ada", "admin").await;
    let ada = format!("/api/v1/users/{ada}");
    assert_eq!(
        post(&server, &demote, &server.key, user.clone()).await.0,
        200
    );
    assert_eq!(get(&server, "/api/v1/users/", &server.key).await.0, 401);
    assert_eq!(
        post(&server, &format!("{ada}/update"), &token, user)
            .await
            .0,
        400
    );
    assert_eq!(delete(&server, &first, &token).await, (200, json!(true)));
    // A refused change has no effect: a new password would end the session.
    let both = json!({"role": "pending", "password": "set by another"});
    let update = format!("{ada}/update");
    assert_eq!(post(&server, &update, &token, both).await.0, 400);
    let (_, remaining) = get(&server, "/api/v1/users/?page=1", &token).await;
    assert_eq!(
        (&remaining["total"], &remaining["users"][0]["name"]),
        (&json!(1), &json!("ada"))
    );
    assert_eq!(
        get(&server, "/api/v1/users/?page=2", &token).await.1["users"],
        json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_user_removes_files_and_sessions() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    let (_, key) = post(&server, "/api/v1/auths/api_key", &token, json!({})).await;
    let key = key["api_key"].as_str().unwrap();
    let group = json!({"name": "painters", "permissions": null});
    let (_, group) = post(&server, "/api/v1/groups/create", &server.key, group).await;
    let group = format!("/api/v1/groups/id/{}", group["id"].as_str().unwrap());
    let members = json!({"user_ids": [id]});
    let add = format!("{group}/users/add");
    let (_, joined) = post(&server, &add, &server.key, members).await;
    assert_eq!(joined["member_count"], 1);
    for _ in 0..2 {
        assert_eq!(
            post(&server, "/v1/images/generations", key, image_request())
                .await
                .0,
            200
        );
    }
    assert_eq!(server.stored_files(), 2);
    let user = format!("/api/v1/users/{id}");
    assert_eq!(
        delete(&server, &user, &server.key).await,
        (200, json!(true))
    );
    assert_eq!(server.stored_files(), 0);
    for credential in [key, &token] {
        assert_eq!(get(&server, "/api/v1/auths/", credential).await.0, 401);
    }
    assert_eq!(get(&server, &group, &server.key).await.1["member_count"], 0);
    assert_eq!(delete(&server, &user, &server.key).await.0, 404);
    // The email address can be used again.
    create_user(&server, "ada", "pending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_account_change_changes_nothing() {
    let server = server(&[]).await;
    let (id, token) = create_user(&server, "ada", "user").await;
    let update = format!("/api/v1/users/{id}/update");
    for body in [
        json!({"role": "root"}),
        json!({"role": "admin", "name": ""}),
        json!({"role": "admin", "password": "short"}),
        json!({"role": 7}),
        json!([]),
    ] {
        assert_eq!(
            post(&server, &update, &server.key, body.clone()).await.0,
            400,
            "{body}"
        );
    }
    let (_, user) = get(&server, "/api/v1/auths/", &token).await;
    assert_eq!(
        (&user["role"], &user["name"]),
        (&json!("user"), &json!("ada"))
    );
    let long = "x".repeat(3000);
    let many = vec!["x"; 1001];
    let create = "/api/v1/groups/create";
    assert_eq!(post(&server, create, &server.key, json!({})).await.0, 400);
    let body = json!({"name": "a", "description": long});
    assert_eq!(post(&server, create, &server.key, body).await.0, 400);
    let (_, group) = post(&server, create, &server.key, json!({"name": "a"})).await;
    let group = format!("/api/v1/groups/id/{}", group["id"].as_str().unwrap());
    let add = format!("{group}/users/add");
    let too_many = json!({"user_ids": many});
    assert_eq!(post(&server, &add, &server.key, too_many).await.0, 400);
    for path in [
        "/api/v1/users/?page=0",
        "/api/v1/users/?page=x",
        "/api/v1/users/%ff",
        "/api/v1/groups/id/%ff",
    ] {
        assert_eq!(get(&server, path, &server.key).await.0, 400, "{path}");
    }
    assert_eq!(get(&server, "/api/v1/users/5", &server.key).await.0, 404);
    assert_eq!(
        get(&server, "/api/v1/users/?page=4294967295", &server.key)
            .await
            .0,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_text_and_role_with_their_activity() {
    let server = server(&[]).await;
    let (ada, token) = create_user(&server, "Ada", "user").await;
    create_user(&server, "bob_100%", "pending").await;
    let names = async |query: &str| {
        let path = format!("/api/v1/users/?{query}");
        let (status, list) = get(&server, &path, &server.key).await;
        assert_eq!(status, 200, "{query}: {list}");
        let users = list["users"].as_array().unwrap();
        assert_eq!(list["total"], users.len(), "{query}");
        let names = users.iter().map(|user| user["name"].as_str().unwrap());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names.join(" ")
    };
    for (query, expected) in [
        ("", "Ada Administrator bob_100%"),
        ("query=", "Ada Administrator bob_100%"),
        ("query=ADA", "Ada"),
        ("query=a", "Ada Administrator bob_100%"),
        ("query=ada%40example", "Ada"),
        ("query=example.com", "Ada bob_100%"),
        ("query=_100%25", "bob_100%"),
        ("query=%25", "bob_100%"),
        ("query=_", "bob_100%"),
        ("query=%5C", ""),
        ("query=%27", ""),
        ("role=pending", "bob_100%"),
        ("role=admin", "Administrator"),
        ("role=user&query=bob", ""),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for query in ["role=root".to_owned(), format!("query={}", "x".repeat(201))] {
        let path = format!("/api/v1/users/?{query}");
        assert_eq!(get(&server, &path, &server.key).await.0, 400, "{query}");
    }

    let path = format!("/api/v1/users/{ada}");
    let (_, before) = get(&server, &path, &server.key).await;
    assert_eq!(before["image_count"], 0);
    assert_eq!(
        post(&server, "/v1/images/generations", &token, image_request())
            .await
            .0,
        200
    );
    let (_, list) = get(&server, "/api/v1/users/?query=ada%40", &server.key).await;
    let user = &list["users"][0];
    assert_eq!(user["image_count"], 1);
    let age = user["last_active_at"].as_i64().unwrap() - user["created_at"].as_i64().unwrap();
    assert!((0..600).contains(&age), "{user}");
    let (_, others) = get(&server, "/api/v1/users/?query=bob", &server.key).await;
    assert_eq!(others["users"][0]["last_active_at"], json!(null));
}
