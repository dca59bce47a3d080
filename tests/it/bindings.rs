//! Bindings: named configurations of engines, their users, and the fallback from an unavailable upstream.

mod concurrency;
mod credentials;
mod definitions;
mod model_lists;
mod resolve;
mod trial;

use http::Method;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_tests::{FakeResponse, FakeUpstream, PIXEL, TestServer, pixel_base64};
use serde_json::{Value, json};

/// An upstream that responds to each request with an image.
async fn image_upstream() -> FakeUpstream {
    FakeUpstream::json(200, json!({"data": [{"b64_json": pixel_base64()}]})).await
}

/// A server whose engine `openai` has this URL and a key, with these bindings.
async fn server(url: &str, bindings: &Value, variables: &[(&str, &str)]) -> TestServer {
    let bindings = bindings.to_string();
    let mut all = vec![
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGE_GENERATION_MODEL", "of-the-default"),
        ("IMAGES_OPENAI_API_BASE_URL", url),
        ("IMAGES_OPENAI_API_KEY", "key-of-the-engine"),
        ("PINHOLE_BINDINGS", &bindings),
    ];
    all.extend(variables);
    TestServer::start(&all).await
}

async fn generate(server: &TestServer, more: &Value) -> (u16, Value) {
    let mut body = json!({"prompt": "a red fox"});
    let fields = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    server.post_json("/v1/images/generations", &body).await
}

/// The model and the key of each request, in order.
fn sent_models_and_keys(upstream: &FakeUpstream) -> Vec<(String, String)> {
    let requests = upstream.requests();
    let pairs = requests.iter().map(|request| {
        let model = request.json()["model"].as_str().unwrap_or("-").to_owned();
        (model, request.header("authorization").to_owned())
    });
    pairs.collect()
}

