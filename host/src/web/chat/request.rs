//! `ChatRequest`: the body of a chat completion request.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use pinhole_ground::memory::MemoryLease;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::chat_copy::check_id;
use crate::web::error::{ApiError, Rejection};
use crate::web::json_body::JsonBody;
use crate::web::request_origin::RequestOrigin;

/// Length of the id of a chat or message, in bytes.
const MAX_ID_BYTES: usize = 200;
/// Responses to one message, each of which the operator pays.
pub const MAX_RESPONSES: usize = 10;

/// A chat completion request with its whole body.
pub(in crate::web) struct ChatBody {
    pub(in crate::web) request: ChatRequest,
    /// All fields as the client sent them, also those of [`ChatRequest`].
    pub(in crate::web) payload: Map<String, Value>,
    /// Counts the payload, and its text for a language model.
    pub(in crate::web) memory: MemoryLease,
    pub(in crate::web) origin: RequestOrigin,
    /// The turn's image job has a row. `/v1` writes none.
    pub(super) records_job: bool,
}

/// The fields of a chat completion request that the server uses. All fields are passed to the language
/// model, except those of Open WebUI.
///
/// An optional field of the wrong type counts as missing: the language model may know it.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::web) struct ChatRequest {
    /// The language model.
    #[serde(default, deserialize_with = "lenient")]
    pub(in crate::web) model: Option<String>,
    /// The conversation, oldest message first. A request with `message_ids` and `user_message` needs only the
    /// system message, if there is one.
    #[schema(value_type = Vec<Map<String, Value>>, required = false)]
    messages: Option<Vec<IgnoredAny>>,
    /// The user's newest message, with the fields of a chat's message.
    #[schema(value_type = Option<Map<String, Value>>)]
    #[expect(dead_code, reason = "read from the whole body")]
    user_message: Option<IgnoredAny>,
    /// The messages that receive the responses, each of another model. With `session_id`, all turns run in the
    /// background. The server stores `user_message` in the chat `chat_id`, or else in a new chat.
    #[schema(value_type = Option<Vec<ResponseId>>, max_items = 10)]
    #[expect(dead_code, reason = "read from the whole body")]
    message_ids: Option<IgnoredAny>,
    /// Respond with a stream of events, as OpenAI does.
    #[serde(default, deserialize_with = "lenient")]
    pub(in crate::web) stream: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    features: Option<ChatFeatures>,
    /// The chat of the turn. Chats with ids such as `local:…` and `temporary:…` are not stored.
    #[schema(value_type = Option<String>, max_length = 200)]
    chat_id: Option<Value>,
    /// The message that receives the response.
    #[schema(value_type = Option<String>, max_length = 200)]
    id: Option<Value>,
    /// The client's Socket.IO session. With `chat_id` and `id`, the turn runs in the background, and
    /// its response arrives as events.
    #[serde(default, deserialize_with = "lenient")]
    session_id: Option<String>,
}

/// The message that receives a response, and the model that writes it.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::web) struct ResponseId {
    pub(super) model_id: String,
    #[schema(max_length = 200)]
    pub(super) message_id: String,
    /// Position among the responses, which clients show side by side.
    #[serde(rename = "modelIdx")]
    pub(super) model_index: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct ChatFeatures {
    /// Generate an image for the newest message, or edit one.
    #[serde(default, deserialize_with = "lenient")]
    image_generation: Option<bool>,
}

impl FromRequest<Arc<App>> for ChatBody {
    type Rejection = Rejection;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Rejection> {
        let uri = request.uri().clone();
        let (mut parts, body) = request.into_parts();
        let origin = match RequestOrigin::from_request_parts(&mut parts, app).await {
            Ok(origin) => origin,
            Err(never) => match never {},
        };
        let whole = Request::from_parts(parts, body);
        let read = async {
            let json = JsonBody::read(whole).await?;
            let payload = json.parse()?;
            Ok(Self {
                request: ChatRequest::new(&payload)?,
                payload,
                memory: json.into_lease_with_text(),
                origin,
                records_job: !uri.path().starts_with("/v1/"),
            })
        };
        let chat = read.await;
        chat.map_err(|error: ApiError| error.rejection(&uri))
    }
}

impl ChatRequest {
    fn new(payload: &Map<String, Value>) -> Result<Self, ApiError> {
        let request = Self::deserialize(payload).map_err(|_| no_messages())?;
        if !request.names_responses(payload) {
            request.require_messages()?;
        }
        Ok(request)
    }

    /// Fails if the conversation is missing.
    pub(super) fn require_messages(&self) -> Result<(), ApiError> {
        self.messages.as_ref().map(|_| ()).ok_or_else(no_messages)
    }

    pub(in crate::web) fn wants_image(&self) -> bool {
        let features = self.features.as_ref();
        features.and_then(|it| it.image_generation).unwrap_or(false)
    }

    pub(super) fn chat_id(&self) -> Result<Option<String>, ApiError> {
        parse_id("chat_id", self.chat_id.as_ref())
    }

    pub(super) fn message_id(&self) -> Result<Option<String>, ApiError> {
        parse_id("id", self.id.as_ref())
    }

    /// Does the client list the messages of the responses, as Open WebUI's client does since release 0.12?
    pub(super) fn names_responses(&self, payload: &Map<String, Value>) -> bool {
        let has_session = self.session_id.as_deref().is_some_and(|id| !id.is_empty());
        has_session && payload.get("message_ids").is_some_and(Value::is_array)
    }

