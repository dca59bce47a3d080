//! Variables of the process: files that they name, misspelt ones, addresses to listen on, and the log.

use serde_json::Value;

use super::*;

/// The log of a server that has started, after it has stopped.
fn log_of(program: &Program) -> String {
    let server = program.serve();
    server.signal("TERM");
    assert_eq!(server.end().0.code(), Some(0));
    fs::read_to_string(program.path("log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_and_document_come_from_files() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        assert_eq!(request.header("authorization"), "Bearer secret-4711");
        FakeResponse::json(200, &json!({"data": [{"id": "gpt-image-2"}]}))
    })
    .await;
    let bindings = json!({"photo": {"engine": "openai", "settings": {
        "base-url": upstream.url(), "api-key": "secret-4711",
    }}});
    let program = Program::new(&["openai"]);
    fs::write(program.path("key"), "secret-4711\n").unwrap();
    fs::write(program.path("bindings.json"), bindings.to_string()).unwrap();
    let at_bindings = format!("@{}", program.path("bindings.json").display());
    let program = program
        .with("IMAGES_OPENAI_API_BASE_URL", &upstream.url())
        .with("PINHOLE_BINDINGS", &at_bindings);
    let key_file = program.path("key").display().to_string();
    // The engine's own variable is known only after the engine is admitted.
    let program = program.with("PINHOLE_OPENAI_API_KEY_FILE", &key_file);
    for engine in ["openai", "photo"] {
        let verified = program.run(&["engine", "verify", engine]).done();
        assert_eq!(verified, [format!("engine {engine} works")]);
    }
    let both = program.with("PINHOLE_OPENAI_API_KEY", "other");
    let line = both.run(&["engine", "verify"]).failed(1);
    let expected = "both PINHOLE_OPENAI_API_KEY and PINHOLE_OPENAI_API_KEY_FILE are set";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn unusable_file_of_a_variable_stops_the_start() {
    let program = Program::new(&[]);
    for (name, value, expected) in [
        (
            "PINHOLE_SETTINGS_KEY_FILE",
            "missing",
            "cannot use PINHOLE_SETTINGS_KEY_FILE: cannot read the file \"missing\": No such file",
        ),
        (
            "COMFYUI_WORKFLOW",
            "@missing.json",
            "cannot use COMFYUI_WORKFLOW: cannot read the file \"missing.json\"",
        ),
    ] {
        let line = program
            .command(&["serve", "--listen", "0"])
            .env(name, value)
            .output()
            .map(|output| String::from_utf8(output.stderr).unwrap())
            .unwrap();
        assert!(line.contains(expected), "{line}");
    }
    assert!(!program.path("data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_value_names_no_file() {
    let server = TestServer::with_engine("comfyui", &[]).await;
    let set = json!({"COMFYUI_WORKFLOW": "@/etc/hostname", "COMFYUI_API_KEY": "@/etc/hostname"});
    let (status, body) = server.post_json("/api/v1/settings", &set).await;
    assert_eq!(status, 400, "{body}");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("COMFYUI_WORKFLOW"),
        "{body}"
    );
    let file = json!({"COMFYUI_WORKFLOW_FILE": "/etc/hostname"});
    let (file_status, file_body) = server.post_json("/api/v1/settings", &file).await;
    assert_eq!(file_status, 400, "{file_body}");
}

#[test]
fn misspelt_variables_are_one_warning_each_with_the_nearest_name() {
    let program = Program::new(&["sketch", "comfyui"])
        .with("PINHOLE_FALLBACK", "sketch")
        .with("PINHOLE_FALLBACKS", "sketch,sketsh,zzz")
        .with("COMFYUI_BASEURL", "http://127.0.0.1:9")
        .with("PINHOLE_COMFYUI_CONCURENCY", "2")
        .with("ENABLE_IMAGE_GENERATION", "yes")
        .with("COMFYUI_PATH", "/opt/comfyui");
    let log = log_of(&program);
    for expected in [
        "the variable PINHOLE_FALLBACK has no effect: did you mean PINHOLE_FALLBACKS?",
        "the variable COMFYUI_BASEURL has no effect: did you mean COMFYUI_BASE_URL?",
        "the variable PINHOLE_COMFYUI_CONCURENCY has no effect: did you mean PINHOLE_COMFYUI_CONCURRENCY?",
        "PINHOLE_FALLBACKS is \"sketsh\", which is not an engine: did you mean sketch?",
        "PINHOLE_FALLBACKS is \"zzz\", which is not an engine: use one of comfyui, sketch",
        "ENABLE_IMAGE_GENERATION is \"yes\", which counts as false: use true or false",
    ] {
        assert_eq!(log.matches(expected).count(), 1, "{expected}: {log}");
    }
    assert!(!log.contains("COMFYUI_PATH"), "{log}");
    // Other commands warn as well.
    let output = program.run(&["engine", "list"]);
    let warning = "pinhole: warning: the variable PINHOLE_FALLBACK has no effect";
    assert!(output.err.contains(warning), "{output:?}");
}

/// Every variable of the source code is known, so that none is reported as misspelt.
#[test]
fn server_knows_every_variable_that_it_reads() {
    let known: Vec<String> = known_variables();
    let mut unknown = Vec::new();
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let mut directories = vec![host];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let (code, _) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
            let literals = code.split('"').skip(1).step_by(2);
            let names = literals.filter(|it| it.starts_with("PINHOLE_") && it.len() > 8);
            let is_name = |it: &&str| it.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let missing = names
                .filter(is_name)
                .filter(|it| !known.iter().any(|k| k == it));
            unknown.extend(missing.map(|it| format!("{it} in {}", path.display())));
        }
    }
    let of_tests = [
        "PINHOLE_CRASH_AT",
        "PINHOLE_GUARD_",
        "PINHOLE_SWITCHED_OFF",
        "PINHOLE_TEST_",
    ];
    unknown.retain(|it| !of_tests.iter().any(|name| it.starts_with(name)));
    assert!(
        unknown.is_empty(),
        "add to config/variables.rs: {unknown:#?}"
    );
}

