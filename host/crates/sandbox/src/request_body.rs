//! What a guest's request carries, put together from its parts.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::contract::pinhole::engine::upstream::{Body, Error, Field, Header, Part};
use super::call::State;
use super::limits::Held;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

/// Headers that a guest may hand over for one request. A map of them cannot hold more than some 20 000.
const MAX_HEADERS: usize = 256;
/// Fields of one form.
const MAX_FIELDS: usize = 256;
/// Pieces that a JSON body, or one field, is put together from.
const MAX_PARTS: usize = 4096;
/// Length of a field's name, file name and media type, in bytes.
const MAX_LABEL_BYTES: usize = 1024;
/// Length of a request's path with its query, in bytes.
const MAX_PATH_BYTES: usize = 8 << 10;
/// Length of a method and of an upstream's name, in bytes.
const MAX_WORD_BYTES: usize = 64;

/// A body, and what it costs to keep until it is sent.
pub(super) struct Assembled {
    pub(super) content_type: Option<HeaderValue>,
    pub(super) bytes: Bytes,
    pub(super) held: Held,
}

/// A body as far as it is put together. Nothing is copied that would make it too long.
struct Assembly {
    whole: BytesMut,
    held: Held,
    max: usize,
}

impl State {
    /// Puts a request's body together.
    pub(super) fn assemble(&mut self, body: Body) -> wasmtime::Result<Result<Assembled, Error>> {
        let mut assembly = Assembly {
            whole: BytesMut::new(),
            held: self.holding.take(0)?,
            max: Guard::RequestBytes.limit(self.limits.request_bytes),
        };
        let content_type = match body {
            Body::None => None,
            Body::Json(parts) => {
                if let Err(error) = self.append(&mut assembly, &parts)? {
                    return Ok(Err(error));
                }
                Some("application/json".to_owned())
            }
            Body::Form(fields) => {
                let boundary = uuid::Uuid::new_v4().simple().to_string();
                if let Err(error) = few(fields.len(), MAX_FIELDS) {
                    return Ok(Err(error));
                }
                for field in &fields {
                    let head = match field_head(field, &boundary) {
                        Ok(head) => head,
                        Err(error) => return Ok(Err(error)),
                    };
                    if let Err(error) = assembly.add(head.as_bytes())? {
                        return Ok(Err(error));
                    }
                    if let Err(error) = self.append(&mut assembly, &field.content)? {
                        return Ok(Err(error));
                    }
                    if let Err(error) = assembly.add(b"\r\n")? {
                        return Ok(Err(error));
                    }
                }
                if let Err(error) = assembly.add(format!("--{boundary}--\r\n").as_bytes())? {
                    return Ok(Err(error));
                }
                Some(format!("multipart/form-data; boundary={boundary}"))
            }
        };
        let bytes = assembly.whole.freeze();
        if let Err(error) = self.count_sent(bytes.len()) {
            return Ok(Err(error));
        }
        Ok(Ok(Assembled {
            content_type: content_type.and_then(|text| HeaderValue::try_from(text).ok()),
            bytes,
            held: assembly.held,
        }))
    }

    /// Counts bytes that are about to be sent. Fails when they are too many for one job.
    pub(super) fn count_sent(&mut self, bytes: usize) -> Result<(), Error> {
        match self.sent_bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.sent_bytes_left = left;
                Ok(())
            }
            None => {
                let (engine, most) = (&self.engine, self.limits.sent_bytes);
                let what = format!("engine {engine} would send more than {most} bytes in one job");
                self.refuse(RefusalKind::Request, &what);
                Err(Error::TooLarge)
            }
        }
    }

    fn append(
        &self,
        assembly: &mut Assembly,
        parts: &[Part],
    ) -> wasmtime::Result<Result<(), Error>> {
        if let Err(error) = few(parts.len(), MAX_PARTS) {
            return Ok(Err(error));
        }
        for part in parts {
            let added = match part {
                Part::Text(text) => assembly.add(text.as_bytes())?,
                Part::Bytes(bytes) => assembly.add(bytes)?,
                Part::Image(handle) => assembly.add(self.table.get(handle)?.image.bytes())?,
                Part::ImageBase64(handle) => {
                    assembly.add_base64(self.table.get(handle)?.image.bytes())?
                }
            };
            if added.is_err() {
                return Ok(added);
            }
        }
        Ok(Ok(()))
    }
}

impl Assembly {
    fn add(&mut self, bytes: &[u8]) -> wasmtime::Result<Result<(), Error>> {
        let room = self.room_for(bytes.len())?;
        if room.is_ok() {
            self.whole.extend_from_slice(bytes);
        }
        Ok(room)
    }

    fn add_base64(&mut self, bytes: &[u8]) -> wasmtime::Result<Result<(), Error>> {
        let room = self.room_for(base64_simd::STANDARD.encoded_length(bytes.len()))?;
        if room.is_ok() {
            let text = base64_simd::STANDARD.encode_to_string(bytes);
            self.whole.extend_from_slice(text.as_bytes());
        }
        Ok(room)
    }

    fn room_for(&mut self, bytes: usize) -> wasmtime::Result<Result<(), Error>> {
        if self.whole.len().saturating_add(bytes) > self.max {
            return Ok(Err(Error::TooLarge));
        }
        self.held.grow(bytes)?;
        Ok(Ok(()))
    }
}

/// What a guest hears of more than the host takes.
fn too_much() -> Error {
    Error::Denied("more than one request may have".to_owned())
}

/// Is this list, or text, no longer than so?
fn few(length: usize, most: usize) -> Result<(), Error> {
    match length > Guard::HandedOver.limit(most) {
        true => Err(too_much()),
        false => Ok(()),
    }
}

/// Are a request's words no longer than anybody needs? Only then are they looked at, and told of.
pub(super) fn check_words(upstream: &str, method: &str, path: &str) -> Result<(), Error> {
    few(upstream.len(), MAX_WORD_BYTES)?;
    few(method.len(), MAX_WORD_BYTES)?;
    few(path.len(), MAX_PATH_BYTES)
}

/// A guest's headers, if they can be sent at all.
pub(super) fn header_map(headers: &[Header]) -> Result<HeaderMap, Error> {
    few(headers.len(), MAX_HEADERS)?;
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::try_from(header.value.as_str());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Error::Denied("a header cannot be sent".to_owned()));
        };
        map.append(name, value);
    }
    Ok(map)
}

/// The line before a field's content. Names that could break out of it are refused.
fn field_head(field: &Field, boundary: &str) -> Result<String, Error> {
    let plain = |text: &str| !text.contains(|c: char| c == '"' || c == '\\' || c.is_control());
    let quoted = [
        Some(&field.name),
        field.file_name.as_ref(),
        field.media_type.as_ref(),
    ];
    for text in quoted.into_iter().flatten() {
        few(text.len(), MAX_LABEL_BYTES)?;
        if !plain(text) {
            return Err(Error::Denied("a form field cannot be sent".to_owned()));
        }
    }
    let mut head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"",
        field.name
    );
    if let Some(name) = &field.file_name {
        head.push_str(&format!("; filename=\"{name}\""));
    }
    if let Some(media_type) = &field.media_type {
        head.push_str(&format!("\r\ncontent-type: {media_type}"));
    }
    head.push_str("\r\n\r\n");
    Ok(head)
}
