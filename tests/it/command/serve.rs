//! The server as a process: output, shutdown and data directory.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn serve_prints_four_lines_and_the_key_only_to_a_file() {
    let program = Program::new(&["sketch", "hostile"]);
    let first = program.serve();
    let address = first.address();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        first.lines[0],
        format!("pinhole {version} listening on http://{address}")
    );
    assert_eq!(
        first.lines[1],
        format!("data directory: {}", program.path("data").display())
    );
    assert_eq!(
        first.lines[2],
        "engines: compiling hostile.wasm, sketch.wasm"
    );
    assert_eq!(
        first.lines[4],
        "engines: hostile, sketch (current: sketch, by default; IMAGE_GENERATION_ENGINE selects another)"
    );
    let key_file = program.path("data").join("administrator-key");
    assert_eq!(
        first.lines[3],
        format!(
            "administrator key: written to {} (only its owner can read it)",
            key_file.display()
        )
    );
    let mode = fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = first.key();
    assert!(key.starts_with("sk-") && key.len() == 51, "{key}");

    let path = "/api/v1/files/none/content";
    assert_eq!(http(address, "GET", "/health", "", "").0, 200);
    assert_eq!(http(address, "GET", path, &key, "").0, 404);
    assert_eq!(http(address, "GET", path, "sk-another", "").0, 401);
    let first_engines = first.lines[4].clone();
    first.signal("TERM");
    let (status, rest) = first.end();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));

    let second = program.serve();
    assert_eq!(second.lines[2], first_engines);
    assert_eq!(
        second.lines[3],
        format!("administrator key: in {}", key_file.display())
    );
    assert_eq!(http(second.address(), "GET", path, &key, "").0, 404);
    second.signal("INT");
    assert_eq!(second.end().0.code(), Some(0));

    // Everywhere else is only the hash.
    let log = fs::read_to_string(program.path("log")).unwrap();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let mut files = log.into_bytes();
    for entry in fs::read_dir(program.path("data")).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() && file != key_file {
            files.extend(fs::read(file).unwrap());
        }
    }
    let holds = |text: &str| {
        files
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(holds("Administrator"));
    assert!(!holds(&key) && !holds(key.trim_start_matches("sk-")));
}

#[test]
fn setup_url_is_in_a_private_file_until_an_administrator_has_a_password() {
    let program = Program::new(&["sketch"]);
    let pages = program.path("pages");
    fs::create_dir(&pages).unwrap();
    fs::write(pages.join("index.html"), "<html></html>").unwrap();
    let program = program.with("PINHOLE_UI_DIR", pages.to_str().unwrap());
    let file = program.path("data").join("setup-url");
    let server = program.serve();
    let address = server.address();
    let expected = format!(
        "setup: open the URL in {} (only its owner can read it)",
        file.display()
    );
    assert_eq!(server.lines[4], expected);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let url = fs::read_to_string(&file).unwrap();
    let (page, code) = url.trim_end().split_once('#').unwrap();
    assert_eq!(page, format!("http://{address}/setup"));
    assert_eq!(code.len(), 32);
    let body = json!({"code": code, "name": "Ada", "email": "ada@example.com", "password": "correct horse"});
    let (status, session) = http(address, "POST", "/api/v1/setup", "", &body.to_string());
    assert_eq!(status, 200, "{session}");
    server.signal("TERM");
    server.end();
    let log = fs::read_to_string(program.path("log")).unwrap();
    assert!(!log.contains(code), "{log}");

    let later = program.serve();
    assert!(!later.lines.iter().any(|line| line.starts_with("setup")));
    assert!(!file.exists());
}

#[test]
fn openapi_document_is_printed_without_a_data_directory() {
    let program = Program::new(&[]);
    let printed = program.run(&["openapi"]).done().join("\n");
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert!(document["paths"]["/api/v1/setup"]["post"].is_object());
    assert!(!program.path("data").exists());
}

