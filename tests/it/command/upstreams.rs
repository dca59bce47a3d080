//! Upstreams that fail, on the command line.

use super::*;

/// The variables and the first request of an included engine with an upstream.
struct EngineVariables {
    engine: &'static str,
    title: &'static str,
    address: &'static str,
    secret: &'static str,
    /// The header that carries the secret `user:secret-4711`, and its value.
    credential: (&'static str, &'static str),
    /// A request for one image that the engine sends if no response is usable.
    request: &'static str,
}

const ENGINES: [EngineVariables; 4] = [
    EngineVariables {
        engine: "automatic1111",
        title: "AUTOMATIC1111",
        address: "AUTOMATIC1111_BASE_URL",
        secret: "AUTOMATIC1111_API_AUTH",
        credential: ("authorization", "Basic dXNlcjpzZWNyZXQtNDcxMQ=="),
        request: "GET /sdapi/v1/sd-models",
    },
    EngineVariables {
        engine: "comfyui",
        title: "ComfyUI",
        address: "COMFYUI_BASE_URL",
        secret: "COMFYUI_API_KEY",
        credential: ("authorization", "Bearer user:secret-4711"),
        request: "POST /prompt",
    },
    EngineVariables {
        engine: "gemini",
        title: "Gemini",
        address: "IMAGES_GEMINI_API_BASE_URL",
        secret: "IMAGES_GEMINI_API_KEY",
        credential: ("x-goog-api-key", "user:secret-4711"),
        request: "POST /models/a-model:generateContent",
    },
    EngineVariables {
        engine: "openai",
        title: "OpenAI",
        address: "IMAGES_OPENAI_API_BASE_URL",
        secret: "IMAGES_OPENAI_API_KEY",
        credential: ("authorization", "Bearer user:secret-4711"),
        request: "POST /v1/images/generations",
    },
];

/// The four engines, with this upstream.
fn with_upstream(address: &str) -> Program {
    let program = Program::new(&ENGINES.map(|own| own.engine));
    ENGINES.iter().fold(program, |program, own| {
        let program = program.with(own.address, address);
        program.with(own.secret, "user:secret-4711")
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_upstream_is_named_with_its_variable() {
    let (_socket, address) = closed_port();
    let program = with_upstream(&address);
    for EngineVariables {
        engine,
        title,
        address: variable,
        ..
    } in ENGINES
    {
        let line = program
            .run(&[
                "generate", "a fox", "--engine", engine, "--model", "a-model",
            ])
            .failed(1);
        assert!(
            line.starts_with(&format!("pinhole: engine {engine}: ")),
            "{line}"
        );
        assert!(
            line.contains(&format!("{address} cannot be reached")),
            "{line}"
        );
        let remedy = format!("check that {title} is running and that {variable} is its URL\n");
        assert!(line.ends_with(&remedy), "{line}");
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn generate_prints_what_differs_from_the_request() {
    let image = json!({"b64_json": pinhole_tests::pixel_base64(), "revised_prompt": "a red fox"});
    let upstream = FakeUpstream::json(200, json!({"data": [image]})).await;
    let program = Program::new(&["openai"]).with(
        "IMAGES_OPENAI_API_BASE_URL",
        &format!("{}/v1", upstream.url()),
    );
    let arguments = [
        "generate",
        "a fox",
        "--engine",
        "openai",
        "--model",
        "gpt-image-1",
        "--count",
        "2",
        "--size",
        "1024x1024",
        "--json",
    ];
    let output = program.run(&arguments);
    assert_eq!(output.code, Some(0), "{output:?}");
    let warnings = [
        "1 of 2 images received",
        "generated at 1x1 instead of 1024x1024",
    ];
    let printed: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(printed["files"], json!(["a-fox.png"]));
    assert_eq!(printed["engine"], "openai");
    assert_eq!(printed["revised_prompt"], "a red fox");
    assert_eq!(printed["warnings"], json!(warnings));
    let notes = [
        warnings[0],
        warnings[1],
        "the upstream rewrote the prompt: a red fox",
    ];
    let notes: Vec<String> = notes
        .iter()
        .map(|it| format!("pinhole: note: {it}"))
        .collect();
    let second_printed: Vec<_> = output
        .err
        .lines()
        .filter(|line| line.starts_with("pinhole: note: "))
        .collect();
    assert_eq!(second_printed, notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_upstream_is_named_with_its_variable() {
    let upstream =
        FakeUpstream::start(async |_| std::future::pending::<FakeResponse>().await).await;
    let program = Program::new(&["openai"])
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("PINHOLE_JOB_TIMEOUT_SECS", "1");
    let line = program
        .run(&["generate", "a fox", "--engine", "openai"])
        .failed(1);
    assert!(line.starts_with("pinhole: engine openai: "), "{line}");
    let remedy = "check that OpenAI is running and that IMAGES_OPENAI_API_BASE_URL is its URL, \
                  or increase PINHOLE_JOB_TIMEOUT_SECS\n";
    assert!(line.ends_with(remedy), "{line}");
    assert_eq!(upstream.request_lines(), ["POST /v1/images/generations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_edit_names_the_variable_for_editing() {
    let (_socket, address) = closed_port();
    let program =
        with_upstream("http://127.0.0.1:9").with("IMAGES_EDIT_OPENAI_API_BASE_URL", &address);
    fs::write(program.path("pixel.png"), pinhole_tests::PIXEL).unwrap();
    let edit = [
        "generate",
        "x",
        "--engine",
        "openai",
        "--image",
        "../pixel.png",
    ];
    let line = program.run(&edit).failed(1);
    assert!(
        line.contains(&format!("{address} cannot be reached")),
        "{line}"
    );
    let remedy = "that IMAGES_EDIT_OPENAI_API_BASE_URL is its URL\n";
    assert!(line.ends_with(remedy), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn timeout_cancels_the_upstream_job() {
    let upstream = slow_upstream().await;
    let program = Program::new(&["hostile"])
        .with("HOSTILE_BASE_URL", &upstream.url())
        .with("PINHOLE_JOB_TIMEOUT_SECS", "1");
    let line = program
        .run(&["generate", "wait", "--engine", "hostile"])
        .failed(1);
    assert!(line.contains("it took longer than 1s"), "{line}");
    assert_eq!(upstream.request_lines(), [SLOW, STOPPED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn html_response_is_one_line() {
    const PAGE: &str = "<html><body>\n<h1>It works!</h1>\n</body></html>\n";
    let upstream = FakeUpstream::start(async |_| FakeResponse::typed(200, "text/html", PAGE)).await;
    let program = with_upstream(&upstream.url());
    for EngineVariables {
        engine,
        title,
        address: variable,
        credential: (header, value),
        request,
        ..
    } in ENGINES
    {
        let before = upstream.requests().len();
        let line = program
            .run(&[
                "generate", "a fox", "--engine", engine, "--model", "a-model",
            ])
            .failed(1);
        assert!(
            line.starts_with(&format!("pinhole: engine {engine}: ")),
            "{line}"
        );
        let remedy = format!("check that {variable} is the URL of {title}\n");
        assert!(line.ends_with(&remedy), "{line}");
        let requests = upstream.requests().split_off(before);
        assert!(
            requests.iter().any(|requests| requests.line() == request),
            "{requests:?}"
        );
        assert!(
            requests
                .iter()
                .all(|requests| requests.header(header) == value),
            "{requests:?}"
        );
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}
