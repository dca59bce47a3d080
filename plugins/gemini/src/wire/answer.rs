//! What an answer of status 200 holds, which is not always a picture.

use pinhole_sdk::words::cut;
use pinhole_sdk::{Error, ErrorKind, Place, Refusal};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Asked, MAX_MESSAGE, MAX_NAME, field, list, refused, text};
use crate::settings::Method;

/// Pictures in one answer; more is no answer to a request of ours.
const MAX_PICTURES: usize = 100;
/// Refusals that one answer is heard out for.
const MAX_REFUSALS: usize = 10;
/// The status of an answer that reads like one of success.
const SUCCESS: u16 = 200;
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

/// What an answer says, which may come in several documents: the events of a stream.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    asked: &'a Asked,
    pictures: usize,
    /// What the model said beside its pictures, cut.
    pub(super) said: String,
    /// Why pictures did not come, in the order of the answer; some may have come all the same.
    pub(super) refusals: Vec<Error>,
    /// The reason to end of a candidate that was not refused, and the upstream's words on it.
    ended: Option<(String, String)>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// In tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

impl<'a> Reading<'a> {
    /// Of an answer to what was asked.
    pub(crate) fn new(asked: &'a Asked) -> Self {
        Self {
            asked,
            pictures: 0,
            said: String::new(),
            refusals: Vec::new(),
            ended: None,
            model_version: None,
            response_id: None,
            usage: None,
        }
    }

    /// Reads the answer's next document and says where its pictures are. A stream that is not asked
    /// for as events is one list of what the events would be.
    ///
    /// Fails where there are more pictures than anybody asked for.
    pub(crate) fn read(&mut self, document: &Value) -> Result<Vec<Place>, Error> {
        let mut places = Vec::new();
        match document {
            Value::Array(chunks) => {
                for (index, chunk) in chunks.iter().enumerate() {
                    self.read_chunk(&format!("/{index}"), chunk, &mut places);
                }
            }
            chunk => self.read_chunk("", chunk, &mut places),
        }
        self.pictures += places.len();
        if self.pictures > MAX_PICTURES {
            return Err(Error::protocol(format!(
                "the upstream's one answer has {} images, which nobody asked for",
                self.pictures
            )));
        }
        Ok(places)
    }

    /// The whole answer. One without a picture is an error that says why.
    pub(crate) fn finish(mut self) -> Result<Self, Error> {
        if self.pictures > 0 {
            return Ok(self);
        }
        if !self.refusals.is_empty() {
            return Err(self.refusals.swap_remove(0));
        }
        Err(self.without_picture())
    }

    fn read_chunk(&mut self, parent: &str, chunk: &Value, places: &mut Vec<Place>) {
        let named = |key| text(chunk, key).map(|name| cut(name, MAX_NAME));
        self.model_version = self.model_version.take().or_else(|| named("modelVersion"));
        self.response_id = self.response_id.take().or_else(|| named("responseId"));
        // Each chunk counts what came before it too.
        let usage = field(chunk, "usageMetadata").and_then(Usage::read);
        self.usage = usage.or(self.usage);
        match self.asked.method {
            Method::Predict => self.read_predictions(parent, chunk, places),
            Method::GenerateContent | Method::StreamGenerateContent => {
                self.read_content(parent, chunk, places);
            }
        }
        self.read_error(chunk);
    }

    /// All parts of all candidates. A part marked as thought holds a draft, not the picture.
    fn read_content(&mut self, parent: &str, chunk: &Value, places: &mut Vec<Place>) {
        let feedback = field(chunk, "promptFeedback").unwrap_or(&Value::Null);
        if let Some(reason) = text(feedback, "blockReason") {
            let words = explained(feedback, "blockReasonMessage");
            self.refuse(blocked("the prompt", reason, &words));
        }
        for (index, candidate) in list(chunk, "candidates").iter().enumerate() {
            let content = field(candidate, "content").unwrap_or(&Value::Null);
            for (part_index, part) in list(content, "parts").iter().enumerate() {
                if field(part, "thought") == Some(&Value::Bool(true)) {
                    continue;
                }
                if let Some(words) = text(part, "text") {
                    self.say(words);
                }
                let parent = format!("{parent}/candidates/{index}/content/parts/{part_index}");
                places.extend(place(&parent, part));
            }
            let Some(reason) = text(candidate, "finishReason") else {
                continue;
            };
            let words = explained(candidate, "finishMessage");
            if BLOCKING.contains(&reason) {
                self.refuse(blocked("the image", reason, &words));
            } else if self.ended.is_none() {
                self.ended = Some((cut(reason, MAX_NAME), words));
            }
        }
    }

