//! Secrets that an upstream repeats: looked for everywhere, and told to everybody.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pinhole_sdk::bindings::pinhole::engine::upstream::{Frame, Message};
use pinhole_sdk::{
    Answer, Error, Image, Model, Output, Picture, Progress, Request, Settings, job, log, request,
};

use crate::{output, pixel, said};

/// Far more than there is to read.
const ALL: u32 = 1 << 20;
/// Bytes that are read at a time, so that no piece holds a whole secret.
const PIECE: u32 = 5;
/// How long a message is waited for, in milliseconds.
const PATIENCE_MS: u32 = 60_000;

/// What the prompt says, of the upstream `api`.
///
/// | prompt | what it does |
/// |---|---|
/// | `see HOW` | reads `/allowed/echo` and says it backwards, so that nobody finds a secret in it: its `headers`, `json`, `text`, the text at `/echo` (`at`), its first `event`, its `picture` in small pieces |
/// | `see frame`, `see message` | the same with what comes over a WebSocket: JSON, or bytes in small pieces |
/// | `join WHERE` | puts the texts of the list at `/allowed/pieces` together and tells them: as the error's `message`, `code` or `field`, in the `log`, as a `note` of its progress, with a picture as `details` or `prompt`, as its `address` |
/// | `leave TEXT` | keeps the text in its memory |
/// | `find` | says what a job before this one has left there |
/// | `twice` | sends a GET to `/allowed/first` and one to `/allowed/second`, and returns a good picture |
pub(crate) fn echo(what: &str, rest: &str) -> Option<Result<Output, Error>> {
    Some(match what {
        "see" => see(rest).and_then(|seen| Err(said(seen.chars().rev().collect::<String>()))),
        "join" => joined("/allowed/pieces").and_then(|text| tell(rest, text)),
        "twice" => twice(),
        "leave" => {
            *left() = rest.to_owned();
            Err(said("left"))
        }
        "find" => Err(said(match left().as_str() {
            "" => "nothing",
            found => found,
        })),
        _ => return None,
    })
}

/// What a job has left for the next.
fn left() -> MutexGuard<'static, String> {
    static LEFT: Mutex<String> = Mutex::new(String::new());
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn see(how: &str) -> Result<String, Error> {
    match how {
        "frame" | "message" => return hear(),
        _ => {}
    }
    let Answer(response) = Request::get("api", "/allowed/echo").send()?;
    Ok(match how {
        "headers" => {
            let headers = response.headers().into_iter();
            let lines = headers.map(|header| format!("{}: {}\n", header.name, header.value));
            lines.collect()
        }
        "json" => response.document()?.json(ALL)?,
        "at" => response.document()?.text_at("/echo", ALL)?,
        "event" => match response.next_event()? {
            Some(event) => event.json(ALL)?,
            None => "nothing".to_owned(),
        },
        "picture" => in_pieces(&response.image()?),
        _ => response.text(ALL)?,
    })
}

fn hear() -> Result<String, Error> {
    let socket = request::connect("api", "/allowed/socket")?;
    Ok(match socket.receive(PATIENCE_MS)? {
        Some(Frame::Text(document)) => document.json(ALL)?,
        Some(Frame::Binary(message)) => message_in_pieces(&message),
        None => "nothing".to_owned(),
    })
}

fn in_pieces(image: &Image) -> String {
    let starts = (0..image.length()).step_by(PIECE as usize);
    let bytes: Vec<u8> = starts.flat_map(|at| image.read(at, PIECE)).collect();
    visible(&bytes)
}

fn message_in_pieces(message: &Message) -> String {
    let starts = (0..message.length()).step_by(PIECE as usize);
    let bytes: Vec<u8> = starts.flat_map(|at| message.read(at, PIECE)).collect();
    visible(&bytes)
}

/// The bytes that are visible ASCII.
fn visible(bytes: &[u8]) -> String {
    let visible = bytes.iter().filter(|byte| byte.is_ascii_graphic());
    visible.map(|byte| char::from(*byte)).collect()
}

fn joined(path: &str) -> Result<String, Error> {
    let pieces: Vec<String> = Request::get("api", path).send()?.json()?;
    Ok(pieces.concat())
}

fn tell(place: &str, text: String) -> Result<Output, Error> {
    let mut drawn = output(vec![pixel()?]);
    match place {
        "message" => return Err(said(text)),
        "code" => {
            return Err(Error {
                code: Some(text),
                ..said("see the code")
            });
        }
        "field" => {
            return Err(Error {
                field: Some(text),
                ..said("see the field")
            });
        }
        "log" => log::write(log::Level::Info, &text),
        "note" => {
            let progress = Progress {
                fraction: None,
                queue_position: None,
                note: Some(text),
            };
            job::report(&progress, None::<&Image>);
            // What is told when a job is over already, nobody is told.
            job::sleep(1_000);
        }
        "details" => drawn.details = serde_json::json!({ "seen": text }).to_string(),
        "prompt" => drawn.revised_prompt = Some(text),
        "address" => drawn.pictures = vec![Picture::Address(text)],
        other => return Err(Error::invalid("prompt", format!("hostile has no {other}"))),
    }
    Ok(drawn)
}

fn twice() -> Result<Output, Error> {
    Request::get("api", "/allowed/first").send()?;
    Request::get("api", "/allowed/second").send()?;
    Ok(output(vec![pixel()?]))
}

/// A model whose name is what the upstream gives in pieces at `/allowed/models`, where the setting
/// `note` is `models`.
pub(crate) fn models(settings: &Settings) -> Result<Vec<Model>, Error> {
    if settings.text("note").as_deref() != Some("models") {
        return Ok(Vec::new());
    }
    let name = joined("/allowed/models")?;
    Ok(vec![Model {
        id: name.clone(),
        name,
    }])
}
