//! Output of an engine that has assembled a key from unrecognizable pieces.

use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{JobContext, Limits};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn engine_error_and_prompt_are_redacted() {
    let fixture = SecretFixture::start().await;
    fixture.respond_in_pieces(&surrounded(KEY));
    for (part, pointer) in [
        ("message", "/error/message"),
        ("code", "/error/code"),
        ("field", "/error/param"),
        ("prompt", "/data/0/revised_prompt"),
        ("warning", "/warnings/0"),
    ] {
        let (status, response) = fixture.generate(&format!("join {part}")).await;
        let text = response.pointer(pointer).and_then(Value::as_str);
        let text = text.unwrap_or_else(|| panic!("{part}: {status} {response}"));
        assert_eq!(text, surrounded(&"*".repeat(KEY.len())), "{part}");
        assert_no_key(&response.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn image_url_with_a_key_is_not_fetched() {
    let fixture = SecretFixture::start().await;
    let base = fixture.upstream.url();
    fixture.respond(move |_| {
        let url = format!("{base}/allowed/picture?key={KEY}");
        FakeResponse::json(200, &json!({"urls": [url]}))
    });
    let (status, response) = fixture.generate("result").await;
    let message = response["error"]["message"].as_str();
    assert_eq!(
        (status, message),
        (502, Some("the image URL is not allowed")),
        "{response}"
    );
    assert_eq!(fixture.upstream.request_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_metadata_is_redacted() {
    let fixture = SecretFixture::start().await;
    for encoded in [KEY.to_owned(), base64_simd::STANDARD.encode_to_string(KEY)] {
        fixture.respond_in_pieces(&surrounded(&encoded));
        for part in ["details", "prompt", "warning"] {
            let body = json!({"prompt": format!("join {part}"), "response_format": "url"});
            let (status, response) = fixture
                .server
                .post_json("/v1/images/generations", &body)
                .await;
            assert_eq!(status, 200, "{response}");
            assert_no_key(&response.to_string());
        }
    }
    let files = fixture.server.get("/api/v1/files/").send().await.unwrap();
    let files = files.text().await.unwrap();
    assert!(files.contains("<before *"), "{files}");
    assert_no_key(&files);
    for entry in std::fs::read_dir(fixture.server.data_dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file()
            && path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .contains("pinhole")
        {
            assert_no_key(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_redacted() {
    let fixture = SecretFixture::start().await;
    fixture.respond_in_pieces(&surrounded(KEY));
    let control = JobContext::new("test".to_owned());
    let current = fixture.server.app.jobs.snapshot();
    let binding = current.binding("hostile").unwrap();
    let job = Job {
        prompt: "join note".to_owned(),
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        strength: None,
        parameters: "{}".to_owned(),
    };
    let limits = Limits::job(std::time::Duration::from_secs(60));
    let engines = &fixture.server.app.jobs.snapshot().engines;
    let bound = binding.generate_settings().unwrap();
    let call = engines.call(&binding.component, bound, &control, limits);
    call.generate(job).await.unwrap();
    let progress = control.progress.borrow().clone();
    assert_eq!(progress.note, Some(surrounded(&"*".repeat(KEY.len()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn model_names_are_redacted_and_visible() {
    // Lists are cached, so each needs its own server.
    let models = async |name: &str| {
        let fixture = SecretFixture::with(&[("HOSTILE_NOTE", "models")]).await;
        fixture.respond_in_pieces(name);
        let response = fixture.server.get("/api/v1/images/models").send().await;
        response.unwrap().text().await.unwrap()
    };
    let listed = models(KEY).await;
    assert!(listed.contains(&"*".repeat(KEY.len())), "{listed}");
    for hidden in ["a\u{200b}b", "a\u{e0041}b", "a\u{202e}b", "a\u{1b}[2Jb"] {
        let hidden_names = models(hidden).await;
        assert!(
            hidden_names.contains("or invisible characters"),
            "{hidden_names}"
        );
        assert!(!hidden_names.contains(hidden), "{hidden_names}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_truncated_and_have_no_invisible_characters() {
    let fixture = SecretFixture::start().await;
    let hostile = "it\u{1b}[31m \u{202e}failed\r\nERROR forged\u{200b}\u{e0041} line";
    for part in ["message", "code", "field"] {
        fixture.respond_in_pieces(hostile);
        let (_, response) = fixture.generate(&format!("join {part}")).await;
        let text = response.to_string();
        assert!(text.contains("it [31m failed  ERROR forged line"), "{text}");
        fixture.respond_in_pieces(&"x".repeat(1 << 20));
        let (status, long_response) = fixture.generate(&format!("join {part}")).await;
        assert_eq!(status, 502, "{part}");
        let length = long_response.to_string().len();
        assert!(length < 3 << 10, "{part}: {length} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_is_redacted() {
    let fixture = SecretFixture::start().await;
    fixture.respond(|request| {
        let text = surrounded(KEY);
        if request.target.ends_with("/echo") {
            return FakeResponse::json(200, &json!([text, { KEY: text }]));
        }
        FakeResponse::json(200, &json!([&text[..12], &text[12..]]))
    });
    let (base, engines) = (fixture.upstream.url(), fixture.engines.path().to_owned());
    let data = tempfile::tempdir().unwrap();
    let logged = tokio::task::spawn_blocking(move || {
        let run = |prompt: &str| {
            let output = Command::new(program())
                .args(["generate", prompt, "--engine", "hostile"])
                .current_dir(data.path())
                .env_clear()
                .env("PINHOLE_DATA", data.path())
                .env("PINHOLE_ENGINES", &engines)
                .env("HOSTILE_BASE_URL", &base)
                .env("HOSTILE_API_KEY", KEY)
                .env("PINHOLE_LOG", "trace")
                .output()
                .unwrap();
            let both = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&both).into_owned()
        };
        [run("join log"), run("join message"), run("see json")]
    });
    for log in logged.await.unwrap() {
        assert!(log.contains("********"), "{log}");
        // Once per job, however often the secret is reflected.
        let noted = log
            .matches("a secret of its settings that was reflected")
            .count();
        assert_eq!(noted, 1, "{log}");
        assert_no_key(&log);
    }
}
