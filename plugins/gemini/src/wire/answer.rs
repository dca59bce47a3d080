//! What an answer of status 200 holds, which is not always a picture.

use pinhole_sdk::{Error, ErrorKind};
use serde::Serialize;
use serde_json::Value;

use super::{MAX_COUNT, Method, cut, field, list, text};

/// Of an upstream's words in a message, in bytes.
const MAX_MESSAGE: usize = 1000;
/// Of an upstream's code, name or id, in bytes.
const MAX_NAME: usize = 100;
/// Of the texts in one answer.
const MAX_TEXTS: usize = 50;
/// Of the notes on one answer.
const MAX_NOTES: usize = 10;
/// Reasons to end that mean that a safety system or a policy held the picture back.
const BLOCKING: [&str; 12] = [
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

/// Where a picture of an answer is.
#[derive(Debug, PartialEq)]
pub(crate) enum Place {
    /// Its base64 stands at this JSON pointer.
    Pointer(String),
    /// It has to be fetched.
    Address(String),
}

/// What an answer says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// In the upstream's order; never empty, and never more than [`MAX_COUNT`].
    pub(crate) places: Vec<Place>,
    /// What the model said beside its pictures.
    pub(crate) caption: Option<String>,
    /// Pictures that were held back, with the reason.
    pub(crate) notes: Vec<String>,
    pub(crate) model_version: Option<String>,
    pub(crate) response_id: Option<String>,
    pub(crate) usage: Option<Usage>,
}

/// In tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

/// What a successful answer holds. An answer without a picture is an error that says why.
pub(crate) fn read(method: Method, answer: &Value) -> Result<Reading, Error> {
    let named = |key| text(answer, key).map(|name| cut(name, MAX_NAME));
    let reading = match method {
        Method::GenerateContent => read_content(answer)?,
        Method::Predict => read_predictions(answer)?,
    };
    Ok(Reading {
        model_version: named("modelVersion"),
        response_id: named("responseId"),
        usage: field(answer, "usageMetadata").and_then(Usage::read),
        ..reading
    })
}

/// All parts of all candidates. A part marked as thought holds a draft, not the picture.
fn read_content(answer: &Value) -> Result<Reading, Error> {
    let candidates = list(answer, "candidates");
    let mut reading = Reading::default();
    let mut texts = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let content = field(candidate, "content").unwrap_or(&Value::Null);
        for (part_index, part) in list(content, "parts").iter().enumerate() {
            if field(part, "thought") == Some(&Value::Bool(true)) {
                continue;
            }
            texts.extend(text(part, "text"));
            let parent = format!("/candidates/{index}/content/parts/{part_index}");
            reading.places.extend(place(&parent, part));
        }
        if let Some(reason) = blocking(candidate) {
            reading.notes.push(format!("one was held back: {reason}"));
        }
    }
    texts.truncate(MAX_TEXTS);
    reading.places.truncate(MAX_COUNT as usize);
    reading.notes.truncate(MAX_NOTES);
    reading.caption = (!texts.is_empty()).then(|| cut(&texts.join("\n"), MAX_MESSAGE));
    if reading.places.is_empty() {
        return Err(without_picture(answer, reading.caption.as_deref()));
    }
    Ok(reading)
}

fn place(parent: &str, part: &Value) -> Option<Place> {
    for key in ["inlineData", "inline_data"] {
        let Some(inline) = part.get(key) else {
            continue;
        };
        let image = text(inline, "mimeType").is_none_or(|kind| kind.starts_with("image/"));
        if image && text(inline, "data").is_some() {
            return Some(Place::Pointer(format!("{parent}/{key}/data")));
        }
    }
    let address = text(field(part, "fileData")?, "fileUri")?;
    let web = address.starts_with("https://") || address.starts_with("http://");
    web.then(|| Place::Address(address.into()))
}

fn reason(candidate: &Value) -> Option<&str> {
    text(candidate, "finishReason")
}

fn blocking(candidate: &Value) -> Option<&str> {
    reason(candidate).filter(|reason| BLOCKING.contains(reason))
}

/// Why there is no picture, in the order in which the API can be asked: the prompt, the
/// candidates, the words they hold instead.
fn without_picture(answer: &Value, caption: Option<&str>) -> Error {
    let feedback = field(answer, "promptFeedback").unwrap_or(&Value::Null);
    if let Some(reason) = text(feedback, "blockReason") {
        let words = explained(feedback, "blockReasonMessage");
        return blocked("the prompt", reason, &words);
    }
    let candidates = list(answer, "candidates");
    let held_back = candidates
        .iter()
        .find_map(|candidate| Some((candidate, blocking(candidate)?)));
    if let Some((candidate, reason)) = held_back {
        let words = explained(candidate, "finishMessage");
        return blocked("the image", reason, &words);
    }
    let ended = candidates
        .iter()
        .find_map(|candidate| Some((candidate, reason(candidate)?)));
    let words = match (caption, ended) {
        (Some(caption), _) => format!(", but words: {caption}"),
        (None, Some((candidate, _))) => explained(candidate, "finishMessage"),
        (None, None) => field(answer, "error")
            .map(|error| explained(error, "message"))
            .unwrap_or_default(),
    };
    let Some((_, reason)) = ended else {
        return Error::protocol(format!(
            "the upstream said success but gave no image{words}"
        ));
    };
    let reason = cut(reason, MAX_NAME);
    Error::protocol(format!("the upstream gave no image ({reason}){words}")).with_code(reason)
}

