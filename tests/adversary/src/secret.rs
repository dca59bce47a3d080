//! S: what an engine, an upstream or a person may not learn.

mod echo;
mod shown;
mod told;

use anyhow::{Result, ensure};
use serde_json::json;

use super::arena::{Arena, SECRET};
use super::upstream::{Step, answer, json};
use super::{Case, Place};
use pinhole_ground::audit::Kind;
use pinhole_ground::guard::Guard;

/// What stands around a secret in an answer, and has to stay.
const AROUND: (&str, &str) = ("(before)", "(after)");
/// So many characters of a secret in a row are too many, as they are and in another spelling.
const MAX_PLAIN: usize = 7;
const MAX_SPELLED: usize = 23;
/// Letters of a piece that nobody recognises.
const PIECE: usize = 5;

/// Carried out by the engine `hostile`.
macro_rules! hostile {
    ($name:literal, $guards:expr, $noted:expr, $attack:path $(, $how:expr)*; $must_not:literal) => {
        Case {
            name: $name,
            must_not: $must_not,
            guards: $guards,
            noted: $noted,
            place: Place::Anywhere,
            attack: |arena| Box::pin($attack(arena $(, $how)*)),
        }
    };
}

/// The same, of a server that is set up for it.
macro_rules! alone {
    ($name:literal, $guards:expr, $noted:expr, $attack:path; $must_not:literal) => {
        Case {
            place: Place::ThrowAway,
            ..hostile!($name, $guards, $noted, $attack; $must_not)
        }
    };
}

const ECHO: Option<Kind> = Some(Kind::Secret);

pub(super) const CASES: &[Case] = &[
    hostile!("S1-handed-over", &[], None, shown::handed_over;
        "an engine is handed the key with its settings"),
    hostile!("S2-plain", &[Guard::SecretPlain], ECHO, echo::spelled, "plain";
        "an engine reads the key in an answer that repeats it"),
    hostile!("S2-json-escapes", &[Guard::SecretEscapes], ECHO, echo::spelled, "escapes";
        "an engine reads the key as JSON escapes"),
    hostile!("S2-percent", &[Guard::SecretPercent], ECHO, echo::spelled, "percent";
        "an engine reads the key percent-encoded"),
    hostile!("S2-base64", &[Guard::SecretBase64], ECHO, echo::spelled, "base64";
        "an engine reads the key in base64, whichever alphabet and wherever it begins"),
    hostile!("S2-hexadecimal", &[Guard::SecretHex], ECHO, echo::spelled, "hex";
        "an engine reads the key as hexadecimal digits"),
    hostile!("S2-in-chunks", &[], ECHO, echo::in_chunks;
        "an engine reads the key that comes in pieces of three bytes"),
    hostile!("S2-compressed", &[], ECHO, echo::compressed;
        "an engine reads the key in an answer that is compressed"),
    hostile!("S2-headers", &[Guard::SecretHeaders], ECHO, echo::repeated, "headers";
        "an engine reads the key in a header of the answer"),
    hostile!("S2-text", &[Guard::SecretText], ECHO, echo::repeated, "text";
        "an engine reads the key in an answer's text"),
    hostile!("S2-json", &[Guard::SecretJson], ECHO, echo::repeated, "json";
        "an engine reads the key in an answer's JSON"),
    hostile!("S2-string", &[Guard::SecretJson], ECHO, echo::repeated, "at";
        "an engine reads the key in one long string of an answer"),
    hostile!("S2-event", &[Guard::SecretJson], ECHO, echo::repeated, "event";
        "an engine reads the key in an event"),
    hostile!("S2-frame", &[Guard::SecretJson], ECHO, echo::repeated, "frame";
        "an engine reads the key in JSON that comes over a WebSocket"),
    hostile!("S2-message", &[Guard::SecretMessage], ECHO, echo::repeated, "message";
        "an engine reads the key in bytes that come over a WebSocket, five at a time"),
    hostile!("S2-picture", &[Guard::SecretPicture], ECHO, echo::repeated, "picture";
        "an engine reads the key in the bytes of a picture, five at a time"),
    hostile!("S3-address-of-a-picture", &[], None, shown::address_of_a_picture;
        "the key is sent along when a finished picture is fetched"),
    hostile!("S4-placeholders", &[], None, shown::placeholders;
        "something that an engine writes into a path or a header becomes the key"),
    hostile!("S5-errors", &[Guard::SecretError], ECHO, told::errors;
        "a person reads the key in what an engine says of its failure"),
    alone!("S5-log", &[Guard::SecretLog], ECHO, told::log;
        "the key gets into the log by an engine's line"),
    hostile!("S5-progress", &[Guard::SecretProgress], ECHO, told::progress;
        "a person reads the key in what an engine tells of its progress"),
    hostile!("S5-details", &[Guard::SecretDetails], ECHO, told::details;
        "the key is kept with a finished picture"),
    hostile!("S5-models", &[Guard::SecretModels], ECHO, told::models;
        "a person reads the key in the list of an engine's models"),
    alone!("S5-chat", &[Guard::SecretChat], ECHO, told::chat;
        "a person reads the key in what a language model's server answers"),
    hostile!("S5-addresses", &[], None, told::addresses;
        "an engine or a person learns an upstream's address from an error"),
    hostile!("S7-settings", &[], None, shown::settings;
        "an answer of the server's shows the key, to an administrator too"),
    hostile!("S7-pasted", &[], None, shown::pasted;
        "a key that was pasted for an address is repeated by the refusal"),
    hostile!("S8-files", &[Guard::OwnFiles], None, shown::files;
        "a person reads, lists or deletes somebody else's picture"),
    hostile!("S9-memory", &[], None, shown::memory;
        "a job finds what another left in the engine's memory"),
    hostile!("S10-file-name", &[], None, shown::file_name;
        "the name of an uploaded file leads out of its folder"),
    Case {
        name: "S10-path-of-a-request",
        must_not: "the path of a request leads out of the folder of files",
        guards: &[],
        noted: None,
        place: Place::WithoutEngine,
        attack: |arena| Box::pin(shown::path_of_a_request(arena)),
    },
    hostile!("S12-rotation", &[], None, shown::rotation;
        "a job goes on with another key than it began with, or the next one with the old"),
    hostile!("S13-other-paths", &[Guard::GrantedRequests], Some(Kind::Grant), shown::other_paths;
        "a prompt makes an engine ask for what its grant does not name"),
];

