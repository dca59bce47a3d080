//! `ChatRequest`: the body of a chat completion request.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use pinhole_ground::memory::MemoryLease;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::web::error::{ApiError, Rejection};
use crate::web::json_body::JsonBody;
use crate::web::request_origin::RequestOrigin;

/// Length of the id of a chat or message, in bytes.
const MAX_ID_BYTES: usize = 200;

/// A chat completion request with its whole body.
pub(in crate::web) struct ChatBody {
    pub(in crate::web) request: ChatRequest,
    /// All fields as the client sent them, also those of [`ChatRequest`].
    pub(in crate::web) payload: Map<String, Value>,
    /// Counts the payload, and its text for a language model.
    pub(in crate::web) memory: MemoryLease,
    pub(in crate::web) origin: RequestOrigin,
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
    /// The conversation, oldest message first.
    #[schema(value_type = Vec<Map<String, Value>>)]
    #[expect(dead_code, reason = "checked here, and read from the whole body")]
    messages: Vec<IgnoredAny>,
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
        let request = Request::from_parts(parts, body);
        let body = async {
            let body = JsonBody::read(request).await?;
            let payload = body.parse()?;
            Ok(Self {
                request: ChatRequest::new(&payload)?,
                payload,
                memory: body.into_lease_with_text(),
                origin,
            })
        };
        let body = body.await;
        body.map_err(|error: ApiError| error.rejection(&uri))
    }
}

impl ChatRequest {
    fn new(payload: &Map<String, Value>) -> Result<Self, ApiError> {
        Self::deserialize(payload)
            .map_err(|_| ApiError::invalid("messages", "messages must be a list"))
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
    fn schema_states_id_limit() {
        let schema = <ChatRequest as utoipa::PartialSchema>::schema();
        let properties = serde_json::to_value(schema).unwrap()["properties"].take();
        for field in ["chat_id", "id"] {
            assert_eq!(properties[field]["maxLength"], MAX_ID_BYTES, "{field}");
        }
    }
}