fn known_variables() -> Vec<String> {
    let names = pinhole::config::Variables::of_server();
    names.names().map(str::to_owned).collect()
}

#[test]
fn server_listens_on_each_form_of_an_address() {
    let program = Program::new(&[]);
    for (form, expected) in [
        ("127.0.0.1:0", "http://127.0.0.1:"),
        ("0", "http://127.0.0.1:"),
        (":0", "http://0.0.0.0:"),
        ("[::1]:0", "http://[::1]:"),
        ("localhost:0", "http://"),
    ] {
        let server = program.serve_on(form);
        let (_, address) = server.lines[0].split_once(" listening on ").unwrap();
        assert!(address.starts_with(expected), "{form}: {address}");
    }
    for (form, expected) in [
        ("localhost", "it has no port: use HOST:PORT"),
        ("::1:80", "an IPv6 address needs brackets: use [::1]:80"),
        (
            "localhost:99999",
            "its port is not a number from 0 to 65535",
        ),
    ] {
        let output = program.run(&["serve", "--listen", form]);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.err.contains(expected), "{output:?}");
    }
    let name = "no-such-host.invalid:0";
    let line = program.run(&["serve", "--listen", name]).failed(1);
    assert!(line.contains(&format!("cannot listen on {name}")), "{line}");
}

#[test]
fn server_that_cannot_listen_writes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let program = Program::new(&["sketch"]);
    program.run(&["serve", "--listen", &address]).failed(1);
    let metrics = Program::new(&["sketch"]).with("PINHOLE_METRICS_LISTEN", &address);
    let line = metrics.run(&["serve", "--listen", "0"]).failed(1);
    assert!(
        line.contains("set PINHOLE_METRICS_LISTEN to another"),
        "{line}"
    );
    for started in [program, metrics] {
        assert!(!started.path("data").exists());
    }
}

