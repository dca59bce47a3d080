//! Operations of stored chats, of running turns and of language models.

use pinhole_tests::FakeUpstream;

use super::*;

const CHATS: &str = "/api/v1/chats/";

/// A chat with a question and a reply, as clients send it.
fn chat() -> Value {
    json!({"chat": {
        "title": "Foxes",
        "models": ["words"],
        "history": {
            "currentId": "a",
            "messages": {
                "q": {"id": "q", "parentId": null, "childrenIds": ["a"], "role": "user", "content": "a fox"},
                "a": {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "Here."},
            },
        },
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_operations() {
    let api = Api::start(&[]).await;
    let get = |path: &str| api.ask(Method::GET, &format!("{CHATS}{path}"));
    let post =
        |path: &str, body: Value| api.ask(Method::POST, &format!("{CHATS}{path}")).json(&body);
    let made = api.case("good", post("new", chat())).await;
    api.case("no_chat", post("new", json!({}))).await;
    api.case("wrong_type", post("new", json!({"chat": {"history": 5}})))
        .await;
    let id = made["id"].as_str().unwrap();
    for path in [
        "?page=1",
        "list?page=1",
        "pinned",
        "archived?page=1",
        "all",
        "all/archived",
        "all/tags",
        "search?text=Foxes",
    ] {
        api.case("good", get(path)).await;
    }
    api.case("page_no_number", get("?page=x")).await;
    let second_user = api.server.add_second_user().await;
    for path in ["", "/pinned", "/tags"] {
        api.case("good", get(&format!("{id}{path}"))).await;
        api.case("not_found", get(&format!("none{path}"))).await;
        let path = format!("{CHATS}{id}{path}");
        let request = api.ask_as(second_user, Method::GET, &path);
        api.case("somebody_elses", request).await;
    }
    for (path, body) in [
        ("", json!({"chat": {"title": "Two foxes"}})),
        ("/pin", json!({})),
        ("/archive", json!({})),
        ("/messages/a", json!({"content": "There."})),
    ] {
        api.case("good", post(&format!("{id}{path}"), body.clone()))
            .await;
        api.case("not_found", post(&format!("none{path}"), body))
            .await;
    }
    api.case(
        "wrong_type",
        post(&format!("{id}/messages/a"), json!({"content": 5})),
    )
    .await;
    api.case("good", api.ask(Method::DELETE, &format!("{CHATS}{id}")))
        .await;
    api.case(
        "not_found",
        api.ask(Method::DELETE, &format!("{CHATS}{id}")),
    )
    .await;
    api.case("good", api.ask(Method::DELETE, CHATS)).await;
}

/// A language model with one response to all requests; it is a list of models too.
async fn language_model() -> (FakeUpstream, Api) {
    let completion = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "words",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "{\"prompt\": \"a red fox\"}"},
            "finish_reason": "stop",
        }],
        "data": [{"id": "words", "object": "model", "created": 1, "owned_by": "somebody"}],
    });
    let upstream = FakeUpstream::json(200, completion).await;
    let base = format!("{}/v1", upstream.url());
    let api = Api::start(&[
        ("OPENAI_API_BASE_URL", &base),
        ("OPENAI_API_KEY", "sk-words"),
    ])
    .await;
    (upstream, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn language_model_operations() {
    let (_upstream, api) = language_model().await;
    for path in [
        "/api/models",
        "/api/v1/models",
        "/v1/models",
        "/v1/models/words",
    ] {
        api.case("good", api.ask(Method::GET, path)).await;
    }
    api.case("not_found", api.ask(Method::GET, "/v1/models/none"))
        .await;
    let api_request = |path: &str, model: &str| {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "a fox"}]});
        api.ask(Method::POST, path).json(&body)
    };
    for path in [
        "/api/chat/completions",
        "/api/v1/chat/completions",
        "/v1/chat/completions",
        "/api/v1/tasks/image_prompt/completions",
    ] {
        api.case("good_words", api_request(path, "words")).await;
        api.case("unknown_model", api_request(path, "none")).await;
        let empty = api.ask(Method::POST, path);
        api.case("no_messages", empty.json(&json!({"model": "words"})))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn task_operations() {
    // A language model that never responds: the turn keeps running.
    let silent = FakeUpstream::start(|request| async move {
        match request.method {
            Method::POST => std::future::pending().await,
            _ => pinhole_tests::FakeResponse::json(200, &json!({"data": [{"id": "words"}]})),
        }
    })
    .await;
    let base = format!("{}/v1", silent.url());
    let api = Api::start(&[
        ("OPENAI_API_BASE_URL", &base),
        ("OPENAI_API_KEY", "sk-words"),
    ])
    .await;
    let turn = json!({
        "model": "words",
        "messages": [{"role": "user", "content": "a fox"}],
        "session_id": "s",
        "chat_id": "local:s",
        "id": "a",
    });
    let begin = || api.ask(Method::POST, "/api/chat/completions").json(&turn);
    let task = api.case("good_later", begin()).await;
    let path = "/api/tasks/chat/local:s";
    api.case("good", api.ask(Method::GET, path)).await;
    let stop = format!("/api/tasks/stop/{}", task["task_id"].as_str().unwrap());
    api.case("good", api.ask(Method::POST, &stop)).await;
    api.case("not_found", api.ask(Method::POST, "/api/tasks/stop/none"))
        .await;
    api.case("good_later", begin()).await;
    api.case("good", api.ask(Method::POST, &format!("{path}/stop")))
        .await;
    api.case(
        "not_found",
        api.ask(Method::POST, "/api/tasks/chat/none/stop"),
    )
    .await;
}
