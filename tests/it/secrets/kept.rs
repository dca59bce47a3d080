//! What an administrator reads, and what a process leaves behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::*;

/// Every address that can be read without naming anything.
async fn readable(server: &TestServer) -> Vec<String> {
    let document = server.get("/openapi.json").send().await.unwrap();
    let document: Value = serde_json::from_str(&document.text().await.unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let plain = paths.filter(|(path, routes)| routes.get("get").is_some() && !path.contains('{'));
    let paths: Vec<_> = plain.map(|(path, _)| path.clone()).collect();
    // Event streams do not end.
    paths
        .into_iter()
        .filter(|path| !path.ends_with("/events"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_server_shows_a_key_that_is_set() {
    let chat = "sk-chat-9Lq2xV7nR4tB8wYc";
    let place = Place::with(&[("OPENAI_API_KEY", chat)]).await;
    let set = json!({"HOSTILE_API_KEY": KEY});
    let (status, answer) = place.server.post_json("/api/v1/settings", &set).await;
    assert_eq!(status, 200, "{answer}");
    let paths = readable(&place.server).await;
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let answer = place.server.get(&path).send().await.unwrap();
        let text = format!("{:?}", answer.headers()) + &answer.text().await.unwrap();
        check(&text);
        assert!(!text.contains(chat), "{path}: {text}");
    }
    let current = place.server.app.jobs.snapshot();
    let debugged = format!(
        "{:?} {:?}",
        current.settings,
        current.binding("hostile").unwrap().generate_settings()
    );
    check(&debugged);
    assert!(!debugged.contains(chat), "{debugged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_pasted_for_an_address_is_not_repeated() {
    let place = Place::start().await;
    for pasted in [
        KEY.to_owned(),
        format!("user:{KEY}"),
        format!("{KEY}:x"),
        format!("https://user:{KEY}@example.com/v1"),
        format!("https://{KEY}@example.com/v1"),
        format!("https://example.com/v1?key={KEY}"),
        format!("https://example.com/v1#{KEY}"),
    ] {
        let set = json!({"HOSTILE_BASE_URL": pasted});
        let (status, answer) = place.server.post_json("/api/v1/settings", &set).await;
        assert_eq!(status, 400, "{pasted}: {answer}");
        check(&answer.to_string());
        let (base, engines) = (pasted.clone(), place.engines.path().to_owned());
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
        assert_ne!(output.status.code(), Some(0), "{pasted}");
        check(&String::from_utf8_lossy(
            &[output.stdout, output.stderr].concat(),
        ));
    }
}

#[test]
fn no_memory_is_dumped() {
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
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["1", "1"], "{limits}");
}
