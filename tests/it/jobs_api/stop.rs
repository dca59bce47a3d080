//! How jobs are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::events::PATIENCE;

async fn delete(server: &TestServer, job: &Value) -> Value {
    let path = format!("{JOBS}/{}", id(job));
    let (status, stopped) = send(server, &server.key, Method::DELETE, &path, None).await;
    assert_eq!(status, 200, "{stopped}");
    stopped
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_reaches_the_upstream() {
    let interrupted = Arc::new(Notify::new());
    let started = Arc::new(AtomicBool::new(false));
    let upstream = {
        let (interrupted, started) = (interrupted.clone(), started.clone());
        FakeUpstream::start(move |request: RecordedRequest| {
            let (interrupted, started) = (interrupted.clone(), started.clone());
            async move {
                match request.line().as_str() {
                    "POST /sdapi/v1/txt2img" => {
                        started.store(true, Ordering::SeqCst);
                        std::future::pending::<FakeResponse>().await
                    }
                    "POST /sdapi/v1/interrupt" => {
                        interrupted.notify_one();
                        FakeResponse::json(200, &json!({}))
                    }
                    _ => {
                        let draws = started.load(Ordering::SeqCst);
                        let state = json!({
                            "job_count": i32::from(draws), "job_timestamp": "20261122125730",
                            "sampling_step": 4, "sampling_steps": 8,
                        });
                        let fraction = if draws { 0.5 } else { 0.0 };
                        FakeResponse::json(200, &json!({"progress": fraction, "state": state}))
                    }
                }
            }
        })
        .await
    };
    let url = upstream.url();
    let variables = [("AUTOMATIC1111_BASE_URL", url.as_str())];
    let server = TestServer::with_engine("automatic1111", &variables).await;
    let job = start(&server, &json!({"prompt": "a fox"})).await;
    let path = format!("{JOBS}/{}", id(&job));
    // The engine has recognized its own job.
    while get(&server, &path).await["progress"]["note"] != "step 4 of 8" {}
    let stopped = delete(&server, &job).await;
    assert_eq!(stopped["state"], "cancelled", "{stopped}");
    assert_eq!(stopped["error"]["code"], "cancelled");
    assert_eq!(stopped["progress"], Value::Null);
    assert_eq!(get(&server, &path).await, stopped);
    // An ended job stays as it is.
    assert_eq!(delete(&server, &job).await, stopped);
    timeout(PATIENCE, interrupted.notified()).await.unwrap();
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_of_an_order_says_that_it_may_be_charged() {
    let (upstream, server) = hanging_server(&[]).await;
    let job = start(&server, &json!({"prompt": "a fox"})).await;
    upstream.wait_for_requests(1).await;
    let stopped = delete(&server, &job).await;
    assert_eq!(stopped["state"], "cancelled");
    let hint = stopped["error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("may still finish the image, and charge"),
        "{hint}"
    );
    // The connection is closed.
    timeout(PATIENCE, upstream.wait_until_idle()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_job_is_stopped_before_it_begins() {
    let (upstream, server) = hanging_server(&[("PINHOLE_SLOTS", "1")]).await;
    start(&server, &json!({"prompt": "first"})).await;
    upstream.wait_for_requests(1).await;
    let waiting = start(&server, &json!({"prompt": "second"})).await;
    let stopped = delete(&server, &waiting).await;
    assert_eq!(stopped["state"], "cancelled");
    assert_eq!(
        (&stopped["started_at"], &stopped["duration_ms"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(stopped["error"].get("hint"), None);
    assert_eq!(upstream.request_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_of_several_jobs_is_for_their_user_and_administrators() {
    let (_upstream, server) = hanging_server(&[]).await;
    let second = server.add_second_user().await;
    let body = json!({"prompt": "a fox"});
    let stop = async |key: &str, whose: Value| {
        let path = "/api/v1/jobs/stop";
        send(&server, key, Method::POST, path, Some(&whose)).await
    };
    let start_of = async |key: &str| {
        let (status, job) = send(&server, key, Method::POST, JOBS, Some(&body)).await;
        assert_eq!(status, 202, "{job}");
    };
    for key in [server.key.as_str(), second, second] {
        start_of(key).await;
    }
    let own = server.app.store.user_by_key(&server.key).await.unwrap();
    let own = own.unwrap().id;
    for refused in [json!({"all": true}), json!({"user_id": own})] {
        let (status, error) = stop(second, refused.clone()).await;
        assert_eq!(status, 403, "{refused}: {error}");
    }
    let (status, error) = stop(&server.key, json!({"all": true, "user_id": own})).await;
    assert_eq!(status, 400, "{error}");
    assert_eq!(
        stop(second, json!({"user_id": "second"})).await.1,
        json!({"stopped": 2})
    );
    assert_eq!(stop(second, json!({})).await.1, json!({"stopped": 0}));
    start_of(second).await;
    let of_second = json!({"user_id": "second"});
    assert_eq!(stop(&server.key, of_second).await.1, json!({"stopped": 1}));
    start_of(second).await;
    assert_eq!(
        stop(&server.key, json!({"all": true})).await.1,
        json!({"stopped": 2})
    );
}