    /// The pictures of a list in which filtered ones are missing, or replaced by a reason.
    fn read_predictions(&mut self, parent: &str, chunk: &Value, places: &mut Vec<Place>) {
        let predictions = list(chunk, "predictions");
        for (index, prediction) in predictions.iter().enumerate() {
            let written = |key: &&str| prediction.get(key).is_some_and(Value::is_string);
            let keys = ["bytesBase64Encoded", "bytes_base64_encoded"];
            if let Some(key) = keys.iter().find(|key| written(key)) {
                let pointer = format!("{parent}/predictions/{index}/{key}");
                places.push(Place::Pointer(pointer));
            }
            if let Some(reason) = text(prediction, "raiFilteredReason") {
                self.refuse(Error::new(ErrorKind::Blocked, cut(reason, MAX_MESSAGE)));
            }
        }
        if chunk.is_object() && predictions.is_empty() && field(chunk, "error").is_none() {
            let message = "the upstream's safety system left out every image";
            self.refuse(Error::new(ErrorKind::Blocked, message));
        }
    }

    /// What went wrong after the head was sent: it stands where a candidate would.
    fn read_error(&mut self, chunk: &Value) {
        let Some(error) = field(chunk, "error") else {
            return;
        };
        let code = field(error, "code").and_then(Value::as_u64);
        let status = code.and_then(|code| u16::try_from(code).ok());
        let failure = status.filter(|status| (400..600).contains(status));
        let refusal = Refusal {
            status: failure.unwrap_or(SUCCESS),
            json: Some(json!({"error": error})),
            text: String::new(),
            retry_after_ms: None,
            request_id: None,
        };
        self.refuse(refused(&refusal, Some(self.asked)));
    }

    fn refuse(&mut self, error: Error) {
        if self.refusals.len() < MAX_REFUSALS {
            self.refusals.push(error);
        }
    }

    /// Adds words of the model, which a stream brings in pieces.
    fn say(&mut self, words: &str) {
        if self.said.len() < MAX_MESSAGE {
            self.said = cut(&format!("{}{words}", self.said), MAX_MESSAGE);
        }
    }

    fn without_picture(&self) -> Error {
        let words = match (self.said.as_str(), &self.ended) {
            ("", Some((_, words))) => words.clone(),
            ("", None) => String::new(),
            (said, _) => format!(", but words: {said}"),
        };
        match &self.ended {
            Some((reason, _)) => {
                let message = format!("the upstream gave no image ({reason}){words}");
                Error::protocol(message).with_code(reason)
            }
            None => Error::protocol(format!(
                "the upstream said success but gave no image{words}"
            )),
        }
    }
}