fn blocked(what: &str, reason: &str, words: &str) -> Error {
    let reason = cut(reason, MAX_NAME);
    let message = format!("the upstream's safety system refused {what} ({reason}){words}");
    Error::new(ErrorKind::Blocked, message).with_code(reason)
}

/// `: <words> (categories: …)`, as far as the upstream said more than a reason.
fn explained(value: &Value, key: &str) -> String {
    let words = text(value, key).map(|words| format!(": {words}"));
    let categories: Vec<&str> = list(value, "safetyRatings")
        .iter()
        .filter(|rating| field(rating, "blocked") == Some(&Value::Bool(true)))
        .filter_map(|rating| text(rating, "category"))
        .collect();
    let categories =
        (!categories.is_empty()).then(|| format!(" (categories: {})", categories.join(", ")));
    let both: String = words.into_iter().chain(categories).collect();
    cut(&both, MAX_MESSAGE)
}

/// The pictures of a list in which filtered ones are missing, or replaced by a reason.
fn read_predictions(answer: &Value) -> Result<Reading, Error> {
    let predictions = list(answer, "predictions");
    let bytes = |(index, prediction): (usize, &Value)| {
        let key = ["bytesBase64Encoded", "bytes_base64_encoded"]
            .into_iter()
            .find(|key| prediction.get(key).is_some_and(Value::is_string))?;
        Some(Place::Pointer(format!("/predictions/{index}/{key}")))
    };
    let places: Vec<Place> = predictions
        .iter()
        .enumerate()
        .filter_map(bytes)
        .take(MAX_COUNT as usize)
        .collect();
    let reasons: Vec<String> = predictions
        .iter()
        .filter_map(|prediction| text(prediction, "raiFilteredReason"))
        .take(MAX_NOTES)
        .map(|reason| cut(reason, MAX_MESSAGE))
        .collect();
    if !places.is_empty() {
        return Ok(Reading {
            places,
            notes: reasons,
            ..Reading::default()
        });
    }
    match reasons.into_iter().next() {
        Some(reason) => Err(Error::new(ErrorKind::Blocked, reason)),
        None if answer.is_object() && predictions.is_empty() => Err(Error::new(
            ErrorKind::Blocked,
            "the upstream's safety system left out every image",
        )),
        None => Err(Error::protocol(
            "the upstream said success but gave no image",
        )),
    }
}

