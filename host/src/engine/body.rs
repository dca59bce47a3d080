//! What a guest's request carries, put together from its parts.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::bindings::pinhole::engine::upstream::{Body, Error, Field, Header, Part};
use super::call::State;

impl State {
    /// The bytes of a request's body and their content type.
    pub(super) fn assemble(
        &mut self,
        body: Body,
    ) -> wasmtime::Result<Result<(Option<HeaderValue>, Bytes), Error>> {
        let max = self.limits.request_bytes;
        let mut whole = BytesMut::new();
        let content_type = match body {
            Body::None => None,
            Body::Json(parts) => {
                self.append(&mut whole, &parts)?;
                Some("application/json".to_owned())
            }
            Body::Form(fields) => {
                let boundary = uuid::Uuid::new_v4().simple().to_string();
                for field in &fields {
                    match field_head(field, &boundary) {
                        Ok(head) => whole.extend_from_slice(head.as_bytes()),
                        Err(error) => return Ok(Err(error)),
                    }
                    self.append(&mut whole, &field.content)?;
                    whole.extend_from_slice(b"\r\n");
                    if whole.len() > max {
                        break;
                    }
                }
                whole.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
                Some(format!("multipart/form-data; boundary={boundary}"))
            }
        };
        if whole.len() > max {
            return Ok(Err(Error::TooLarge));
        }
        let content_type = content_type.and_then(|text| HeaderValue::try_from(text).ok());
        Ok(Ok((content_type, whole.freeze())))
    }

    /// Appends parts until the limit of a request is passed.
    fn append(&self, whole: &mut BytesMut, parts: &[Part]) -> wasmtime::Result<()> {
        for part in parts {
            match part {
                Part::Text(text) => whole.extend_from_slice(text.as_bytes()),
                Part::Bytes(bytes) => whole.extend_from_slice(bytes),
                Part::Image(handle) => {
                    whole.extend_from_slice(self.table.get(handle)?.image.bytes());
                }
                Part::ImageBase64(handle) => {
                    let bytes = self.table.get(handle)?.image.bytes();
                    let text = base64_simd::STANDARD.encode_to_string(bytes);
                    whole.extend_from_slice(text.as_bytes());
                }
            }
            if whole.len() > self.limits.request_bytes {
                break;
            }
        }
        Ok(())
    }
}

/// A guest's headers, if they can be sent at all.
pub(super) fn header_map(headers: &[Header]) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::try_from(header.name.as_str());
        let value = HeaderValue::try_from(header.value.as_str());
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Error::Denied(format!(
                "header {:?} cannot be sent",
                header.name
            )));
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
    if !quoted.into_iter().flatten().all(|text| plain(text)) {
        return Err(Error::Denied(format!(
            "form field {:?} cannot be sent",
            field.name
        )));
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
