//! R: an engine takes more than its share.

mod refusals;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::arena::{Answer, Arena};
use super::upstream::{Step, answer, json as json_answer};
use super::{Case, Place};
use pinhole_ground::audit::Kind;
use pinhole_ground::guard::Guard;

/// Where pictures are asked for.
const PATH: &str = "/v1/images/generations";
/// A throw-away server has 16 slots, of which one user has 8, and 32 of their jobs may wait.
const CROWD: usize = 60;
/// Of those, how many may run or wait.
const MAX_TAKEN: usize = 40;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "R1-computes-for-ever",
        must_not: "an engine that computes for ever goes on for longer than its limit",
        guards: &[Guard::RunningTime],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(spins(arena, &["describe"])),
    },
    Case {
        name: "R1-beside-others",
        must_not: "engines that compute for ever keep another engine from drawing",
        guards: &[],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(beside_others(arena)),
    },
    Case {
        name: "R2-computes-where-nobody-looks",
        must_not: "a loop in start, in realloc, after the answer or in a destructor is not ended",
        guards: &[Guard::RunningTime],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(spins(arena, &["start", "allocate", "after", "drop"])),
    },
    Case {
        name: "R3-calls",
        must_not: "an engine calls a cheap host function for ever",
        guards: &[Guard::HostCalls],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "calls", "called the host more than")),
    },
    Case {
        name: "R3-calls-of-wasi",
        must_not: "calls of WASI do not count",
        guards: &[Guard::WasiCalls],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| {
            Box::pin(is_refused(
                arena,
                "wasi-describe",
                "called the host more than",
            ))
        },
    },
    Case {
        name: "R4-memory",
        must_not: "one memory grows beyond the limit",
        guards: &[Guard::Memory],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "grow", "bytes of memory")),
    },
    Case {
        name: "R5-memories",
        must_not: "several memories grow beyond the limit together",
        guards: &[Guard::Memory],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(is_refused(arena, "grow-memories", "bytes of memory")),
    },
    Case {
        name: "R6-components-inside",
        must_not: "components inside a component have instances beyond the limit",
        guards: &[],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(components_inside(arena)),
    },
    Case {
        name: "R7-stack",
        must_not: "endless recursion ends more than its own job",
        guards: &[],
        noted: Some(Kind::Crash),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "recurse", "crashed")),
    },
    Case {
        name: "R8-text",
        must_not: "a text of 200 MB is copied out of a guest",
        guards: &[Guard::CopiedBytes],
        noted: Some(Kind::Crash),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "big-list 200", "too much data is being copied")),
    },
    Case {
        name: "R8-headers",
        must_not: "a request has 50 000 headers",
        guards: &[Guard::HandedOver],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| {
            Box::pin(ends(
                arena,
                "headers 50000",
                "more than one request may have",
            ))
        },
    },
    Case {
        name: "R8-details",
        must_not: "what an engine tells of its pictures is a megabyte long",
        guards: &[Guard::Answer],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "big-list 1", "details are longer than")),
    },
    Case {
        name: "R8-body",
        must_not: "a request's body is put together beyond the limit",
        guards: &[Guard::RequestBytes],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(body(arena)),
    },
    Case {
        name: "R8-bodies",
        must_not: "the bodies of one job go on and on",
        guards: &[Guard::SentBytes],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "loads 30", "refused after")),
    },
    Case {
        name: "R8-answers-kept",
        must_not: "answers that an engine keeps fill the memory",
        guards: &[Guard::HeldBytes],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answers_kept(arena)),
    },
    Case {
        name: "R8-answers-taken",
        must_not: "answers that an engine throws away come for ever",
        guards: &[Guard::TakenBytes],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answers_taken(arena)),
    },
    Case {
        name: "R8-event",
        must_not: "one event of a stream has 40 MB",
        guards: &[Guard::EventBytes],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(event(arena)),
    },
    Case {
        name: "R9-handles",
        must_not: "an engine holds handles without end",
        guards: &[Guard::Handles],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "handles", "holds more handles")),
    },
    Case {
        name: "R9-connections",
        must_not: "one job has a thousand requests under way",
        guards: &[Guard::Connections],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(connections(arena)),
    },
    Case {
        name: "R9-requests",
        must_not: "one job begins requests without end",
        guards: &[Guard::Requests],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "denied 11000", "too many requests for one job")),
    },
    Case {
        name: "R10-streams",
        must_not: "an engine has streams and tasks of a later WASI",
        guards: &[],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(is_refused(arena, "stream", "is not a valid component")),
    },
    Case {
        name: "R11-lines",
        must_not: "an engine fills the log with empty lines",
        guards: &[Guard::LogBytes],
        noted: Some(Kind::Limit),
        place: Place::Anywhere,
        attack: |arena| Box::pin(ends(arena, "lines 2000", "written")),
    },
    Case {
        name: "R11-line",
        must_not: "a line of 100 000 bytes reaches the log whole",
        guards: &[Guard::LogLine],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(line(arena)),
    },
    Case {
        name: "R11-refusals",
        must_not: "an engine that is refused without end fills the audit log, or hides what others are refused",
        guards: &[Guard::AuditLines],
        noted: Some(Kind::Grant),
        place: Place::Anywhere,
        attack: |arena| Box::pin(refusals::flood(arena)),
    },
    Case {
        name: "R12-random",
        must_not: "WASI gives random bytes by the megabyte",
        guards: &[Guard::RandomBytes],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(is_refused(arena, "wasi-random-flood", "exceeds limit")),
    },
    Case {
        name: "R13-sleeps",
        must_not: "an engine that sleeps for ever keeps its job",
        guards: &[Guard::WallTime],
        noted: Some(Kind::Limit),
        place: Place::ThrowAway,
        attack: |arena| Box::pin(ends(arena, "sleep", "it took longer than")),
    },
    Case {
        name: "R14-client-goes-away",
        must_not: "the request of a client that went away goes on at the upstream",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(client_goes_away(arena)),
    },
    Case {
        name: "R15-one-user",
        must_not: "one user's jobs take every slot",
        guards: &[Guard::UserShare],
        noted: None,
        place: Place::ThrowAway,
        attack: |arena| Box::pin(one_user(arena)),
    },
    Case {
        name: "R15-crowd",
        must_not: "jobs wait in a line without end",
        guards: &[Guard::Queue],
        noted: Some(Kind::Limit),
        place: Place::ThrowAway,
        attack: |arena| Box::pin(crowd(arena)),
    },
    Case {
        name: "R11-previews",
        must_not: "a preview of nine megabytes reaches a client",
        guards: &[Guard::PreviewBytes],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(previews(arena)),
    },
];

