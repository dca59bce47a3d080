//! How many requests for images and chat completions a user may send, and how many at a time.

use futures_util::future::join_all;
use pinhole_tests::{FakeResponse, FakeUpstream};
use serde_json::json;

use super::*;

const RATE: (&str, &str) = ("PINHOLE_REQUESTS_PER_MINUTE", "3");
/// Chat completions of one user at the same time.
const MAX_CHATS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_user_are_limited_before_their_body_is_read() {
    for (path, error) in [
        ("/v1/images/generations", "error"),
        ("/v1/images/edits", "error"),
        ("/v1/chat/completions", "error"),
        ("/api/chat/completions", "detail"),
        ("/api/v1/images/generations", "detail"),
        ("/api/v1/images/edit", "detail"),
        ("/api/v1/tasks/image_prompt/completions", "detail"),
    ] {
        let server = TestServer::start(&[RATE]).await;
        for _ in 0..3 {
            let (status, body) = server.post_json(path, &json!({})).await;
            assert!((400..=422).contains(&status), "{path}: {status} {body}");
        }
        let mut fourth = RawClient::connect(&server).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n{JSON}content-length: 99\r\n\r\n",
            server.key
        );
        fourth.send(&head).await;
        let response = fourth.read_to_end().await;
        assert_eq!(status_of(&response), 429, "{path}: {response}");
        assert!(response.contains("retry-after: "), "{response}");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        let body = body[error].to_string();
        assert!(body.contains("too many requests"), "{path}: {body}");

        let second = server.add_second_user().await;
        let request = server.client.post(server.url(path)).bearer_auth(second);
        let other = request.body("{}").send().await.unwrap().status();
        assert!((400..=422).contains(&other.as_u16()), "{path}: {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_chat_completions_of_a_user_are_limited() {
    let model =
        FakeUpstream::start(async |request: pinhole_tests::RecordedRequest| {
            match request.line().as_str() {
                "POST /chat/completions" => std::future::pending().await,
                _ => FakeResponse::json(404, &json!({})),
            }
        })
        .await;
    let url = model.url();
    let server = TestServer::start(&[("OPENAI_API_BASE_URL", &url)]).await;
    let turn = json!({"model": "m", "messages": [{"role": "user", "content": "a"}]});
    let path = "/v1/chat/completions";
    let send = || server.post(path, &turn).send();
    let running = join_all((0..MAX_CHATS).map(|_| send()));
    let others = async {
        model.wait_for_requests(MAX_CHATS).await;
        let refused = send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(header(&refused, "retry-after"), "1");
        let second = server.add_second_user().await;
        let other = server.post(path, &turn).bearer_auth(second).send();
        tokio::select! {
            response = other => panic!("{response:?}"),
            () = model.wait_for_requests(MAX_CHATS + 1) => {}
        }
    };
    tokio::select! {
        _ = running => panic!("the language model responded"),
        () = others => {}
    }
    // Clients that leave return their places.
    let room = async {
        let next = send();
        tokio::pin!(next);
        loop {
            tokio::select! {
                response = &mut next => {
                    assert_eq!(response.unwrap().status(), 429);
                    next.set(send());
                }
                () = model.wait_for_requests(MAX_CHATS + 2) => return,
            }
        }
    };
    timeout(PATIENCE, room).await.expect("no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_of_choices_is_limited() {
    let server = TestServer::start(&[("OPENAI_API_BASE_URL", "http://127.0.0.1:1/v1")]).await;
    for path in ["/v1/chat/completions", "/api/chat/completions"] {
        for n in [json!(0), json!(11), json!("50")] {
            let turn = json!({"messages": [], "n": n});
            let (status, body) = server.post_json(path, &turn).await;
            assert_eq!(status, 400, "{path} {n}: {body}");
            assert!(
                body.to_string().contains("n must be a whole number"),
                "{body}"
            );
        }
        let (status, body) = server
            .post_json(path, &json!({"messages": [], "n": 10}))
            .await;
        assert_eq!(status, 502, "{path}: {body}");
    }
}
