//! Stop: it reaches the upstreams, and only the own tasks.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn stop_reaches_engine_upstream() {
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
                        interrupted.notified().await;
                        FakeResponse::json(200, &json!({"images": [], "info": "{}"}))
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
    let (model, _) = hanging_model("").await;
    let url = upstream.url();
    let server = server("automatic1111", &model, &[("AUTOMATIC1111_BASE_URL", &url)]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let task = start_task(&server, &turn(true)).await;
    // The engine has recognized its own job.
    while socket.event().await["data"]["data"]["note"] != "step 4 of 8" {}

    let path = format!("/api/tasks/stop/{task}");
    let (status, stopped) = server.post_json(&path, &json!({})).await;
    assert_eq!(status, 200, "{stopped}");
    assert_eq!(stopped["status"], true);
    assert!(stopped["message"].as_str().unwrap().contains(&task));
    let event = next_event(&mut socket, "c1").await;
    assert_eq!(event, json!({"type": CANCELLED}));
    let events = async {
        while !upstream
            .request_lines()
            .contains(&"POST /sdapi/v1/interrupt".to_owned())
        {
            upstream
                .wait_for_requests(upstream.request_lines().len() + 1)
                .await;
        }
    };
    timeout(PATIENCE, events).await.unwrap();
    server.app.tasks.shut_down().await;
    assert_eq!(server.post_json(&path, &json!({})).await.0, 404);
    let requests = model.request_lines().into_iter();
    let requests = requests.filter(|line| line.starts_with("POST "));
    assert_eq!(requests.count(), 0);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_says_that_the_upstream_may_continue() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let (model, _) = hanging_model("").await;
    let url = format!("{}/v1", upstream.url());
    let server = server("openai", &model, &[("IMAGES_OPENAI_API_BASE_URL", &url)]).await;
    let chat_id = create_chat(&server).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = turn(true);
    request["chat_id"] = json!(chat_id);
    let task = start_task(&server, &request).await;
    // The upstream has the order, and this engine cannot take it back.
    upstream.wait_for_requests(1).await;
    let (status, stopped) = server
        .post_json(&format!("/api/tasks/stop/{task}"), &json!({}))
        .await;
    assert_eq!(status, 200, "{stopped}");
    let note = "Stopped. The upstream may still finish the image, and charge for it.";
    let mut last = Value::Null;
    loop {
        let event = next_event(&mut socket, &chat_id).await;
        if event["type"] == CANCELLED {
            break;
        }
        last = event;
    }
    assert_eq!(last["data"]["description"], note, "{last}");
    assert_eq!(last["data"]["done"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_drops_model_response_and_stores_partial_text() {
    let (model, dropped) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let chat_id = create_chat(&server).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = turn(false);
    request["chat_id"] = json!(chat_id);
    start_task(&server, &request).await;
    events_until(&mut socket, &chat_id, COMPLETION).await;
    let path = format!("/api/tasks/chat/{chat_id}/stop");
    let (status, stopped) = server.post_json(&path, &json!({})).await;
    assert_eq!((status, &stopped["status"]), (200, &json!(true)));
    timeout(PATIENCE, dropped.notified()).await.unwrap();
    let event = next_event(&mut socket, &chat_id).await;
    assert_eq!(event, json!({"type": CANCELLED}));
    let (text, rest) = stored_message(&server, &chat_id).await;
    assert_eq!((text, rest), (json!("Here is "), json!({"done": true})));
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_other_users_are_hidden() {
    let (model, _) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let second = server.add_second_user().await;
    let task = start_task(&server, &turn(false)).await;
    for (path, method) in [
        ("/api/tasks/chat/c1".to_owned(), http::Method::GET),
        (format!("/api/tasks/stop/{task}"), http::Method::POST),
        ("/api/tasks/chat/c1/stop".to_owned(), http::Method::POST),
    ] {
        let ask = |key: &str| {
            let request = server.client.request(method.clone(), server.url(&path));
            request.bearer_auth(key).send()
        };
        assert_eq!(ask("sk-nobody").await.unwrap().status(), 401, "{path}");
        let response = ask(second).await.unwrap();
        if method == http::Method::GET {
            assert_eq!(response.status(), 200);
            assert_eq!(response.text().await.unwrap(), r#"{"task_ids":[]}"#);
        } else {
            assert_eq!(response.status(), 404, "{path}");
            let events = response.text().await.unwrap();
            assert!(events.starts_with("{\"detail\":"), "{events}");
        }
    }
    let ours = get(&server, "/api/tasks/chat/c1").await;
    assert_eq!(ours, json!({"task_ids": [task]}));
    for path in ["stop/no-task", "stop/%FF", "chat/%FF/stop"] {
        let path = format!("/api/tasks/{path}");
        let (status, refused) = server.post_json(&path, &json!({})).await;
        assert_eq!(status, 404, "{path}");
        assert!(refused["detail"].is_string(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_of_an_upstream_that_works_on_is_reported() {
    // The web UI has no resource to interrupt, and finishes its image only when the test ends.
    let engine = FakeUpstream::start(|request: RecordedRequest| async move {
        if request.line() == "POST /sdapi/v1/txt2img" {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let model = language_model(|_| async { FakeResponse::json(500, &json!({})) }).await;
    let url = engine.url();
    let server = server("automatic1111", &model, &[("AUTOMATIC1111_BASE_URL", &url)]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let id = start_task(&server, &turn(true)).await;
    while !engine
        .request_lines()
        .iter()
        .any(|it| it == "POST /sdapi/v1/txt2img")
    {
        tokio::task::yield_now().await;
    }
    let (status, response) = server
        .post_json(&format!("/api/tasks/stop/{id}"), &json!({}))
        .await;
    assert_eq!(status, 200, "{response}");
    // The end of the turn and the last status are independent of each other.
    let (mut is_cancelled, mut last_status) = (false, Value::Null);
    while !is_cancelled || last_status["done"] != true {
        let mut event = next_event(&mut socket, "c1").await;
        is_cancelled |= event["type"] == CANCELLED;
        if event["type"] == "status" {
            last_status = event["data"].take();
        }
    }
    let description = last_status["description"].as_str().unwrap();
    assert!(description.contains("cannot be stopped"), "{last_status}");
}
