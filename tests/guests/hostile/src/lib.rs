//! `hostile`: an engine that misbehaves, for the tests of the sandbox.
//!
//! The first word of the prompt says how:
//!
//! | prompt | what it does |
//! |---|---|
//! | `spin` | reports that it begins, then computes for ever |
//! | `grow` | takes memory until it is refused; says how much it got |
//! | `trap` | panics, with a message |
//! | `recurse` | calls itself without end |
//! | `sleep` | waits for ever and does not listen when told to stop |
//! | `log` | writes 4 KB lines to the log for ever |
//! | `calls` | calls a host function for ever |
//! | `handles` | takes images without giving one back, until it is refused; says how many it got |
//! | `big-list MB` | returns details of so many megabytes; 200 without a number |
//! | `many` | returns one picture more than asked for |
//! | `none` | returns no picture |
//! | `text` | passes words off as an image |
//! | `picture` | returns a good picture, of one pixel |
//! | `ask` | the same, after a GET to `/allowed/x` of `api` |
//! | `address URL` | returns an address in place of a picture |
//! | `reach NAME PATH` | sends a GET to that path of that upstream |
//! | `send METHOD NAME PATH` | the same with another method |
//! | `requests` | sends GETs to `/allowed/x` of `api` until one is refused; says how many were not |
//! | `header NAME VALUE` | sends a GET to `/allowed/x` of `api` with that header |
//! | `connect NAME PATH` | opens a WebSocket there |
//! | `wait` | waits for `/allowed/slow` of `api` until cancelled, then sends a GET to `/allowed/stopped` |
//! | `settings` | says which settings it sees |
//! | `say TEXT` | writes the text to the log, and says it |
//!
//! What `flood.rs` knows besides is too much of one thing each, such as `headers 1000`, and what
//! `echo.rs` knows is about secrets, such as `see headers`; `pictures.rs` returns what an upstream gives.
//!
//! What it says comes as the error's message: what the host refused with, or else, with kind
//! `upstream`, what it was given (`status 200`, `connected`).

mod describe;
mod echo;
mod flood;
mod pictures;

use std::hint::black_box;

use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Image, Job, Model, Output,
    Picture, Progress, Request, Setting, SettingKind, Settings, Upstream, images, job, log,
    request,
};

const PIXEL: &[u8] = include_bytes!("../../pixel.png");
/// Bytes that are taken at a time.
const CHUNK: usize = 1024 * 1024;

struct Hostile;

impl Engine for Hostile {
    fn describe() -> Description {
        describe::as_marked(Description {
            name: "hostile".into(),
            title: "Hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                cancel: true,
                max_count: 4,
                ..Abilities::default()
            },
            settings: vec![
                Setting::new(
                    "base-url",
                    SettingKind::Url,
                    "Base URL",
                    "Where a test's upstream listens.",
                )
                .with_variables(&["HOSTILE_BASE_URL"], &[]),
                Setting::new(
                    "api-key",
                    SettingKind::Secret,
                    "Key",
                    "What the engine must never see.",
                )
                .with_variables(&["HOSTILE_API_KEY"], &[]),
                Setting::new(
                    "note",
                    SettingKind::Text,
                    "Note",
                    "What the engine may see.",
                )
                .with_variables(&["HOSTILE_NOTE"], &[]),
            ],
            upstreams: vec![Upstream {
                name: "api".into(),
                base_url: "base-url".into(),
                credential: Credential::Bearer("api-key".into()),
                requests: vec!["GET /allowed/".into()],
            }],
        })
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let (what, rest) = words(&job.prompt);
        match what {
            "spin" => spin(),
            "grow" => grow(),
            "trap" => panic!("the hostile engine panics, as it was asked to"),
            "recurse" => Err(said(format!("came back with {}", recurse(1)))),
            "sleep" => loop {
                job::sleep(1_000);
            },
            "log" => flood_the_log(),
            "calls" => loop {
                black_box(job::random());
            },
            "handles" => handles(),
            "big-list" => Ok(Output {
                details: filler(rest.parse().unwrap_or(200)),
                ..output(vec![pixel()?])
            }),
            "many" => (0..=job.count)
                .map(|_| pixel())
                .collect::<Result<_, _>>()
                .map(output),
            "none" => Ok(output(Vec::new())),
            "text" => Ok(output(vec![picture(b"words, and no image at all")?])),
            "picture" => (0..job.count)
                .map(|_| pixel())
                .collect::<Result<_, _>>()
                .map(output),
            "ask" => {
                Request::get("api", "/allowed/x").send()?;
                Ok(output(vec![pixel()?]))
            }
            "address" => Ok(output(vec![Picture::Address(rest.into())])),
            "reach" => reach("GET", rest),
            "send" => {
                let (method, rest) = words(rest);
                reach(method, rest)
            }
            "requests" => requests(),
            "header" => {
                let (name, value) = words(rest);
                tell(Request::get("api", "/allowed/x").header(name, value))
            }
            "connect" => {
                let (upstream, path) = words(rest);
                let _socket = request::connect(upstream, path)?;
                Err(said("connected"))
            }
            "wait" => wait(),
            "settings" => Err(said(seen(&settings))),
            "say" => {
                log::write(log::Level::Info, rest);
                Err(said(rest))
            }
            other => flood::flood(other, rest)
                .or_else(|| echo::echo(other, rest))
                .or_else(|| pictures::pictures(other))
                .unwrap_or_else(|| {
                    let message = format!("hostile cannot {other:?}");
                    Err(Error::invalid("prompt", message))
                }),
        }
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        echo::models(&settings)
    }
}

