//! What the server refuses, what fails while it runs, and answers that are no answers.

use pinhole::engine::bindings::ErrorKind;

use super::*;

const REFUSALS: &str = include_str!("../../data/comfyui/refusals.json");

/// What is said to a job instead of taking it, by name.
fn refusal(name: &str) -> Answer {
    match name {
        "missing node, up to 0.11.1" => Answer::json(
            400,
            &json!({
                "error": {
                    "type": "invalid_prompt", "details": "Node ID '#4'", "extra_info": {},
                    "message": "Cannot execute because node NotInstalledNode does not exist.",
                },
                "node_errors": {},
            }),
        ),
        "login page" => Answer::typed(200, "text/html", "<!doctype html><title>Log in</title>"),
        "no id" => Answer::json(200, &json!({"number": 1, "node_errors": {}})),
        "wrong key" => Answer::json(401, &json!({"error": "who are you?"})),
        _ => {
            let all: Value = serde_json::from_str(REFUSALS).unwrap();
            let found = &all[name];
            let status = found["status"].as_u64();
            let status = status.unwrap_or_else(|| panic!("no refusal {name:?}"));
            let status = u16::try_from(status).unwrap();
            match found["text"].as_str() {
                Some(text) => Answer::typed(status, "text/plain; charset=utf-8", text.to_owned()),
                None => Answer::json(status, &found["body"]),
            }
        }
    }
}

