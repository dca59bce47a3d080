//! The list of jobs, and who sees what.

use http::Method;

use super::*;

async fn list(server: &TestServer, key: &str, query: &str) -> (u16, Value) {
    send(server, key, Method::GET, &format!("{JOBS}{query}"), None).await
}

fn ids(page: &Value) -> Vec<&str> {
    page["jobs"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn list_has_pages_and_states() {
    let (_upstream, server) = openai_server(200, image_response()).await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        let job = start(&server, &json!({"prompt": "a fox"})).await;
        jobs.push(wait(&server, &job).await);
    }
    let newest_first: Vec<&str> = jobs.iter().rev().map(id).collect();
    let (_, all) = list(&server, &server.key, "").await;
    assert_eq!(ids(&all), newest_first);
    assert_eq!(all["next"], Value::Null);
    assert_eq!(all["jobs"][0], jobs[4]);
    let (mut cursor, mut found) = (String::new(), Vec::new());
    for page in [2, 2, 1] {
        let (_, body) = list(&server, &server.key, &format!("?limit=2{cursor}")).await;
        assert_eq!(ids(&body).len(), page);
        found.extend(ids(&body).into_iter().map(str::to_owned));
        assert_eq!(body["next"].is_null(), page == 1, "{body}");
        cursor = format!("&cursor={}", body["next"].as_str().unwrap_or_default());
    }
    assert_eq!(found, newest_first);
    for (state, count) in [
        ("done", 5),
        ("ended", 5),
        ("active", 0),
        ("running", 0),
        ("failed", 0),
    ] {
        let (_, body) = list(&server, &server.key, &format!("?state={state}")).await;
        assert_eq!(ids(&body).len(), count, "{state}");
    }
    for query in [
        "?state=odd",
        "?limit=0",
        "?limit=101",
        "?limit=x",
        "?cursor=x",
        "?cursor=",
        "?mine=x",
    ] {
        let (status, error) = list(&server, &server.key, query).await;
        assert_eq!(status, 400, "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_other_users_are_hidden_and_their_prompts_from_administrators() {
    let (_upstream, server) = openai_server(200, image_response()).await;
    let second = server.add_second_user().await;
    let ours = wait(
        &server,
        &start(&server, &json!({"prompt": "our fox"})).await,
    )
    .await;
    let body = json!({"prompt": "their fox"});
    let (_, accepted) = send(&server, second, Method::POST, JOBS, Some(&body)).await;
    let waiting = format!("{JOBS}/{}?wait=60", id(&accepted));
    let (_, theirs) = send(&server, second, Method::GET, &waiting, None).await;
    assert_eq!(theirs["revised_prompt"], "a red fox");

    let (_, own) = list(&server, second, "").await;
    assert_eq!(ids(&own), [id(&theirs)]);
    for (method, path) in [
        (Method::GET, format!("{JOBS}/{}", id(&ours))),
        (Method::DELETE, format!("{JOBS}/{}", id(&ours))),
    ] {
        let (status, error) = send(&server, second, method, &path, None).await;
        assert_eq!(
            (status, &error),
            (404, &json!({"detail": "you have no such job"}))
        );
    }
    for query in ["?mine=false", "?user=second", "?user=x&mine=true"] {
        let (status, error) = list(&server, second, query).await;
        assert_eq!(status, 403, "{query}: {error}");
    }

    let (_, mine) = list(&server, &server.key, "?mine=true").await;
    assert_eq!(ids(&mine), [id(&ours)]);
    let (_, all) = list(&server, &server.key, "?mine=false").await;
    assert_eq!(ids(&all), [id(&theirs), id(&ours)]);
    let (_, of_second) = list(&server, &server.key, "?user=second").await;
    assert_eq!(ids(&of_second), [id(&theirs)]);
    let seen = get(&server, &format!("{JOBS}/{}", id(&theirs))).await;
    assert_eq!(of_second["jobs"][0]["user_name"], "Second");
    for job in [&all["jobs"][0], &seen] {
        assert_eq!(job["request"], Value::Null, "{job}");
        assert!(!job.to_string().contains("fox"), "{job}");
    }
    assert_eq!(all["jobs"][1]["request"]["prompt"], "our fox");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_deleted_user_are_stopped_and_removed() {
    let (upstream, server) = hanging_server(&[]).await;
    let second = server.add_second_user().await;
    let body = json!({"prompt": "a fox"});
    let (_, job) = send(&server, second, Method::POST, JOBS, Some(&body)).await;
    upstream.wait_for_requests(1).await;
    let user = "/api/v1/users/second";
    let (status, deleted) = send(&server, &server.key, Method::DELETE, user, None).await;
    assert_eq!((status, deleted), (200, json!(true)));
    upstream.wait_until_idle().await;
    let path = format!("{JOBS}/{}", id(&job));
    while send(&server, &server.key, Method::GET, &path, None).await.0 != 404 {}
}