pinhole_sdk::export!(Hostile);

/// The first word, and all that follows the space after it.
fn words(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn said(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Upstream, message)
}

fn output(pictures: Vec<Picture>) -> Output {
    Output {
        pictures,
        revised_prompt: None,
        details: "{}".into(),
    }
}

fn pixel() -> Result<Picture, Error> {
    picture(PIXEL)
}

fn picture(bytes: &[u8]) -> Result<Picture, Error> {
    let image = images::from_bytes(bytes).map_err(Error::protocol)?;
    Ok(Picture::Held(image))
}

fn spin() -> ! {
    let begun = Progress {
        fraction: None,
        queue_position: None,
        note: Some("spinning".into()),
    };
    job::report(&begun, None::<&Image>);
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() -> Result<Output, Error> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(CHUNK).is_err() {
            let got = format!("refused after {} MiB", held.len());
            return Err(Error::new(ErrorKind::OutOfMemory, got));
        }
        // Written to, so that the host must really give it.
        chunk.resize(CHUNK, 1);
        held.push(black_box(chunk));
    }
}

/// Never small enough to end, and never a loop in disguise: each turn keeps an array alive.
fn recurse(depth: u64) -> u64 {
    let kept = black_box([depth; 16]);
    if black_box(depth) == 0 {
        return 0;
    }
    recurse(depth + 1) + kept.iter().sum::<u64>()
}

fn flood_the_log() -> ! {
    let line = "hostile ".repeat(512);
    loop {
        log::write(log::Level::Info, &line);
    }
}

/// A JSON object of so many megabytes, in memory once.
fn filler(megabytes: usize) -> String {
    let length = megabytes * CHUNK;
    let mut json = String::with_capacity(length + 16);
    json.push_str(r#"{"filler":""#);
    json.extend(std::iter::repeat_n('x', length));
    json.push_str(r#""}"#);
    json
}

fn handles() -> Result<Output, Error> {
    let mut held: Vec<Image> = Vec::new();
    loop {
        match images::from_bytes(PIXEL) {
            Ok(image) => held.push(image),
            Err(error) => return Err(said(format!("refused after {}: {error}", held.len()))),
        }
    }
}

fn requests() -> Result<Output, Error> {
    let mut sent = 0;
    loop {
        if let Err(error) = Request::get("api", "/allowed/x").send() {
            return Err(said(format!("refused after {sent}: {}", error.message)));
        }
        sent += 1;
    }
}

fn reach(method: &str, rest: &str) -> Result<Output, Error> {
    let (upstream, path) = words(rest);
    tell(Request::new(method, upstream, path))
}

/// Sends the request; says the status, or fails with what the host refused with.
fn tell(request: Request<'_>) -> Result<Output, Error> {
    let answer = request.send()?;
    Err(said(format!("status {}", answer.0.status())))
}

fn wait() -> Result<Output, Error> {
    let pending = Request::get("api", "/allowed/slow").start()?;
    let answer = loop {
        if let Some(answer) = pending.wait(1_000) {
            break answer;
        }
    };
    let error = match answer {
        Ok(answer) => return Err(said(format!("status {}", answer.status()))),
        Err(error) => Error::from(error),
    };
    if error.kind != ErrorKind::Cancelled {
        return Err(error);
    }
    // What an engine does here is tell its upstream to stop: the host lets it, for a short while.
    let stopped = match Request::get("api", "/allowed/stopped").send() {
        Ok(answer) => format!("status {}", answer.0.status()),
        Err(error) => error.message,
    };
    let message = format!("cancelled; telling the upstream gave: {stopped}");
    Err(Error::new(ErrorKind::Cancelled, message))
}

/// The known settings as JSON, and everything that came as `all`.
fn seen(settings: &Settings) -> String {
    serde_json::json!({
        "base-url": settings.text("base-url"),
        "api-key": settings.text("api-key"),
        "note": settings.text("note"),
        "all": format!("{settings:?}"),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_prompt_is_kept_as_it_is() {
        assert_eq!(words("spin"), ("spin", ""));
        assert_eq!(words("header x  two words "), ("header", "x  two words "));
    }

    #[test]
    fn only_the_granted_upstream_is_described() {
        let description = Hostile::describe();
        let names: Vec<&str> = description
            .upstreams
            .iter()
            .map(|upstream| upstream.name.as_str())
            .collect();
        assert_eq!(names, ["api"]);
    }
}
