//! Engines that send what is not theirs to send.

use anyhow::{Result, ensure};

use crate::arena::{Arena, SECRET};

/// The engine is refused, and nobody is asked.
pub(super) async fn refused(arena: &Arena, prompt: &str) -> Result<()> {
    let answer = arena.draw(prompt).await?;
    answer.was_not_granted()?;
    let asked = arena.upstream.requests();
    ensure!(asked.is_empty(), "{prompt:?} led to {asked:?}");
    Ok(())
}

pub(super) async fn line_ends(arena: &Arena) -> Result<()> {
    for end in ["\r\n", "\n", "\r", "\0"] {
        for prompt in [
            format!("header x-a b{end}x-injected: c"),
            format!("header x-a:{end}x-injected c"),
            format!("reach api /allowed/x{end}x-injected:c"),
            format!("reach api /allowed/x?a=b{end}x-injected:c"),
            format!("send GET{end}x-injected:c api /allowed/x"),
        ] {
            let answer = arena.draw(&prompt).await?;
            ensure!(
                !answer.status.is_success() && !answer.message().contains("status 2"),
                "{prompt:?} was sent: {}",
                answer.text()
            );
            let asked = arena.upstream.requests();
            ensure!(asked.is_empty(), "{prompt:?} led to {asked:?}");
        }
    }
    Ok(())
}

pub(super) async fn steps_up(arena: &Arena) -> Result<()> {
    for path in [
        "/allowed/../secret",
        "/allowed/x/../../secret",
        "/allowed/%2e%2e/secret",
        "/allowed/.%2E/secret",
        "/allowed/%252e%252e/secret",
        "/allowed/..%2fsecret",
        "/allowed/%2e%2e%5csecret",
        "/allowed/..\\secret",
        "/allowed/..;/secret",
        "/allowed//secret",
        "/allowed/./x",
        "/allowed/x%00",
        "/allowed/x#y",
    ] {
        refused(arena, &format!("reach api {path}")).await?;
    }
    Ok(())
}

pub(super) async fn own_headers(arena: &Arena) -> Result<()> {
    for name in [
        "Host",
        "Content-Length",
        "Content-Type",
        "Content-Encoding",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "Accept-Encoding",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Sec-WebSocket-Protocol",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ] {
        refused(arena, &format!("header {name} 1")).await?;
    }
    Ok(())
}

pub(super) async fn key_headers(arena: &Arena) -> Result<()> {
    for name in [
        "Authorization",
        "Cookie",
        "API-Key",
        "X-API-Key",
        "X-Goog-API-Key",
    ] {
        refused(arena, &format!("header {name} mine")).await?;
    }
    // What it was bound to is what arrives.
    let answer = arena.draw("ask").await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    let asked = arena.upstream.requests();
    let keys = asked.iter().flat_map(|asked| asked.head.lines());
    let keys: Vec<_> = keys
        .filter(|line| line.to_ascii_lowercase().starts_with("authorization:"))
        .collect();
    let bound = [format!("authorization: Bearer {SECRET}")];
    ensure!(keys == bound, "the keys sent were {}", keys.len());
    Ok(())
}