/// Are more characters of this in a row in the text than may be?
fn holds(text: &str, spelled: &str) -> bool {
    let most = if SECRET.contains(spelled) {
        MAX_PLAIN
    } else {
        MAX_SPELLED
    };
    let letters: Vec<_> = spelled.chars().collect();
    let mut runs = letters.windows((most + 1).min(letters.len()));
    runs.any(|run| {
        let run: String = run.iter().collect();
        text.contains(&run)
    })
}

fn around(spelled: &str) -> String {
    format!("{}{spelled}{}", AROUND.0, AROUND.1)
}

/// An answer that gives a text in pieces that nobody recognises.
fn pieces(text: &str) -> Step {
    let letters: Vec<_> = text.chars().collect();
    let pieces = letters
        .chunks(PIECE)
        .map(|piece| piece.iter().collect::<String>());
    json(&json!(pieces.collect::<Vec<_>>()))
}

/// Whatever was asked: the rest of the text, where it was read at all, without the secret.
fn only_around(seen: &str, spelled: &str) -> Result<()> {
    ensure!(
        seen.contains(AROUND.0) && seen.contains(AROUND.1),
        "what is around the secret is not there, so nothing was tried: {seen}"
    );
    ensure!(!holds(seen, spelled), "there it is: {seen}");
    Ok(())
}

/// As a PNG, whose pixels these bytes claim to be.
fn png(bytes: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    const END: &[u8] = b"\0\0\0\0IEND\xaeB`\x82";
    let length = u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
    [HEAD, &length, b"IDAT", bytes, &[0; 4], END].concat()
}

fn picture(bytes: &[u8]) -> Step {
    answer("200 OK", "content-type: image/png\r\n", png(bytes))
}

/// What the hostile engine answers to a prompt.
async fn says(arena: &Arena, prompt: &str) -> Result<String> {
    let answer = arena.draw(prompt).await?;
    ensure!(
        !answer.message().is_empty(),
        "it says nothing: {}",
        answer.text()
    );
    Ok(answer.message())
}