#[test]
fn port_in_use_is_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let program = Program::new(&[]).with("PINHOLE_LOG", "off");
    let line = program.run(&["serve", "--listen", &address]).failed(1);
    let expected =
        format!("cannot listen on {address}: choose another with --listen: Address already in use");
    assert!(line.contains(&expected), "{line}");
    // A failed start does not lose the key.
    let serving = program.serve();
    assert!(serving.key().starts_with("sk-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_stops_after_its_running_job() {
    static GATE: Semaphore = Semaphore::const_new(0);
    let upstream = FakeUpstream::start(async |_| {
        GATE.acquire().await.unwrap().forget();
        FakeResponse::json(200, &json!({}))
    })
    .await;
    let program = Program::new(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let address = serving.address();
    let key = serving.key();
    let body = json!({"prompt": "ask"}).to_string();
    let job = tokio::task::spawn_blocking(move || {
        http(address, "POST", "/v1/images/generations", &key, &body)
    });
    upstream.wait_for_requests(1).await;
    serving.signal("TERM");
    // A server that shuts down no longer listens.
    while TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    GATE.add_permits(1);
    let (status, answer) = job.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(serving.end().0.code(), Some(0));
    assert_eq!(upstream.request_lines(), ["GET /allowed/x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_job_is_canceled_with_the_server_and_at_its_upstream() {
    let upstream = slow_upstream().await;
    let program = Program::new(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let address = serving.address();
    let key = serving.key();
    let body = json!({"prompt": "wait"}).to_string();
    let job = tokio::task::spawn_blocking(move || {
        http(address, "POST", "/v1/images/generations", &key, &body)
    });
    upstream.wait_for_requests(1).await;
    serving.signal("TERM");
    upstream.wait_for_requests(2).await;
    assert_eq!(serving.end().0.code(), Some(0));
    assert_eq!(upstream.request_lines(), [SLOW, STOPPED]);
    // The client gets the reason, unless its connection closed first.
    if let Ok((status, answer)) = job.await {
        assert_eq!(status, 503, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_requests_get_503_in_every_api() {
    let upstream = slow_upstream().await;
    let program = Program::new(&["hostile"])
        .with("IMAGE_GENERATION_ENGINE", "hostile")
        .with("HOSTILE_BASE_URL", &upstream.url());
    let serving = program.serve();
    let (address, key) = (serving.address(), serving.key());
    let image = json!({"prompt": "wait"});
    let chat = json!({
        "model": "any", "messages": [{"role": "user", "content": "wait"}],
        "features": {"image_generation": true},
    });
    let requests = [
        ("/v1/images/generations", &image),
        ("/api/v1/images/generations", &image),
        ("/v1/chat/completions", &chat),
        ("/api/chat/completions", &chat),
    ];
    let running: Vec<_> = requests
        .iter()
        .map(|(path, body)| {
            let (path, body, key) = (*path, body.to_string(), key.clone());
            tokio::task::spawn_blocking(move || http(address, "POST", path, &key, &body))
        })
        .collect();
    upstream.wait_for_requests(requests.len()).await;
    serving.signal("TERM");
    for (job, (path, _)) in running.into_iter().zip(requests) {
        let (status, response) = job.await.unwrap();
        assert_eq!(status, 503, "{path}: {response}");
        assert!(
            response.contains("the server is shutting down"),
            "{path}: {response}"
        );
    }
    assert_eq!(serving.end().0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_cancels_the_job_and_the_upstream() {
    for name in ["INT", "TERM"] {
        let upstream = slow_upstream().await;
        let program = Program::new(&["hostile"]).with("HOSTILE_BASE_URL", &upstream.url());
        let child = program
            .command(&["generate", "wait", "--engine", "hostile"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        upstream.wait_for_requests(1).await;
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        let [_, message] = err.lines().collect::<Vec<_>>()[..] else {
            panic!("{err}")
        };
        assert!(message.contains("engine hostile: cancelled"), "{err}");
        assert_eq!(upstream.request_lines(), [SLOW, STOPPED]);
    }
}

#[test]
fn several_commands_share_a_data_directory() {
    let program = Program::new(&["sketch"]);
    let running: Vec<Child> = (0..6)
        .map(|number| {
            let out = format!("{number}.png");
            let path = ["generate", "a hill", "--size", "16x16", "--out", &out];
            let mut command = program.command(&path);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.starts_with(b"data directory: "),
            "{output:?}"
        );
    }
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 6);
}
