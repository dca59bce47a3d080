//! `pinhole engine record`: a real job becomes a case that passes.

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{PIXEL, WebSocket, pixel_base64};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::*;

const SECRET: &str = "user:sk-the-secret-of-the-operator";

/// Records a job of an engine. Returns the program, the path of the case and the messages.
fn record(
    engine: &str,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> (Program, PathBuf, String) {
    let program = Program::new(&[engine]);
    let program = variables
        .iter()
        .fold(program, |it, (name, value)| it.with(name, value));
    let into = format!("cases/{engine}");
    let all = [&["engine", "record", engine, "--into", &into], arguments].concat();
    let output = program.run(&all);
    assert_eq!(output.code, Some(0), "{output:?}");
    let path = program.path("work").join(output.out.trim_end());
    assert!(path.ends_with("case.json"), "{output:?}");
    let messages = output.messages();
    (program, path, messages)
}

/// Runs the recorded cases.
#[track_caller]
fn assert_passes(program: &Program, engine: &str) {
    let component = program.path("engines").join(format!("{engine}.wasm"));
    let component = component.to_str().unwrap();
    let output = program.run(&["engine", "test", component, "--cases", "cases", "--verbose"]);
    let case = read_all(&program.path("work").join("cases").join(engine));
    assert_eq!(
        output.code,
        Some(0),
        "{}\n{}\n{case}",
        output.out,
        output.err
    );
    assert!(
        output.out.contains("\n1 passed, 0 failed in "),
        "{output:?}"
    );
}

/// The texts of all files below a directory.
fn read_all(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap();
    let texts = entries.map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return read_all(&path);
        }
        String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn read_case(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_job_has_no_secret_and_no_url_and_passes() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        let host = request.header("host");
        let encoded = base64_simd::STANDARD.encode_to_string(SECRET);
        let note =
            format!("{SECRET} {encoded} at http://{host}/v1 and https://docs.example.com/errors");
        let image = json!({"b64_json": pixel_base64(), "revised_prompt": note});
        let usage = json!({"total_tokens": 7});
        FakeResponse::json(200, &json!({"created": 1, "data": [image], "usage": usage}))
            .header("x-request-id", "7")
            .header("set-cookie", "a=b")
    })
    .await;
    let url = format!("{}/v1", upstream.url());
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
        ("IMAGES_OPENAI_API_KEY", SECRET),
        ("IMAGE_GENERATION_MODEL", "gpt-image-2"),
    ];
    let (program, path, messages) = record(
        "openai",
        &variables,
        &["--prompt", "a \"red\" fox", "--size", "64x64"],
    );
    assert!(
        path.ends_with("cases/openai/R1-a-red-fox/case.json"),
        "{path:?}"
    );
    assert_eq!(messages, "");
    let files = read_all(&program.path("work").join("cases"));
    let address = upstream.address().to_string();
    let (_, password) = SECRET.split_once(':').unwrap();
    let encoded = base64_simd::STANDARD.encode_to_string(password);
    for absent in [
        password,
        &encoded[..12],
        &address,
        "docs.example.com",
        "set-cookie",
    ] {
        assert!(!files.contains(absent), "{absent} is in {files}");
    }
    let case = read_case(&path);
    assert_eq!(
        case["variables"],
        json!({
            "IMAGES_OPENAI_API_BASE_URL": "{upstream}/v1",
            "IMAGES_OPENAI_API_KEY": "user:open-sesame-8188",
            "IMAGE_GENERATION_MODEL": "gpt-image-2",
        })
    );
    assert_eq!(
        case["generate"],
        json!({"prompt": "a \"red\" fox", "size": "64x64"})
    );
    let exchange = &case["upstream"][0];
    assert_eq!(exchange["request"]["line"], "POST /v1/images/generations");
    assert_eq!(exchange["request"]["json"]["prompt"], "a \"red\" fox");
    assert_eq!(exchange["reply"]["headers"], json!({"x-request-id": "7"}));
    let image = &exchange["reply"]["json"]["data"][0];
    assert_eq!(image["b64_json"], json!({"$picture": "png 1x1"}));
    let note = image["revised_prompt"].as_str().unwrap();
    assert!(
        note.ends_with(" at {upstream}/v1 and {elsewhere}/errors"),
        "{note}"
    );
    let outcome = &case["outcome"];
    assert_eq!(outcome["pictures"][0]["size"], "1x1");
    assert_eq!(outcome["details"]["usage"]["total_tokens"], 7, "{outcome}");
    let warning = outcome["warnings"][0].as_str().unwrap();
    assert!(warning.contains("1x1"), "{warning}");
    assert_passes(&program, "openai");

    let second = program
        .run(&["engine", "record", "openai", "--into", "cases/openai"])
        .done();
    assert_eq!(second, ["cases/openai/R2-a-red-fox/case.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_secret_in_a_field_of_the_body_matches_anything() {
    let upstream = FakeUpstream::json(200, json!({"data": [{"b64_json": pixel_base64()}]})).await;
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", upstream.url()),
        ("IMAGES_OPENAI_API_KEY", SECRET.to_owned()),
        (
            "PINHOLE_OPENAI_CREDENTIAL",
            "body /extra_data/api_key".to_owned(),
        ),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (program, path, _) = record("openai", &variables, &[]);
    let sent: Value = upstream.requests()[0].json();
    assert_eq!(sent["extra_data"], json!({"api_key": SECRET}));
    let expected = &read_case(&path)["upstream"][0]["request"]["json"];
    assert_eq!(expected["extra_data"], json!({"api_key": "{any}"}));
    assert_eq!(expected["prompt"], sent["prompt"]);
    assert_passes(&program, "openai");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_edit_sends_its_images_again() {
    let upstream = FakeUpstream::json(200, json!({"data": [{"b64_json": pixel_base64()}]})).await;
    let program = Program::new(&["openai"])
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("IMAGES_OPENAI_API_KEY", SECRET)
        .with("IMAGE_EDIT_MODEL", "gpt-image-2");
    fs::write(program.path("work").join("fox.png"), PIXEL).unwrap();
    let arguments = [
        "engine",
        "record",
        "openai",
        "--into",
        "cases/openai",
        "--image",
        "fox.png",
        "--prompt",
        "blue",
        "--name",
        "edited",
    ];
    let lines = program.run(&arguments).done();
    assert_eq!(lines, ["cases/openai/edited/case.json"]);
    let case = read_case(&program.path("work").join(&lines[0]));
    assert_eq!(
        case["edit"],
        json!({"prompt": "blue", "sources": ["png 1x1"]})
    );
    let form = case["upstream"][0]["request"]["form"].as_array().unwrap();
    assert!(
        form.iter().any(|field| field["picture"] == "png 1x1"),
        "{form:?}"
    );
    assert_passes(&program, "openai");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_polls_become_one_exchange() {
    let polls = watch::Sender::new(0);
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let polls = polls.clone();
        async move {
            if request.target == "/sdapi/v1/progress?skip_current_image=false" {
                polls.send_modify(|count| *count += 1);
            }
            if request.target != "/sdapi/v1/txt2img" {
                let state = json!({"job_count": 1, "sampling_step": 3, "sampling_steps": 8});
                return FakeResponse::json(200, &json!({"progress": 0.4, "state": state}));
            }
            polls
                .subscribe()
                .wait_for(|count| *count >= 2)
                .await
                .unwrap();
            let info = json!({"all_seeds": [81_726_354], "seed": 81_726_354}).to_string();
            FakeResponse::json(200, &json!({"images": [pixel_base64()], "info": info}))
        }
    })
    .await;
    let (program, path, _) = record(
        "automatic1111",
        &[("AUTOMATIC1111_BASE_URL", &upstream.url())],
        &[],
    );
    let case = read_case(&path);
    let exchanges = case["upstream"].as_array().unwrap();
    let lines: Vec<_> = exchanges
        .iter()
        .map(|it| (it["request"]["line"].as_str().unwrap(), it["times"].clone()))
        .collect();
    let polled = json!({"at_least": 0});
    assert!(
        lines.contains(&("GET /sdapi/v1/progress?skip_current_image=false", polled)),
        "{lines:?}"
    );
    assert_eq!(case["outcome"]["details"]["seeds"], json!([81_726_354]));
    assert_passes(&program, "automatic1111");
}

/// Tells the client that its job has ended, with an image before.
async fn finish(mut socket: WebSocket, jobs: watch::Sender<String>) {
    socket.next().await.unwrap().unwrap();
    let mut jobs = jobs.subscribe();
    let job = jobs.wait_for(|job| !job.is_empty()).await.unwrap().clone();
    let preview = [&[0, 0, 0, 1, 0, 0, 0, 2], PIXEL].concat();
    for message in [
        Message::text(json!({"type": "execution_start", "data": {"prompt_id": job}}).to_string()),
        Message::binary(preview),
        Message::text(
            json!({"type": "executing", "data": {"node": null, "prompt_id": job}}).to_string(),
        ),
    ] {
        socket.send(message).await.unwrap();
    }
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_web_socket_waits_for_the_requests_before_its_messages() {
    let jobs = watch::Sender::new(String::new());
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let path = request.target.split('?').next().unwrap_or_default();
        let response = match path {
            "/ws" => {
                let jobs = jobs.clone();
                FakeResponse::web_socket(move |socket| finish(socket, jobs))
            }
            "/prompt" => {
                let job = request.json()["prompt_id"].as_str().unwrap().to_owned();
                jobs.send_replace(job.clone());
                FakeResponse::json(
                    200,
                    &json!({"prompt_id": job, "number": 1, "node_errors": {}}),
                )
            }
            "/view" => FakeResponse::typed(200, "image/png", PIXEL),
            _ => {
                let image = json!({"filename": "a.png", "subfolder": "", "type": "output"});
                let outputs = json!({"9": {"images": [image]}});
                let done = json!({"outputs": outputs, "status": {"status_str": "success"}});
                FakeResponse::json(200, &json!({jobs.borrow().as_str(): done}))
            }
        };
        async { response }
    })
    .await;
    let (program, path, messages) = record(
        "comfyui",
        &[
            ("COMFYUI_BASE_URL", &upstream.url()),
            ("COMFYUI_API_KEY", "sk-the-key-of-comfyui"),
        ],
        &[],
    );
    assert!(
        messages.contains("stands for an id that the engine chose"),
        "{messages}"
    );
    let case = read_case(&path);
    let exchanges = case["upstream"].as_array().unwrap();
    let socket = exchanges.iter().find(|it| it["socket"].is_array()).unwrap();
    let line = socket["request"]["line"].as_str().unwrap();
    assert!(line.starts_with("GET /ws?clientId={id"), "{line}");
    let steps = socket["socket"].as_array().unwrap();
    let parts = json!([{"u32": 1}, {"u32": 2}, {"picture": "png 1x1"}]);
    assert!(
        steps.iter().any(|step| step["send_binary"] == parts),
        "{steps:?}"
    );
    assert!(
        steps.iter().any(|step| step["wait"].is_object()),
        "{steps:?}"
    );
    let preview = json!([{"preview": "image/png"}]);
    assert_eq!(case["reports"], preview, "{case}");
    for _ in 0..3 {
        assert_passes(&program, "comfyui");
    }
}

#[test]
fn engine_record_refuses_bad_use_in_one_line() {
    let program = Program::new(&["sketch"]);
    for (arguments, code, expected) in [
        (&["nobody", "--into", "cases"][..], 2, "nobody"),
        (
            &["sketch", "--into", "cases", "--name", "../x"],
            2,
            "--name must be letters",
        ),
        (
            &["sketch", "--into", "cases", "--image", "x.png"],
            2,
            "cannot read x.png",
        ),
    ] {
        let all = [&["engine", "record"], arguments].concat();
        let message = program.run(&all).failed(code);
        assert!(message.contains(expected), "{message}");
    }
    assert!(fs::read_dir(program.path("work").join("cases")).is_ok_and(|it| it.count() == 0));
}