fn pair(model: &str, key: &str) -> (String, String) {
    (model.to_owned(), key.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_has_its_own_url_key_and_model() {
    let (engines, photos) = (image_upstream().await, image_upstream().await);
    let bindings = json!({
        "photo": {
            "engine": "openai",
            "settings": {"base-url": photos.url(), "api-key": "key-of-photos"},
            "model": "of-photos",
        },
        "keyless": {"engine": "openai", "settings": {"base-url": photos.url()}},
        "large": {"engine": "openai", "model": "of-large", "size": "64x32"},
        "openai": {"model": "of-openai"},
    });
    let server = server(&engines.url(), &bindings, &[]).await;
    for engine in [json!({}), json!({"engine": "large"})] {
        assert_eq!(generate(&server, &engine).await.0, 200);
    }
    let key = "Bearer key-of-the-engine";
    assert_eq!(
        sent_models_and_keys(&engines),
        [pair("of-openai", key), pair("of-large", key)]
    );
    assert_eq!(engines.requests()[1].json()["size"], "64x32");
    for engine in ["photo", "keyless"] {
        assert_eq!(generate(&server, &json!({"engine": engine})).await.0, 200);
    }
    let photo_requests = sent_models_and_keys(&photos);
    assert_eq!(photo_requests[0], pair("of-photos", "Bearer key-of-photos"));
    // Neither the engine's key nor the default's model is sent to another URL.
    assert_eq!(photo_requests[1].1, "");
    assert_ne!(photo_requests[1].0, "of-the-default");
    assert_eq!((engines.requests().len(), photo_requests.len()), (2, 2));

    let (status, body) = generate(&server, &json!({"engine": "nobody"})).await;
    assert_eq!(status, 400, "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("unknown engine nobody: use one of "),
        "{message}"
    );
    assert!(
        message.contains("keyless, large, openai, photo"),
        "{message}"
    );
}

/// Sends a request to a server with this default upstream and two fallbacks, of which one is unusable.
async fn check_fallback(
    default: &FakeUpstream,
    more: &Value,
    expected_status: u16,
    falls_back: &str,
) {
    let spare = image_upstream().await;
    let bindings = json!({
        "broken": {"engine": "openai", "settings": {"base-url": "nonsense"}},
        "spare": {"engine": "openai", "settings": {"base-url": spare.url()}},
    });
    let fallbacks = ("PINHOLE_FALLBACKS", "nobody, openai, broken, spare, sketch");
    let server = server(&default.url(), &bindings, &[fallbacks]).await;
    let mut body = json!({"prompt": "a red fox"});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let (status, body) = server.post_json("/api/v1/images/generations", &body).await;
    assert_eq!(status, expected_status, "{more} {body}");
    assert_eq!(
        spare.requests().len(),
        usize::from(falls_back == "spare"),
        "{more}"
    );
    if expected_status == 200 {
        let warning =
            format!("made by engine {falls_back}, because engine openai is unavailable or busy");
        assert_eq!(body[0]["warnings"], json!([warning]));
        let path = format!("/api/v1/files/{}", body[0]["id"].as_str().unwrap());
        let file: Value = serde_json::from_slice(
            &server
                .get(&path)
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap(),
        )
        .unwrap();
        assert!(
            file.to_string()
                .contains(&format!("\"binding\":\"{falls_back}\"")),
            "{file}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_upstream_falls_back_to_another_binding() {
    let busy = json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}});
    let busy = FakeUpstream::json(429, busy).await;
    check_fallback(&busy, &json!({}), 200, "spare").await;
    let broke = json!({"error": {"message": "pay first", "code": "insufficient_quota"}});
    check_fallback(
        &FakeUpstream::json(429, broke).await,
        &json!({}),
        200,
        "spare",
    )
    .await;
    // A model's name may mean nothing to another engine, but another binding of the same engine accepts it.
    check_fallback(&busy, &json!({"model": "of-both"}), 200, "spare").await;
    // A request that names its engine does not fall back.
    check_fallback(&busy, &json!({"engine": "openai"}), 400, "nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_upstream_falls_back_to_another_binding() {
    let gone = FakeUpstream::json(200, json!({})).await;
    let url = gone.url();
    drop(gone);
    let server = server(&url, &json!({}), &[("PINHOLE_FALLBACKS", "sketch")]).await;
    assert_eq!(generate(&server, &json!({})).await.0, 200);
    // The other engine does not support the model.
    let (status, body) = generate(&server, &json!({"model": "of-openai"})).await;
    assert_eq!(status, 503, "{body}");
    // The other engine does not support the count.
    let (count_status, count_body) = generate(&server, &json!({"n": 10, "parameters": {}})).await;
    assert!(
        count_status == 200
            || count_body["error"]["message"]
                .as_str()
                .unwrap()
                .contains("reach"),
        "{count_body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_may_be_billed_is_not_repeated() {
    let failing = FakeUpstream::json(500, json!({"error": {"message": "oh"}})).await;
    check_fallback(&failing, &json!({}), 400, "nobody").await;
    // The upstream accepts the request and closes the connection without a response.
    let mute =
        FakeUpstream::start(async |_| -> FakeResponse { panic!("the connection breaks") }).await;
    check_fallback(&mute, &json!({}), 400, "nobody").await;
    assert_eq!(mute.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_is_only_for_its_groups() {
    let upstream = image_upstream().await;
    let of = |key: &str| json!({"base-url": upstream.url(), "api-key": key});
    let bindings = json!({
        "secret": {"engine": "openai", "settings": of("k-secret"), "groups": ["Designers"]},
        "house": {"engine": "openai", "settings": of("k-house"), "preferred_by": ["Designers"]},
        "talk": {"engine": "openai", "settings": of("k-talk"), "chat_models": ["talker"]},
    });
    let server = server(&upstream.url(), &bindings, &[]).await;
    let second = server.add_second_user().await;
    let generate_as = async |key: &str, engine: Option<&str>| {
        let body = json!({"prompt": "a red fox", "engine": engine});
        let request = server
            .client
            .request(Method::POST, server.url("/v1/images/generations"));
        let response = request
            .bearer_auth(key)
            .body(body.to_string())
            .header("content-type", "application/json");
        let response = response.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let authorization = upstream
            .requests()
            .last()
            .map(|received| received.header("authorization").to_owned());
        (status, text, authorization.unwrap_or_default())
    };
    let (status, text, _) = generate_as(second, Some("secret")).await;
    assert_eq!(status, 400, "{text}");
    // The message does not reveal that the binding exists.
    let known = text.replace("unknown engine secret", "");
    assert!(!known.contains("secret"), "{text}");
    assert_eq!(
        generate_as(&server.key, Some("secret")).await.2,
        "Bearer k-secret"
    );
    assert_eq!(
        generate_as(second, None).await.2,
        "Bearer key-of-the-engine"
    );

    let group = json!({"name": "Designers", "description": ""});
    let (group_status, group) = server.post_json("/api/v1/groups/create", &group).await;
    assert_eq!(group_status, 200, "{group}");
    let id = group["id"].as_str().unwrap();
    let members = json!({"user_ids": ["second"]});
    let (member_status, changed_group) = server
        .post_json(&format!("/api/v1/groups/id/{id}/users/add"), &members)
        .await;
    assert_eq!(member_status, 200, "{changed_group}");
    assert_eq!(
        generate_as(second, Some("secret")).await.2,
        "Bearer k-secret"
    );
    assert_eq!(generate_as(second, None).await.2, "Bearer k-house");

    let chat = json!({
        "model": "talker", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a red fox"}],
    });
    let (chat_status, chat_body) = server.post_json("/api/chat/completions", &chat).await;
    assert_eq!(chat_status, 200, "{chat_body}");
    assert_eq!(
        upstream.requests().last().unwrap().header("authorization"),
        "Bearer k-talk"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_bindings_stop_the_start_with_their_position() {
    for (bindings, expected) in [
        ("{\"a\": {\"engin\": \"open-sesame\"}}", "see a.engin"),
        ("[\"open-sesame\"", "PINHOLE_BINDINGS is not a JSON object"),
        (
            "{\"A b\": {}}",
            "the name must be 1 to 40 lowercase letters",
        ),
        (
            "{\"a\": {\"size\": \"large\"}}",
            "binding \"a\": size \"large\" is neither",
        ),
        (
            "{\"a\": {\"steps\": 0}}",
            "binding \"a\": steps must be from 1 to",
        ),
        (
            "{\"a\": {\"concurrency\": 0}}",
            "binding \"a\": concurrency must be a whole number from 1 to 10000",
        ),
    ] {
        let data = tempfile::tempdir().unwrap();
        let environment = pinhole_tests::environment(&data, &[("PINHOLE_BINDINGS", bindings)]);
        let config = pinhole::config::Config::new(environment).unwrap();
        let error = pinhole::jobs::Jobs::open(&config, AuditLog::default(), Decoder::default())
            .await
            .err()
            .unwrap();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("open-sesame"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_binding_reports_its_problem_and_affects_no_other() {
    let upstream = image_upstream().await;
    let bindings = json!({
        "lost": {"engine": "nobody"},
        "odd": {"engine": "openai", "settings": {"base-urll": "x"}},
        "both": {"engine": "openai", "edit_settings": {"api-version": "1", "authentication": "x"}},
        "keyed": {"engine": "comfyui", "settings": {"api-key": "key-of-the-binding"}},
    });
    let server = server(&upstream.url(), &bindings, &[]).await;
    assert_eq!(generate(&server, &json!({})).await.0, 200);
    for (engine, expected) in [
        ("lost", "its engine nobody does not exist"),
        (
            "odd",
            "unknown setting \"base-urll\": the settings of engine openai are ",
        ),
        (
            "both",
            "the setting authentication cannot differ for editing",
        ),
        // The engine's own variable would not apply, and would send its key to that URL.
        (
            "keyed",
            "set PINHOLE_BINDINGS (keyed, base-url) to the URL of ComfyUI",
        ),
    ] {
        let (status, body) = generate(&server, &json!({"engine": engine})).await;
        assert_eq!(status, 400, "{body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_engine_must_exist() {
    let (engines, photos) = (image_upstream().await, image_upstream().await);
    let server = server(&engines.url(), &json!({}), &[]).await;
    let set = async |body: Value| server.post_json("/api/v1/settings", &body).await;
    for variable in ["IMAGE_GENERATION_ENGINE", "IMAGE_EDIT_ENGINE"] {
        let (status, body) = set(json!({variable: "photo"})).await;
        assert_eq!(status, 400, "{body}");
        let detail = body["detail"].as_str().unwrap();
        let expected = format!(
            "{variable} is \"photo\", which is not an engine: use one of automatic1111, comfyui, "
        );
        assert!(detail.starts_with(&expected), "{detail}");
    }
    let photo = json!({"photo": {"engine": "openai", "settings": {"base-url": photos.url()}}});
    let (status, body) = set(json!({
        "IMAGE_GENERATION_ENGINE": "photo", "PINHOLE_BINDINGS": photo.to_string(),
    }))
    .await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(generate(&server, &json!({})).await.0, 200);
    assert_eq!((engines.requests().len(), photos.requests().len()), (0, 1));
    let (reset_status, reset_body) = set(json!({"PINHOLE_BINDINGS": null})).await;
    assert_eq!(reset_status, 400, "{reset_body}");
    assert_eq!(generate(&server, &json!({})).await.0, 200);
    assert_eq!(photos.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_has_its_own_image_hosts() {
    let storage = FakeUpstream::start(async |_| FakeResponse::typed(200, "image/png", PIXEL)).await;
    let url = format!("{}/x.png", storage.url());
    let upstream = FakeUpstream::json(200, json!({"data": [{"url": url}]})).await;
    let own = json!({"base-url": upstream.url()});
    let bindings = json!({
        "same": {"engine": "openai"},
        "narrow": {"engine": "openai", "image_hosts": ["cdn.example.com"]},
        "none": {"engine": "openai", "image_hosts": []},
        "own": {"engine": "openai", "settings": own},
        "own-wide": {"engine": "openai", "settings": own, "image_hosts": ["*", storage.url()]},
    });
    let list = format!("*, {}", storage.url());
    let list = ("PINHOLE_OPENAI_IMAGE_HOSTS", list.as_str());
    let server = server(&upstream.url(), &bindings, &[list]).await;
    for (engine, is_fetched) in [
        ("openai", true),
        ("same", true),
        ("narrow", false),
        ("none", false),
        // Its upstream must not name URLs in a network that was opened for another one.
        ("own", false),
        ("own-wide", true),
    ] {
        let before = storage.requests().len();
        let (status, body) = generate(&server, &json!({"engine": engine})).await;
        assert_eq!(
            status,
            if is_fetched { 200 } else { 502 },
            "{engine} {body}"
        );
        assert_eq!(
            storage.requests().len() - before,
            usize::from(is_fetched),
            "{engine}"
        );
    }
    let invalid = json!({"own": {"engine": "openai", "image_hosts": ["10.0.0.1"]}});
    let body = json!({"PINHOLE_BINDINGS": invalid.to_string()});
    let (status, refused) = server.post_json("/api/v1/settings", &body).await;
    assert_eq!(status, 400, "{refused}");
    let expected = "PINHOLE_BINDINGS (own, image_hosts) cannot be used: \"10.0.0.1\" is not";
    assert!(
        refused["detail"].as_str().unwrap().starts_with(expected),
        "{refused}"
    );
}