fn place(parent: &str, part: &Value) -> Option<Place> {
    for key in ["inlineData", "inline_data"] {
        if part
            .get(key)
            .is_some_and(|inline| text(inline, "data").is_some())
        {
            return Some(Place::Pointer(format!("{parent}/{key}/data")));
        }
    }
    let address = text(field(part, "fileData")?, "fileUri")?;
    let web = address.starts_with("https://") || address.starts_with("http://");
    web.then(|| Place::Address(address.into()))
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
    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            serde_json::from_str::<Value>(include_str!(concat!("../../testdata/", $name, ".json")))
                .unwrap()
        };
    }

    fn asked(method: Method) -> Asked {
        Asked {
            model: "x".into(),
            method,
            editing: false,
        }
    }

    /// Reads the documents of one answer and hands the places and the rest to `check`.
    fn read<T>(
        method: Method,
        documents: &[Value],
        check: impl FnOnce(Vec<Place>, Result<Reading, Error>) -> T,
    ) -> T {
        let asked = asked(method);
        let mut reading = Reading::new(&asked);
        let mut places = Vec::new();
        for document in documents {
            match reading.read(document) {
                Ok(more) => places.extend(more),
                Err(error) => return check(places, Err(error)),
            }
        }
        check(places, reading.finish())
    }

    /// What was said, and why pictures did not come.
    fn check(method: Method, answer: &Value, pointers: &[&str]) -> (String, Vec<String>) {
        for pointer in pointers {
            assert!(answer.pointer(pointer).is_some(), "{pointer}");
        }
        let expected: Vec<Place> = pointers
            .iter()
            .map(|pointer| Place::Pointer((*pointer).into()))
            .collect();
        read(method, std::slice::from_ref(answer), |places, reading| {
            let reading = reading.unwrap();
            assert_eq!(places, expected);
            let refusals = reading.refusals.into_iter();
            (reading.said, refusals.map(|error| error.message).collect())
        })
    }

    fn check_content(answer: &Value, pointers: &[&str]) -> (String, Vec<String>) {
        check(Method::GenerateContent, answer, pointers)
    }

    #[test]
    fn pictures_and_words_are_read() {
        let (said, _) = check_content(
            &recorded!("success"),
            &["/candidates/0/content/parts/1/inlineData/data"],
        );
        assert_eq!(said, "Here is your image.");
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
        let whole_stream = json!([{}, recorded!("success-two")]);
        check_content(
            &whole_stream,
            &[
                "/1/candidates/0/content/parts/0/inlineData/data",
                "/1/candidates/0/content/parts/1/inlineData/data",
            ],
        );
    }

    #[test]
    fn a_draft_is_not_the_picture() {
        let (said, _) = check_content(
            &recorded!("success-thought"),
            &["/candidates/0/content/parts/2/inlineData/data"],
        );
        assert_eq!(said, "");
    }

    #[test]
    fn a_candidate_that_was_held_back_is_noted() {
        let (_, refusals) = check_content(
            &recorded!("success-some-blocked"),
            &["/candidates/0/content/parts/0/inlineData/data"],
        );
        let message = "the upstream's safety system refused the image (IMAGE_SAFETY)";
        assert_eq!(refusals, [message]);
    }

    #[test]
    fn a_stream_is_one_answer_in_pieces() {
        let chunk = |parts: Value, tokens: u64| {
            json!({
                "candidates": [{"content": {"parts": parts}}],
                "usageMetadata": {"totalTokenCount": tokens}, "responseId": "r1",
            })
        };
        let picture = json!({"inlineData": {"data": "AAAA"}});
        let chunks = [
            chunk(json!([{"text": "Here is "}]), 10),
            chunk(json!([{"text": "your image."}, picture]), 30),
        ];
        read(Method::StreamGenerateContent, &chunks, |places, reading| {
            let pointer = "/candidates/0/content/parts/1/inlineData/data".to_owned();
            assert_eq!(places, [Place::Pointer(pointer)]);
            let reading = reading.unwrap();
            assert_eq!(reading.said, "Here is your image.");
            assert_eq!(reading.response_id.as_deref(), Some("r1"));
            assert_eq!(reading.usage.unwrap().total_tokens, 30);
        });
    }

    #[test]
    fn what_fails_in_the_middle_of_a_stream_keeps_its_kind() {
        let error = json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}});
        let text = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}}]});
        let kind = |documents: &[Value]| {
            read(Method::StreamGenerateContent, documents, |_, reading| {
                reading.unwrap_err().kind
            })
        };
        assert_eq!(kind(&[text, error.clone()]), ErrorKind::Unavailable);
        let mut success = recorded!("success");
        success["error"] = error["error"].clone();
        let (_, refusals) =
            check_content(&success, &["/candidates/0/content/parts/1/inlineData/data"]);
        assert_eq!(refusals, ["busy"]);
    }

    #[test]
    fn a_file_is_taken_by_its_address_if_that_is_one() {
        let answer = |uri: &str| {
            let part = json!({"fileData": {"mimeType": "image/png", "fileUri": uri}});
            [json!({"candidates": [{"content": {"parts": [part]}}]})]
        };
        let method = Method::GenerateContent;
        read(method, &answer("https://x.example/a"), |places, reading| {
            assert_eq!(places, [Place::Address("https://x.example/a".into())]);
            assert!(reading.is_ok());
        });
        read(method, &answer("gs://bucket/a"), |_, reading| {
            assert!(reading.is_err());
        });
    }

    #[test]
    fn more_pictures_than_anybody_asked_for_are_no_answer() {
        let answer = |count| {
            let parts = vec![json!({"inlineData": {"data": "AAAA"}}); count];
            json!({"candidates": [{"content": {"parts": parts}}]})
        };
        let kind = |documents: &[Value]| {
            read(Method::StreamGenerateContent, documents, |_, reading| {
                reading.map(|_| ()).map_err(|error| error.kind)
            })
        };
        assert_eq!(kind(&[answer(MAX_PICTURES)]), Ok(()));
        let too_many = Err(ErrorKind::Protocol);
        assert_eq!(kind(&[answer(MAX_PICTURES + 1)]), too_many);
        assert_eq!(kind(&[answer(MAX_PICTURES), answer(1)]), too_many);
    }

    fn check_none(answer: &Value, kind: ErrorKind, code: Option<&str>, message: &str) {
        let answer = std::slice::from_ref(answer);
        read(Method::GenerateContent, answer, |_, reading| {
            let error = reading.unwrap_err();
            assert_eq!(error.kind, kind, "{}", error.message);
            assert_eq!(error.code.as_deref(), code);
            assert_eq!(error.message, message);
        });
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
            read(Method::GenerateContent, &[answer], |_, reading| {
                assert_eq!(reading.unwrap_err().kind, Blocked, "{reason}");
            });
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
            json!([]),
            json!([1, [{}]]),
            json!({"candidates": []}),
            json!({"candidates": [null, 7, {"content": {}}, {"content": {"parts": [null]}}]}),
            json!({"candidates": [{"content": {"parts": [{"inlineData": {"data": 5}}]}}]}),
        ] {
            check_none(&answer, Protocol, None, nothing);
        }
        let failed = json!({"error": {"message": "busy"}});
        check_none(&failed, Protocol, None, "busy");
        check_none(&json!({"error": "busy"}), Protocol, None, "busy");
    }

    #[test]
    fn predictions_are_read() {
        let (_, refusals) = check(
            Method::Predict,
            &recorded!("predictions"),
            &[
                "/predictions/0/bytesBase64Encoded",
                "/predictions/2/bytesBase64Encoded",
            ],
        );
        assert_eq!(refusals, ["Filtered. Support codes: 29310472"]);
    }

    fn check_no_prediction(answer: Value, kind: ErrorKind, words: &str) {
        read(Method::Predict, &[answer], |_, reading| {
            let error = reading.unwrap_err();
            assert_eq!(error.kind, kind);
            assert!(error.message.contains(words), "{}", error.message);
        });
    }

    #[test]
    fn predictions_that_were_all_filtered_are_blocked() {
        use ErrorKind::{Blocked, Protocol, Quota};
        check_no_prediction(json!({}), Blocked, "left out every image");
        check_no_prediction(json!({"predictions": []}), Blocked, "left out every image");
        let reason = json!({"predictions": [{"raiFilteredReason": "Support codes: 1"}]});
        check_no_prediction(reason, Blocked, "Support codes: 1");
        let odd = json!({"predictions": [{}, null, {"bytesBase64Encoded": 5}]});
        check_no_prediction(odd, Protocol, "gave no image");
        check_no_prediction(json!("x"), Protocol, "gave no image");
        let paid = json!({"error": {"code": 402, "message": "pay"}});
        check_no_prediction(paid, Quota, "pay");
    }
}
