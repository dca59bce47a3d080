//! Comparison of a request with the expected one.

use http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::case::{ExpectedFormField, ExpectedRequest};
use crate::case_run::RequestBody;
use crate::display::{counted, truncated};
use crate::loopback::RecordedRequest;
use crate::multipart_form::{FormField, parse_form};
use crate::placeholders::{ObjectMatch, Placeholders};
use crate::test_image;

impl ExpectedRequest {
    /// A line for each difference. The body is compared only if it is complete.
    pub(crate) fn compare(
        &self,
        placeholders: &mut Placeholders,
        request: &RecordedRequest,
        body: RequestBody,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, pattern) in &self.headers {
            let values: Vec<String> = request
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            let difference = compare_header(pattern.as_deref(), &values, placeholders);
            differences.extend(difference.map(|difference| format!("header {name}: {difference}")));
        }
        if let RequestBody::Complete = body {
            self.compare_body(placeholders, request, &mut differences);
        }
        differences
    }

    fn compare_body(
        &self,
        placeholders: &mut Placeholders,
        request: &RecordedRequest,
        differences: &mut Vec<String>,
    ) {
        let body = &request.body;
        if self.no_body.is_some() && !body.is_empty() {
            differences.push(format!("expected no body, got {}", truncated_text(body)));
        }
        let patterns = [
            (&self.json, ObjectMatch::Exact),
            (&self.json_subset, ObjectMatch::Subset),
        ];
        for (pattern, objects) in patterns {
            let Some(pattern) = pattern else {
                continue;
            };
            match serde_json::from_slice(body) {
                Ok(json) => {
                    let found = placeholders.compare(pattern, &json, objects);
                    differences.extend(found.into_iter().map(|it| format!("body {it}")));
                }
                Err(error) => {
                    let text = truncated_text(body);
                    differences.push(format!("expected a JSON body ({error}), got {text}"));
                }
            }
        }
        if let Some(expected) = &self.form {
            match parse_form(request.header(CONTENT_TYPE.as_str()), body) {
                Ok(fields) => {
                    let found = compare_form(expected, &fields, placeholders);
                    differences.extend(found.into_iter().map(|it| format!("form{it}")));
                }
                Err(error) => differences.push(format!("expected a form: {error}")),
            }
        }
    }
}

fn compare_header(
    pattern: Option<&str>,
    values: &[String],
    placeholders: &mut Placeholders,
) -> Option<String> {
    match (pattern, values) {
        (None, []) => None,
        (Some(pattern), [value]) if placeholders.matches_text(pattern, value) => None,
        (None, values) => Some(format!("expected none, got {:?}", values.join(", "))),
        (Some(pattern), []) => Some(format!("expected {pattern:?}, got none")),
        (Some(pattern), values) => {
            let expected = placeholders.fill_text(pattern);
            Some(format!(
                "expected {expected:?}, got {:?}",
                values.join(", ")
            ))
        }
    }
}

fn compare_form(
    expected: &[ExpectedFormField],
    fields: &[FormField],
    placeholders: &mut Placeholders,
) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.len() != fields.len() {
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        differences.push(format!(
            ": expected {}, got {}: {}",
            counted(expected.len(), "part"),
            fields.len(),
            names.join(", ")
        ));
    }
    for (index, (expected_field, field)) in expected.iter().zip(fields).enumerate() {
        let found = expected_field.compare(field, placeholders);
        differences.extend(found.into_iter().map(|it| format!(" at /{index}/{it}")));
    }
    differences
}

