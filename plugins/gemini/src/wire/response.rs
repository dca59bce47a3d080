//! Responses with status 200. They may still hold no image.

mod candidates;
mod predictions;

use pinhole_sdk::outline::describe_json;
use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ImageLocation, Refusal};
use serde_json::{Value, json};

use super::usage::Usage;
use super::{
    MAX_MESSAGE_BYTES, MAX_NAME_BYTES, RequestTarget, string_at, upstream_error, value_at,
};
use crate::method::Method;

/// Images in one response. No request asks for this many.
const MAX_IMAGES: usize = 100;
/// Errors that are collected from one response.
const MAX_ERRORS: usize = 10;
/// The status for an error object without an HTTP status.
const SUCCESS: u16 = 200;

/// Reads a response, which may consist of several documents: the events of a stream.
#[derive(Debug)]
pub(crate) struct ResponseReader<'a> {
    target: &'a RequestTarget,
    image_count: usize,
    /// The first finish reason that does not block.
    finish_reason: Option<FinishReason>,
    /// What the first document without an image is.
    outline: Option<String>,
    pub(super) summary: ResponseSummary,
}

/// What a response reports in addition to its images.
#[derive(Debug, Default)]
pub(crate) struct ResponseSummary {
    /// The model's text next to its images, truncated.
    pub(super) caption: String,
    /// Why images are missing, in the order of the response. Other images may exist.
    pub(super) errors: Vec<Error>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) usage: Option<Usage>,
}

#[derive(Debug)]
struct FinishReason {
    /// Such as `STOP`.
    code: String,
    /// The upstream's explanation as a suffix of a message; may be empty.
    explanation: String,
}

impl<'a> ResponseReader<'a> {
    pub(crate) fn new(target: &'a RequestTarget) -> Self {
        Self {
            target,
            image_count: 0,
            finish_reason: None,
            outline: None,
            summary: ResponseSummary::default(),
        }
    }

    /// Reads the next document and locates its images. A stream that is not requested as events is
    /// one document: an array of the objects that the events would hold.
    ///
    /// Fails if the response has more than [`MAX_IMAGES`] images.
    pub(crate) fn read_document(&mut self, document: &Value) -> Result<Vec<ImageLocation>, Error> {
        let mut locations = Vec::new();
        match document {
            Value::Array(chunks) => {
                for (index, chunk) in chunks.iter().enumerate() {
                    self.read_chunk(&format!("/{index}"), chunk, &mut locations);
                }
            }
            chunk => self.read_chunk("", chunk, &mut locations),
        }
        if locations.is_empty() && self.outline.is_none() {
            self.outline = Some(describe_json(document));
        }
        self.image_count += locations.len();
        if self.image_count > MAX_IMAGES {
            return Err(Error::protocol(format!(
                "the upstream returned {} images in one response, more than the limit of \
                 {MAX_IMAGES}",
                self.image_count
            )));
        }
        Ok(locations)
    }

    /// The summary of the whole response. A response without an image is an error with the reason.
    pub(crate) fn finish(self) -> Result<ResponseSummary, Error> {
        if self.image_count > 0 {
            return Ok(self.summary);
        }
        let missing_image = self.missing_image_error();
        let first_error = self.summary.errors.into_iter().next();
        Err(first_error.unwrap_or(missing_image))
    }

    fn read_chunk(&mut self, pointer: &str, chunk: &Value, locations: &mut Vec<ImageLocation>) {
        let name = |key| string_at(chunk, key).map(|name| truncate(name, MAX_NAME_BYTES));
        let summary = &mut self.summary;
        summary.model_version = summary
            .model_version
            .take()
            .or_else(|| name("modelVersion"));
        summary.response_id = summary.response_id.take().or_else(|| name("responseId"));
        // The counts of a chunk include those of the chunks before it.
        let usage = value_at(chunk, "usageMetadata").and_then(Usage::from_json);
        summary.usage = usage.or(summary.usage);
        let has = |key| chunk.get(key).is_some();
        // Some gateways translate the method, and not the response.
        match self.target.method {
            Method::Predict if has("candidates") && !has("predictions") => {
                self.read_candidates(pointer, chunk, locations);
            }
            Method::Predict => self.read_predictions(pointer, chunk, locations),
            Method::GenerateContent | Method::StreamGenerateContent if has("predictions") => {
                self.read_predictions(pointer, chunk, locations);
            }
            Method::GenerateContent | Method::StreamGenerateContent => {
                self.read_candidates(pointer, chunk, locations);
            }
        }
        self.read_error(chunk);
    }

