//! `pinhole config`, `pinhole completions` and `pinhole man`.

use serde_json::Value;

use super::*;

#[test]
fn config_set_is_checked_and_read_by_the_next_server() {
    let program = Program::new(&["sketch", "comfyui"]).with("IMAGE_STEPS", "7");
    drop(program.serve());
    let run = |arguments: &[&str]| program.run(&[&["config"], arguments].concat());
    assert_eq!(run(&["get", "IMAGE_STEPS"]).done(), ["7"]);
    assert_eq!(
        run(&["set", "IMAGE_STEPS", "9"]).done(),
        ["IMAGE_STEPS\tstore\t9"]
    );
    assert_eq!(run(&["get", "image_generation.steps"]).done(), ["9"]);
    assert_eq!(
        run(&["unset", "IMAGE_STEPS"]).done(),
        ["IMAGE_STEPS\tenvironment\t7"]
    );
    assert_eq!(
        run(&["set", "COMFYUI_API_KEY", "secret-4711"]).done(),
        ["COMFYUI_API_KEY\tstore\t********"]
    );
    assert_eq!(run(&["get", "COMFYUI_API_KEY"]).done(), ["********"]);
    for (arguments, expected) in [
        (
            ["set", "IMAGE_STEPS", "many"],
            "IMAGE_STEPS must be a whole number",
        ),
        (
            ["set", "IMAGE_SIZE", "axb"],
            "IMAGE_SIZE \"axb\" is neither WxH",
        ),
        (
            ["set", "IMAGE_STEP", "9"],
            "unknown setting IMAGE_STEP: did you mean IMAGE_STEPS?",
        ),
        (
            ["set", "PINHOLE_FALLBACKS", "zzz"],
            "\"zzz\", which is not an engine",
        ),
        (
            ["set", "IMAGE_GENERATION_ENGINE", "comfui"],
            "did you mean comfyui?",
        ),
    ] {
        let line = run(&arguments).failed(2);
        assert!(line.contains(expected), "{line}");
    }
    let unset = run(&["get", "IMAGE_SIZE"]).failed(1);
    assert!(unset.contains("IMAGE_SIZE is not set"), "{unset}");

    let listed = run(&["list", "--json"]).done().join("\n");
    let settings: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let key = settings
        .iter()
        .find(|it| it["name"] == "COMFYUI_API_KEY")
        .unwrap();
    assert_eq!(
        (key["source"].as_str(), key["value"].as_str()),
        (Some("store"), Some("********"))
    );
    assert!(!listed.contains("4711"));

    let server = program.serve();
    let refused = run(&["set", "IMAGE_STEPS", "9"]).failed(1);
    assert!(
        refused.contains("change settings with POST /api/v1/settings"),
        "{refused}"
    );
    assert_eq!(run(&["get", "COMFYUI_API_KEY"]).done(), ["********"]);
    let (status, body) = http(
        server.address(),
        "GET",
        "/api/v1/settings/changes",
        &server.key(),
        "",
    );
    assert!(
        status == 200 && body.contains("pinhole config") && !body.contains("4711"),
        "{body}"
    );
}

#[test]
fn config_set_reads_a_file_and_standard_input() {
    let program = Program::new(&["sketch"]);
    drop(program.serve());
    let template = program.path("template.txt");
    fs::write(&template, "Draw {{MESSAGES}}\n").unwrap();
    let name = "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE";
    let value = format!("@{}", template.display());
    program.run(&["config", "set", name, &value]).done();
    let get = || program.run(&["config", "get", name]).done();
    assert_eq!(get(), ["Draw {{MESSAGES}}"]);
    let command = format!("printf 'Paint\\n' | \"$0\" config set {name} -");
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).arg(pinhole_tests::program());
    CommandOutput::of(program.around(shell, &[])).done();
    assert_eq!(get(), ["Paint"]);
}

#[test]
fn keys_are_created_listed_and_revoked_while_the_server_runs() {
    let program = Program::new(&[]);
    let server = program.serve();
    let users = program.run(&["user", "list", "--json"]).done().join("\n");
    let users: Value = serde_json::from_str(&users).unwrap();
    let id = users[0]["id"].as_str().unwrap();
    let status = |key: &str| http(server.address(), "GET", "/api/v1/auths/", key, "").0;
    let created = program.run(&["key", "create", id]).done();
    let key = created[0].strip_prefix("API key (shown once): ").unwrap();
    assert_eq!((status(&server.key()), status(key)), (200, 200));
    let listed = program
        .run(&["key", "list", id, "--json"])
        .done()
        .join("\n");
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 2);
    let hash = Sha256::digest(key.as_bytes());
    let key_id: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(listed.iter().any(|it| it["id"] == *key_id), "{listed:?}");
    let unknown = program
        .run(&["key", "revoke", id, "--id", "none"])
        .failed(2);
    assert!(unknown.contains("unknown key none"), "{unknown}");
    let revoked = program.run(&["key", "revoke", id, "--id", &key_id]).done();
    assert_eq!(revoked, ["revoked 1 API key(s)"]);
    let first = server.key();
    assert_eq!((status(&first), status(key)), (200, 401));
    program.run(&["key", "revoke", id]).done();
    assert_eq!(status(&first), 401);
    drop(server);
    // A file with a revoked key is of no use.
    let next = program.serve();
    assert!(
        next.lines[3].starts_with("administrator key: shown at the first start"),
        "{:?}",
        next.lines
    );
    assert!(!program.path("data/administrator-key").exists());
}

#[test]
fn completions_and_manual_name_every_command() {
    let program = Program::new(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program.run(&["completions", shell]).done().join("\n");
        assert!(
            script.contains("doctor") && script.contains("engine"),
            "{shell}"
        );
    }
    let manual = program.run(&["man"]).done().join("\n");
    assert!(
        manual.starts_with(".") && manual.contains("doctor"),
        "{manual}"
    );
    fs::create_dir(program.path("man")).unwrap();
    let pages = program.path("man");
    program
        .run(&["man", "--out", pages.to_str().unwrap()])
        .done();
    assert!(pages.join("pinhole-engine-list.1").exists());
}
