//! S: what an engine, an upstream or a user must not learn.

mod credential;
mod files;
mod isolation;
mod leak;
mod links;
mod reflection;

pub(crate) use isolation::{add_user, remove_user};

use anyhow::{Result, ensure};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_tests::RawStep;
use serde_json::json;

use crate::case::AttackCase;
use crate::image::small_png_with_pixels;
use crate::target::{AttackTarget, SECRET};

/// Precedes and follows a secret in a response, and must remain.
const BEFORE: &str = "(before)";
const AFTER: &str = "(after)";
/// Consecutive characters of a secret that may remain, in plain form and in an encoded one.
const MAX_PLAIN: usize = 7;
const MAX_ENCODED: usize = 23;
/// Length of a piece in which no secret is recognized, in characters.
const PIECE_CHARS: usize = 5;

/// A case in which an upstream returns the secret; its redaction is audited.
macro_rules! reflected {
    ($name:literal, $guarantee:literal, $guards:expr, $attack:path $(, $argument:expr)?) => {
        AttackCase::new($name, $guarantee, |target| {
            Box::pin($attack(target $(, $argument)?))
        })
        .guarded_by($guards)
        .audited_as(RefusalKind::Secret)
    };
}

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "S1-settings-of-engine",
        "an engine does not get the key with its settings",
        |target| Box::pin(credential::not_in_settings_of_engine(target)),
    ),
    reflected!(
        "S2-plain",
        "an engine cannot read the key in a response that returns it",
        &[Guard::SecretPlain],
        reflection::encoded,
        "plain"
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-json-escapes",
        "an engine cannot read the key as JSON escapes",
        &[Guard::SecretEscapes],
        reflection::encoded,
        "escapes"
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-percent",
        "an engine cannot read the key percent-encoded",
        &[Guard::SecretPercent],
        reflection::encoded,
        "percent"
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-base64",
        "an engine cannot read the key in base64, in any alphabet and at any offset",
        &[Guard::SecretBase64],
        reflection::encoded,
        "base64"
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-hexadecimal",
        "an engine cannot read the key as hexadecimal digits",
        &[Guard::SecretHex],
        reflection::encoded,
        "hex"
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-in-chunks",
        "an engine cannot read the key in chunks of three bytes",
        &[],
        reflection::in_chunks
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-compressed",
        "an engine cannot read the key in a compressed response",
        &[],
        reflection::compressed
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S2-headers",
        "an engine cannot read the key in a response header",
        &[Guard::SecretHeaders],
        reflection::in_place,
        "headers"
    ),
    reflected!(
        "S2-text",
        "an engine cannot read the key in the text of a response",
        &[Guard::SecretText],
        reflection::in_place,
        "text"
    ),
    reflected!(
        "S2-json",
        "an engine cannot read the key in the JSON of a response",
        &[Guard::SecretJson],
        reflection::in_place,
        "json"
    ),
    reflected!(
        "S2-string",
        "an engine cannot read the key in one string of a response",
        &[Guard::SecretJson],
        reflection::in_place,
        "at"
    ),
    reflected!(
        "S2-event",
        "an engine cannot read the key in an event",
        &[Guard::SecretJson],
        reflection::in_place,
        "event"
    ),
    reflected!(
        "S2-frame",
        "an engine cannot read the key in JSON from a WebSocket",
        &[Guard::SecretJson],
        reflection::in_place,
        "frame"
    ),
    reflected!(
        "S2-message",
        "an engine cannot read the key in bytes from a WebSocket, five at a time",
        &[Guard::SecretMessage],
        reflection::in_place,
        "message"
    ),
    reflected!(
        "S2-image",
        "an engine cannot read the key in the bytes of an image, five at a time",
        &[Guard::SecretPicture],
        reflection::in_place,
        "picture"
    ),
    AttackCase::new(
        "S3-image-url",
        "the key is not sent when a finished image is fetched",
        |target| Box::pin(credential::not_sent_to_image_url(target)),
    ),
    AttackCase::new(
        "S4-placeholders",
        "no text that an engine writes into a path or header is replaced by the key",
        |target| Box::pin(credential::placeholders(target)),
    ),
    reflected!(
        "S5-errors",
        "a user cannot read the key in an engine's error",
        &[Guard::SecretError],
        leak::errors
    ),
    reflected!(
        "S5-log",
        "an engine's log line does not write the key to the log",
        &[Guard::SecretLog],
        leak::log
    )
    .on_own_server(),
    reflected!(
        "S5-progress",
        "a user cannot read the key in an engine's progress report",
        &[Guard::SecretProgress],
        leak::progress
    ),
    reflected!(
        "S5-details",
        "the key is not stored with a finished image",
        &[Guard::SecretDetails],
        leak::details
    ),
    reflected!(
        "S5-models",
        "a user cannot read the key in an engine's list of models",
        &[Guard::SecretModels],
        leak::models
    ),
    reflected!(
        "S5-chat",
        "a user cannot read the key in a language model's response",
        &[Guard::SecretChat],
        leak::chat
    )
    .on_own_server(),
    AttackCase::new(
        "S5-urls",
        "an engine or user does not learn an upstream's URL from an error",
        |target| Box::pin(leak::urls(target)),
    ),
    AttackCase::new(
        "S7-settings",
        "no response of the server contains the key, not even for an administrator",
        |target| Box::pin(credential::not_in_responses(target)),
    ),
    AttackCase::new(
        "S7-pasted",
        "a key that was entered as a URL is not repeated in the error",
        |target| Box::pin(credential::pasted_as_url(target)),
    ),
    AttackCase::new(
        "S8-files",
        "a user cannot read, list or delete another user's image",
        |target| Box::pin(isolation::files_of_other_user(target)),
    )
    .guarded_by(&[Guard::OwnFiles]),
    AttackCase::new(
        "S8-gallery",
        "a user cannot star, delete, restore, download or share another user's image",
        |target| Box::pin(isolation::gallery_of_other_user(target)),
    ),
    AttackCase::new(
        "S8-link-signature",
        "a link opens only the file for which the server made it, and nothing else",
        |target| Box::pin(links::signature(target)),
    )
    .guarded_by(&[Guard::LinkSignature]),
    AttackCase::new(
        "S8-link-expiry",
        "a link stops to work at its time",
        |target| Box::pin(links::expiry(target)),
    )
    .guarded_by(&[Guard::LinkExpiry]),
    AttackCase::new(
        "S9-memory",
        "a job finds nothing that another left in the engine's memory",
        |target| Box::pin(isolation::memory(target)),
    ),
    AttackCase::new(
        "S10-file-name",
        "the name of an uploaded file does not point out of its directory",
        |target| Box::pin(files::uploaded_name(target)),
    ),
    AttackCase::new(
        "S10-request-path",
        "the path of a request does not point out of the directory of files",
        |target| Box::pin(files::request_path(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "S12-rotation",
        "a job uses one key from start to end, and the next job uses the new one",
        |target| Box::pin(credential::rotation(target)),
    ),
    AttackCase::new(
        "S13-other-paths",
        "a prompt cannot make an engine send a request outside its grant",
        |target| Box::pin(isolation::paths_outside_grant(target)),
    )
    .guarded_by(&[Guard::GrantedRequests])
    .audited_as(RefusalKind::Grant),
    reflected!(
        "S14-headers-of-operator",
        "an engine cannot read a secret header that an operator set, with a scheme or as a base64 password",
        &[Guard::SecretPlain],
        credential::headers_of_operator
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S14-query-key",
        "an engine cannot read the key that the host adds to the query of its requests",
        &[Guard::SecretPlain],
        credential::key_in_query
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    reflected!(
        "S14-google-token",
        "an engine cannot read the token that the host requests with a service account",
        &[Guard::SecretPlain],
        credential::google_token
    )
    .audited_by(RefusalKind::Secret, &[Guard::SecretText]),
    AttackCase::new(
        "S14-header-injection",
        "the name or value of an operator's header adds no other header and replaces none of the server's",
        |target| Box::pin(credential::header_injection(target)),
    ),
    AttackCase::new(
        "S14-other-binding",
        "an engine's headers, form and key are not sent to the upstream of another binding",
        |target| Box::pin(credential::other_binding(target)),
    ),
];

/// Does the text contain more consecutive characters of this form of a secret than may remain?
fn contains_secret(text: &str, form: &str) -> bool {
    let max_remaining = if SECRET.contains(form) {
        MAX_PLAIN
    } else {
        MAX_ENCODED
    };
    let chars: Vec<char> = form.chars().collect();
    chars
        .windows((max_remaining + 1).min(chars.len()))
        .any(|run| text.contains(&String::from_iter(run)))
}

fn surrounded(form: &str) -> String {
    format!("{BEFORE}{form}{AFTER}")
}

/// Fails unless the surroundings of a secret were read, and the secret was not.
fn require_redacted(text: &str, form: &str) -> Result<()> {
    ensure!(
        text.contains(BEFORE) && text.contains(AFTER),
        "the text around the secret is missing, so the case proves nothing: {text}"
    );
    ensure!(!contains_secret(text, form), "the secret remains: {text}");
    Ok(())
}

/// A response with the text as a list of pieces in which no secret is recognized.
fn pieces(text: &str) -> RawStep {
    let chars: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = chars.chunks(PIECE_CHARS).map(String::from_iter).collect();
    RawStep::json(&json!(pieces))
}

/// A response with a PNG that contains these bytes.
fn png_response(bytes: &[u8]) -> RawStep {
    let headers = "content-type: image/png\r\n";
    RawStep::response("200 OK", headers, small_png_with_pixels(bytes))
}

/// What the engine `hostile` reports for a prompt.
async fn report_of(target: &AttackTarget, prompt: &str) -> Result<String> {
    let response = target.generate(prompt).await?;
    let message = response.error_message();
    ensure!(
        !message.is_empty(),
        "the engine reports nothing: {}",
        response.text()
    );
    Ok(message)
}
