//! Credentials that an operator chooses in place of the one that an engine declares.

use futures_util::StreamExt;
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};

use super::{generate, image_upstream};

const KEY: &str = "sesame-7391-Qx+/=&";
const KEY_IN_QUERY: &str = "sesame-7391-Qx%2B%2F%3D%26";

/// An upstream that responds to requests of the engines `gemini` and `openai` with an image.
async fn upstream() -> FakeUpstream {
    FakeUpstream::start(|request: RecordedRequest| {
        let image = if request.target.contains("generateContent") {
            let inline = json!({"mimeType": "image/png", "data": pixel_base64()});
            json!({"candidates": [{
                "content": {"role": "model", "parts": [{"inlineData": inline}]}, "finishReason": "STOP",
            }]})
        } else {
            json!({"data": [{"b64_json": pixel_base64()}]})
        };
        async move { FakeResponse::json(200, &image) }
    })
    .await
}

/// Generates an image with this engine and these variables. Returns the only request to the upstream.
async fn request_with(engine: &str, variables: &[(&str, &str)]) -> RecordedRequest {
    let upstream = upstream().await;
    let url = upstream.url();
    let own = match engine {
        "gemini" => [
            ("IMAGES_GEMINI_API_BASE_URL", url.as_str()),
            ("IMAGES_GEMINI_API_KEY", KEY),
        ],
        _ => [
            ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
            ("IMAGES_OPENAI_API_KEY", KEY),
        ],
    };
    let model = ("IMAGE_GENERATION_MODEL", "gemini-2.5-flash-image");
    let all = [
        &own[..],
        &[("IMAGE_GENERATION_ENGINE", engine), model],
        variables,
    ]
    .concat();
    let server = TestServer::start(&all).await;
    let (status, body) = generate(&server, &json!({})).await;
    assert_eq!(status, 200, "{variables:?}: {body}");
    let mut requests = upstream.requests();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Asserts the headers of a request, and whether the key is in its query.
#[track_caller]
fn assert_credential(request: &RecordedRequest, headers: &[(&str, &str)], query: Option<&str>) {
    for name in [
        "authorization",
        "api-key",
        "x-api-key",
        "x-goog-api-key",
        "cf-access-client-id",
    ] {
        let expected = headers
            .iter()
            .find(|(it, _)| *it == name)
            .map_or("", |it| it.1);
        assert_eq!(request.header(name), expected, "{name}");
    }
    for (name, value) in headers {
        assert_eq!(request.header(name), *value, "{name}");
    }
    let sent_query = request.target.split_once('?').map(|it| it.1);
    assert_eq!(sent_query, query, "{}", request.target);
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_chooses_the_form_of_the_credential() {
    let bearer = format!("Bearer {KEY}");
    let request = request_with("gemini", &[]).await;
    assert_credential(&request, &[("x-goog-api-key", KEY)], None);
    // Vertex.
    let with_bearer = request_with("gemini", &[("PINHOLE_GEMINI_CREDENTIAL", "bearer")]).await;
    assert_credential(&with_bearer, &[("authorization", &bearer)], None);
    let with_query = request_with("gemini", &[("PINHOLE_GEMINI_CREDENTIAL", "query key")]).await;
    let query = format!("key={KEY_IN_QUERY}");
    assert_credential(&with_query, &[], Some(&query));
    // Azure.
    let azure = [
        ("PINHOLE_OPENAI_CREDENTIAL", "header api-key"),
        ("IMAGES_OPENAI_API_VERSION", "2025-04-01-preview"),
    ];
    let of_azure = request_with("openai", &azure).await;
    assert_credential(
        &of_azure,
        &[("api-key", KEY)],
        Some("api-version=2025-04-01-preview"),
    );
    let prefixed = [("PINHOLE_OPENAI_CREDENTIAL", "header Authorization: Key")];
    let with_prefix = request_with("openai", &prefixed).await;
    assert_credential(
        &with_prefix,
        &[("authorization", &format!("Key {KEY}"))],
        None,
    );
    // Cloudflare: the gateway has its own headers next to the upstream's key.
    let cloudflare = [(
        "PINHOLE_OPENAI_HEADERS",
        r#"{"CF-Access-Client-Id": "id.access", "CF-Access-Client-Secret": "4711", "cf-aig-authorization": "Bearer g"}"#,
    )];
    let sixth_request = request_with("openai", &cloudflare).await;
    let headers = [
        ("authorization", bearer.as_str()),
        ("cf-access-client-id", "id.access"),
        ("cf-access-client-secret", "4711"),
        ("cf-aig-authorization", "Bearer g"),
    ];
    assert_credential(&sixth_request, &headers, None);
    // The gateway has the upstream's key.
    let stored_key = [
        ("PINHOLE_OPENAI_CREDENTIAL", "none"),
        (
            "PINHOLE_OPENAI_HEADERS",
            r#"{"cf-aig-authorization": "Bearer g"}"#,
        ),
    ];
    let seventh_request = request_with("openai", &stored_key).await;
    assert_credential(
        &seventh_request,
        &[("cf-aig-authorization", "Bearer g")],
        None,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn comfyui_behind_basic_authentication_gets_it_with_every_request() {
    let upstream = FakeUpstream::start(|request: RecordedRequest| {
        let response = if request.target.starts_with("/ws") {
            FakeResponse::web_socket(
                |mut socket| async move { while socket.next().await.is_some() {} },
            )
        } else {
            FakeResponse::json(400, &json!({"error": {"message": "no graph"}}))
        };
        async { response }
    })
    .await;
    let url = upstream.url();
    let server = TestServer::with_engine(
        "comfyui",
        &[
            ("COMFYUI_BASE_URL", &url),
            ("COMFYUI_API_KEY", "ann:secret-77"),
            ("PINHOLE_COMFYUI_CREDENTIAL", "basic"),
            ("IMAGE_GENERATION_MODEL", "m"),
        ],
    )
    .await;
    let (status, _) = generate(&server, &json!({})).await;
    assert_eq!(status, 400);
    let requests = upstream.requests();
    assert!(requests.iter().any(|it| it.target.starts_with("/ws")));
    for request in requests {
        let line = request.line();
        assert_eq!(
            request.header("authorization"),
            "Basic YW5uOnNlY3JldC03Nw==",
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_form_go_only_to_the_connection_that_they_were_set_for() {
    let (engines, others) = (image_upstream().await, image_upstream().await);
    let bindings = json!({
        "plain": {"engine": "openai", "settings": {"base-url": others.url()}},
        "own": {
            "engine": "openai",
            "settings": {"base-url": others.url(), "api-key": "of-own"},
            "credential": "header x-api-key",
            "headers": {"x-gateway": "of-gateway"},
        },
        "same": {"engine": "openai", "model": "m", "credential": "bearer"},
    })
    .to_string();
    let url = engines.url();
    let server = TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", &url),
        ("IMAGES_OPENAI_API_KEY", "key-of-the-engine"),
        ("PINHOLE_OPENAI_CREDENTIAL", "header api-key"),
        (
            "PINHOLE_OPENAI_HEADERS",
            r#"{"x-engine": "header-of-the-engine"}"#,
        ),
        ("PINHOLE_BINDINGS", &bindings),
    ])
    .await;
    for engine in ["openai", "same", "plain", "own"] {
        let (status, body) = generate(&server, &json!({"engine": engine})).await;
        assert_eq!(status, 200, "{engine}: {body}");
    }
    let sent = |upstream: &FakeUpstream| -> Vec<[String; 5]> {
        let names = [
            "authorization",
            "api-key",
            "x-engine",
            "x-api-key",
            "x-gateway",
        ];
        let headers = |it: &RecordedRequest| names.map(|name| it.header(name).to_owned());
        upstream.requests().iter().map(headers).collect()
    };
    let header = "header-of-the-engine";
    assert_eq!(
        sent(&engines),
        [
            ["", "key-of-the-engine", header, "", ""],
            ["Bearer key-of-the-engine", "", header, "", ""],
        ]
    );
    assert_eq!(
        sent(&others),
        [["", "", "", "", ""], ["", "", "", "of-own", "of-gateway"]]
    );
}

/// Asserts that these settings are refused with this text, which names the setting, and without any secret.
async fn check_refused(server: &TestServer, settings: Value, expected: &str) {
    let (status, body) = server.post_json("/api/v1/settings", &settings).await;
    assert_eq!(status, 400, "{settings}: {body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(expected), "{settings}: {detail}");
    assert!(
        !detail.contains("secret-4711") && !detail.contains('\n'),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_credentials_are_refused_by_the_name_of_their_setting() {
    let server = TestServer::with_engine("openai", &[("IMAGES_OPENAI_API_KEY", "k")]).await;
    for (value, expected) in [
        (
            "secret-4711",
            "PINHOLE_OPENAI_CREDENTIAL: it must be none, bearer, basic, header NAME",
        ),
        (
            "header host",
            "PINHOLE_OPENAI_CREDENTIAL: it must have another NAME: the server sets this header itself",
        ),
        (
            "header a:b secret-4711",
            "PINHOLE_OPENAI_CREDENTIAL: it must have a PREFIX",
        ),
        (
            "query a=b",
            "PINHOLE_OPENAI_CREDENTIAL: it cannot be used: the name of a query parameter",
        ),
        ("basic", "IMAGES_OPENAI_API_KEY must be user:password"),
    ] {
        let expected = format!(
            "{}{expected}",
            if value == "basic" { "" } else { "variable " }
        );
        check_refused(
            &server,
            json!({"PINHOLE_OPENAI_CREDENTIAL": value}),
            &expected,
        )
        .await;
    }
    for (headers, expected) in [
        (
            json!({"Host": "secret-4711"}),
            "PINHOLE_OPENAI_HEADERS: it has a header \"Host\"",
        ),
        (
            json!({"x-a": "secret-4711\r\nhost: evil"}),
            "PINHOLE_OPENAI_HEADERS: it has a header \"x-a\"",
        ),
        (
            json!({"x-a": ["secret-4711"]}),
            "PINHOLE_OPENAI_HEADERS: it must give header \"x-a\" a text",
        ),
        (
            json!({"Authorization": "secret-4711"}),
            "PINHOLE_OPENAI_HEADERS: the header authorization is set twice",
        ),
    ] {
        check_refused(
            &server,
            json!({ "PINHOLE_OPENAI_HEADERS": headers }),
            expected,
        )
        .await;
    }
    for (field, value) in [
        ("credential", json!("secret-4711")),
        ("headers", json!({"cookie": "secret-4711"})),
        ("edit_headers", json!({"x-a": ""})),
    ] {
        let bindings = json!({"PINHOLE_BINDINGS": {"b": {"engine": "openai", field: value}}});
        check_refused(
            &server,
            bindings,
            &format!("PINHOLE_BINDINGS: binding \"b\": {field} "),
        )
        .await;
    }
    let with_user = json!({"IMAGES_OPENAI_API_BASE_URL": "http://ann:secret-4711@127.0.0.1:9/v1"});
    check_refused(
        &server,
        with_user,
        "contains a user name or a password: remove them, set IMAGES_OPENAI_API_KEY to user:password and \
         PINHOLE_OPENAI_CREDENTIAL to basic",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_headers_are_masked_and_redacted_in_each_form() {
    let upstream = FakeUpstream::start(|request: RecordedRequest| {
        let echo = format!(
            "{} {} {} {} ann:pass-word-42",
            request.target,
            request.header("x-one"),
            request.header("x-two"),
            request.header("x-three"),
        );
        let body = json!({"error": {"message": echo, "type": "invalid_request_error"}});
        async move { FakeResponse::json(400, &body) }
    })
    .await;
    let url = upstream.url();
    let server = TestServer::with_engine(
        "openai",
        &[
            ("IMAGES_OPENAI_API_BASE_URL", &url),
            ("IMAGES_OPENAI_API_KEY", KEY),
        ],
    )
    .await;
    let settings = json!({
        "PINHOLE_OPENAI_CREDENTIAL": "query key",
        "PINHOLE_OPENAI_HEADERS": {
            "x-one": "first-secret-7391",
            "x-two": "Bearer second-secret-7391",
            "x-three": "Basic YW5uOnBhc3Mtd29yZC00Mg==",
        },
    });
    let (status, body) = server.post_json("/api/v1/settings", &settings).await;
    assert_eq!(status, 200, "{body}");
    let (refused_status, refused) = generate(&server, &json!({})).await;
    assert_eq!(refused_status, 400, "{refused}");
    let listed = server.get("/api/v1/settings").send().await.unwrap();
    let listed = listed.text().await.unwrap();
    let changes = server.get("/api/v1/settings/changes").send().await.unwrap();
    let texts = [
        refused.to_string(),
        listed.clone(),
        changes.text().await.unwrap(),
    ];
    for secret in [
        "sesame-7",
        "first-se",
        "second-s",
        "YW5uOnBhc3Mtd29yZC00Mg",
        "pass-wor",
    ] {
        for text in &texts {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    assert!(
        listed.contains("x-two") && listed.contains("query key"),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_at_another_url_get_no_headers_of_generating() {
    let (generating, editing) = (image_upstream().await, image_upstream().await);
    let (url, edit_url) = (generating.url(), editing.url());
    let server = TestServer::with_engine(
        "openai",
        &[
            ("IMAGES_OPENAI_API_BASE_URL", &url),
            ("IMAGES_OPENAI_API_KEY", "of-generating"),
            ("PINHOLE_OPENAI_CREDENTIAL", "header x-key"),
            ("PINHOLE_OPENAI_HEADERS", r#"{"x-one": "of-generating"}"#),
            ("IMAGES_EDIT_OPENAI_API_BASE_URL", &edit_url),
            ("IMAGES_EDIT_OPENAI_API_KEY", "of-editing"),
            ("PINHOLE_OPENAI_EDIT_HEADERS", r#"{"x-two": "of-editing"}"#),
        ],
    )
    .await;
    let image = format!("data:image/png;base64,{}", pixel_base64());
    let body = json!({"prompt": "x", "image": image});
    let (status, body) = server.post_json("/api/v1/images/edit", &body).await;
    assert_eq!(status, 200, "{body}");
    let request = &editing.requests()[0];
    let headers = ["authorization", "x-key", "x-one", "x-two"].map(|name| request.header(name));
    assert_eq!(headers, ["Bearer of-editing", "", "", "of-editing"]);
    assert!(generating.requests().is_empty());
}