impl Usage {
    fn read(usage: &Value) -> Option<Self> {
        let count = |key| field(usage, key).and_then(Value::as_u64).unwrap_or(0);
        let read = Self {
            input_tokens: count("promptTokenCount"),
            output_tokens: count("candidatesTokenCount"),
            total_tokens: count("totalTokenCount"),
        };
        (read != Self::default()).then_some(read)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            serde_json::from_str::<Value>(include_str!(concat!("../../testdata/", $name, ".json")))
                .unwrap()
        };
    }

    fn check(method: Method, answer: &Value, pointers: &[&str]) -> Reading {
        let reading = read(method, answer).unwrap();
        let expected: Vec<Place> = pointers
            .iter()
            .map(|pointer| Place::Pointer((*pointer).into()))
            .collect();
        assert_eq!(reading.places, expected);
        for pointer in pointers {
            assert!(answer.pointer(pointer).is_some(), "{pointer}");
        }
        reading
    }

    fn check_content(answer: &Value, pointers: &[&str]) -> Reading {
        check(Method::GenerateContent, answer, pointers)
    }

    #[test]
    fn pictures_and_words_are_read() {
        let reading = check_content(
            &recorded!("success"),
            &["/candidates/0/content/parts/1/inlineData/data"],
        );
        assert_eq!(reading.caption.as_deref(), Some("Here is your image."));
        check_content(
            &recorded!("success-two"),
            &[
                "/candidates/0/content/parts/0/inlineData/data",
                "/candidates/0/content/parts/1/inlineData/data",
            ],
        );
        check_content(
            &recorded!("success-snake-case"),
            &["/candidates/0/content/parts/0/inline_data/data"],
        );
    }

    #[test]
    fn a_draft_is_not_the_picture() {
        let reading = check_content(
            &recorded!("success-thought"),
            &["/candidates/0/content/parts/2/inlineData/data"],
        );
        assert_eq!(reading.caption, None);
    }

    #[test]
    fn a_candidate_that_was_held_back_is_noted() {
        let reading = check_content(
            &recorded!("success-some-blocked"),
            &["/candidates/0/content/parts/0/inlineData/data"],
        );
        assert_eq!(reading.notes, ["one was held back: IMAGE_SAFETY"]);
    }

    #[test]
    fn a_file_is_taken_by_its_address_if_that_is_one() {
        let answer = |uri: &str| {
            let part = json!({"fileData": {"mimeType": "image/png", "fileUri": uri}});
            json!({"candidates": [{"content": {"parts": [part]}}]})
        };
        let reading = read(Method::GenerateContent, &answer("https://x.example/a")).unwrap();
        let address = Place::Address("https://x.example/a".into());
        assert_eq!(reading.places, [address]);
        assert!(read(Method::GenerateContent, &answer("gs://bucket/a")).is_err());
    }

    #[test]
    fn no_more_pictures_are_read_than_a_job_may_ask_for() {
        let parts = vec![json!({"inlineData": {"data": "AAAA"}}); 50];
        let answer = json!({"candidates": [{"content": {"parts": parts}}]});
        let reading = read(Method::GenerateContent, &answer).unwrap();
        assert_eq!(reading.places.len(), MAX_COUNT as usize);
    }

    fn check_none(answer: &Value, kind: ErrorKind, code: Option<&str>, message: &str) {
        let error = read(Method::GenerateContent, answer).unwrap_err();
        assert_eq!(error.kind, kind, "{}", error.message);
        assert_eq!(error.code.as_deref(), code);
        assert_eq!(error.message, message);
    }

    #[test]
    fn what_was_blocked_says_where_and_why() {
        use ErrorKind::Blocked;
        check_none(
            &recorded!("blocked-prompt"),
            Blocked,
            Some("PROHIBITED_CONTENT"),
            "the upstream's safety system refused the prompt (PROHIBITED_CONTENT)",
        );
        check_none(
            &recorded!("blocked-image"),
            Blocked,
            Some("IMAGE_SAFETY"),
            "the upstream's safety system refused the image (IMAGE_SAFETY): Unable to show the \
             generated image.",
        );
        check_none(
            &recorded!("blocked-no-content"),
            Blocked,
            Some("PROHIBITED_CONTENT"),
            "the upstream's safety system refused the image (PROHIBITED_CONTENT)",
        );
        let rated = json!({"candidates": [{"finishReason": "SAFETY", "safetyRatings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
            {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "blocked": true},
        ]}]});
        check_none(
            &rated,
            Blocked,
            Some("SAFETY"),
            "the upstream's safety system refused the image (SAFETY) (categories: \
             HARM_CATEGORY_SEXUALLY_EXPLICIT)",
        );
        for reason in BLOCKING {
            let answer = json!({"candidates": [{"finishReason": reason}]});
            let error = read(Method::GenerateContent, &answer).unwrap_err();
            assert_eq!(error.kind, Blocked, "{reason}");
        }
    }

    #[test]
    fn other_answers_without_a_picture_keep_their_reason_and_words() {
        use ErrorKind::Protocol;
        check_none(
            &recorded!("no-image"),
            Protocol,
            Some("NO_IMAGE"),
            "the upstream gave no image (NO_IMAGE)",
        );
        check_none(
            &recorded!("no-image-words"),
            Protocol,
            Some("STOP"),
            "the upstream gave no image (STOP), but words: I cannot create that image.",
        );
        check_none(
            &recorded!("no-image-tokens"),
            Protocol,
            Some("MAX_TOKENS"),
            "the upstream gave no image (MAX_TOKENS), but words: ...",
        );
        let new = json!({"candidates": [{"finishReason": "A_NEW_REASON", "finishMessage": "so"}]});
        check_none(
            &new,
            Protocol,
            Some("A_NEW_REASON"),
            "the upstream gave no image (A_NEW_REASON): so",
        );
        let nothing = "the upstream said success but gave no image";
        for answer in [
            json!({}),
            json!(null),
            json!([1]),
            json!({"candidates": []}),
            json!({"candidates": [null, 7, {"content": {}}, {"content": {"parts": [null]}}]}),
            json!({"candidates": [{"content": {"parts": [{"inlineData": {"data": 5}}]}}]}),
        ] {
            check_none(&answer, Protocol, None, nothing);
        }
        let failed = json!({"error": {"message": "busy"}});
        check_none(&failed, Protocol, None, &format!("{nothing}: busy"));
    }

    #[test]
    fn predictions_are_read() {
        let reading = check(
            Method::Predict,
            &recorded!("predictions"),
            &[
                "/predictions/0/bytesBase64Encoded",
                "/predictions/2/bytesBase64Encoded",
            ],
        );
        assert_eq!(reading.notes, ["Filtered. Support codes: 29310472"]);
    }

    fn check_no_prediction(answer: Value, kind: ErrorKind, words: &str) {
        let error = read(Method::Predict, &answer).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn predictions_that_were_all_filtered_are_blocked() {
        use ErrorKind::{Blocked, Protocol};
        check_no_prediction(json!({}), Blocked, "left out every image");
        check_no_prediction(json!({"predictions": []}), Blocked, "left out every image");
        let reason = json!({"predictions": [{"raiFilteredReason": "Support codes: 1"}]});
        check_no_prediction(reason, Blocked, "Support codes: 1");
        let odd = json!({"predictions": [{}, null, {"bytesBase64Encoded": 5}]});
        check_no_prediction(odd, Protocol, "gave no image");
        check_no_prediction(json!("x"), Protocol, "gave no image");
    }
}
