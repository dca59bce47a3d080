//! What is handed out, kept and shown, without anybody repeating a key.

use std::sync::Arc;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::arena::{Arena, SECRET};
use super::super::upstream::json;
use super::{holds, picture, png, says};

/// More jobs than a server of ours has slots: a memory that is used again would show.
const JOBS: usize = 20;
/// Another key, for a change.
const NEXT: &str = "another-secret-4712-Yw82";

pub(super) async fn handed_over(arena: &Arena) -> Result<()> {
    let said = says(arena, "settings").await?;
    ensure!(
        said.contains("api-key"),
        "it does not tell its settings: {said}"
    );
    ensure!(!holds(&said, SECRET), "it was handed the key: {said}");
    Ok(())
}

pub(super) async fn address_of_a_picture(arena: &Arena) -> Result<()> {
    arena.upstream.answers(vec![picture(b"")]);
    arena
        .draw(&format!("address {}/picture.png", arena.upstream.url()))
        .await?;
    let asked = arena.upstream.requests();
    ensure!(
        !asked.is_empty(),
        "the picture was not fetched, so nothing was tried"
    );
    for request in asked {
        ensure!(
            !holds(&request.head, SECRET),
            "the key went along: {}",
            request.head
        );
    }
    Ok(())
}

pub(super) async fn placeholders(arena: &Arena) -> Result<()> {
    for prompt in [
        "reach api /allowed/x?key=$HOSTILE_API_KEY&again=__api-key__&more=%7B%7Bapi-key%7D%7D",
        "header x-note ${HOSTILE_API_KEY} {{api-key}}",
        "header x-note secret://api-key",
    ] {
        arena.draw(prompt).await?;
    }
    for request in arena.upstream.requests() {
        let mut lines = request.head.lines();
        let other =
            lines.find(|line| line.contains(SECRET) && !line.starts_with("authorization: "));
        ensure!(other.is_none(), "the key stands in {other:?}");
    }
    Ok(())
}

/// Whatever an administrator can read without naming anything.
pub(super) async fn settings(arena: &Arena) -> Result<()> {
    let document = arena.get("/openapi.json").await?.json()?;
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, routes) in paths.context("no routes are described")? {
        // Events have no end.
        if routes.get("get").is_none() || path.contains('{') || path.ends_with("/events") {
            continue;
        }
        let answer = arena.get(path).await?;
        ensure!(
            !holds(&answer.text(), SECRET),
            "{path} shows it: {}",
            answer.text()
        );
    }
    Ok(())
}

pub(super) async fn pasted(arena: &Arena) -> Result<()> {
    for address in [
        SECRET.to_owned(),
        format!("user:{SECRET}"),
        format!("https://user:{NEXT}@example.com/v1"),
        format!("https://example.com/v1?key={SECRET}"),
    ] {
        let answer = arena.set("HOSTILE_BASE_URL", address.as_str()).await?;
        ensure!(
            !answer.status.is_success(),
            "{address} is taken for an address"
        );
        let text = answer.text();
        ensure!(
            !holds(&text, SECRET) && !holds(&text, NEXT),
            "the refusal repeats it: {text}"
        );
    }
    Ok(())
}

pub(super) async fn files(arena: &Arena) -> Result<()> {
    let made = arena
        .draw_with(json!({"prompt": "picture", "response_format": "url"}))
        .await?;
    let made = made.json()?;
    let url = made.pointer("/data/0/url").and_then(Value::as_str);
    let url = url.context("no picture was kept")?.to_owned();
    let id = url.split('/').rev().find(|part| part.len() == 36);
    let id = id.with_context(|| format!("no id is in {url}"))?;
    let (person_id, key) = somebody(arena).await?;
    let person = arena.person(&key)?;
    let one = [
        (Method::GET, format!("/api/v1/files/{id}")),
        (Method::GET, format!("/api/v1/files/{id}/content")),
        (Method::DELETE, format!("/api/v1/files/{id}")),
    ];
    for (method, path) in one {
        let answer = arena
            .ask(&person, method.clone(), &path, "", Bytes::new())
            .await?;
        ensure!(
            answer.status == StatusCode::NOT_FOUND,
            "{method} {path}: {}",
            answer.status
        );
    }
    for path in ["/api/v1/files/", "/api/v1/files/search?filename=*"] {
        let answer = arena
            .ask(&person, Method::GET, path, "", Bytes::new())
            .await?;
        ensure!(!answer.text().contains(id), "{path} lists it");
    }
    let answer = arena.get(&format!("/api/v1/files/{id}/content")).await?;
    ensure!(
        answer.status == StatusCode::OK,
        "it is gone: {}",
        answer.status
    );
    let path = format!("/api/v1/users/{person_id}");
    let gone = arena
        .ask(
            &arena.administrator,
            Method::DELETE,
            &path,
            "",
            Bytes::new(),
        )
        .await?;
    ensure!(
        gone.status.is_success(),
        "cannot remove a user again: {}",
        gone.text()
    );
    Ok(())
}