    /// Reads an error that follows the response's head, in place of a candidate.
    fn read_error(&mut self, chunk: &Value) {
        let Some(error) = value_at(chunk, "error") else {
            return;
        };
        let status = value_at(error, "code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .filter(|status| (400..600).contains(status));
        let refusal = Refusal {
            status: status.unwrap_or(SUCCESS),
            json: Some(json!({"error": error})),
            text: String::new(),
            retry_after_ms: None,
            request_id: None,
        };
        self.push_error(upstream_error(&refusal, Some(self.target)));
    }

    fn push_error(&mut self, error: Error) {
        if self.summary.errors.len() < MAX_ERRORS {
            self.summary.errors.push(error);
        }
    }

    /// Appends text of the model. A stream splits it into pieces.
    fn push_caption(&mut self, text: &str) {
        let caption = &mut self.summary.caption;
        if caption.len() < MAX_MESSAGE_BYTES {
            *caption = truncate(&format!("{caption}{text}"), MAX_MESSAGE_BYTES);
        }
    }

    fn missing_image_error(&self) -> Error {
        let caption = &self.summary.caption;
        let explanation = match &self.finish_reason {
            _ if !caption.is_empty() => format!(", only text: {caption}"),
            Some(reason) => reason.explanation.clone(),
            None => match &self.outline {
                Some(outline) => format!(": it sent {outline}"),
                None => String::new(),
            },
        };
        match &self.finish_reason {
            Some(FinishReason { code, .. }) => {
                let message = format!("the upstream returned no image ({code}){explanation}");
                Error::protocol(message).with_code(code)
            }
            None => Error::protocol(format!(
                "the upstream reported success but returned no image{explanation}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;

    /// A recorded response from `testdata`.
    macro_rules! recorded {
        ($path:literal) => {
            serde_json::from_str::<Value>(include_str!($path)).unwrap()
        };
    }
    pub(super) use recorded;

    /// The images of a response, and its summary or error.
    pub(super) struct ReadResponse {
        pub(super) locations: Vec<ImageLocation>,
        pub(super) result: Result<ResponseSummary, Error>,
    }

    impl ReadResponse {
        pub(super) fn error(self) -> Error {
            self.result.unwrap_err()
        }
    }

    /// Reads the documents of one response.
    pub(super) fn read_response(method: Method, documents: &[Value]) -> ReadResponse {
        let target = RequestTarget {
            model: "x".into(),
            method,
            is_edit: false,
        };
        let mut reader = ResponseReader::new(&target);
        let mut locations = Vec::new();
        for document in documents {
            match reader.read_document(document) {
                Ok(more) => locations.extend(more),
                Err(error) => {
                    return ReadResponse {
                        locations,
                        result: Err(error),
                    };
                }
            }
        }
        ReadResponse {
            locations,
            result: reader.finish(),
        }
    }

    /// Checks that a response has images at exactly these pointers.
    pub(super) fn check_images(method: Method, body: &Value, pointers: &[&str]) -> ResponseSummary {
        for pointer in pointers {
            assert!(body.pointer(pointer).is_some(), "{pointer}");
        }
        let expected: Vec<ImageLocation> = pointers
            .iter()
            .map(|pointer| ImageLocation::Pointer((*pointer).into()))
            .collect();
        let response = read_response(method, std::slice::from_ref(body));
        assert_eq!(response.locations, expected);
        response.result.unwrap()
    }

    pub(super) fn messages(summary: &ResponseSummary) -> Vec<&str> {
        let errors = summary.errors.iter();
        errors.map(|error| error.message.as_str()).collect()
    }

    #[test]
    fn reader_joins_events_of_stream() {
        let chunk = |parts: Value, tokens: u64| {
            json!({
                "candidates": [{"content": {"parts": parts}}],
                "usageMetadata": {"totalTokenCount": tokens}, "responseId": "r1",
            })
        };
        let image = json!({"inlineData": {"data": "AAAA"}});
        let chunks = [
            chunk(json!([{"text": "Here is "}]), 10),
            chunk(json!([{"text": "your image."}, image]), 30),
        ];
        let response = read_response(Method::StreamGenerateContent, &chunks);
        let pointer = "/candidates/0/content/parts/1/inlineData/data".to_owned();
        assert_eq!(response.locations, [ImageLocation::Pointer(pointer)]);
        let summary = response.result.unwrap();
        assert_eq!(summary.caption, "Here is your image.");
        assert_eq!(summary.response_id.as_deref(), Some("r1"));
        assert_eq!(summary.usage.unwrap().total_tokens, 30);
    }

    #[test]
    fn reader_classifies_error_inside_response() {
        let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}});
        let text = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}}]});
        let stream = [text, error.clone()];
        let response = read_response(Method::StreamGenerateContent, &stream);
        assert_eq!(response.error().kind, ErrorKind::Unavailable);
        let mut success = recorded!("../../testdata/success.json");
        success["error"] = error["error"].clone();
        let summary = check_images(
            Method::GenerateContent,
            &success,
            &["/candidates/0/content/parts/1/inlineData/data"],
        );
        assert_eq!(messages(&summary), ["busy"]);
    }

    #[test]
    fn reader_rejects_more_than_max_images() {
        let body = |count| {
            let parts = vec![json!({"inlineData": {"data": "AAAA"}}); count];
            json!({"candidates": [{"content": {"parts": parts}}]})
        };
        let error_kind = |documents: &[Value]| {
            let response = read_response(Method::StreamGenerateContent, documents);
            response.result.err().map(|error| error.kind)
        };
        assert_eq!(error_kind(&[body(MAX_IMAGES)]), None);
        let too_many = Some(ErrorKind::Protocol);
        assert_eq!(error_kind(&[body(MAX_IMAGES + 1)]), too_many);
        assert_eq!(error_kind(&[body(MAX_IMAGES), body(1)]), too_many);
    }
}
