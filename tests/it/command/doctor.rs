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

#[test]
fn doctor_reports_an_invalid_configuration_and_data_directory() {
    let invalid = Program::new(&["sketch"]).with("PINHOLE_SLOTS", "0");
    let output = invalid.run(&["doctor", "--json"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_check(&output, "configuration", "failed", "PINHOLE_SLOTS is \"0\"");
    let file = Program::new(&["sketch"]);
    fs::write(file.path("data"), "").unwrap();
    let second_output = file.run(&["doctor", "--json"]);
    assert_eq!(second_output.code, Some(1), "{second_output:?}");
    assert_check(
        &second_output,
        "data directory",
        "failed",
        "Not a directory",
    );
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
    let second_output = program.run(&["--data", other.to_str().unwrap(), "user", "list"]);
    assert_eq!(second_output.code, Some(1), "{second_output:?}");
    assert!(
        second_output.err.contains(other.to_str().unwrap()),
        "{second_output:?}"
    );
}
