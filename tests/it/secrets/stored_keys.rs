//! Stored keys do not appear in responses, errors or core dumps.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

/// Each `GET` route without path parameters.
async fn readable_paths(server: &TestServer) -> Vec<String> {
    let document = server.get("/openapi.json").send().await.unwrap();
    let document: Value = serde_json::from_str(&document.text().await.unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let plain = paths.filter(|(path, routes)| routes.get("get").is_some() && !path.contains('{'));
    let names: Vec<_> = plain.map(|(path, _)| path.clone()).collect();
    // Event streams do not end.
    names
        .into_iter()
        .filter(|path| !path.ends_with("/events"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_returns_stored_key() {
    let chat = "sk-chat-9Lq2xV7nR4tB8wYc";
    let fixture = SecretFixture::with(&[("OPENAI_API_KEY", chat)]).await;
    let set = json!({"HOSTILE_API_KEY": KEY});
    let (status, response) = fixture.server.post_json("/api/v1/settings", &set).await;
    assert_eq!(status, 200, "{response}");
    let paths = readable_paths(&fixture.server).await;
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let read = fixture.server.get(&path).send().await.unwrap();
        let text = format!("{:?}", read.headers()) + &read.text().await.unwrap();
        assert_no_key(&text);
        assert!(!text.contains(chat), "{path}: {text}");
    }
    let current = fixture.server.app.jobs.snapshot();
    let debugged = format!(
        "{:?} {:?}",
        current.settings,
        current.binding("hostile").unwrap().generate_settings()
    );
    assert_no_key(&debugged);
    assert!(!debugged.contains(chat), "{debugged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_in_url_setting_is_not_repeated() {
    let fixture = SecretFixture::start().await;
    for value in [
        KEY.to_owned(),
        format!("user:{KEY}"),
        format!("{KEY}:x"),
        format!("https://user:{KEY}@example.com/v1"),
        format!("https://{KEY}@example.com/v1"),
        format!("https://example.com/v1?key={KEY}"),
        format!("https://example.com/v1#{KEY}"),
    ] {
        let set = json!({"HOSTILE_BASE_URL": value});
        let (status, response) = fixture.server.post_json("/api/v1/settings", &set).await;
        assert_eq!(status, 400, "{value}: {response}");
        assert_no_key(&response.to_string());
        let (base, engines) = (value.clone(), fixture.engines.path().to_owned());
        let data = tempfile::tempdir().unwrap();
        let output = tokio::task::spawn_blocking(move || {
            let run = Command::new(program())
                .args(["generate", "picture", "--engine", "hostile"])
                .env_clear()
                .env("PINHOLE_DATA", data.path())
                .env("PINHOLE_ENGINES", engines)
                .env("HOSTILE_BASE_URL", base)
                .env("PINHOLE_LOG", "debug")
                .output();
            run.unwrap()
        });
        let output = output.await.unwrap();
        assert_ne!(output.status.code(), Some(0), "{value}");
        assert_no_key(&String::from_utf8_lossy(
            &[output.stdout, output.stderr].concat(),
        ));
    }
}

#[test]
fn core_dumps_are_disabled() {
    let data = tempfile::tempdir().unwrap();
    let mut serving = Command::new(program())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PINHOLE_DATA", data.path())
        .env("PINHOLE_ENGINES", data.path())
        .env("PINHOLE_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut said = BufReader::new(serving.stdout.take().unwrap());
    said.read_line(&mut first).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.id())).unwrap();
    serving.kill().unwrap();
    serving.wait().unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let columns: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(columns[4..6], ["1", "1"], "{limits}");
}
