//! A request that came, compared with the one that was expected.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::Value;

use super::case::{FormPart, Request};
use super::form::{FormField, fields};
use super::pattern::{Names, shown};
use super::picture;

impl Request {
    /// A line for each thing that is not as expected; the body is compared where it came whole.
    pub(crate) fn compare(
        &self,
        names: &mut Names,
        head: &Parts,
        body: Option<&[u8]>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, pattern) in &self.headers {
            let values = head.headers.get_all(name).iter();
            let values: Vec<String> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            match (pattern, values.as_slice()) {
                (None, []) => {}
                (Some(pattern), [value]) if names.fits_text(pattern, value) => {}
                (None, came) => {
                    let came = came.join(", ");
                    differences.push(format!("header {name}: expected none, came {came:?}"));
                }
                (Some(pattern), []) => {
                    differences.push(format!("header {name}: expected {pattern:?}, came none"));
                }
                (Some(pattern), came) => {
                    let (pattern, came) = (names.fill_text(pattern), came.join(", "));
                    differences.push(format!(
                        "header {name}: expected {pattern:?}, came {came:?}"
                    ));
                }
            }
        }
        if let Some(body) = body {
            differences.extend(self.compare_body(names, head, body));
        }
        differences
    }

    fn compare_body(&self, names: &mut Names, head: &Parts, body: &[u8]) -> Vec<String> {
        let mut differences = Vec::new();
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        if self.body.is_some() && !body.is_empty() {
            differences.push(format!("expected no body, came {}", cut(body)));
        }
        for (pattern, more) in [(&self.json, false), (&self.json_holds, true)] {
            let Some(pattern) = pattern else {
                continue;
            };
            match serde_json::from_slice(body) {
                Ok(came) => {
                    let found = names.compare(pattern, &came, more);
                    differences.extend(found.into_iter().map(|found| format!("body {found}")));
                }
                Err(error) => {
                    let body = cut(body);
                    differences.push(format!("expected a JSON body ({error}), came {body}"));
                }
            }
        }
        if let Some(parts) = &self.form {
            match fields(content_type.unwrap_or_default(), body) {
                Ok(fields) => differences.extend(compare_form(parts, &fields, names)),
                Err(why) => differences.push(format!("expected a form: {why}")),
            }
        }
        differences
    }
}

fn compare_form(parts: &[FormPart], fields: &[FormField], names: &mut Names) -> Vec<String> {
    let mut differences = Vec::new();
    if parts.len() != fields.len() {
        let came: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let (expected, came) = (parts.len(), came.join(", "));
        differences.push(format!("form: expected {expected} parts, came {came}"));
    }
    for (number, (part, field)) in parts.iter().zip(fields).enumerate() {
        let name = Some(field.name.clone());
        let text = String::from_utf8_lossy(field.content).into_owned();
        let compared = [
            ("name", part.name.clone().map(Some), name),
            ("file_name", part.file_name.clone(), field.file_name.clone()),
            (
                "media_type",
                part.media_type.clone(),
                field.media_type.clone(),
            ),
            ("text", part.text.clone().map(Some), Some(text)),
        ];
        for (key, pattern, came) in compared {
            let Some(pattern) = pattern else {
                continue;
            };
            let (pattern, came) = (Value::from(pattern), Value::from(came));
            let found = names.compare(&pattern, &came, false);
            differences.extend(
                found
                    .into_iter()
                    .map(|found| format!("form at /{number}/{key}: {found}")),
            );
        }
        if let Some(picture) = &part.picture
            && picture.bytes != field.content
        {
            let (expected, came) = (picture.bytes.len(), field.content.len());
            differences.push(format!(
                    "form at /{number}/picture: expected a picture of {expected} bytes, came {came} other bytes"
                ));
        }
        if let Some(picture) = &part.same_pixels {
            match picture::same_pixels(&picture.bytes, field.content) {
                Ok(true) => {}
                Ok(false) => differences.push(format!(
                    "form at /{number}/same_pixels: the pixels are others"
                )),
                Err(why) => differences.push(format!("form at /{number}/same_pixels: {why}")),
            }
        }
    }
    differences
}

/// A body as a failure shows it.
fn cut(body: &[u8]) -> String {
    shown(&String::from_utf8_lossy(body).into())
}
