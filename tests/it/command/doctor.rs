//! `pinhole doctor`, and which commands create a data directory.

use serde_json::Value;

use super::*;

/// The status and message of each check, by its name.
fn checks(output: &CommandOutput) -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&output.out).unwrap();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    checks
        .map(|it| (text(it, "check"), text(it, "status"), text(it, "message")))
        .collect()
}

#[track_caller]
fn assert_check(output: &CommandOutput, name: &str, status: &str, message: &str) {
    let found = checks(output)
        .into_iter()
        .any(|(check, is, text)| check == name && is == status && text.contains(message));
    assert!(found, "{name} {status} {message}: {output:?}");
}

#[test]
fn doctor_finds_nothing_in_a_fresh_installation_and_creates_nothing() {
    let program = Program::new(&["sketch"]);
    let output = program.run(&["doctor", "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_check(&output, "configuration", "ok", "valid");
    assert_check(&output, "data directory", "ok", "does not exist yet");
    assert_check(&output, "engine sketch", "ok", "version");
    assert_check(&output, "settings", "ok", "sketch generates: by default");
    assert!(
        checks(&output).iter().all(|(_, status, _)| status == "ok"),
        "{output:?}"
    );
    assert!(!program.path("data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_each_fault_and_its_remedy() {
    let upstream = FakeUpstream::json(401, json!({"error": {"message": "wrong key"}})).await;
    let (_socket, closed) = closed_port();
    let program = Program::new(&["sketch", "openai", "comfyui"])
        .with("PINHOLE_SLOT", "5")
        .with("IMAGE_GENERATION_ENGINE", "opena")
        .with("PINHOLE_MODEL_ALIASES", r#"{"dall-e-3": "comfyi"}"#)
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("IMAGES_OPENAI_API_KEY", "secret-4711")
        .with("COMFYUI_BASE_URL", &closed);
    fs::write(program.path("engines/broken.wasm"), b"\0asm").unwrap();
    let server = program.serve();
    let output = program.run(&["doctor", "--json"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let id = server.child.id();
    assert_check(
        &output,
        "data directory",
        "ok",
        &format!("used by a server (process {id})"),
    );
    assert_check(&output, "database", "ok", "pinhole.db");
    assert_check(
        &output,
        "variables",
        "warning",
        "did you mean PINHOLE_SLOTS?",
    );
    assert_check(&output, "settings", "failed", "did you mean openai?");
    let alias = "PINHOLE_MODEL_ALIASES (dall-e-3) is \"comfyi\", which is not an engine: did you mean comfyui?";
    assert_check(&output, "settings", "failed", alias);
    let log = fs::read_to_string(program.path("log")).unwrap();
    assert_eq!(log.matches("PINHOLE_MODEL_ALIASES").count(), 1, "{log}");
    assert!(log.contains("did you mean comfyui?"), "{log}");
    assert_check(
        &output,
        "engine file broken.wasm",
        "failed",
        "is not admitted",
    );
    assert_check(
        &output,
        "upstream of openai",
        "failed",
        "set IMAGES_OPENAI_API_KEY to a key",
    );
    assert_check(
        &output,
        "upstream of comfyui",
        "failed",
        "check that ComfyUI is running",
    );
    assert!(
        !output.out.contains("4711") && !output.err.contains("4711"),
        "{output:?}"
    );
    let text = program.run(&["doctor"]);
    assert!(
        text.out.contains("failed   upstream of openai: "),
        "{text:?}"
    );
    assert!(text.out.ends_with(" failed, 1 warning(s)\n"), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_each_server_of_language_models() {
    let listing = FakeUpstream::json(200, json!({"data": [{"id": "a"}, {"id": "b"}]})).await;
    let empty = FakeUpstream::json(200, json!({"data": []})).await;
    let (_socket, closed) = closed_port();
    let fault = |text: &str| json!({"error": {"message": format!("{text} secret-4711")}});
    let wrong_key = FakeUpstream::json(401, fault("wrong key")).await;
    let without_list = FakeUpstream::json(404, fault("no route")).await;
    let failing = FakeUpstream::json(500, fault("crash")).await;
    let other = FakeUpstream::json(200, json!({"models": []})).await;
    let upstreams = [
        &listing,
        &empty,
        &wrong_key,
        &wrong_key,
        &without_list,
        &failing,
        &other,
    ];
    let mut urls: Vec<String> = upstreams
        .iter()
        .map(|upstream| format!("{}/v1", upstream.url()))
        .collect();
    urls.push(closed.clone());
    let keys = "secret-4711;;secret-4711";
    let program = Program::new(&["sketch"])
        .with("OPENAI_API_BASE_URLS", &urls.join(";"))
        .with("OPENAI_API_KEYS", keys);
    let output = program.run(&["doctor", "--json"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let check = |url: &str, status: &str, message: &str| {
        assert_check(
            &output,
            &format!("language models of {url}"),
            status,
            message,
        );
    };
    check(&urls[0], "ok", "lists 2 model(s)");
    check(&urls[1], "warning", "lists no model");
    check(
        &urls[2],
        "failed",
        "set its entry in OPENAI_API_KEYS to a key that the server accepts",
    );
    check(
        &urls[3],
        "failed",
        "the server requires a key; set its entry",
    );
    check(
        &urls[4],
        "warning",
        "check that its entry in OPENAI_API_BASE_URLS ends with the version",
    );
    check(&urls[5], "failed", "status 500");
    check(&urls[6], "warning", "no list `data`");
    check(&closed, "failed", "check that the server is running");
    assert!(
        !output.out.contains("4711") && !output.err.contains("4711"),
        "{output:?}"
    );
    let request = listing.requests().remove(0);
    assert_eq!(request.line(), "GET /v1/models");
    assert_eq!(request.header("authorization"), "Bearer secret-4711");

    let one = Program::new(&["sketch"])
        .with("OPENAI_API_BASE_URL", &urls[0])
        .with("TASK_MODEL", "c")
        .with("TASK_MODEL_EXTERNAL", "b");
    let of_one = one.run(&["doctor", "--json"]);
    assert_eq!(of_one.code, Some(0), "{of_one:?}");
    assert_check(&of_one, "language models", "warning", "TASK_MODEL is \"c\"");
    assert!(!of_one.out.contains("TASK_MODEL_EXTERNAL"), "{of_one:?}");
    let invalid =
        Program::new(&["sketch"]).with("OPENAI_API_BASE_URL", "http://u:secret-4711@host/v1");
    let of_invalid = invalid.run(&["doctor", "--json"]);
    assert_check(
        &of_invalid,
        "language models",
        "failed",
        "OPENAI_API_BASE_URL cannot be used",
    );
    assert!(!of_invalid.out.contains("4711"), "{of_invalid:?}");
}

#[test]
fn doctor_reports_an_invalid_configuration_and_data_directory() {
    let invalid = Program::new(&["sketch"]).with("PINHOLE_SLOTS", "0");
    let output = invalid.run(&["doctor", "--json"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_check(&output, "configuration", "failed", "PINHOLE_SLOTS is \"0\"");
    let file = Program::new(&["sketch"]);
    fs::write(file.path("data"), "").unwrap();
    let with_file = file.run(&["doctor", "--json"]);
    assert_eq!(with_file.code, Some(1), "{with_file:?}");
    assert_check(&with_file, "data directory", "failed", "Not a directory");
}

#[test]
fn only_serve_and_generate_create_a_data_directory() {
    let program = Program::new(&["sketch"]);
    let data = program.path("data");
    for arguments in [
        &["engine", "list"][..],
        &["engine", "models"],
        &["engine", "verify"],
        &["engine", "grant", "sketch"],
        &["config", "list"],
        &["config", "get", "IMAGE_SIZE"],
        &["config", "set", "IMAGE_SIZE", "64x64"],
        &["user", "list"],
        &["key", "create", "x"],
        &["files", "sweep"],
        &["doctor"],
        &["completions", "bash"],
        &["man"],
    ] {
        let output = program.run(arguments);
        assert!(!data.exists(), "{arguments:?}: {output:?}");
        if !["completions", "man"].contains(&arguments[0]) {
            let names = format!("{}{}", output.out, output.err);
            assert!(
                names.contains(data.to_str().unwrap()),
                "{arguments:?}: {output:?}"
            );
        }
    }
    let line = format!("data directory: {}\n", data.display());
    let output = program.run(&["generate", "a hill", "--size", "16x16"]);
    assert_eq!((output.code, output.err), (Some(0), line));
    assert!(data.exists());
    // The option comes before the variable.
    let other = program.path("other");
    let with_option = program.run(&["--data", other.to_str().unwrap(), "user", "list"]);
    assert_eq!(with_option.code, Some(1), "{with_option:?}");
    assert!(
        with_option.err.contains(other.to_str().unwrap()),
        "{with_option:?}"
    );
}
