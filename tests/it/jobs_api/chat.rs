//! Jobs of chats: their rows, how their image is stopped, and edits that the request names.

use http::Method;

use super::*;

/// A transparent PNG of one pixel.
const MASK: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=";
const TURN: &str = "/api/chat/completions";

fn pixel() -> String {
    format!("data:image/png;base64,{}", pixel_base64())
}

fn turn(chat_id: &str) -> Value {
    json!({
        "model": "m", "chat_id": chat_id, "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a fox"}],
    })
}

/// A server without a language model, whose engine `openai` has this upstream.
async fn server() -> (FakeUpstream, TestServer) {
    openai_server(200, image_response()).await
}

async fn jobs(server: &TestServer) -> Vec<Value> {
    let mut page = get(server, JOBS).await;
    page["jobs"].as_array_mut().map(std::mem::take).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn job_of_a_chat_has_a_row() {
    let (_upstream, server) = server().await;
    let mut request = turn("c1");
    request["image_generation"] = json!({"engine": "openai", "size": "1024x1024"});
    let (status, response) = server.post_json(TURN, &request).await;
    assert_eq!(status, 200, "{response}");
    let [job] = &jobs(&server).await[..] else {
        panic!("one job")
    };
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(
        (&job["origin"], &job["chat_id"]),
        (&json!("chat"), &json!("c1"))
    );
    assert_eq!(job["message_id"], "a1");
    let expected = json!({
        "prompt": "a fox", "engine": "openai", "size": "1024x1024", "sources": [], "mask": null,
    });
    assert_eq!(job["request"], expected);
    assert_eq!(job["files"].as_array().unwrap().len(), 1);

    // The texts of a temporary chat are not stored.
    server.post_json(TURN, &turn("local:x")).await;
    let temporary = &jobs(&server).await[0];
    assert_eq!(temporary["request"], Value::Null, "{temporary}");
    assert_eq!(temporary["state"], "done");
    assert_eq!(temporary.get("revised_prompt"), None, "{temporary}");
    let id = temporary["files"][0]["id"].as_str().unwrap();
    let image = get(&server, &format!("/api/v1/gallery/{id}")).await;
    assert_eq!(image["prompt"], Value::Null, "{image}");
    assert_eq!(image["revised_prompt"], Value::Null, "{image}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_interfaces_write_no_row() {
    let (_upstream, server) = server().await;
    for (path, body) in [
        ("/v1/images/generations", json!({"prompt": "a fox"})),
        ("/v1/chat/completions", turn("c1")),
        ("/api/v1/images/generations", json!({"prompt": "a fox"})),
    ] {
        let (status, response) = server.post_json(path, &body).await;
        assert_eq!(status, 200, "{path}: {response}");
    }
    assert_eq!(jobs(&server).await, [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_job_of_a_chat_stops_the_image_and_not_the_text() {
    let (upstream, server) = hanging_server(&[]).await;
    let request = turn("c1");
    let asked = server.post_json(TURN, &request);
    let stop = async {
        upstream.wait_for_requests(1).await;
        let job = jobs(&server).await.remove(0);
        let path = format!("{JOBS}/{}", id(&job));
        let (status, stopped) = send(&server, &server.key, Method::DELETE, &path, None).await;
        assert_eq!(
            (status, &stopped["state"]),
            (200, &json!("cancelled")),
            "{stopped}"
        );
    };
    let ((status, response), ()) = tokio::join!(asked, stop);
    assert_eq!(status, 200, "{response}");
    let text = response["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    assert!(text.contains("it was stopped"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_turn_cancels_its_job() {
    let (upstream, server) = hanging_server(&[]).await;
    let mut request = turn("c1");
    request["session_id"] = json!("s1");
    let (_, task) = server.post_json(TURN, &request).await;
    upstream.wait_for_requests(1).await;
    let job = jobs(&server).await.remove(0);
    let path = format!("/api/tasks/stop/{}", task["task_id"].as_str().unwrap());
    let (status, stopped) = server.post_json(&path, &json!({})).await;
    assert_eq!(status, 200, "{stopped}");
    let job = wait(&server, &job).await;
    assert_eq!(job["state"], "cancelled", "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_edits_the_sources_that_the_request_names() {
    let (upstream, server) = server().await;
    let mut request = turn("c1");
    // The message has another image.
    let other = json!({"type": "image_url", "image_url": {"url": pixel()}});
    let text = json!({"type": "text", "text": "bluer"});
    request["messages"][0]["content"] = json!([text, other]);
    for (options, files) in [
        (json!({"sources": [pixel(), pixel()], "mask": MASK}), 3),
        (json!({"sources": [pixel()]}), 1),
        (json!({"mask": MASK}), 2),
        (json!({"edit": true}), 1),
        (json!({}), 1),
    ] {
        request["image_generation"] = options.clone();
        let (status, response) = server.post_json(TURN, &request).await;
        assert_eq!(status, 200, "{response}");
        let sent = upstream.requests().pop().unwrap();
        assert_eq!(sent.line(), "POST /v1/images/edits", "{options}");
        let form = String::from_utf8_lossy(&sent.body).into_owned();
        assert_eq!(form.matches("filename=").count(), files, "{options}");
        assert_eq!(
            form.contains("name=\"mask\""),
            options.get("mask").is_some()
        );
    }
    request["image_generation"] = json!({"edit": false});
    let (status, response) = server.post_json(TURN, &request).await;
    assert_eq!(status, 200, "{response}");
    let sent = upstream.requests().pop().unwrap();
    assert_eq!(sent.line(), "POST /v1/images/generations");
    let newest = jobs(&server).await.remove(0);
    assert_eq!(newest["operation"], "generate");
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_of_a_chat_without_its_image_fails_with_the_reason() {
    let (upstream, server) = server().await;
    for (options, reason) in [
        (
            json!({"sources": ["none"]}),
            "the image to edit refers to a file that does not exist",
        ),
        (
            json!({"sources": [pixel()], "mask": "none"}),
            "the mask refers to a file that does not exist",
        ),
        (json!({"mask": MASK}), "there is no image to edit"),
        (json!({"edit": true}), "there is no image to edit"),
    ] {
        let mut request = turn("c1");
        request["image_generation"] = options.clone();
        let (status, response) = server.post_json(TURN, &request).await;
        assert_eq!(status, 200, "{response}");
        let text = response["choices"][0]["message"]["content"]
            .as_str()
            .unwrap();
        assert!(text.contains(reason), "{options}: {text}");
    }
    for (options, reason) in [
        (
            json!({"edit": false, "sources": [pixel()]}),
            "image_generation.edit is false",
        ),
        (
            json!({"edit": false, "mask": MASK}),
            "image_generation.edit is false",
        ),
        (json!({"sources": vec!["x"; 17]}), "more than 16 images"),
        (
            json!({"sources": "x"}),
            "image_generation.sources cannot be used",
        ),
        (json!({"mask": 5}), "image_generation.mask cannot be used"),
    ] {
        let mut request = turn("c1");
        request["image_generation"] = options.clone();
        let (status, error) = server.post_json(TURN, &request).await;
        assert_eq!(status, 400, "{options}: {error}");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{options}: {detail}");
    }
    assert_eq!(upstream.request_lines().len(), 0);
}