#[test]
fn invalid_log_variable_stops_the_start() {
    for (name, value, expected) in [
        (
            "PINHOLE_LOG",
            "debgu",
            "PINHOLE_LOG is \"debgu\": \"debgu\" is not a level: use off,",
        ),
        (
            "PINHOLE_LOG",
            "pinhole=loud",
            "PINHOLE_LOG is \"pinhole=loud\": ",
        ),
        (
            "PINHOLE_LOG_FORMAT",
            "jason",
            "PINHOLE_LOG_FORMAT is \"jason\": it must be text or json",
        ),
    ] {
        let program = Program::new(&[]).with(name, value);
        for arguments in [&["serve", "--listen", "0"][..], &["engine", "list"]] {
            let line = program.run(arguments).failed(1);
            assert!(line.contains(expected), "{line}");
        }
        assert!(!program.path("data").exists());
    }
}

#[test]
fn json_log_has_one_object_in_each_line() {
    let program = Program::new(&["sketch"])
        .with("PINHOLE_LOG_FORMAT", "json")
        .with("PINHOLE_FALLBACKS", "zzz");
    let log = log_of(&program);
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let warning = lines.iter().find(|line| line["level"] == "WARN").unwrap();
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .contains("PINHOLE_FALLBACKS"),
        "{warning}"
    );
    assert!(
        warning["timestamp"].is_string() && warning["target"].is_string(),
        "{warning}"
    );
    // So is a failed start.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = program.run(&["serve", "--listen", &address]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let failure: Value = serde_json::from_str(output.err.trim()).unwrap();
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("cannot listen on"),
        "{failure}"
    );
}

#[test]
fn first_start_logs_a_few_short_lines_and_no_refusal() {
    let names = ["automatic1111", "comfyui", "gemini", "openai", "sketch"];
    let program = Program::new(&names)
        .with("PINHOLE_METRICS_LISTEN", "127.0.0.1:0")
        .with("COMFYUI_BASE_URL", "http://127.0.0.1:9")
        .with("IMAGES_OPENAI_API_KEY", "key")
        .with("IMAGES_GEMINI_API_KEY", "key")
        .with("AUTOMATIC1111_BASE_URL", "http://127.0.0.1:9");
    let server = program.serve();
    let address = server.lines[4].strip_prefix("metrics: http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().parse().unwrap();
    let (_, metrics) = http(address, "GET", "/metrics", "", "");
    let refusals = metrics
        .lines()
        .filter(|it| it.starts_with("pinhole_refusals_total"));
    assert!(
        refusals.clone().count() > 0 && refusals.clone().all(|it| it.ends_with(" 0")),
        "{metrics}"
    );
    server.signal("TERM");
    server.end();
    let log = fs::read_to_string(program.path("log")).unwrap();
    let lines: Vec<&str> = log
        .lines()
        .filter(|logged| !logged.contains("compiling "))
        .collect();
    assert!(lines.len() <= 4, "{log}");
    assert!(
        lines
            .iter()
            .all(|logged| logged.len() < 250 && !logged.contains("WARN")),
        "{log}"
    );
    let audit = fs::read_to_string(program.path("data/audit.jsonl")).unwrap_or_default();
    assert_eq!(audit, "");
}

#[test]
fn hangup_reloads_files_and_engines() {
    let program = Program::new(&["sketch"]);
    let size = program.path("size");
    fs::write(&size, "64x64\n").unwrap();
    let program = program.with("IMAGE_SIZE_FILE", size.to_str().unwrap());
    let server = program.serve();
    let key = server.key();
    let configured = |expected: &str| {
        let path = "/api/v1/images/config";
        let (_, text) = http(server.address(), "GET", path, &key, "");
        text.contains(&format!("\"IMAGE_SIZE\":\"{expected}\""))
    };
    assert!(configured("64x64"));
    let logged = |line: &str| {
        let log = program.path("log");
        while !fs::read_to_string(&log).unwrap().contains(line) {
            thread::yield_now();
        }
    };
    fs::write(&size, "128x96").unwrap();
    server.signal("HUP");
    logged("reloaded the files of variables");
    assert!(configured("128x96"));
    fs::write(&size, "huge").unwrap();
    server.signal("HUP");
    logged("cannot reload; the settings are as before: IMAGE_SIZE");
    assert!(configured("128x96"));
    assert_eq!(http(server.address(), "GET", "/health", "", "").0, 200);
}
