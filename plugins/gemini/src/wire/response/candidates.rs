//! The candidates of a `generateContent` response.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ErrorKind, ImageLocation};
use serde_json::Value;

use super::{FinishReason, ResponseReader};
use crate::wire::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES, array_at, string_at, value_at};

/// Finish reasons of a safety system or a policy that blocked the image.
const BLOCKING_REASONS: [&str; 12] = [
    "BLOCKLIST",
    "ESCALATION",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "IMAGE_SAFETY",
    "LANGUAGE",
    "MODEL_ARMOR",
    "PROHIBITED_CONTENT",
    "PUP_LIMITED_DISABLED",
    "RECITATION",
    "SAFETY",
    "SPII",
];

impl ResponseReader<'_> {
    /// Reads all candidates and the feedback on the prompt.
    pub(super) fn read_candidates(
        &mut self,
        pointer: &str,
        chunk: &Value,
        locations: &mut Vec<ImageLocation>,
    ) {
        let feedback = value_at(chunk, "promptFeedback").unwrap_or(&Value::Null);
        if let Some(reason) = string_at(feedback, "blockReason") {
            let explanation = explain(feedback, "blockReasonMessage");
            self.push_error(blocked_error("the prompt", reason, &explanation));
        }
        for (index, candidate) in array_at(chunk, "candidates").iter().enumerate() {
            let content = value_at(candidate, "content").unwrap_or(&Value::Null);
            let content_pointer = format!("{pointer}/candidates/{index}/content");
            self.read_parts(&content_pointer, content, locations);
            self.read_finish_reason(candidate);
        }
    }

    /// Reads texts and images. Skips thoughts, which hold drafts.
    fn read_parts(&mut self, pointer: &str, content: &Value, locations: &mut Vec<ImageLocation>) {
        for (index, part) in array_at(content, "parts").iter().enumerate() {
            if value_at(part, "thought") == Some(&Value::Bool(true)) {
                continue;
            }
            if let Some(text) = string_at(part, "text") {
                self.push_caption(text);
            }
            locations.extend(locate_image(&format!("{pointer}/parts/{index}"), part));
        }
    }

    fn read_finish_reason(&mut self, candidate: &Value) {
        let Some(reason) = string_at(candidate, "finishReason") else {
            return;
        };
        let explanation = explain(candidate, "finishMessage");
        if BLOCKING_REASONS.contains(&reason) {
            self.push_error(blocked_error("the image", reason, &explanation));
        } else if self.finish_reason.is_none() {
            self.finish_reason = Some(FinishReason {
                code: truncate(reason, MAX_NAME_BYTES),
                explanation,
            });
        }
    }
}

/// Locates the image of a part. A file counts only if the host can fetch its URL.
fn locate_image(pointer: &str, part: &Value) -> Option<ImageLocation> {
    for key in ["inlineData", "inline_data"] {
        let inline = part.get(key).unwrap_or(&Value::Null);
        if string_at(inline, "data").is_some() {
            return Some(ImageLocation::Pointer(format!("{pointer}/{key}/data")));
        }
    }
    let is_url = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
    for (file, uri) in [("fileData", "fileUri"), ("file_data", "file_uri")] {
        let url = part.get(file).and_then(|file| string_at(file, uri));
        if url.filter(is_url).is_some() {
            return Some(ImageLocation::Url(format!("{pointer}/{file}/{uri}")));
        }
    }
    None
}

/// `subject` is what the safety system refused.
fn blocked_error(subject: &str, reason: &str, explanation: &str) -> Error {
    let code = truncate(reason, MAX_NAME_BYTES);
    let message = format!("the upstream's safety system refused {subject} ({code}){explanation}");
    Error::new(ErrorKind::Blocked, message).with_code(code)
}

