//! The log of an engine as a stream.

use pinhole::app::MAX_LOG_STREAMS;
use pinhole_tests::guests;

use super::*;

const LOG: &str = "/api/v1/engines/hostile/log";

/// A server with the engine `hostile`.
async fn start() -> (TestServer, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hostile.wasm");
    std::fs::copy(guests().join("hostile.wasm"), file).unwrap();
    let variables = [
        ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", "http://127.0.0.1:9"),
    ];
    (TestServer::start(&variables).await, directory)
}

async fn say(server: &TestServer, text: &str) {
    let job = json!({"prompt": format!("say {text}")});
    let (status, response) = server.post_json("/v1/images/generations", &job).await;
    assert!(status >= 400, "{response}");
}

/// The lines of a stream that has ended: ids and JSON.
fn parse(body: &str) -> Vec<(String, Value)> {
    let events = body.split("\n\n").filter(|it| !it.is_empty());
    let parsed = events.map(|event| {
        let (id, data) = event.split_once("\ndata: ").unwrap();
        let id = id.strip_prefix("id: ").unwrap().to_owned();
        (id, serde_json::from_str(data).unwrap())
    });
    parsed.collect()
}

async fn read(server: &TestServer, query: &str, last_id: &str) -> Vec<(String, Value)> {
    let request = server.get(&format!("{LOG}{query}"));
    let request = request.header("last-event-id", last_id);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    parse(&response.text().await.unwrap())
}

fn texts(lines: &[(String, Value)]) -> Vec<&str> {
    let texts = lines.iter().map(|(_, line)| line["text"].as_str());
    texts.map(Option::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_stream_ends_with_the_last_line_and_resumes_after_an_id() {
    let (server, _directory) = start().await;
    assert!(read(&server, "", "").await.is_empty());
    for text in ["one", "two", "three"] {
        say(&server, text).await;
    }
    let all = read(&server, "", "").await;
    assert_eq!(texts(&all), ["one", "two", "three"]);
    let (id, first) = &all[0];
    assert_eq!(*id, format!("{}-1", digest(&hostile("plain"))));
    assert_eq!(
        (&first["number"], &first["level"], &first["digest"]),
        (&json!(1), &json!("info"), &json!(digest(&hostile("plain"))))
    );
    assert_eq!(texts(&read(&server, "", id).await), ["two", "three"]);
    assert!(read(&server, "?level=warn", "").await.is_empty());
    // An id of another server.
    for unknown in ["0-1", "x", &id.replace("-1", "-999")] {
        assert_eq!(read(&server, "", unknown).await.len(), 3, "{unknown}");
    }
    let (bad, body) = respond(server.get(&format!("{LOG}?level=loud"))).await;
    assert_eq!(bad, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_stream_follows_each_version_until_the_client_is_no_administrator() {
    let (server, _directory) = start().await;
    say(&server, "old").await;
    let request = server.get(&format!("{LOG}?follow=true"));
    let mut stream = request.send().await.unwrap();
    let mut received = String::new();
    let mut wait_for = async |text: &str| {
        while !received.contains(&format!("\"text\":\"{text}\"")) {
            let chunk = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap();
            received += std::str::from_utf8(&chunk.expect(text)).unwrap();
        }
    };
    wait_for("old").await;
    say(&server, "more").await;
    wait_for("more").await;
    let (_, report) = install(&server, hostile("again")).await;
    assert_eq!(report["state"], "candidate", "{report}");
    say(&server, "of the new version").await;
    wait_for("of the new version").await;

    let user = server.add_second_user().await;
    set_role(&server, "admin").await;
    let url = server.url(&format!("{LOG}?follow=true"));
    let mut other = server
        .client
        .get(url)
        .bearer_auth(user)
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 200);
    let first = timeout(PATIENCE, other.chunk()).await.unwrap().unwrap();
    assert!(first.is_some());
    set_role(&server, "user").await;
    say(&server, "not for users").await;
    let mut rest = String::new();
    while let Some(chunk) = timeout(PATIENCE, other.chunk()).await.unwrap().unwrap() {
        rest += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(!rest.contains("not for users"), "{rest}");
    wait_for("not for users").await;
    // The server stops.
    server.app.jobs.shut_down().await;
    while let Some(_chunk) = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap() {}
}

async fn set_role(server: &TestServer, role: &str) {
    let update = "UPDATE users SET role = $1 WHERE id = 'second'";
    server.database.execute(update, &[role]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_streams_are_limited_and_end_with_their_clients() {
    let (server, _directory) = start().await;
    let follow = async || {
        let request = server.get(&format!("{LOG}?follow=true"));
        request.send().await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..MAX_LOG_STREAMS {
        let stream = follow().await;
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let refused = follow().await;
    assert_eq!(refused.status(), 503);
    let text = refused.text().await.unwrap();
    assert!(text.contains("close one and retry"), "{text}");
    drop(streams);
    let permits = server.app.log_streams.clone();
    let all = u32::try_from(MAX_LOG_STREAMS).unwrap();
    let freed = timeout(PATIENCE, permits.acquire_many(all)).await;
    drop(freed.unwrap().unwrap());
}
