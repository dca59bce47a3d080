//! The body and headers of a guest's request.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use url::form_urlencoded;

use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Body, Error, Field, Header, Part};
use crate::memory_budget::Reservation;
use crate::state::State;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, Refusal};

/// Headers of one request. A [`HeaderMap`] panics beyond about 20 000.
const MAX_HEADERS: usize = 256;
/// Fields of one form.
const MAX_FIELDS: usize = 256;
/// Parts of a JSON body, or of one form field.
const MAX_PARTS: usize = 4096;
/// Length of a form field's name, file name and media type in bytes.
const MAX_LABEL_BYTES: usize = 1024;
/// Length of a path with its query in bytes.
const MAX_PATH_BYTES: usize = 8 << 10;
/// Length of a method, and of an upstream's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A request body.
pub struct RequestBody {
    /// The value of `content-type`.
    pub content_type: Option<HeaderValue>,
    /// The body as it is sent.
    pub bytes: Bytes,
    pub(crate) reservation: Reservation,
}

impl State {
    /// Assembles a request body, and counts it as sent.
    pub fn assemble_body(&mut self, body: Body) -> Result<RequestBody, UpstreamError> {
        let mut assembly = Assembly {
            bytes: BytesMut::new(),
            reservation: self.memory.reserve(0)?,
            max_bytes: self.limits.request_bytes,
        };
        let content_type = match body {
            Body::None => None,
            Body::Json(parts) => {
                self.append_parts(&mut assembly, &parts)?;
                Some("application/json".to_owned())
            }
            Body::Form(fields) => Some(self.append_form(&mut assembly, &fields)?),
            Body::Urlencoded(fields) => {
                check_length(fields.len(), MAX_FIELDS)?;
                let mut text = form_urlencoded::Serializer::new(String::new());
                // The encoding is at most three times as long.
                let length = fields.iter().map(|(name, value)| name.len() + value.len());
                assembly.check_length(length.sum())?;
                text.extend_pairs(fields);
                assembly.append(text.finish().as_bytes())?;
                Some("application/x-www-form-urlencoded".to_owned())
            }
            Body::Raw((media_type, parts)) => {
                check_media_type(&media_type)?;
                self.append_parts(&mut assembly, &parts)?;
                Some(media_type)
            }
        };
        let bytes = assembly.bytes.freeze();
        self.count_sent(bytes.len())?;
        Ok(RequestBody {
            content_type: content_type.and_then(|text| HeaderValue::try_from(text).ok()),
            bytes,
            reservation: assembly.reservation,
        })
    }

    /// Counts bytes that are about to be sent. Fails if the job sends too many.
    pub(crate) fn count_sent(&mut self, bytes: usize) -> Result<(), Error> {
        self.network.count_sent(bytes).map_err(|refusal| {
            self.record(RefusalKind::Request, &refusal);
            Error::TooLarge
        })
    }

    /// Appends a multipart form. Returns its content type.
    fn append_form(
        &self,
        assembly: &mut Assembly,
        fields: &[Field],
    ) -> Result<String, UpstreamError> {
        check_length(fields.len(), MAX_FIELDS)?;
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        for field in fields {
            assembly.append(field_head(field, &boundary)?.as_bytes())?;
            self.append_parts(assembly, &field.content)?;
            assembly.append(b"\r\n")?;
        }
        assembly.append(format!("--{boundary}--\r\n").as_bytes())?;
        Ok(format!("multipart/form-data; boundary={boundary}"))
    }

    fn append_parts(&self, assembly: &mut Assembly, parts: &[Part]) -> Result<(), UpstreamError> {
        check_length(parts.len(), MAX_PARTS)?;
        for part in parts {
            match part {
                Part::Text(text) => assembly.append(text.as_bytes())?,
                Part::Bytes(bytes) => assembly.append(bytes)?,
                Part::Image(handle) => assembly.append(self.table.get(handle)?.image.bytes())?,
                Part::ImageBase64(handle) => {
                    assembly.append_base64(self.table.get(handle)?.image.bytes())?;
                }
                Part::ImageDataUrl(handle) => {
                    let image = &self.table.get(handle)?.image;
                    assembly.append(format!("data:{};base64,", image.media_type()).as_bytes())?;
                    assembly.append_base64(image.bytes())?;
                }
            }
        }
        Ok(())
    }
}

/// A body that is being assembled. Bytes that would make it too long are not copied.
struct Assembly {
    bytes: BytesMut,
    reservation: Reservation,
    max_bytes: usize,
}

impl Assembly {
    fn append(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn append_base64(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        self.reserve(base64_simd::STANDARD.encoded_length(bytes.len()))?;
        let text = base64_simd::STANDARD.encode_to_string(bytes);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), UpstreamError> {
        self.check_length(bytes)?;
        self.reservation.grow(bytes)?;
        Ok(())
    }

    /// Fails if this many bytes more are too many.
    fn check_length(&self, bytes: usize) -> Result<(), UpstreamError> {
        let length = self.bytes.len().saturating_add(bytes);
        if Guard::RequestBytes.applies(length > self.max_bytes) {
            return Err(Error::TooLarge.into());
        }
        Ok(())
    }
}

/// Fails if a list or a text of a guest is too long.
fn check_length(length: usize, max: usize) -> Result<(), Error> {
    Guard::HandedOver
        .refuse_if(length > max, || "more than one request may have")
        .map_err(|Refusal { reason, .. }| Error::Denied(reason))
}

/// Refuses a content type with which a body could be read as something that the host sends only after its own
/// checks.
fn check_media_type(media_type: &str) -> Result<(), Error> {
    check_length(media_type.len(), MAX_LABEL_BYTES)?;
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        !part.is_empty() && part.bytes().all(is_allowed)
    };
    let is_valid = essence
        .split_once('/')
        .is_some_and(|(kind, format)| is_token(kind) && is_token(format));
    if !is_valid || HeaderValue::try_from(media_type).is_err() {
        return Err(Error::Denied("the content type is invalid".to_owned()));
    }
    Ok(())
}

/// Checks the lengths of a request's texts, before they are parsed or logged.
pub(crate) fn check_texts(upstream: &str, method: &str, path: &str) -> Result<(), Error> {
    check_length(upstream.len(), MAX_NAME_BYTES)?;
    check_length(method.len(), MAX_NAME_BYTES)?;
    check_length(path.len(), MAX_PATH_BYTES)
}

/// Converts a guest's headers. Fails if their syntax is invalid, or if they are too many.
pub fn header_map(headers: &[Header]) -> Result<HeaderMap, Error> {
    check_length(headers.len(), MAX_HEADERS)?;
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

/// The lines before a form field's content. Refuses names that could break out of them.
fn field_head(field: &Field, boundary: &str) -> Result<String, Error> {
    let breaks_out = |letter: char| letter == '"' || letter == '\\' || letter.is_control();
    let labels = [
        Some(&field.name),
        field.file_name.as_ref(),
        field.media_type.as_ref(),
    ];
    for label in labels.into_iter().flatten() {
        check_length(label.len(), MAX_LABEL_BYTES)?;
        if label.contains(breaks_out) {
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