/// The job fails, and the client, or the engine itself, is told this.
async fn ends(arena: &Arena, prompt: &str, gist: &str) -> Result<()> {
    fails(&arena.draw(prompt).await?, gist)
}

fn fails(answer: &Answer, gist: &str) -> Result<()> {
    ensure!(
        !answer.status.is_success() && answer.message().contains(gist),
        "expected {gist:?}: {} {}",
        answer.status,
        answer.message()
    );
    Ok(())
}

/// The component is not admitted, for this reason.
async fn is_refused(arena: &Arena, name: &str, gist: &str) -> Result<()> {
    let component = arena.component(name)?;
    refused(arena, &component, gist).await
}

async fn refused(arena: &Arena, component: &[u8], gist: &str) -> Result<()> {
    let refused = arena.admit(&[("hostile.wasm", component)]).await?;
    let reason = refused.first().map(|(_, reason)| reason.as_str());
    let reason = reason.context("it was admitted")?;
    ensure!(reason.contains(gist), "expected {gist:?}: it {reason}");
    Ok(())
}

async fn spins(arena: &Arena, places: &[&str]) -> Result<()> {
    for place in places {
        let refused = is_refused(arena, &format!("spin-{place}"), "it ran for more than").await;
        refused.with_context(|| format!("in {place}"))?;
    }
    Ok(())
}

async fn beside_others(arena: &Arena) -> Result<()> {
    let spinning = join_all((0..4).map(|_| arena.draw("spin")));
    let drawing = async {
        for _ in 0..10 {
            arena.still_draws().await?;
        }
        anyhow::Ok(())
    };
    tokio::pin!(spinning, drawing);
    tokio::select! {
        _ = &mut spinning => anyhow::bail!("it drew only when the others had ended"),
        drawn = &mut drawing => drawn?,
    }
    for answer in spinning.await {
        fails(&answer?, "stopped")?;
    }
    Ok(())
}

async fn components_inside(arena: &Arena) -> Result<()> {
    // A component with one core instance, and fifty instances of it.
    const INSIDE: &[u8] = b"\0asm\x0d\0\x01\0\x01\x08\0asm\x01\0\0\0\x02\x04\x01\0\0\0";
    let mut component = arena.component("core")?;
    let inside = inside(&component).context("no component")?;
    let made = [0, inside, 0].repeat(50);
    component.extend([4, u8::try_from(INSIDE.len())?]);
    component.extend(INSIDE);
    let length = made.len() + 1;
    component.extend([
        5,
        u8::try_from(length & 0x7f)? | 0x80,
        u8::try_from(length >> 7)?,
        50,
    ]);
    component.extend(made);
    refused(arena, &component, "instances").await
}

/// How many components a component has inside it: what comes next has this number.
fn inside(component: &[u8]) -> Option<u8> {
    let (mut rest, mut count) = (component.get(8..)?, 0);
    while let Some((kind, after)) = rest.split_first() {
        count += u8::from(*kind == 4);
        let (mut size, mut shift, mut bytes) = (0_usize, 0, after);
        loop {
            let (byte, after) = bytes.split_first()?;
            size |= usize::from(byte & 0x7f) << shift;
            (shift, bytes) = (shift + 7, after);
            if *byte < 0x80 {
                break;
            }
        }
        rest = bytes.get(size..)?;
    }
    Some(count)
}

