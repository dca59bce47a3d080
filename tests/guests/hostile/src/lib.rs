//! `hostile`: an engine that misbehaves, for the sandbox's tests.
//!
//! The first word of the prompt selects a behavior:
//!
//! | prompt | behavior |
//! |---|---|
//! | `spin` | reports progress, then computes endlessly |
//! | `grow` | allocates memory until it is refused; reports how much it got |
//! | `trap` | panics with a message |
//! | `recurse` | calls itself endlessly |
//! | `sleep` | sleeps endlessly and ignores cancellation |
//! | `log` | writes 4 KB log lines endlessly |
//! | `calls` | calls a host function endlessly |
//! | `handles` | creates images and drops none until it is refused; reports how many it got |
//! | `big-list MB` | returns details of that many megabytes (200 by default) |
//! | `many` | returns one image more than requested |
//! | `none` | returns no image |
//! | `text` | creates an image from plain text |
//! | `picture` | returns a valid image of one pixel |
//! | `ask` | the same, after a GET to `/allowed/x` of `api` |
//! | `order` | the same, after a POST to `/orders` of `api` that succeeded |
//! | `reach NAME PATH` | sends a GET to that path of that upstream |
//! | `send METHOD NAME PATH` | the same with another method |
//! | `requests` | sends GETs to `/allowed/x` of `api` until one is refused; reports how many succeeded |
//! | `json TEXT` | sends a POST to `/orders` of `api` with the text as its JSON body |
//! | `follow METHOD` | sends a request to the first of the `urls` that `api` returns at `/allowed/result` |
//! | `header NAME VALUE` | sends a GET to `/allowed/x` of `api` with that header |
//! | `body KIND` | sends a POST to `/orders` with a body: `urlencoded`, `image`, `data-url`, or `raw MEDIA-TYPE` |
//! | `remember BYTES` | stores a text of this length with the job |
//! | `connect NAME PATH` | opens a WebSocket there |
//! | `wait` | waits for `/allowed/slow` of `api` until cancelled, then sends a GET to `/allowed/stopped` |
//! | `unaware` | starts GETs to `/allowed/slow` of `api`, and waits for none, until one is refused; then as `wait` |
//! | `settings` | reports the settings that it received |
//! | `say TEXT` | writes the text to the log, and reports it |
//!
//! More behaviors: `flood.rs` (too much of one thing, such as `headers 1000`), `secrets.rs` (such
//! as `see headers`) and `upstream_images.rs`.
//!
//! The engine reports in an error's message: with the host's own error, or with kind `upstream` and
//! what it received (`status 200`, `connected`).

mod description;
mod flood;
mod secrets;
mod upstream_images;

use std::hint::black_box;

use pinhole_sdk::upstream::{Body, Part};
use pinhole_sdk::{
    Abilities, Credential, Description, Engine, Error, ErrorKind, Image, Job, Model, Output,
    Progress, Request, Setting, SettingKind, Settings, Upstream, images, job, log, upstream,
};

const PIXEL: &[u8] = include_bytes!("../../pixel.png");
const CHUNK_BYTES: usize = 1024 * 1024;

struct Hostile;

impl Engine for Hostile {
    fn describe() -> Description {
        description::apply_mark(Description {
            name: "hostile".into(),
            title: "Hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities {
                cancel: true,
                max_count: 4,
                ..Abilities::default()
            },
            settings: declare_settings(),
            upstreams: vec![Upstream {
                name: "api".into(),
                base_url: "base-url".into(),
                credentials: vec![Credential::Bearer("api-key".into())],
                requests: vec!["GET /allowed/".into(), "POST /orders".into()],
                hosts: vec!["localhost".into()],
                ..Upstream::default()
            }],
            parameters: Vec::new(),
            other_parameters: true,
        })
    }

    fn generate(job: Job, settings: Settings) -> Result<Output, Error> {
        let (action, rest) = split_word(&job.prompt);
        run(action, rest, &job, &settings)
            .or_else(|| flood::run(action, rest))
            .or_else(|| secrets::run(action, rest))
            .or_else(|| upstream_images::run(action, rest))
            .unwrap_or_else(|| {
                let message = format!("hostile has no behavior {action:?}");
                Err(Error::invalid("prompt", message))
            })
    }

    fn models(settings: Settings) -> Result<Vec<Model>, Error> {
        secrets::models(&settings)
    }
}

pinhole_sdk::export!(Hostile);

fn declare_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            "base-url",
            SettingKind::Url,
            "Base URL",
            "URL of the test's upstream.",
        )
        .with_variables(&["HOSTILE_BASE_URL"], &[]),
        Setting::new(
            "api-key",
            SettingKind::Secret,
            "Key",
            "The engine must never see it.",
        )
        .with_variables(&["HOSTILE_API_KEY"], &[]),
        Setting::new("note", SettingKind::Text, "Note", "The engine may see it.")
            .with_variables(&["HOSTILE_NOTE"], &[]),
    ]
}

