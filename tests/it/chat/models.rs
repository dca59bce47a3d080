//! Several servers of language models: their lists, and which of them gets a turn.

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer};
use serde_json::{Value, json};

use super::{ChatResponse, MODEL_KEY, STREAMED, WHOLE, ask, model, model_requests};

const OPENAI_TURN: &str = "/v1/chat/completions";

/// A server that lists these models and responds to each chat with its name.
async fn lists(name: &'static str, models: Value) -> FakeUpstream {
    FakeUpstream::start(move |upstream_request: RecordedRequest| {
        let response = match upstream_request.line().as_str() {
            "GET /models" => FakeResponse::json(200, &json!({"object": "list", "data": models})),
            _ => FakeResponse::json(200, &json!({"said by": name})),
        };
        async { response }
    })
    .await
}

async fn server(upstreams: &[&FakeUpstream], keys: &str) -> TestServer {
    let urls: Vec<String> = upstreams.iter().map(|it| it.url()).collect();
    let variables = [
        ("OPENAI_API_BASE_URLS", urls.join(";")),
        ("OPENAI_API_KEYS", keys.to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    TestServer::with_engine("sketch", &variables).await
}

fn request(model: Value) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello"}]})
}

/// Status and body of a turn with this model.
async fn send_turn(server: &TestServer, model: &str) -> (u16, Value) {
    let reply = ask(server, &request(json!(model))).await;
    (reply.status, reply.json())
}

async fn get(server: &TestServer, path: &str) -> Value {
    let response = server.get(path).send().await.unwrap();
    ChatResponse::read(response).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_lists_a_model_gets_its_own_key() {
    let a = lists(
        "a",
        json!([{"id": "one"}, {"id": "both", "name": "Both", "owned_by": "x", "created": 7}]),
    )
    .await;
    let b = lists("b", json!([{"id": "both", "name": "Other"}, {"id": "two"}])).await;
    let server = server(&[&a, &b], "key-a;key-b").await;
    for (model, expected) in [("one", "a"), ("two", "b"), ("both", "a")] {
        let outcome = send_turn(&server, model).await;
        assert_eq!(outcome, (200, json!({"said by": expected})), "{model}");
    }
    for (upstream, key) in [(&a, "Bearer key-a"), (&b, "Bearer key-b")] {
        for upstream_request in upstream.requests() {
            assert_eq!(
                upstream_request.header("authorization"),
                key,
                "{}",
                upstream_request.line()
            );
        }
        let lines = upstream.request_lines();
        let lists = lines.iter().filter(|line| *line == "GET /models");
        assert_eq!(lists.count(), 1, "the list is requested once: {lines:?}");
    }
    let unknown = send_turn(&server, "three").await;
    assert_eq!(unknown, (404, json!({"detail": "Model not found"})));
    // A turn whose response would arrive as events is refused at once, too.
    let mut turn_request = request(json!("three"));
    for own in ["session_id", "chat_id", "id"] {
        turn_request[own] = json!("x");
    }
    assert_eq!(ask(&server, &turn_request).await.status, 404);

    let entry = |id: &str, name: &str, owner: &str, created: i64| {
        json!({
            "id": id, "name": name, "object": "model", "owned_by": owner, "created": created,
            "connection_type": "local",
        })
    };
    let data = [
        entry("one", "one", "openai", 0),
        entry("both", "Both", "x", 7),
        entry("two", "two", "openai", 0),
    ];
    for path in ["/api/models", "/api/v1/models"] {
        let listed = get(&server, path).await;
        assert_eq!(listed, json!({"data": data}), "{path}");
        let unauthorized = server.client.get(server.url(path)).send().await.unwrap();
        assert_eq!(unauthorized.status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_a_list_gets_unlisted_models() {
    let broken = FakeUpstream::start(async |upstream_request: RecordedRequest| {
        match upstream_request.line().as_str() {
            "GET /models" => FakeResponse::typed(502, "text/html", "<h1>Bad Gateway</h1>"),
            _ => FakeResponse::json(200, &json!({"said by": "broken"})),
        }
    })
    .await;
    let well = lists("well", json!([{"id": "one"}])).await;
    let server = server(&[&broken, &well], "").await;
    assert_eq!(
        send_turn(&server, "one").await,
        (200, json!({"said by": "well"}))
    );
    assert_eq!(
        send_turn(&server, "other").await,
        (200, json!({"said by": "broken"}))
    );
    let listed = get(&server, "/api/models").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    // Without a model, the first server gets the turn.
    for model in [json!(null), json!(5)] {
        let reply = ask(&server, &request(model)).await;
        assert_eq!(reply.json(), json!({"said by": "broken"}));
    }
    let lists = broken.request_lines();
    let lists = lists.iter().filter(|line| *line == "GET /models").count();
    assert_eq!(lists, 1, "a missing list is not requested with each turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_response_headers_are_passed_on() {
    let upstream = FakeUpstream::start(async |_| {
        FakeResponse::json(429, &json!({"error": {"message": "slow down"}}))
            .header("retry-after", "7")
            .header("x-request-id", "req-1")
            .header("openai-processing-ms", "12")
            .header("x-ratelimit-remaining-requests", "0")
            .header("openai-organization", "the operator's")
            .header("set-cookie", "a=b")
            .header("server", "secret-host")
    })
    .await;
    let server = server(&[&upstream], "k").await;
    for path in ["/api/chat/completions", OPENAI_TURN] {
        let response = server
            .post(path, &request(json!("m")))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 429);
        let headers = response.headers();
        for (name, expected) in [
            ("retry-after", Some("7")),
            ("x-request-id", Some("req-1")),
            ("openai-processing-ms", Some("12")),
            ("x-ratelimit-remaining-requests", Some("0")),
            ("openai-organization", None),
            ("set-cookie", None),
            ("server", None),
        ] {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_route_runs_the_same_turn() {
    let model = model().await;
    let base = format!("{}/v1", model.url());
    let variables = [
        ("OPENAI_API_BASE_URL", base.as_str()),
        ("OPENAI_API_KEY", MODEL_KEY),
    ];
    let server = TestServer::with_engine("sketch", &variables).await;
    let mut turn_request = request(json!("m"));
    let reply = ChatResponse::read(
        server
            .post(OPENAI_TURN, &turn_request)
            .send()
            .await
            .unwrap(),
    )
    .await;
    reply.assert_is(200, "application/json", WHOLE);
    turn_request["stream"] = json!(true);
    let streamed = ChatResponse::read(
        server
            .post(OPENAI_TURN, &turn_request)
            .send()
            .await
            .unwrap(),
    )
    .await;
    streamed.assert_is(200, "text/event-stream", STREAMED);

    // With an image, and although the client names a socket, a chat and a message.
    turn_request["features"] = json!({"image_generation": true});
    for own in ["session_id", "chat_id", "id"] {
        turn_request[own] = json!("x");
    }
    let chat_reply = ChatResponse::read(
        server
            .post(OPENAI_TURN, &turn_request)
            .send()
            .await
            .unwrap(),
    )
    .await;
    chat_reply.assert_is(200, "text/event-stream", STREAMED);
    turn_request["chat_id"] = json!(null);
    let image_reply = ChatResponse::read(
        server
            .post(OPENAI_TURN, &turn_request)
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert!(
        image_reply.body.contains("![generated-image.png](http://"),
        "{}",
        image_reply.body
    );
    assert_eq!(server.stored_files(), 2);
    assert!(
        model_requests(&model)
            .iter()
            .all(|upstream_request| upstream_request.line() == "POST /v1/chat/completions")
    );
}

/// OpenAI's error object in a response.
#[track_caller]
fn error(reply: &ChatResponse) -> (u16, String, Value, Value) {
    let mut body = reply.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    let message = body["error"]["message"].as_str().unwrap().to_owned();
    let (param, code) = (body["error"]["param"].take(), body["error"]["code"].take());
    (reply.status, message, param, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_route_returns_openai_errors() {
    let listing = lists("a", json!([{"id": "org/one"}])).await;
    let server_ = server(&[&listing], "").await;
    let mut invalid_options = request(json!("org/one"));
    invalid_options["image_generation"] = json!({"n": "two"});
    for (body, expected) in [
        (
            json!({}),
            (
                400,
                "messages must be a list",
                json!("messages"),
                json!(null),
            ),
        ),
        (
            request(json!("nosuch")),
            (
                404,
                "Model not found",
                json!(null),
                json!("model_not_found"),
            ),
        ),
        (
            invalid_options,
            (
                400,
                "image_generation.n cannot be used: invalid type: string \"two\", expected u32",
                json!("image_generation.n"),
                json!(null),
            ),
        ),
    ] {
        let reply =
            ChatResponse::read(server_.post(OPENAI_TURN, &body).send().await.unwrap()).await;
        let (status, message, param, code) = error(&reply);
        assert_eq!((status, message.as_str(), param, code), expected);
    }
    let unauthorized = server_.client.post(server_.url(OPENAI_TURN)).body("{}");
    let reply = ChatResponse::read(unauthorized.send().await.unwrap()).await;
    assert_eq!(error(&reply).0, 401);

    // The page of a proxy in front of the language model becomes an error with its status.
    let page =
        FakeUpstream::start(async |_| FakeResponse::typed(503, "text/html", "<h1>Down</h1>")).await;
    let proxied = server(&[&page], "").await;
    let turn_request = proxied.post(OPENAI_TURN, &request(json!("m")));
    let failure = ChatResponse::read(turn_request.send().await.unwrap()).await;
    let expected = "the language model responded with status 503";
    assert_eq!(
        (error(&failure).0, error(&failure).1.as_str()),
        (503, expected)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn model_is_found_by_its_id() {
    let listing = lists(
        "a",
        json!([{"id": "org/one", "owned_by": "x", "created": 7}]),
    )
    .await;
    let server = server(&[&listing], "").await;
    let find = async |id: &str| {
        let request = server.get(&format!("/v1/models/{id}"));
        ChatResponse::read(request.send().await.unwrap()).await
    };
    let expected = json!({"id": "org/one", "object": "model", "created": 7, "owned_by": "x"});
    assert_eq!(find("org/one").await.json(), expected);
    assert_eq!(find("org%2Fone").await.json(), expected);
    assert_eq!(find("sketch").await.json()["owned_by"], "sketch");
    let (status, message, _, code) = error(&find("nosuch").await);
    assert_eq!((status, code), (404, json!("model_not_found")));
    assert!(message.contains("nosuch"), "{message}");
    let unauthorized = server
        .client
        .get(server.url("/v1/models/sketch"))
        .send()
        .await;
    assert_eq!(unauthorized.unwrap().status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_is_the_only_model_without_a_language_model() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let models = get(&server, "/api/models").await["data"].take();
    assert_eq!(models.as_array().unwrap().len(), 1);
    assert_eq!(
        (&models[0]["id"], &models[0]["owned_by"]),
        (&json!("sketch"), &json!("pinhole"))
    );
    let (status, reply) = send_turn(&server, "sketch").await;
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(status, 200, "{reply}");
    assert!(
        text.starts_with(&format!(
            "![generated-image.png]({}",
            server.url("/api/v1/files/")
        )),
        "{text}"
    );
    let (refused_status, refused) = send_turn(&server, "other").await;
    assert_eq!(refused_status, 400, "{refused}");

    let disabled = TestServer::with_engine("sketch", &[("ENABLE_IMAGE_GENERATION", "false")]).await;
    assert_eq!(get(&disabled, "/api/models").await, json!({"data": []}));
}