impl ExpectedFormField {
    fn compare(&self, field: &FormField, placeholders: &mut Placeholders) -> Vec<String> {
        let mut differences = Vec::new();
        let text = String::from_utf8_lossy(field.content).into_owned();
        let texts = [
            (
                "name",
                self.name.clone().map(Some),
                Some(field.name.clone()),
            ),
            ("file_name", self.file_name.clone(), field.file_name.clone()),
            (
                "media_type",
                self.media_type.clone(),
                field.media_type.clone(),
            ),
            ("text", self.text.clone().map(Some), Some(text)),
        ];
        for (key, expected, actual) in texts {
            let Some(pattern) = expected else {
                continue;
            };
            let found = placeholders.compare(&pattern.into(), &actual.into(), ObjectMatch::Exact);
            differences.extend(found.into_iter().map(|it| format!("{key}: {it}")));
        }
        if let Some(image) = &self.image
            && image.bytes != field.content
        {
            let (expected, got) = (image.bytes.len(), field.content.len());
            differences.push(format!(
                "picture: expected an image of {expected} bytes, got {got} different bytes"
            ));
        }
        if let Some(image) = &self.same_pixels {
            match test_image::has_same_pixels(&image.bytes, field.content) {
                Ok(true) => {}
                Ok(false) => {
                    differences
                        .push("same_pixels: expected the same pixels, got others".to_owned());
                }
                Err(error) => differences.push(format!("same_pixels: {error}")),
            }
        }
        differences
    }
}

fn truncated_text(body: &[u8]) -> String {
    truncated(&Value::from(String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::case::tests::{case_with_exchanges, read_case};

    /// Compares a form of a number and an image with these expected fields.
    fn check(expected_fields: Value, expected: &[&str]) {
        let line = json!({"line": "POST /x", "form": expected_fields});
        let exchanges = json!([{"request": line, "reply": {}}]);
        let case = read_case(&case_with_exchanges(&exchanges), &json!({})).unwrap();
        let image = test_image::encode("gif 2x2").unwrap();
        let body = [
            b"--z\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n".as_slice(),
            b"--z\r\ncontent-disposition: form-data; name=\"image\"; filename=\"a.gif\"\r\n",
            b"content-type: image/gif\r\n\r\n",
            &image,
            b"\r\n--z--\r\n",
        ]
        .concat();
        let content_type = "multipart/form-data; boundary=z".parse().unwrap();
        let request = RecordedRequest {
            method: http::Method::POST,
            target: "/x".to_owned(),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body: body.into(),
            connection: 0,
        };
        let differences = case.exchanges()[0].request.compare(
            &mut Placeholders::default(),
            &request,
            RequestBody::Complete,
        );
        assert_eq!(differences, expected, "{expected_fields}");
    }

    #[test]
    fn form_comparison_accepts_matching_fields() {
        let number = json!({"name": "n", "text": "{n}", "file_name": null, "media_type": null});
        check(
            json!([number, {"name": "image", "file_name": "{any}.gif", "picture": "gif 2x2"}]),
            &[],
        );
        check(
            json!([{}, {"same_pixels": "png 2x2", "media_type": "image/gif"}]),
            &[],
        );
    }

    #[test]
    fn form_comparison_reports_each_difference() {
        check(json!([{}]), &["form: expected 1 part, got 2: n, image"]);
        check(
            json!([
                {"name": "m", "text": "3", "file_name": "x"},
                {"name": "image", "media_type": null, "picture": "png 2x2", "same_pixels": "png 2x2 2"}
            ]),
            &[
                "form at /0/name: expected \"m\", got \"n\"",
                "form at /0/file_name: expected \"x\", got null",
                "form at /0/text: expected \"3\", got \"2\"",
                "form at /1/media_type: expected null, got \"image/gif\"",
                &format!(
                    "form at /1/picture: expected an image of {} bytes, got {} different bytes",
                    test_image::encode("png 2x2").unwrap().len(),
                    test_image::encode("gif 2x2").unwrap().len()
                ),
                "form at /1/same_pixels: expected the same pixels, got others",
            ],
        );
        check(
            json!([{"same_pixels": "png 2x2"}, {}]),
            &[
                "form at /0/same_pixels: cannot decode the image: The image format could not be determined",
            ],
        );
    }
}
