//! A request that came, compared with the one that was expected.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::Value;

use super::case::{FormPart, Request};
use super::form::{FormField, fields};
use super::pattern::{Names, shown};
use super::test_image;

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
            match test_image::same_pixels(&picture.bytes, field.content) {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::case::tests::{read, with_exchanges};
    use super::*;

    /// What is wrong with a form of a number and a picture, where these parts are expected.
    fn check(parts: Value, expected: &[&str]) {
        let line = json!({"line": "POST /x", "form": parts});
        let exchanges = json!([{"request": line, "reply": {}}]);
        let case = read(&with_exchanges(&exchanges), &json!({})).unwrap();
        let picture = test_image::make("gif 2x2").unwrap();
        let body = [
            b"--z\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n".as_slice(),
            b"--z\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.gif\"\r\n",
            b"content-type: image/gif\r\n\r\n",
            &picture,
            b"\r\n--z--\r\n",
        ]
        .concat();
        let head =
            http::Request::post("/x").header(CONTENT_TYPE, "multipart/form-data; boundary=z");
        let (head, ()) = head.body(()).unwrap().into_parts();
        let request = &case.exchanges()[0].request;
        let came = request.compare(&mut Names::default(), &head, Some(&body));
        assert_eq!(came, expected, "{parts}");
    }

    #[test]
    fn a_form_is_compared_part_by_part() {
        let number = json!({"name": "n", "text": "{n}", "file_name": null, "media_type": null});
        check(
            json!([number, {"name": "image", "file_name": "{any}.gif", "picture": "gif 2x2"}]),
            &[],
        );
        check(
            json!([{}, {"same_pixels": "png 2x2", "media_type": "image/gif"}]),
            &[],
        );
        check(json!([{}]), &["form: expected 1 parts, came n, image"]);
        check(
            json!([
                {"name": "m", "text": "3", "file_name": "x"},
                {"name": "image", "media_type": null, "picture": "png 2x2", "same_pixels": "png 2x2 2"}
            ]),
            &[
                "form at /0/name: expected \"m\", came \"n\"",
                "form at /0/file_name: expected \"x\", came null",
                "form at /0/text: expected \"3\", came \"2\"",
                "form at /1/media_type: expected null, came \"image/gif\"",
                &format!(
                    "form at /1/picture: expected a picture of {} bytes, came {} other bytes",
                    test_image::make("png 2x2").unwrap().len(),
                    test_image::make("gif 2x2").unwrap().len()
                ),
                "form at /1/same_pixels: the pixels are others",
            ],
        );
        check(
            json!([{"same_pixels": "png 2x2"}, {}]),
            &[
                "form at /0/same_pixels: no picture that can be decoded: The image format could not be determined",
            ],
        );
    }
}
