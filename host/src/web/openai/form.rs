//! An edit that comes as a form.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde_json::{Map, Value};

use super::fields::Fields;
use pinhole_sandbox::{Edit, Limits};
use pinhole_ground::text::plain;
use crate::web::error::{ApiError, json_value};
use crate::web::image_reference::{check_room, picture};

/// Fields of one form.
const MAX_FIELDS: usize = 64;
/// Length of a field that is no picture, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Length of a field's name in a message, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// Fields whose text is a number.
const NUMBERS: &[&str] = &["n", "output_compression", "partial_images", "seed", "steps"];

/// Reads a form: pictures under `image` or `image[]`, at most one `mask`, and texts.
///
/// Whatever is too long gets 413 while it is read.
pub(super) async fn read(request: Request) -> Result<(Fields, Edit), ApiError> {
    let form = Multipart::from_request(request, &()).await;
    let mut form =
        form.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let max_bytes = Limits::job(std::time::Duration::ZERO).image.max_bytes;
    let (mut sources, mut mask, mut texts) = (Vec::new(), None, Map::new());
    for _ in 0..MAX_FIELDS {
        let Some(field) = form.next_field().await.map_err(|error| broken(&error))? else {
            let fields = json_value(Value::Object(texts))?;
            return Ok((fields, Edit { sources, mask }));
        };
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "image" | "image[]" => {
                check_room(&sources)?;
                sources.push(picture("image", bytes(field, "image", max_bytes).await?)?);
            }
            "mask" if mask.is_some() => return Err(twice("mask")),
            "mask" => mask = Some(picture("mask", bytes(field, "mask", max_bytes).await?)?),
            _ => {
                let shown = plain(&name, MAX_NAME_BYTES);
                let text = bytes(field, &shown, MAX_TEXT_BYTES).await?;
                let text = std::str::from_utf8(&text)
                    .map_err(|_| ApiError::invalid(&shown, format!("{shown} is not text")))?;
                if texts.insert(name.clone(), value(&name, text)).is_some() {
                    return Err(twice(&shown));
                }
            }
        }
    }
    let message = format!("the form has more than {MAX_FIELDS} fields");
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
}

/// All bytes of a field that has at most so many.
async fn bytes(mut field: Field<'_>, name: &str, most: usize) -> Result<Bytes, ApiError> {
    let mut read = BytesMut::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if read.len() + chunk.len() > most {
            let message = format!("{name} has more than the {most} bytes allowed");
            return Err(ApiError::too_long(name, message));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.freeze())
}

/// What a field's text would be in JSON. An empty one says nothing.
fn value(name: &str, text: &str) -> Value {
    match text {
        "" if name != "prompt" => Value::Null,
        "true" | "false" if name == "stream" => Value::Bool(text == "true"),
        _ if NUMBERS.contains(&name) => match text.parse::<u64>() {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
        _ => text.into(),
    }
}

fn twice(name: &str) -> ApiError {
    ApiError::invalid(name, format!("{name} came twice: send it once"))
}

fn broken(error: &MultipartError) -> ApiError {
    let status = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        // Also a body that broke off, which is never our failure.
        _ => StatusCode::BAD_REQUEST,
    };
    let message = format!("the form cannot be read: {}", error.body_text());
    ApiError::new(status, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_what_json_would_say() {
        for (name, text, expected) in [
            ("prompt", "5", json!("5")),
            ("prompt", "", json!("")),
            ("size", "", json!(null)),
            ("n", "2", json!(2)),
            ("seed", "18446744073709551615", json!(u64::MAX)),
            // Refused later, with their names.
            ("n", "-1", json!("-1")),
            ("steps", "many", json!("many")),
            ("stream", "true", json!(true)),
            ("stream", "yes", json!("yes")),
            ("model", "true", json!("true")),
        ] {
            assert_eq!(value(name, text), expected, "{name}={text}");
        }
    }
}