/// Status, code and parameter of a reply, and its message.
fn error(reply: &(u16, Value)) -> ((u16, &str, &str), &str) {
    let (status, body) = reply;
    let text = |key: &str| body["error"][key].as_str().unwrap_or_default();
    ((*status, text("code"), text("param")), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_workflows_say_what_is_wrong_and_where() {
    // The prompt, which finds its place in the default workflow, says what the answer is.
    let comfy = Comfy::start(
        json!({}),
        |seen| {
            let refused = seen.line() == "POST /prompt";
            refused.then(|| {
                refusal(
                    seen.json()["prompt"]["6"]["inputs"]["text"]
                        .as_str()
                        .unwrap(),
                )
            })
        },
        Line::stay,
    )
    .await;
    let server = comfy.server(&[("COMFYUI_WORKFLOW", "")]).await;
    let missing =
        r#"the server has no node "NotInstalledNode": install the custom node that brings it"#;
    let unreadable = "ComfyUI cannot read the workflow: export it anew with Save (API Format)";
    let cases = [
        (
            "missing node class",
            (400, "missing_node_type", "workflow"),
            missing,
        ),
        (
            "missing node, up to 0.11.1",
            (400, "invalid_prompt", "workflow"),
            missing,
        ),
        (
            "no class_type",
            (400, "missing_node_type", "workflow"),
            r#"the server has no node "canvas": install the custom node that brings it"#,
        ),
        (
            "checkpoint not installed: value_not_in_list",
            (400, "value_not_in_list", "ckpt_name"),
            r#"CheckpointLoaderSimple (node 4): the server has no "v1-5-pruned-emaonly.safetensors" for ckpt_name"#,
        ),
        (
            "unknown sampler: value_not_in_list (list longer than 20)",
            (400, "value_not_in_list", "sampler_name"),
            "KSampler (node 3): Value not in list: sampler_name: 'Euler a' not in (list of length 44)",
        ),
        (
            "value_smaller_than_min",
            (400, "value_smaller_than_min", "width"),
            "EmptyImage (node 4): Value 0 smaller than min of 1: width",
        ),
        (
            "required_input_missing",
            (400, "required_input_missing", "width"),
            "EmptyImage (node 4): Required input is missing: width",
        ),
        (
            "LoadImage missing file: custom_validation_failed",
            (400, "custom_validation_failed", "image"),
            "LoadImage (node 1): Custom validation failed for node: image - Invalid image file: does-not-exist.png",
        ),
        (
            "dependency cycle",
            (400, "dependency_cycle", "workflow"),
            "ImageInvert (node 2): Dependency cycle detected: 3 (ImageScale) -> 2 (ImageInvert) -> 3 (ImageScale)",
        ),
        (
            "prompt_no_outputs",
            (400, "prompt_no_outputs", "workflow"),
            "Prompt has no outputs",
        ),
        (
            "malformed JSON: 500 text/plain",
            (400, "invalid", "workflow"),
            unreadable,
        ),
        (
            "Origin header not matching Host: 403 empty body",
            (502, "forbidden", ""),
            "ComfyUI, or a proxy in front of it, does not let this server in",
        ),
        (
            "wrong key",
            (502, "unauthorized", "api-key"),
            "who are you?",
        ),
        (
            "login page",
            (502, "protocol", ""),
            "the answer is not JSON: expected value at line 1 column 1",
        ),
        (
            "no id",
            (502, "protocol", ""),
            "ComfyUI took the job but gave it no id",
        ),
    ];
    for (index, (name, expected, message)) in cases.into_iter().enumerate() {
        let body = json!({"prompt": name});
        let reply = server.ask("/v1/images/generations", &body).await;
        assert_eq!(error(&reply), (expected, message), "{name}");
        assert_eq!(comfy.graph()["6"]["inputs"]["text"], name);
        let lines = comfy.lines();
        assert_eq!(lines.len(), 2 * (index + 1), "{name}");
        assert_eq!(lines[2 * index..], ["GET /ws", "POST /prompt"], "{name}");
    }
    assert_eq!(server.stored(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_is_none_is_refused_before_anything_is_asked() {
    let comfy = Comfy::playing("two pictures").await;
    let editor = json!({
        "last_node_id": 1, "last_link_id": 0, "links": [], "groups": [], "version": 0.4,
        "nodes": [{"id": 1, "type": "EmptyImage", "inputs": [], "widgets_values": [512, 512, 1, 0]}],
    });
    for (workflow, message) in [
        (
            editor.to_string(),
            "the workflow is in the editor's own format: export it with Save (API Format)",
        ),
        (
            "[]".to_owned(),
            "the workflow is not a JSON object: export it with Save (API Format)",
        ),
        (
            "{}".to_owned(),
            "the workflow has no node with a class_type: export it with Save (API Format)",
        ),
    ] {
        let server = comfy.server(&[("COMFYUI_WORKFLOW", &workflow)]).await;
        let body = json!({"prompt": "a red fox"});
        let reply = server.ask("/v1/images/generations", &body).await;
        assert_eq!(error(&reply), ((400, "invalid", "workflow"), message));
    }
    let nodes = r#"[{"type": "prompt", "node_ids": ["77"]}]"#;
    let server = comfy.server(&[("COMFYUI_WORKFLOW_NODES", nodes)]).await;
    let body = json!({"prompt": "a red fox"});
    let reply = server.ask("/v1/images/generations", &body).await;
    let message = r#"the workflow has no node "77" with inputs, which the setting nodes names"#;
    assert_eq!(error(&reply), ((400, "invalid", "nodes"), message));
    assert_eq!(comfy.lines(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_taken_without_its_picture_is_taken_back() {
    let comfy = Comfy::playing("our branch invalid").await;
    let server = comfy.server(&[]).await;
    let body = json!({"prompt": "a red fox"});
    let reply = server.ask("/v1/images/generations", &body).await;
    let expected = (400, "value_smaller_than_min", "width");
    let message = "EmptyImage (node 4): Value 0 smaller than min of 1: width";
    assert_eq!(error(&reply), (expected, message));
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", "POST /queue"]);
    assert_eq!(comfy.seen()[2].json(), json!({"delete": [JOB]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_makes_no_picture_of_ours_may_be_wrong() {
    let comfy = Comfy::playing("another branch invalid").await;
    let server = comfy.server(&[]).await;
    let finished = generate(&server, foxes()).await.unwrap();
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
    let views = VIEWS.map(|view| view.replace("core_t2i", "part"));
    let [first, second] = views.each_ref().map(String::as_str);
    let expected = ["GET /ws", "POST /prompt", HISTORY, first, second];
    assert_eq!(comfy.lines(), expected);
}

/// Changes every report of the failure in a run, over the socket and in the history.
fn failing(name: &str, change: impl Fn(&mut Value)) -> Value {
    let mut run = run(name);
    for frame in run["frames"].as_array_mut().unwrap() {
        if frame["text"]["type"] == "execution_error" {
            change(&mut frame["text"]["data"]);
        }
    }
    let messages = &mut entry(&mut run)["status"]["messages"];
    change(&mut messages.as_array_mut().unwrap().last_mut().unwrap()[1]);
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_node_and_shows_no_more_of_the_server() {
    use ErrorKind::{Invalid, OutOfMemory, Upstream};
    // The recordings are without the traceback's lines.
    let traceback = |data: &mut Value| {
        data["traceback"] = json!(["  File \"/opt/ComfyUI/execution.py\", line 518, in execute\n"]);
    };
    let gpu = |data: &mut Value| {
        traceback(data);
        data["exception_type"] = "torch.OutOfMemoryError".into();
        data["exception_message"] =
            "Allocation on device 0 would exceed allowed memory. (out of memory)\n\
             Currently allocated: 5.50 GiB\nThis error means you ran out of memory on your GPU.\n"
                .into();
    };
    let smaller = "EmptyImage ran out of memory: ask for a smaller size or fewer images";
    let cases = [
        (
            failing("corrupt checkpoint", traceback),
            Upstream,
            (502, "safetensors._safetensors_rust.SafetensorError", ""),
            "CheckpointLoaderSimple: Error while deserializing header: header too large",
        ),
        (
            failing("out of memory", traceback),
            OutOfMemory,
            (502, "RuntimeError", ""),
            smaller,
        ),
        (
            failing("out of memory", gpu),
            OutOfMemory,
            (502, "torch.OutOfMemoryError", ""),
            smaller,
        ),
        (
            failing("corrupt picture", traceback),
            Invalid,
            (400, "PIL.UnidentifiedImageError", "image"),
            "LoadImage cannot read a picture that the workflow loads",
        ),
    ];
    let over_socket = Comfy::playing("corrupt checkpoint").await;
    let by_history = Comfy::without_socket(run("corrupt checkpoint"), |_| None).await;
    for (comfy, expected) in [
        (over_socket, &["GET /ws", "POST /prompt"][..]),
        (by_history, &["GET /ws", "POST /prompt", HISTORY]),
    ] {
        let server = comfy.server(&[("COMFYUI_WORKFLOW", "")]).await;
        for (run, kind, codes, message) in &cases {
            comfy.run.send_replace(run.clone());
            let before = comfy.lines().len();
            let body = json!({"prompt": "a red fox"});
            let reply = server.ask("/v1/images/generations", &body).await;
            assert_eq!(error(&reply), (*codes, *message));
            let text = reply.1.to_string();
            assert!(
                !text.contains("/opt/") && !text.contains("traceback"),
                "{text}"
            );
            assert_eq!(comfy.lines()[before..], *expected, "{message}");
            let failed = generate(&server, fox()).await.unwrap_err();
            assert_eq!(failed.kind(), *kind, "{message}");
            assert!(
                !failed.for_operator().contains("/opt/"),
                "{}",
                failed.for_operator()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_a_failed_job_are_not_given() {
    let mut run = run("corrupt checkpoint");
    entry(&mut run)["outputs"] =
        json!({"9": {"images": [{"filename": "half.png", "subfolder": "", "type": "output"}]}});
    let comfy = Comfy::without_socket(run, |_| None).await;
    let server = comfy.server(&[]).await;
    let error = generate(&server, fox()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Upstream);
    assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", HISTORY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_picture_to_show_for_it_is_an_error() {
    let none = "the workflow ran to its end without an image: does it have a SaveImage node?";
    let mut empty = run("two pictures");
    entry(&mut empty)["outputs"] = json!({});
    let mut text = run("our branch invalid");
    text["answer"]["node_errors"] = json!({});
    for run in [empty, text] {
        let comfy = Comfy::start(run, |_| None, Line::play_all).await;
        let server = comfy.server(&[]).await;
        let body = json!({"prompt": "a red fox"});
        let reply = server.ask("/v1/images/generations", &body).await;
        assert_eq!(error(&reply), ((502, "protocol", ""), none));
        assert_eq!(comfy.lines(), ["GET /ws", "POST /prompt", HISTORY]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_cannot_be_fetched_are_an_error() {
    for (status, media_type, bytes, message) in [
        (
            404,
            "text/plain",
            "",
            "ComfyUI made an image but no longer has it",
        ),
        (
            200,
            "image/png",
            "<html>",
            "the bytes are not a PNG, JPEG, WebP, GIF or AVIF image",
        ),
        (200, "image/png", "", "the image is empty"),
    ] {
        let second = move |seen: &Seen| {
            let wanted = seen.line() == VIEWS[1];
            wanted.then(|| Answer::typed(status, media_type, bytes))
        };
        let comfy = Comfy::start(run("two pictures"), second, Line::play_all).await;
        let server = comfy.server(&[]).await;
        let body = json!({"prompt": "a red fox", "n": 2, "response_format": "url"});
        let reply = server.ask("/v1/images/generations", &body).await;
        assert_eq!(error(&reply), ((502, "protocol", ""), message));
        assert_eq!(comfy.lines().len(), 5);
        // All or none.
        assert_eq!(server.stored(), 0);
    }
}