    /// Does the client receive the response as events?
    pub(super) fn runs_in_background(&self) -> bool {
        let ids = [
            self.session_id.as_deref(),
            self.chat_id.as_ref().and_then(Value::as_str),
            self.id.as_ref().and_then(Value::as_str),
        ];
        ids.iter().all(|id| id.is_some_and(|id| !id.is_empty()))
    }
}

/// The listed messages of the responses.
pub(super) fn responses(payload: &Map<String, Value>) -> Result<Vec<ResponseId>, ApiError> {
    const FIELD: &str = "message_ids";
    let list = payload.get(FIELD).and_then(Value::as_array);
    let list = list.map_or(&[][..], Vec::as_slice);
    if !(1..=MAX_RESPONSES).contains(&list.len()) {
        let detail = format!("{FIELD} must have 1 to {MAX_RESPONSES} entries");
        return Err(ApiError::invalid(FIELD, detail));
    }
    let mut responses: Vec<ResponseId> = Vec::with_capacity(list.len());
    for entry in list {
        let response = ResponseId::deserialize(entry)
            .map_err(|error| ApiError::invalid(FIELD, format!("{FIELD} is invalid: {error}")))?;
        check_id(FIELD, "message_id", &response.message_id)?;
        let is_listed = |it: &ResponseId| it.message_id == response.message_id;
        if responses.iter().any(is_listed) {
            let detail = format!("{FIELD} has message {} twice", response.message_id);
            return Err(ApiError::invalid(FIELD, detail));
        }
        responses.push(response);
    }
    Ok(responses)
}

fn no_messages() -> ApiError {
    ApiError::invalid("messages", "messages must be a list")
}

/// `None` for a missing or empty id.
fn parse_id(field: &str, id: Option<&Value>) -> Result<Option<String>, ApiError> {
    match id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) if id.len() <= MAX_ID_BYTES => Ok(Some(id.clone())),
        Some(_) => {
            let message = format!("{field} must be a string of at most {MAX_ID_BYTES} bytes");
            Err(ApiError::invalid(field, message))
        }
    }
}

/// `None` for a value of the wrong type.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        // A derived struct would accept its fields as a list too.
        Value::Array(_) => Ok(None),
        value => Ok(serde_json::from_value(value).ok()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<ChatRequest, ApiError> {
        ChatRequest::new(body.as_object().unwrap())
    }

    #[test]
    fn chat_request_needs_messages_and_tolerates_other_types() {
        for body in [
            json!({}),
            json!({"messages": null}),
            json!({"messages": {"0": {}}}),
        ] {
            assert!(parse(&body).is_err(), "{body}");
        }
        let body = json!({
            "messages": [{}, 5], "model": 5, "stream": "yes", "features": [true], "session_id": {},
            "unknown": [1],
        });
        let request = parse(&body).unwrap();
        assert_eq!((request.model.as_deref(), request.stream), (None, None));
        assert!(!request.wants_image() && !request.runs_in_background());
    }

    #[test]
    fn chat_with_session_chat_and_message_runs_in_background() {
        let ids = json!({"messages": [], "session_id": "s", "chat_id": "c", "id": "i"});
        assert!(parse(&ids).unwrap().runs_in_background());
        for field in ["session_id", "chat_id", "id"] {
            for value in [json!(""), json!(null), json!(5)] {
                let mut other = ids.clone();
                other[field] = value;
                let request = parse(&other).unwrap();
                assert!(!request.runs_in_background(), "{other}");
            }
        }
    }

    #[test]
    fn id_is_a_string_within_its_limit() {
        let id = |id: Value| {
            parse(&json!({"messages": [], "id": id}))
                .unwrap()
                .message_id()
        };
        assert_eq!(id(json!("")).unwrap(), None);
        assert_eq!(id(json!(null)).unwrap(), None);
        let longest = "i".repeat(MAX_ID_BYTES);
        assert_eq!(id(json!(longest)).unwrap(), Some(longest.clone()));
        assert!(id(json!(format!("{longest}i"))).is_err());
        assert!(id(json!(5)).is_err());
    }

    #[test]
    fn responses_are_few_and_have_distinct_ids() {
        let of = |ids: Value| {
            let body = json!({"session_id": "s", "message_ids": ids});
            let payload = body.as_object().unwrap();
            assert!(parse(&body).unwrap().names_responses(payload));
            responses(payload).map(|responses| responses.len())
        };
        let response = |id: &str| json!({"model_id": "m", "message_id": id, "modelIdx": 0});
        assert_eq!(of(json!([response("a"), response("b")])).unwrap(), 2);
        let many: Vec<_> = (0..=MAX_RESPONSES)
            .map(|id| response(&id.to_string()))
            .collect();
        assert_eq!(of(json!(many[1..])).unwrap(), MAX_RESPONSES);
        for invalid in [
            json!([]),
            json!(many),
            json!([response("a"), response("a")]),
            json!([response("")]),
            json!([response(&"i".repeat(MAX_ID_BYTES + 1))]),
            json!([{"message_id": "a"}]),
            json!(["a"]),
        ] {
            assert!(of(invalid.clone()).is_err(), "{invalid}");
        }
        for body in [
            json!({"message_ids": [response("a")]}),
            json!({"session_id": "s", "message_ids": {"m": "a"}}),
            json!({"session_id": "s"}),
        ] {
            assert!(parse(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn schema_states_id_limit() {
        let schema = <ChatRequest as utoipa::PartialSchema>::schema();
        let properties = serde_json::to_value(schema).unwrap()["properties"].take();
        for field in ["chat_id", "id"] {
            assert_eq!(properties[field]["maxLength"], MAX_ID_BYTES, "{field}");
        }
    }
}
