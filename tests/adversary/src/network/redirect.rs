//! Upstreams that send the host on.

use anyhow::{Result, ensure};

use super::never_fetched;
use crate::arena::Arena;
use crate::message::secure::{Authority, Secure, bind, draw};
use crate::upstream::{Step, answer};

fn redirect(status: &str, location: &str) -> Vec<Step> {
    vec![answer(status, &format!("location: {location}\r\n"), "")]
}

pub(super) async fn of_a_request(arena: &Arena) -> Result<()> {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        for place in [arena.trap.url(), arena.upstream.url()] {
            let before = arena.upstream.requests().len();
            let location = format!("{place}/allowed/elsewhere");
            arena.upstream.answers(redirect(status, &location));
            let answer = arena.draw("reach api /allowed/x").await?;
            ensure!(!answer.status.is_success(), "{}", answer.text());
            let asked = arena.upstream.requests();
            ensure!(
                asked.len() == before + 1,
                "{status} was followed: {asked:?}"
            );
        }
    }
    Ok(())
}

pub(super) async fn of_a_picture(arena: &Arena) -> Result<()> {
    let (granted, trap) = (arena.upstream.port(), arena.trap.port());
    for location in [
        format!("http://127.0.0.1:{trap}/picture.png"),
        format!("//127.0.0.1:{trap}/picture.png"),
        format!("http://localhost:{trap}/picture.png"),
        format!("http://[::ffff:127.0.0.1]:{trap}/picture.png"),
        // The granted place, in a spelling that no first address could have.
        format!("http://user@127.0.0.1:{granted}/end"),
        format!("http://2130706433:{granted}/end"),
        format!("http://127.0.0.1:0{granted}/end"),
        format!("/\\127.0.0.1:{trap}/picture.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "data:image/png;base64,iVBORw0KGgo=".to_owned(),
    ] {
        arena.upstream.reset();
        let there = location.clone();
        arena
            .upstream
            .acts(move |asked| match asked.head.starts_with("GET /begin ") {
                true => redirect("302 Found", &there),
                false => vec![answer("200 OK", "content-type: image/png\r\n", "reached")],
            });
        let address = format!("address {}/begin", arena.upstream.url());
        let answer = arena.draw(&address).await?;
        ensure!(
            answer.message() == "the image URL is not allowed",
            "the host followed to {location}: {}",
            answer.text()
        );
        let asked = arena.upstream.requests();
        ensure!(asked.len() == 1, "{location} led to {asked:?}");
    }
    Ok(())
}

pub(super) async fn without_end(arena: &Arena) -> Result<()> {
    arena.upstream.answers(redirect("302 Found", "/again"));
    let answer = arena
        .draw(&format!("address {}/again", arena.upstream.url()))
        .await?;
    let asked = arena.upstream.requests().len();
    ensure!(asked == 4, "the host asked {asked} times");
    ensure!(
        answer.message() == "the image URL is not allowed",
        "{}",
        answer.text()
    );
    arena.upstream.reset();
    // Nor does a first address that is a trap.
    never_fetched(arena, &format!("{}/again", arena.trap.url())).await
}

pub(super) async fn out_of_tls(arena: &Arena) -> Result<()> {
    // A public address, because a private one would be refused for that.
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://[2620:4f:8000::1]/picture.png\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let authority = Authority::new()?;
    let secure = Secure::start(&authority, answer).await?;
    bind(arena, &secure, &authority, false).await?;
    let address = format!("address {}/begin", secure.url());
    let answer = draw(arena, &address).await?;
    ensure!(
        answer.message() == "the image URL is not allowed",
        "the host followed: {}",
        answer.text()
    );
    Ok(())
}