/// Another person: their id, and what they show.
async fn somebody(arena: &Arena) -> Result<(String, String)> {
    let email = format!("{}@adversary.invalid", uuid::Uuid::new_v4());
    let password = uuid::Uuid::new_v4().to_string();
    let new = json!({"name": "Somebody", "email": email, "password": password, "role": "user"});
    let added = arena.post("/api/v1/auths/add", &new).await?;
    ensure!(
        added.status.is_success(),
        "cannot add a user: {}",
        added.text()
    );
    let body = json!({"email": email, "password": password})
        .to_string()
        .into();
    let kind = "application/json";
    let signed_in = arena
        .ask(
            &arena.stranger,
            Method::POST,
            "/api/v1/auths/signin",
            kind,
            body,
        )
        .await?;
    let signed_in = signed_in.json()?;
    let text = |name: &str| {
        signed_in
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    text("id")
        .zip(text("token"))
        .context("the user cannot sign in")
}

pub(super) async fn memory(arena: &Arena) -> Result<()> {
    for _ in 0..JOBS {
        says(arena, "leave what nobody else may find").await?;
        let found = says(arena, "find").await?;
        ensure!(found == "nothing", "a job finds {found:?}");
    }
    Ok(())
}

pub(super) async fn path_of_a_request(arena: &Arena) -> Result<()> {
    for path in [
        "/api/v1/files/../../pinhole.db",
        "/api/v1/files/..%2f..%2fpinhole.db/content",
        "/api/v1/files/%2e%2e%2f%2e%2e%2fpinhole.db/content",
        "/api/v1/files/..%5c..%5cpinhole.db/content",
        "/api/v1/files/%2fetc%2fpasswd/content",
        "/api/v1/files/pinhole.db%00/content",
        "/../../../../etc/passwd",
    ] {
        let answer = arena.get_raw(path).await?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        ensure!(
            status.starts_with('4'),
            "{path}: {}",
            answer.lines().next().unwrap_or_default()
        );
    }
    Ok(())
}

pub(super) async fn file_name(arena: &Arena) -> Result<()> {
    const EDGE: &str = "adversary-edge";
    for name in [
        "../../../adversary.png",
        "/etc/adversary.png",
        "..\\adversary.png",
        "a\u{202e}gnp.exe",
    ] {
        let head = format!(
            "--{EDGE}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             content-type: image/png\r\n\r\n"
        );
        let body = [
            head.as_bytes(),
            &png(b""),
            format!("\r\n--{EDGE}--\r\n").as_bytes(),
        ]
        .concat();
        let kind = format!("multipart/form-data; boundary={EDGE}");
        let kept = arena
            .ask(
                &arena.administrator,
                Method::POST,
                "/api/v1/files/",
                &kind,
                body.into(),
            )
            .await?;
        if !kept.status.is_success() {
            continue;
        }
        let kept = kept.json()?;
        let id = kept
            .get("id")
            .and_then(Value::as_str)
            .context("it has no id")?;
        ensure!(
            id.len() == 36 && !id.contains(['/', '\\', '.']),
            "its id is {id}"
        );
        let content = arena.get(&format!("/api/v1/files/{id}/content")).await?;
        let shown = content.headers.get("content-disposition");
        let shown = shown.map_or("", |shown| shown.to_str().unwrap_or("?"));
        ensure!(!shown.contains(['/', '\\', '?']), "it is served as {shown}");
        let gone = arena
            .ask(
                &arena.administrator,
                Method::DELETE,
                &format!("/api/v1/files/{id}"),
                "",
                Bytes::new(),
            )
            .await?;
        ensure!(
            gone.status.is_success(),
            "it cannot be removed: {}",
            gone.status
        );
    }
    Ok(())
}

pub(super) async fn rotation(arena: &Arena) -> Result<()> {
    let (begun, (open, gate)) = (Arc::new(Notify::new()), mpsc::channel::<()>());
    let (told, gate) = (begun.clone(), Mutex::new(gate));
    // The first answer waits until the key was changed, or the case is over.
    arena.upstream.acts(move |received| {
        if received.head.contains("/allowed/first") {
            told.notify_one();
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::task::block_in_place(|| gate.recv().ok());
        }
        vec![json(&json!({}))]
    });
    let changing = async {
        begun.notified().await;
        let changed = arena.set("HOSTILE_API_KEY", NEXT).await;
        drop(open);
        changed
    };
    let (drawn, changed) = tokio::join!(arena.draw("twice"), changing);
    let (drawn, changed) = (drawn?, changed?);
    ensure!(
        changed.status.is_success(),
        "the key cannot be changed: {}",
        changed.text()
    );
    ensure!(
        drawn.status.is_success(),
        "the job failed: {}",
        drawn.text()
    );
    let next = arena.draw("twice").await?;
    ensure!(
        next.status.is_success(),
        "the next job failed: {}",
        next.text()
    );
    let asked = arena.upstream.requests();
    let with = |key: &str| {
        asked
            .iter()
            .map(|it| it.head.contains(key))
            .collect::<Vec<_>>()
    };
    ensure!(
        with(SECRET) == [true, true, false, false] && with(NEXT) == [false, false, true, true],
        "the keys were not kept apart"
    );
    Ok(())
}

pub(super) async fn other_paths(arena: &Arena) -> Result<()> {
    for (method, path) in [
        ("GET", "/upload/image"),
        ("GET", "/prompt"),
        ("GET", "/"),
        ("POST", "/allowed/x"),
        ("DELETE", "/allowed/x"),
        ("GET", "/allowed"),
    ] {
        arena
            .draw(&format!("send {method} api {path}"))
            .await?
            .was_not_granted()?;
    }
    let asked = arena.upstream.requests();
    ensure!(
        asked.is_empty(),
        "the upstream was asked {} times",
        asked.len()
    );
    Ok(())
}
