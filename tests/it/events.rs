//! Events during a turn, as server-sent events and over Socket.IO.

mod previews;
mod revocation;
pub(crate) mod socket_client;
mod socket_io;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pinhole::event::{JOB, PROGRESS};
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, gif, pixel_base64};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

pub(crate) use socket_client::PATIENCE;
use socket_client::{SocketClient, emit, user_id};

/// Server-sent events, each with its id.
pub(crate) struct EventStream {
    response: reqwest::Response,
    read: String,
}

impl EventStream {
    pub(crate) async fn connect_as(server: &TestServer, query: &str, last: Option<&str>) -> Self {
        let mut request = server.get(&format!("/api/events{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            response,
            read: String::new(),
        }
    }

    pub(crate) async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event = event.to_owned();
                self.read = rest.to_owned();
                // Otherwise it is a keep-alive comment.
                if let Some((id, data)) = event.split_once("\ndata: ") {
                    let id = id.strip_prefix("id: ").unwrap().to_owned();
                    return (id, serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap();
            let chunk = chunk.unwrap().expect("the events ended");
            self.read += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next events except progress, which depends on time, and those of jobs, which `jobs_api` tests.
    async fn next_events(&mut self, count: usize) -> (Vec<String>, Vec<Value>) {
        let (mut ids, mut events) = (Vec::new(), Vec::new());
        while events.len() < count {
            let (id, event) = self.next().await;
            if event["data"]["type"] != PROGRESS && event["data"]["type"] != JOB {
                ids.push(id);
                events.push(event);
            }
        }
        (ids, events)
    }
}

/// Runs a turn with an image, in message `a1` of this chat.
async fn run_turn(server: &TestServer, chat_id: &str) {
    let request = json!({
        "model": "m", "chat_id": chat_id, "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a red fox"}],
    });
    let (status, _) = server.post_json("/api/chat/completions", &request).await;
    assert_eq!(status, 200);
}

/// The type of each.
fn event_types(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| &event["data"]["type"]);
    kinds.map(|kind| kind.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_resumes_after_last_event_id() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let mut connected = EventStream::connect_as(&server, "", None).await;
    let mut leaving = EventStream::connect_as(&server, "", None).await;
    run_turn(&server, "c1").await;
    let (ids, events) = connected.next_events(3).await;
    assert_eq!(event_types(&events), ["status", "status", "files"]);
    let (first, _) = leaving.next().await;
    assert_eq!(first, ids[0]);
    drop(leaving);
    run_turn(&server, "c2").await;
    let (later, _) = connected.next_events(3).await;

    let mut resumed_stream = EventStream::connect_as(&server, "", Some(&first)).await;
    let (resumed_ids, resumed) = resumed_stream.next_events(5).await;
    assert_eq!(resumed_ids, [&ids[1..], &later].concat());
    assert_eq!(resumed[..2], events[1..]);

    let mut of_chat = EventStream::connect_as(&server, "?chat_id=c2", Some(&first)).await;
    assert_eq!(of_chat.next_events(3).await.0, later);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_reports_gap_for_unknown_id() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let ours = user_id(&server, &server.key).await;
    emit(&server, &ours, Some("c1"), "status", json!({}));
    for (query, last) in [
        ("", "0123456789abcdef-1"),
        ("?chat_id=c1", "no id"),
        ("", "é"),
    ] {
        let mut stream = EventStream::connect_as(&server, query, Some(last)).await;
        let (id, gap) = stream.next().await;
        let expected = json!({
            "chat_id": null, "message_id": null, "data": {"type": "pinhole:gap", "data": {}},
        });
        assert_eq!(gap, expected);
        let (next, status) = stream.next().await;
        assert_eq!(status["data"]["type"], "status");
        // The id of the gap event can be resumed too.
        let mut resumed_stream = EventStream::connect_as(&server, "", Some(&id)).await;
        assert_eq!(resumed_stream.next().await.0, next);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_resumes_only_own_events() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let ours = user_id(&server, &server.key).await;
    let mut stream = EventStream::connect_as(&server, "", None).await;
    emit(&server, &ours, None, "status", json!({"of": "ours"}));
    let (id, _) = stream.next().await;
    emit(&server, &ours, None, "status", json!({"of": "ours"}));
    emit(&server, "second", None, "status", json!({"of": "second"}));
    let request = server.client.get(server.url("/api/events"));
    let response = request.bearer_auth(second).header("last-event-id", id);
    let response = response.send().await.unwrap();
    let mut resumed = EventStream {
        response,
        read: String::new(),
    };
    let received = loop {
        let (_, event) = resumed.next().await;
        if event["data"]["type"] != "pinhole:gap" {
            break event;
        }
    };
    assert_eq!(received["data"]["data"]["of"], "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_event_has_fraction_and_preview() {
    let response = Arc::new(Notify::new());
    let started = Arc::new(AtomicBool::new(false));
    let engine = {
        let response = response.clone();
        FakeUpstream::start(move |request: RecordedRequest| {
            let (response, started) = (response.clone(), started.clone());
            async move {
                if request.line() == "POST /sdapi/v1/txt2img" {
                    started.store(true, Ordering::SeqCst);
                    response.notified().await;
                    return FakeResponse::json(
                        200,
                        &json!({"images": [pixel_base64()], "info": "{}"}),
                    );
                }
                let draws = started.load(Ordering::SeqCst);
                let preview = base64_simd::STANDARD.encode_to_string(gif(1));
                FakeResponse::json(
                    200,
                    &json!({
                        "progress": if draws { 0.5 } else { 0.0 },
                        "current_image": draws.then_some(preview),
                        "state": {
                            "job_count": i32::from(draws), "job_timestamp": "20261122125730",
                            "sampling_step": 4, "sampling_steps": 8,
                        },
                    }),
                )
            }
        })
        .await
    };
    let url = engine.url();
    let server =
        TestServer::with_engine("automatic1111", &[("AUTOMATIC1111_BASE_URL", url.as_str())]).await;
    let ours = user_id(&server, &server.key).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut stream = EventStream::connect_as(&server, "?chat_id=c1", None).await;
    let watching = async {
        let status = socket.event().await;
        assert_eq!(status["data"]["data"]["description"], "Creating image");
        let progress = loop {
            let event = socket.event().await;
            if event["data"]["type"] == JOB {
                continue;
            }
            assert_eq!(event["data"]["type"], PROGRESS);
            assert_eq!(event["chat_id"], "c1");
            assert_eq!(event["message_id"], "a1");
            if !event["data"]["data"]["preview"].is_null() {
                break event;
            }
        };
        let preview = base64_simd::STANDARD.encode_to_string(gif(1));
        let expected = json!({
            "job_id": progress["data"]["data"]["job_id"], "fraction": 0.5, "note": "step 4 of 8",
            "preview": format!("data:image/gif;base64,{preview}"),
        });
        assert_eq!(progress["data"]["data"], expected);
        while stream.next().await.1 != progress {}
        response.notify_one();
    };
    tokio::join!(run_turn(&server, "c1"), watching);
    let rest = socket.events_so_far(&server, &ours).await;
    assert_eq!(event_types(&rest), ["status", "files"]);

    // A late listener gets no progress of a finished job.
    let mut late = EventStream::connect_as(&server, "", Some("")).await;
    let mut kinds = Vec::new();
    while kinds.last() != Some(&json!("files")) {
        kinds.push(late.next().await.1["data"]["type"].take());
    }
    let expected = ["pinhole:gap", "status", JOB, JOB, JOB, "status", "files"];
    assert_eq!(kinds, expected);
}