/// The suffix `: <message> (categories: …)`, as far as the upstream explains its reason.
fn explain(value: &Value, message_key: &str) -> String {
    let categories: Vec<&str> = array_at(value, "safetyRatings")
        .iter()
        .filter(|rating| value_at(rating, "blocked") == Some(&Value::Bool(true)))
        .filter_map(|rating| string_at(rating, "category"))
        .collect();
    let mut explanation = String::new();
    if let Some(message) = string_at(value, message_key) {
        explanation.push_str(&format!(": {message}"));
    }
    if !categories.is_empty() {
        explanation.push_str(&format!(" (categories: {})", categories.join(", ")));
    }
    truncate(&explanation, MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ResponseSummary;
    use super::super::tests::{check_images, messages, read_response, recorded};
    use super::*;
    use crate::method::Method;

    fn check_content(body: &Value, pointers: &[&str]) -> ResponseSummary {
        check_images(Method::GenerateContent, body, pointers)
    }

    fn check_error(body: &Value, expected: Error) {
        let response = read_response(Method::GenerateContent, std::slice::from_ref(body));
        let error = response.error();
        assert_eq!(error.kind, expected.kind, "{}", error.message);
        assert_eq!(error.code, expected.code);
        assert_eq!(error.message, expected.message);
    }

    #[test]
    fn reader_locates_images_and_collects_caption() {
        let summary = check_content(
            &recorded!("../../../testdata/success.json"),
            &["/candidates/0/content/parts/1/inlineData/data"],
        );
        assert_eq!(summary.caption, "Here is your image.");
        let two = recorded!("../../../testdata/success-two.json");
        check_content(
            &two,
            &[
                "/candidates/0/content/parts/0/inlineData/data",
                "/candidates/0/content/parts/1/inlineData/data",
            ],
        );
        check_content(
            &recorded!("../../../testdata/success-snake-case.json"),
            &["/candidates/0/content/parts/0/inline_data/data"],
        );
        let stream_as_array = json!([{}, two]);
        check_content(
            &stream_as_array,
            &[
                "/1/candidates/0/content/parts/0/inlineData/data",
                "/1/candidates/0/content/parts/1/inlineData/data",
            ],
        );
    }

    #[test]
    fn reader_skips_thoughts() {
        let summary = check_content(
            &recorded!("../../../testdata/success-thought.json"),
            &["/candidates/0/content/parts/2/inlineData/data"],
        );
        assert_eq!(summary.caption, "");
    }

    #[test]
    fn reader_reports_blocked_candidate_next_to_image() {
        let summary = check_content(
            &recorded!("../../../testdata/success-some-blocked.json"),
            &["/candidates/0/content/parts/0/inlineData/data"],
        );
        let message = "the upstream's safety system refused the image (IMAGE_SAFETY)";
        assert_eq!(messages(&summary), [message]);
    }

    #[test]
    fn reader_accepts_only_http_urls_of_files() {
        let read_file = |uri: &str| {
            let part = json!({"fileData": {"mimeType": "image/png", "fileUri": uri}});
            let body = json!({"candidates": [{"content": {"parts": [part]}}]});
            read_response(Method::GenerateContent, &[body])
        };
        let response = read_file("https://x.example/a");
        let url = ImageLocation::Url("/candidates/0/content/parts/0/fileData/fileUri".into());
        assert_eq!(response.locations, [url]);
        assert!(response.result.is_ok());
        assert!(read_file("gs://bucket/a").result.is_err());
    }

    #[test]
    fn reader_explains_blocked_prompt_and_image() {
        let blocked = |code: &str, message: &str| {
            let text = format!("the upstream's safety system refused {message}");
            Error::new(ErrorKind::Blocked, text).with_code(code)
        };
        check_error(
            &recorded!("../../../testdata/blocked-prompt.json"),
            blocked("PROHIBITED_CONTENT", "the prompt (PROHIBITED_CONTENT)"),
        );
        check_error(
            &recorded!("../../../testdata/blocked-image.json"),
            blocked(
                "IMAGE_SAFETY",
                "the image (IMAGE_SAFETY): Unable to show the generated image.",
            ),
        );
        check_error(
            &recorded!("../../../testdata/blocked-no-content.json"),
            blocked("PROHIBITED_CONTENT", "the image (PROHIBITED_CONTENT)"),
        );
        let rated = json!({"candidates": [{"finishReason": "SAFETY", "safetyRatings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
            {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "blocked": true},
        ]}]});
        check_error(
            &rated,
            blocked(
                "SAFETY",
                "the image (SAFETY) (categories: HARM_CATEGORY_SEXUALLY_EXPLICIT)",
            ),
        );
        for reason in BLOCKING_REASONS {
            let body = json!({"candidates": [{"finishReason": reason}]});
            let error = read_response(Method::GenerateContent, &[body]).error();
            assert_eq!(error.kind, ErrorKind::Blocked, "{reason}");
        }
    }

    #[test]
    fn reader_reports_reason_and_text_without_image() {
        let no_image = |code: &str, explanation: &str| {
            let message = format!("the upstream returned no image ({code}){explanation}");
            Error::protocol(message).with_code(code)
        };
        check_error(
            &recorded!("../../../testdata/no-image.json"),
            no_image("NO_IMAGE", ""),
        );
        check_error(
            &recorded!("../../../testdata/no-image-text.json"),
            no_image("STOP", ", only text: I cannot create that image."),
        );
        check_error(
            &recorded!("../../../testdata/no-image-tokens.json"),
            no_image("MAX_TOKENS", ", only text: ..."),
        );
        let unknown_reason =
            json!({"candidates": [{"finishReason": "A_NEW_REASON", "finishMessage": "so"}]});
        check_error(&unknown_reason, no_image("A_NEW_REASON", ": so"));
        for (body, outline) in [
            (json!({}), "an empty object"),
            (json!(null), "null"),
            (json!([]), "an empty list"),
            (json!([1, [{}]]), "a list of the value 1"),
            (json!({"candidates": []}), "an empty list in candidates"),
            (
                json!({"candidates": [null, 7, {"content": {}}, {"content": {"parts": [null]}}]}),
                "a list in candidates of null",
            ),
            (
                json!({"candidates": [{"content": {"parts": [{"inlineData": {"data": 5}}]}}]}),
                "a list in candidates of JSON with the keys content",
            ),
        ] {
            let message =
                format!("the upstream reported success but returned no image: it sent {outline}");
            check_error(&body, Error::protocol(message));
        }
        let error_object = json!({"error": {"message": "busy"}});
        check_error(&error_object, Error::protocol("busy"));
        check_error(&json!({"error": "busy"}), Error::protocol("busy"));
    }
}