async fn body(arena: &Arena) -> Result<()> {
    let heard = arena.draw("pictures 7").await?;
    ensure!(!heard.status.is_success(), "{}", heard.text());
    let sent = arena.upstream.requests().len();
    ensure!(sent == 0, "it was sent: {}", heard.message());
    Ok(())
}

async fn answers_kept(arena: &Arena) -> Result<()> {
    let megabyte = "x".repeat(1 << 20);
    arena
        .upstream
        .answers(vec![json_answer(&Value::from(megabyte))]);
    ends(arena, "keep 300", "it holds more than").await
}

async fn answers_taken(arena: &Arena) -> Result<()> {
    let long = answer("200 OK", "", vec![b'x'; 60 << 20]);
    arena.upstream.answers(vec![long]);
    ends(arena, "take 30", "it received more than").await
}

async fn event(arena: &Arena) -> Result<()> {
    let event = format!("data: \"{}\"\n\n", "x".repeat(40 << 20));
    let stream = answer("200 OK", "content-type: text/event-stream\r\n", event);
    arena.upstream.answers(vec![stream]);
    let heard = arena.draw("events").await?;
    ensure!(
        !heard.message().starts_with("read "),
        "it was read: {}",
        heard.message()
    );
    Ok(())
}

async fn connections(arena: &Arena) -> Result<()> {
    arena.upstream.answers(vec![Step::Hold]);
    ends(arena, "starts 1000", "too many requests at the same time").await?;
    let connections = arena.upstream.connections();
    ensure!(connections < 100, "there were {connections} connections");
    arena.upstream.left_alone().await;
    Ok(())
}

async fn line(arena: &Arena) -> Result<()> {
    let before = arena.refusals(Kind::Limit).await?;
    ends(arena, "line 100000", "written").await?;
    // Cut, it is far from all that an engine may write; whole, it is more.
    let after = arena.refusals(Kind::Limit).await?;
    ensure!(before == after, "the whole line counted");
    Ok(())
}

async fn client_goes_away(arena: &Arena) -> Result<()> {
    arena.upstream.answers(vec![Step::Hold]);
    let asking = arena.draw("reach api /allowed/slow");
    tokio::select! {
        answer = asking => anyhow::bail!("it was answered: {:?}", answer?.status),
        () = arena.upstream.arrived(1) => {}
    }
    // What asked is dropped, and with it its connection.
    let left = timeout(Duration::from_secs(30), arena.upstream.left_alone());
    left.await.context("the upstream is still asked")
}

/// Another user's picture, while the administrator's jobs wait.
async fn one_user(arena: &Arena) -> Result<()> {
    let user = json!({
        "name": "Modest", "email": "modest@example.org", "password": "a long password", "role": "user",
    });
    arena.post("/api/v1/auths/add", &user).await?;
    let session = arena.post("/api/v1/auths/signin", &user).await?.json()?;
    let key = session.get("token").and_then(Value::as_str);
    let modest = arena.person(key.context("no such user")?)?;
    let body = json!({"prompt": "a quiet hill", "engine": "sketch", "size": "32x32"});
    let body = Bytes::from(body.to_string());
    arena.upstream.answers(vec![Step::Hold]);
    let taking = join_all((0..20).map(|_| arena.draw("wait")));
    let drawing = async {
        // As many as may run do; more would take the other slots too.
        arena.upstream.arrived(8).await;
        for _ in 0..5 {
            let asked = arena.ask(
                &modest,
                Method::POST,
                PATH,
                "application/json",
                body.clone(),
            );
            let drawn = asked.await?;
            ensure!(drawn.status == StatusCode::OK, "{}", drawn.text());
        }
        anyhow::Ok(())
    };
    tokio::pin!(taking, drawing);
    tokio::select! {
        _ = &mut taking => anyhow::bail!("another user drew nothing before the jobs had ended"),
        drawn = &mut drawing => drawn?,
    }
    taking.await;
    Ok(())
}

async fn crowd(arena: &Arena) -> Result<()> {
    arena.upstream.answers(vec![Step::Hold]);
    let answers = join_all((0..CROWD).map(|_| arena.draw("wait"))).await;
    let (mut told, mut others) = (0, 0);
    for answer in answers {
        match answer?.status {
            StatusCode::TOO_MANY_REQUESTS => told += 1,
            StatusCode::GATEWAY_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => others += 1,
            status => anyhow::bail!("a job in the crowd was answered with {status}"),
        }
    }
    ensure!(others <= MAX_TAKEN, "{others} jobs ran or waited");
    ensure!(told > 0, "nobody was told to come later");
    Ok(())
}

async fn previews(arena: &Arena) -> Result<()> {
    let body = json!({"prompt": "show 9", "stream": true, "partial_images": 3});
    let answer = arena.draw_with(body).await?;
    let length = answer.body.len();
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    ensure!(length < 1 << 20, "the client was sent {length} bytes");
    Ok(())
}