fn run(action: &str, rest: &str, job: &Job, settings: &Settings) -> Option<Result<Output, Error>> {
    Some(match action {
        "spin" => spin(),
        "grow" => grow(),
        "trap" => panic!("the hostile engine panics as requested"),
        "recurse" => Err(outcome(format!("returned {}", recurse(1)))),
        "sleep" => loop {
            job::sleep(1_000);
        },
        "log" => flood_log(),
        "calls" => loop {
            black_box(job::random());
        },
        "handles" => exhaust_handles(),
        "big-list" => return_large_details(rest.parse().unwrap_or(200)),
        "many" => return_pixels(job.count + 1),
        "none" => Ok(output(Vec::new())),
        "text" => load_image(b"plain text").map(|image| output(vec![image])),
        "picture" if rest == "trap" && description::marked_variant() == "faulty" => {
            panic!("this version of the hostile engine panics as requested")
        }
        "picture" => return_pixels(job.count),
        "ask" => Request::get("api", "/allowed/x")
            .send()
            .and_then(|_| return_pixels(1)),
        "order" => order(),
        "reach" => reach("GET", rest),
        "send" => {
            let (method, target) = split_word(rest);
            reach(method, target)
        }
        "requests" => exhaust_requests(),
        "header" => {
            let (name, value) = split_word(rest);
            send_and_report(Request::get("api", "/allowed/x").header(name, value))
        }
        "json" => send_json(rest),
        "follow" => follow(rest),
        "body" => send_body(rest),
        "remember" => remember(rest),
        "connect" => connect(rest),
        "wait" => wait_until_cancelled(),
        "unaware" => start_until_cancelled(),
        "settings" => Err(outcome(settings_json(settings))),
        "say" => {
            log::write(log::Level::Info, rest);
            Err(outcome(rest))
        }
        _ => return None,
    })
}

fn send_body(kind: &str) -> Result<Output, Error> {
    let image = load_pixel()?;
    let (name, media_type) = split_word(kind);
    let body = match name {
        "image" => {
            let request = Request::post("api", "/orders").image(&image);
            return send_and_report(request);
        }
        "urlencoded" => {
            let fields = [("prompt", "a fox & a hen"), ("n", "1"), ("é", "")];
            return send_and_report(Request::post("api", "/orders").urlencoded(&fields));
        }
        "data-url" => {
            let request = Request::post("api", "/orders");
            let body = serde_json::json!({"image": null});
            return send_and_report(request.json_with_data_urls(&body, &[("/image", &image)])?);
        }
        _ => upstream::Body::Raw((media_type.into(), vec![upstream::Part::Text("x".into())])),
    };
    let response = upstream::send(&upstream::Request {
        upstream: "api".into(),
        method: "POST".into(),
        path: "/orders".into(),
        headers: Vec::new(),
        body,
    })?;
    Err(outcome(format!("status {}", response.status())))
}

fn remember(bytes: &str) -> Result<Output, Error> {
    let before = job::remembered();
    let text = "x".repeat(bytes.parse().unwrap_or(1));
    let stored = job::remember(&text);
    Err(outcome(format!("{before:?} {stored:?}")))
}

/// Splits at the first space.
fn split_word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// An error that reports what happened.
fn outcome(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Upstream, message)
}

fn output(images: Vec<Image>) -> Output {
    Output::new(images)
}

fn load_pixel() -> Result<Image, Error> {
    load_image(PIXEL)
}

fn load_image(bytes: &[u8]) -> Result<Image, Error> {
    images::from_bytes(bytes).map_err(Error::protocol)
}

fn return_pixels(count: u32) -> Result<Output, Error> {
    let pixels: Result<_, Error> = (0..count).map(|_| load_pixel()).collect();
    pixels.map(output)
}

fn spin() -> ! {
    let started = Progress {
        fraction: None,
        queue_position: None,
        note: Some("spinning".into()),
    };
    job::report(&started, None::<&Image>);
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() -> Result<Output, Error> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut chunk = Vec::new();
        if chunk.try_reserve_exact(CHUNK_BYTES).is_err() {
            let message = format!("refused after {} MiB", chunks.len());
            return Err(Error::new(ErrorKind::OutOfMemory, message));
        }
        // A write forces the host to provide the memory.
        chunk.resize(CHUNK_BYTES, 1);
        chunks.push(black_box(chunk));
    }
}

