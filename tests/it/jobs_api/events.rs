//! Events of jobs.

use pinhole::event::{JOB, PROGRESS};

use super::*;
use crate::events::EventStream;

/// The next event of this job with this type.
async fn next(stream: &mut EventStream, id: &str, kind: &str) -> Value {
    loop {
        let (_, event) = stream.next().await;
        if event["data"]["type"] == kind && event["message_id"] == id {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_of_a_job_is_an_event() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let mut stream = EventStream::connect_as(&server, "", None).await;
    let job = start(&server, &json!({"prompt": "a fox", "size": "64x48"})).await;
    for state in ["waiting", "running", "done"] {
        let event = next(&mut stream, id(&job), JOB).await;
        assert_eq!(event["chat_id"], Value::Null);
        let data = &event["data"]["data"];
        assert_eq!((&data["state"], &data["id"]), (&json!(state), &job["id"]));
        assert_eq!(data["progress"].is_null(), state == "done", "{data}");
        assert_eq!(data["request"], job["request"]);
    }
    // The last event is that of the job as clients read it.
    let mut again = EventStream::connect_as(&server, "", Some("")).await;
    let mut last = Value::Null;
    while last["state"] != "done" {
        last = next(&mut again, id(&job), JOB).await["data"]["data"].take();
    }
    assert_eq!(get(&server, &format!("{JOBS}/{}", id(&job))).await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_names_the_job_and_is_in_its_response() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line() == "POST /sdapi/v1/txt2img" {
            std::future::pending::<()>().await;
        }
        let state = json!({
            "job_count": 1, "job_timestamp": "20261122125730", "sampling_step": 4, "sampling_steps": 8,
        });
        FakeResponse::json(200, &json!({"progress": 0.5, "state": state}))
    })
    .await;
    let url = upstream.url();
    let variables = [("AUTOMATIC1111_BASE_URL", url.as_str())];
    let server = TestServer::with_engine("automatic1111", &variables).await;
    let mut stream = EventStream::connect_as(&server, "", None).await;
    let job = start(&server, &json!({"prompt": "a fox"})).await;
    let event = next(&mut stream, id(&job), PROGRESS).await;
    assert_eq!(event["data"]["data"]["job_id"], job["id"], "{event}");
    assert_eq!(event["chat_id"], Value::Null);
    let (status, stopped) = send(
        &server,
        &server.key,
        http::Method::DELETE,
        &format!("{JOBS}/{}", id(&job)),
        None,
    )
    .await;
    assert_eq!((status, &stopped["state"]), (200, &json!("cancelled")));
    let last = next(&mut stream, id(&job), JOB).await;
    assert_ne!(last["data"]["data"]["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_for_the_user_of_the_job() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let mut stream = EventStream::connect_as(&server, "", None).await;
    let body = json!({"prompt": "theirs", "size": "64x48"});
    let (_, theirs) = send(&server, second, http::Method::POST, JOBS, Some(&body)).await;
    let path = format!("{JOBS}/{}?wait=60", id(&theirs));
    send(&server, second, http::Method::GET, &path, None).await;
    let ours = start(&server, &json!({"prompt": "ours", "size": "64x48"})).await;
    loop {
        let (_, event) = stream.next().await;
        assert_eq!(event["message_id"], ours["id"], "{event}");
        if event["data"]["data"]["state"] == "done" {
            break;
        }
    }
}
