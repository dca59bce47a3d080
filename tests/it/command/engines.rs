//! `pinhole engine list`, `show`, `models`, `verify` and `test`.

use super::*;

#[test]
fn engine_list_shows_permissions_and_rejected_files() {
    let program = Program::new(&["hostile", "sketch"]).with("HOSTILE_API_KEY", "secret-4711");
    let engines = program.path("engines");
    fs::write(engines.join("broken.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let digest = |name: &str| {
        let digest = Sha256::digest(fs::read(engines.join(name)).unwrap());
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let listed = |other: &Program| other.run(&["engine", "list"]).done().join("\n");
    let text = listed(&program);
    let version = env!("CARGO_PKG_VERSION");
    for (line, expected) in text.lines().zip([
        "NAME     VERSION  DIGEST        STATE    SINCE  JOBS  FAILED  FROM".to_owned(),
        format!("hostile  {version}    {}  current  ", &digest("hostile.wasm")[..12]),
        format!("sketch   {version}    {}  current  ", &digest("sketch.wasm")[..12]),
        "rejected: broken.wasm is a core module, not a component: make a component of it with `pinhole engine encode`".to_owned(),
    ]) {
        assert!(line.starts_with(&expected), "{text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");

    let shown = |other: &Program, engine: &str| {
        let lines = other.run(&["engine", "show", engine]).done();
        lines.join("\n") + "\n"
    };
    let hostile = format!(
        "hostile {version} (Hostile, hostile.wasm)
  digest     sha256:{}
  imports    pinhole:engine/types@0.2.0, pinhole:engine/images@0.2.0, pinhole:engine/upstream@0.2.0, pinhole:engine/job@0.2.0, pinhole:engine/log@0.2.0
  abilities  generate, cancel, up to 4 images per job
  upstream   api at no URL (set HOSTILE_BASE_URL): GET /allowed/, POST /orders
  version    {version} ({}): current, installed ",
        digest("hostile.wasm"),
        &digest("hostile.wasm")[..12],
    );
    let hostile_text = shown(&program, "hostile");
    assert!(hostile_text.starts_with(&hostile), "{hostile_text}");
    assert!(
        hostile_text.ends_with(" ago from hostile.wasm\n"),
        "{hostile_text}"
    );
    let sketch = format!(
        "sketch {version} (Sketch, sketch.wasm)
  digest     sha256:{}
  imports    pinhole:engine/types@0.2.0, pinhole:engine/images@0.2.0, pinhole:engine/job@0.2.0, pinhole:engine/log@0.2.0
  abilities  generate, progress, seed, up to 10 images per job
  upstreams  none
  version    ",
        digest("sketch.wasm"),
    );
    let sketch_text = shown(&program, "sketch");
    assert!(sketch_text.starts_with(&sketch), "{sketch_text}");
    let unknown = program.run(&["engine", "show", "nobody"]).failed(2);
    assert_eq!(
        unknown,
        "pinhole: unknown engine nobody: use one of hostile, sketch\n"
    );

    let program = program.with("HOSTILE_BASE_URL", "http://127.0.0.1:9/base");
    let url_text = shown(&program, "hostile");
    assert!(
        url_text
            .contains("  upstream   api at http://127.0.0.1:9/base: GET /allowed/, POST /orders\n"),
        "{url_text}"
    );
    assert!(!url_text.contains("secret-4711"), "{url_text}");

    let json = program.run(&["engine", "list", "--json"]).done().concat();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["current"], "hostile", "{json}");
    let engine = &json["engines"][0];
    assert_eq!(engine["name"], "hostile", "{json}");
    assert_eq!(
        engine["digest"],
        format!("sha256:{}", digest("hostile.wasm"))
    );
    for field in [
        "title",
        "file",
        "imports",
        "abilities",
        "denied",
        "ungranted",
        "versions",
    ] {
        assert!(!engine[field].is_null(), "{field}: {json}");
    }
    let upstream = &engine["bindings"][0]["upstreams"][0];
    assert_eq!(upstream["base_url"], "http://127.0.0.1:9/base", "{json}");
    assert_eq!(json["rejected"][0]["file"], "broken.wasm", "{json}");

    let empty = Program::new(&[]);
    let line = format!("no engines in {}", empty.path("engines").display());
    assert_eq!(listed(&empty), line);
}

#[test]
fn engine_show_has_unusable_settings_and_the_editing_url() {
    let editor = json!({"nodes": [], "links": [], "last_node_id": 1}).to_string();
    let program = Program::new(&["comfyui"])
        .with("COMFYUI_BASE_URL", "http://127.0.0.1:9")
        .with("IMAGES_EDIT_COMFYUI_BASE_URL", "http://127.0.0.1:10")
        .with("COMFYUI_WORKFLOW", &editor)
        .with("IMAGES_EDIT_COMFYUI_WORKFLOW", "{");
    let text = program
        .run(&["engine", "show", "comfyui"])
        .done()
        .join("\n");
    let list = program.run(&["engine", "list"]).done().join("\n");
    let in_list = "comfyui: COMFYUI_WORKFLOW cannot be used: ";
    assert!(list.contains(in_list), "{list}");
    for line in [
        "  upstream   api at http://127.0.0.1:9: ",
        "  upstream   api for editing at http://127.0.0.1:10\n",
        "  problem    COMFYUI_WORKFLOW cannot be used: ",
        "Save (API Format)",
    ] {
        assert!(text.contains(line), "{text}");
    }

    // An unusable setting of editing affects only editing.
    let edit_program = Program::new(&["comfyui"])
        .with("COMFYUI_BASE_URL", "http://127.0.0.1:9")
        .with("IMAGES_EDIT_COMFYUI_WORKFLOW", "{");
    let edit_text = edit_program
        .run(&["engine", "show", "comfyui"])
        .done()
        .join("\n");
    let problem = "  problem    IMAGES_EDIT_COMFYUI_WORKFLOW cannot be used: ";
    assert!(edit_text.contains(problem), "{edit_text}");
    let generate = ["generate", "x", "--engine", "comfyui"];
    let line = edit_program.run(&generate).failed(1);
    assert!(line.contains("cannot be reached"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_use_settings_stored_by_the_server() {
    let server = TestServer::with_engine("comfyui", &[]).await;
    let program = Program::new(&["comfyui"])
        .with("PINHOLE_DATA", server.data_dir.path().to_str().unwrap())
        .with("COMFYUI_BASE_URL", "http://127.0.0.1:9")
        .with("RESET_CONFIG_ON_START", "true");
    let bindings = json!({
        "garage": {"engine": "comfyui", "settings": {"base-url": "http://127.0.0.1:11"}},
    });
    let set = json!({
        "COMFYUI_BASE_URL": "http://127.0.0.1:10", "PINHOLE_BINDINGS": bindings.to_string(),
    });
    let (status, body) = server.post_json("/api/v1/settings", &set).await;
    assert_eq!(status, 200, "{body}");
    // Runs twice, because a command that only lists must not reset anything.
    for _ in 0..2 {
        let text = program
            .run(&["engine", "show", "comfyui"])
            .done()
            .join("\n");
        assert!(
            text.contains("  upstream   api at http://127.0.0.1:10: "),
            "{text}"
        );
        let garage = "  binding    garage\n  upstream   api at http://127.0.0.1:11: ";
        assert!(text.contains(garage), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_models_and_verify_send_requests_to_the_upstream() {
    let list = json!({"object": "list", "data": [{"id": "gpt-image-2"}, {"id": "whisper-1"}]});
    let upstream = FakeUpstream::json(200, list).await;
    let program = Program::new(&["openai"])
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("IMAGES_OPENAI_API_KEY", "secret-4711");
    let models = program.run(&["engine", "models", "openai"]).done();
    assert_eq!(models, ["gpt-image-2\tgpt-image-2", "whisper-1\twhisper-1"]);
    let verified = program.run(&["engine", "verify", "openai"]).done();
    let fine = "engine openai works";
    assert_eq!(verified, [fine]);
    let as_json = program
        .run(&["engine", "verify", "openai", "--json"])
        .done();
    let as_json: serde_json::Value = serde_json::from_str(&as_json.concat()).unwrap();
    assert_eq!(
        as_json,
        json!({"engine": "openai", "works": true, "server": null, "rows": [], "problems": []})
    );
    assert_eq!(upstream.request_lines(), ["GET /v1/models"; 3]);

    let program = program.with("IMAGES_OPENAI_PARAMS", "[1]");
    let line = program.run(&["engine", "verify", "openai"]).failed(1);
    assert!(
        line.contains("IMAGES_OPENAI_PARAMS cannot be used"),
        "{line}"
    );
    let refusal = program.run(&["engine", "models", "nobody"]).failed(2);
    assert!(refusal.contains("unknown engine nobody"), "{refusal}");
    assert_eq!(upstream.request_lines().len(), 3);
}

#[test]
fn engine_test_compiles_once_and_runs_readable_cases() {
    let program = Program::new(&[]);
    let cases = program.path("cases");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/sketch/S4-verified/case.json");
    for (name, text) in [
        ("S1-torn", "{".to_owned()),
        ("S4-verified", fs::read_to_string(source).unwrap()),
    ] {
        let directory = cases.join("sketch").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("case.json"), text).unwrap();
    }
    let cache = program.path("cache");
    let program = program.with("PINHOLE_CACHE", cache.to_str().unwrap());
    let component = engines().join("sketch.wasm");
    let arguments = [
        "engine",
        "test",
        component.to_str().unwrap(),
        "--cases",
        cases.to_str().unwrap(),
        "--verbose",
    ];
    let check = |output: CommandOutput| {
        assert_eq!(output.code, Some(1), "{output:?}");
        for expected in [
            "FAILED  S1-torn\n    cannot read the case: case.json",
            "ok      S4-verified",
            "1 passed, 1 failed",
        ] {
            assert!(output.out.contains(expected), "{output:?}");
        }
    };
    check(program.run(&arguments));
    // Nothing is compiled any more.
    check(
        program
            .with("PINHOLE_COMPILER", "/bin/false")
            .run(&arguments),
    );
}
