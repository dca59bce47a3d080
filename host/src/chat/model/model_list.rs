//! The list of a server's models, cached.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use pinhole_egress as egress;
use pinhole_egress::{Destination, Redactor, Request};
use pinhole_ground::guard::Guard;
use pinhole_ground::text::is_plain;
use pinhole_sandbox::MAX_MODEL_BYTES;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::parse_json;

/// How long a list is cached.
pub(super) const MAX_LIST_AGE: Duration = Duration::from_secs(300);
/// How long a list is cached that lacks a requested model.
pub(super) const MAX_LIST_AGE_ON_MISS: Duration = Duration::from_secs(10);
/// Time between two requests to a server without a list.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// Duration of the request for a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Length of a list in bytes.
const MAX_LIST_BYTES: usize = 4 << 20;

/// A model that a server lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    /// The name that users see.
    pub name: String,
    pub owner: Option<String>,
    /// Seconds since 1970. 0 if the server does not report it.
    pub created: i64,
}

/// Why a server has no list of models. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("{0}")]
    Request(#[from] egress::Error),
    #[error("the response has status {0}")]
    Status(StatusCode),
    /// The response is no list.
    #[error("{0}")]
    Unusable(String),
}

/// The cached list of a server.
#[derive(Debug)]
pub(super) struct ModelList {
    cache: Mutex<Cache>,
    /// Finds the server's key.
    redactor: Arc<Redactor>,
}

#[derive(Debug, Default)]
struct Cache {
    requested_at: Option<Instant>,
    /// `None` if the server never returned a list.
    models: Option<Arc<[ListedModel]>>,
}

impl ModelList {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            cache: Mutex::default(),
            redactor,
        }
    }

    /// The models of a list that is at most `max_age` old. If the request fails, those of the previous
    /// list. `None` if the server never returned a list.
    pub(super) async fn models(
        &self,
        server: &Destination,
        max_age: Duration,
    ) -> Option<Arc<[ListedModel]>> {
        // Locked during the request: concurrent callers wait for its result.
        let mut cache = self.cache.lock().await;
        let interval = if cache.models.is_some() {
            max_age
        } else {
            max_age.max(RETRY_INTERVAL)
        };
        if cache.requested_at.is_none_or(|at| at.elapsed() >= interval) {
            match request_list(server, &self.redactor).await {
                Ok(models) => cache.models = Some(models.into()),
                Err(why) => {
                    let origin = server.origin();
                    tracing::warn!("cannot list the language models of {origin}: {why}");
                }
            }
            cache.requested_at = Some(Instant::now());
        }
        cache.models.clone()
    }
}

/// Requests the list of a server.
pub(super) async fn request_list(
    server: &Destination,
    redactor: &Redactor,
) -> Result<Vec<ListedModel>, ListError> {
    let request = Request {
        method: Method::GET,
        path: "/models".to_owned(),
        ..Request::default()
    };
    let deadline = Instant::now() + LIST_TIMEOUT;
    let mut response = server.send(request, MAX_LIST_BYTES, deadline).await?;
    if !response.status.is_success() {
        return Err(ListError::Status(response.status));
    }
    parse_list(&response.bytes().await?, redactor).map_err(ListError::Unusable)
}

/// The entries of a list that have a valid id without a secret.
fn parse_list(body: &[u8], redactor: &Redactor) -> Result<Vec<ListedModel>, String> {
    let list: Value = parse_json(body)?;
    let entries = list
        .get("data")
        .and_then(Value::as_array)
        .ok_or("the response has no list `data`")?;
    let is_valid = |text: &&str| {
        let has_secret = redactor.finds_secret(text.as_bytes());
        !text.is_empty()
            && is_plain(text, MAX_MODEL_BYTES)
            && !Guard::SecretChat.applies(has_secret)
    };
    let parse_entry = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(is_valid);
        let id = text("id")?;
        Some(ListedModel {
            id: id.to_owned(),
            name: text("name").unwrap_or(id).to_owned(),
            owner: text("owned_by").map(str::to_owned),
            created: entry.get("created").and_then(Value::as_i64).unwrap_or(0),
        })
    };
    Ok(entries.iter().filter_map(parse_entry).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(id: &str, name: &str, owner: Option<&str>, created: i64) -> ListedModel {
        ListedModel {
            id: id.to_owned(),
            name: name.to_owned(),
            owner: owner.map(str::to_owned),
            created,
        }
    }

    fn check(list: Value, expected: Option<&[ListedModel]>) {
        let redactor = Redactor::for_prose(["key-4711-0815-2342"]);
        let models = parse_list(list.to_string().as_bytes(), &redactor).ok();
        assert_eq!(models.as_deref(), expected, "{list}");
    }

    #[test]
    fn parse_list_skips_invalid_entries() {
        let full = json!({"id": "m", "name": "Model", "owned_by": "me", "created": 5});
        let long = json!({"id": "m".repeat(MAX_MODEL_BYTES + 1)});
        let entries = json!([full, {"id": "n", "name": 5}, {"id": 5}, {"id": ""}, long, null, "x",
            {"id": "key-4711-0815-2342"}, {"id": "\u{1b}[2J"}, {"id": "a\u{200b}b"}]);
        let expected = [
            listed("m", "Model", Some("me"), 5),
            listed("n", "n", None, 0),
        ];
        check(json!({"data": entries}), Some(&expected));
        check(json!({"data": []}), Some(&[]));
        for invalid in [json!({}), json!([]), json!({"data": {}}), json!("x")] {
            check(invalid, None);
        }
    }
}
