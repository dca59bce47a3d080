//! Secrets that an upstream reflects: tries to read them and to leak them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pinhole_sdk::upstream::{self, Frame, Message};
use pinhole_sdk::{Error, Image, Model, Output, Progress, Request, Response, Settings, job, log};

use crate::{load_pixel, outcome, output};

/// More than any body holds.
const READ_LIMIT_BYTES: u32 = 1 << 20;
/// Small enough that no piece holds a whole secret.
const PIECE_BYTES: u32 = 5;
const RECEIVE_TIMEOUT_MS: u32 = 60_000;

/// Runs a prompt about secrets, with the upstream `api`.
///
/// | prompt | behavior |
/// |---|---|
/// | `see HOW` | reads `/allowed/echo` and reports it reversed, so that redaction does not recognize a secret: `headers`, `json`, `text`, the text at `/echo` (`at`), the first `event`, the `picture` in small pieces |
/// | `see frame`, `see message` | the same with a WebSocket message: JSON, or bytes in small pieces |
/// | `join WHERE` | joins the texts of the list at `/allowed/pieces` and leaks the result: as the error's `message`, `code` or `field`, in the `log`, as a progress `note`, with an image as `details` or `prompt` |
/// | `leave TEXT` | stores the text in its memory |
/// | `find` | reports what an earlier job stored there |
/// | `twice` | sends a GET to `/allowed/first` and one to `/allowed/second`, and returns an image |
pub(crate) fn run(action: &str, rest: &str) -> Option<Result<Output, Error>> {
    Some(match action {
        "see" => read_reflection(rest)
            .and_then(|text| Err(outcome(text.chars().rev().collect::<String>()))),
        "join" => join_pieces("/allowed/pieces").and_then(|text| leak(rest, text)),
        "twice" => send_twice(),
        "leave" => {
            *memory() = rest.to_owned();
            Err(outcome("left"))
        }
        "find" => Err(outcome(match memory().as_str() {
            "" => "nothing",
            text => text,
        })),
        _ => return None,
    })
}

/// Memory that would survive a job if the host reused an instance.
fn memory() -> MutexGuard<'static, String> {
    static MEMORY: Mutex<String> = Mutex::new(String::new());
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_reflection(how: &str) -> Result<String, Error> {
    if matches!(how, "frame" | "message") {
        return receive_reflection();
    }
    let Response(response) = Request::get("api", "/allowed/echo").send()?;
    Ok(match how {
        "headers" => {
            let headers = response.headers().into_iter();
            let lines = headers.map(|header| format!("{}: {}\n", header.name, header.value));
            lines.collect()
        }
        "json" => response.document()?.json(READ_LIMIT_BYTES)?,
        "at" => response.document()?.text_at("/echo", READ_LIMIT_BYTES)?,
        "event" => match response.next_event()? {
            Some(event) => event.json(READ_LIMIT_BYTES)?,
            None => "nothing".to_owned(),
        },
        "picture" => read_image(&response.image()?),
        _ => response.text(READ_LIMIT_BYTES)?,
    })
}

fn receive_reflection() -> Result<String, Error> {
    let socket = upstream::connect("api", "/allowed/socket")?;
    Ok(match socket.receive(RECEIVE_TIMEOUT_MS)? {
        Some(Frame::Text(document)) => document.json(READ_LIMIT_BYTES)?,
        Some(Frame::Binary(message)) => read_message(&message),
        None => "nothing".to_owned(),
    })
}

fn read_image(image: &Image) -> String {
    read_pieces(image.length(), |offset| image.read(offset, PIECE_BYTES))
}

fn read_message(message: &Message) -> String {
    read_pieces(message.length(), |offset| message.read(offset, PIECE_BYTES))
}

/// The visible ASCII bytes.
fn read_pieces(length: u64, read: impl Fn(u64) -> Vec<u8>) -> String {
    let offsets = (0..length).step_by(PIECE_BYTES as usize);
    let bytes = offsets.flat_map(read);
    let visible = bytes.filter(u8::is_ascii_graphic);
    visible.map(char::from).collect()
}

fn join_pieces(path: &str) -> Result<String, Error> {
    let pieces: Vec<String> = Request::get("api", path).send()?.json()?;
    Ok(pieces.concat())
}

fn leak(place: &str, text: String) -> Result<Output, Error> {
    let mut leaked = output(vec![load_pixel()?]);
    match place {
        "message" => return Err(outcome(text)),
        "code" => {
            return Err(Error {
                code: Some(text),
                ..outcome("see the code")
            });
        }
        "field" => {
            return Err(Error {
                field: Some(text),
                ..outcome("see the field")
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
            // Progress of a finished job is dropped.
            job::sleep(1_000);
        }
        "details" => leaked.details = serde_json::json!({ "seen": text }).to_string(),
        "prompt" => leaked.revised_prompt = Some(text),
        "warning" => leaked.warnings = vec![text],
        other => return Err(Error::invalid("prompt", format!("hostile has no {other}"))),
    }
    Ok(leaked)
}

fn send_twice() -> Result<Output, Error> {
    Request::get("api", "/allowed/first").send()?;
    Request::get("api", "/allowed/second").send()?;
    Ok(output(vec![load_pixel()?]))
}

/// If the setting `note` is `models`: one model, named by the pieces at `/allowed/models`.
pub(crate) fn models(settings: &Settings) -> Result<Vec<Model>, Error> {
    if settings.text("note").as_deref() != Some("models") {
        return Ok(Vec::new());
    }
    let name = join_pieces("/allowed/models")?;
    Ok(vec![Model::new(name.clone(), name)])
}
