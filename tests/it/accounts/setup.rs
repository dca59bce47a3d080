//! The setup of the first administrator.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{PASSWORD, create_user, get, post, server, sign_in, sign_up, text};

const PATH: &str = "/api/v1/setup";

fn setup(code: &str) -> Value {
    json!({"code": code, "name": "Ada", "email": "ada@example.com", "password": PASSWORD})
}

async fn is_needed(server: &TestServer) -> bool {
    let (status, state) = get(server, PATH, "").await;
    assert_eq!(status, 200, "{state}");
    let (_, config) = get(server, "/api/config", "").await;
    assert_eq!(config["pinhole"]["setup_needed"], state["needed"]);
    state["needed"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_gives_the_first_administrator_a_password_once() {
    let server = server(&[("ENABLE_SIGNUP", "true"), ("DEFAULT_USER_ROLE", "user")]).await;
    assert!(is_needed(&server).await);
    let code = server.app.accounts.setup_code().to_owned();
    let (_, first) = get(&server, "/api/v1/auths/", &server.key).await;

    let response = server.post(PATH, &setup(&code)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let session: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(session["id"], first["id"]);
    assert_eq!(
        (&session["name"], &session["email"], &session["role"]),
        (&json!("Ada"), &json!("ada@example.com"), &json!("admin"))
    );
    let token = text(&session, "token");
    assert_eq!(get(&server, "/api/v1/users/", &token).await.0, 200);
    // The key still works, and the password too.
    assert_eq!(get(&server, "/api/v1/users/", &server.key).await.0, 200);
    assert_eq!(sign_in(&server, "ada@example.com", PASSWORD).await.0, 200);

    assert!(!is_needed(&server).await);
    for later_code in [code.as_str(), "wrong"] {
        let (status, refused) = post(&server, PATH, "", setup(later_code)).await;
        assert_eq!(status, 409, "{refused}");
        assert!(text(&refused, "detail").contains("sign in"), "{refused}");
    }
    // The first account exists, so no sign-up becomes an administrator.
    assert_eq!(sign_up(&server, "Eve").await.1["role"], "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_refuses_wrong_codes_and_invalid_fields() {
    let server = server(&[]).await;
    let code = server.app.accounts.setup_code().to_owned();
    for wrong in [
        "",
        "wrong",
        &code[1..],
        &code.to_uppercase().replace('A', "B"),
        &format!("{code}0"),
    ] {
        let (status, refused) = post(&server, PATH, "", setup(wrong)).await;
        assert_eq!(status, 403, "{wrong}: {refused}");
        assert!(text(&refused, "detail").contains("the URL that the server printed"));
    }
    for (field, invalid) in [
        ("name", json!("a\nb")),
        ("email", json!("ada")),
        ("password", json!("short")),
        ("code", json!(5)),
        ("name", json!(null)),
    ] {
        let mut body = setup(&code);
        body[field] = invalid;
        let (status, refused) = post(&server, PATH, "", body).await;
        assert_eq!(status, 400, "{field}: {refused}");
        assert!(text(&refused, "detail").contains(field), "{refused}");
    }
    create_user(&server, "bob", "user").await;
    let mut taken = setup(&code);
    taken["email"] = json!("Bob@example.com");
    assert_eq!(post(&server, PATH, "", taken).await.0, 400);
    // None of them used the code up.
    assert!(is_needed(&server).await);
    assert_eq!(post(&server, PATH, "", setup(&code)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_attempts_are_limited_and_recorded() {
    let server = server(&[]).await;
    let code = server.app.accounts.setup_code().to_owned();
    for _ in 0..60 {
        assert_eq!(post(&server, PATH, "", setup("wrong")).await.0, 403);
    }
    let response = server.post(PATH, &setup(&code)).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let secs = response.headers()["retry-after"].to_str().unwrap();
    assert!((1..=180).contains(&secs.parse::<u64>().unwrap()), "{secs}");
    let (_, audit) = get(&server, "/api/v1/audit?kind=access", &server.key).await;
    assert_eq!(audit["guards"]["setup-code"], 60, "{audit}");
    let line = audit["lines"].as_array().unwrap().last().unwrap();
    assert!(text(line, "message").starts_with("a setup: the setup code is wrong"));
    assert_eq!(line["user"], "127.0.0.1");
    assert!(!audit.to_string().contains(&code));
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_code_is_of_one_start_and_another_administrator_ends_the_setup() {
    let server = server(&[]).await;
    let old = server.app.accounts.setup_code().to_owned();
    let server = server.restart(&[]).await;
    assert!(is_needed(&server).await);
    assert_eq!(post(&server, PATH, "", setup(&old)).await.0, 403);
    create_user(&server, "bob", "admin").await;
    assert!(!is_needed(&server).await);
    let code = server.app.accounts.setup_code().to_owned();
    assert_eq!(post(&server, PATH, "", setup(&code)).await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_setups_succeed_once() {
    let server = server(&[]).await;
    let code = server.app.accounts.setup_code().to_owned();
    let attempt = async |name: &str| {
        let mut body = setup(&code);
        body["email"] = json!(format!("{name}@example.com"));
        post(&server, PATH, "", body).await.0
    };
    let (one, two, three) = tokio::join!(attempt("a"), attempt("b"), attempt("c"));
    let mut statuses = [one, two, three];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_is_refused_to_pages_of_other_origins() {
    let server = server(&[]).await;
    let code = server.app.accounts.setup_code().to_owned();
    let request = server
        .client
        .request(Method::POST, server.url(PATH))
        .header("sec-fetch-site", "cross-site")
        .body(setup(&code).to_string());
    assert_eq!(request.send().await.unwrap().status(), 403);
    assert!(is_needed(&server).await);
}