/// Uses the array after the inner call, so that the compiler cannot turn the recursion into a loop.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if black_box(depth) == 0 {
        return 0;
    }
    recurse(depth + 1) + frame.iter().sum::<u64>()
}

fn flood_log() -> ! {
    let line = "hostile ".repeat(512);
    loop {
        log::write(log::Level::Info, &line);
    }
}

fn return_large_details(megabytes: usize) -> Result<Output, Error> {
    let length = megabytes * CHUNK_BYTES;
    // One allocation, so that the guest's memory holds the text only once.
    let mut details = String::with_capacity(length + 16);
    details.push_str(r#"{"filler":""#);
    details.extend(std::iter::repeat_n('x', length));
    details.push_str(r#""}"#);
    Ok(Output {
        details,
        ..output(vec![load_pixel()?])
    })
}

fn exhaust_handles() -> Result<Output, Error> {
    let mut images: Vec<Image> = Vec::new();
    loop {
        match images::from_bytes(PIXEL) {
            Ok(image) => images.push(image),
            Err(error) => {
                let count = images.len();
                return Err(outcome(format!("refused after {count}: {error}")));
            }
        }
    }
}

fn exhaust_requests() -> Result<Output, Error> {
    let mut sent = 0;
    loop {
        if let Err(error) = Request::get("api", "/allowed/x").send() {
            return Err(outcome(format!("refused after {sent}: {}", error.message)));
        }
        sent += 1;
    }
}

fn order() -> Result<Output, Error> {
    let request = Request::post("api", "/orders").json(&serde_json::json!({"order": "a fox"}))?;
    request.send()?.success()?;
    return_pixels(1)
}

fn reach(method: &str, target: &str) -> Result<Output, Error> {
    let (upstream, path) = split_word(target);
    send_and_report(Request::new(method, upstream, path))
}

fn send_json(text: &str) -> Result<Output, Error> {
    let request = upstream::Request {
        upstream: "api".into(),
        method: "POST".into(),
        path: "/orders".into(),
        headers: Vec::new(),
        body: Body::Json(vec![Part::Text(text.into())]),
    };
    let response = upstream::send(&request)?;
    Err(outcome(format!("status {}", response.status())))
}

fn follow(method: &str) -> Result<Output, Error> {
    let document = Request::get("api", "/allowed/result").send()?.document()?;
    let response = document.follow("/urls/0", method, &[], &Body::None)?;
    Err(outcome(format!("status {}", response.status())))
}

fn connect(target: &str) -> Result<Output, Error> {
    let (upstream, path) = split_word(target);
    let _socket = upstream::connect(upstream, path)?;
    Err(outcome("connected"))
}

/// Reports the response's status, or the host's error.
fn send_and_report(request: Request<'_>) -> Result<Output, Error> {
    let response = request.send()?;
    Err(outcome(format!("status {}", response.0.status())))
}

fn wait_until_cancelled() -> Result<Output, Error> {
    let pending = Request::get("api", "/allowed/slow").start()?;
    let result = loop {
        if let Some(result) = pending.wait(1_000) {
            break result;
        }
    };
    let error = match result {
        Ok(response) => return Err(outcome(format!("status {}", response.status()))),
        Err(error) => Error::from(error),
    };
    stop_after_cancel(error)
}

fn start_until_cancelled() -> Result<Output, Error> {
    loop {
        if let Err(error) = Request::get("api", "/allowed/slow").start() {
            return stop_after_cancel(error);
        }
        // Dropped requests are aborted: about a millisecond lets some of them arrive.
        for turn in 0..1_000_000_u32 {
            black_box(turn);
        }
    }
}

fn stop_after_cancel(error: Error) -> Result<Output, Error> {
    if error.kind != ErrorKind::Cancelled {
        return Err(error);
    }
    // After a cancellation the host allows requests for a short time, to stop the upstream's work.
    let stop = match Request::get("api", "/allowed/stopped").send() {
        Ok(response) => format!("status {}", response.0.status()),
        Err(refused) => refused.message,
    };
    let message = format!("cancelled; the stop request returned: {stop}");
    Err(Error::new(ErrorKind::Cancelled, message))
}

/// The declared settings as JSON, and all received settings as `all`.
fn settings_json(settings: &Settings) -> String {
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
    fn split_word_preserves_rest_of_prompt() {
        assert_eq!(split_word("spin"), ("spin", ""));
        assert_eq!(
            split_word("header x  two words "),
            ("header", "x  two words ")
        );
    }

    #[test]
    fn describe_declares_only_upstream_api() {
        let description = Hostile::describe();
        let names: Vec<&str> = description
            .upstreams
            .iter()
            .map(|upstream| upstream.name.as_str())
            .collect();
        assert_eq!(names, ["api"]);
    }
}
