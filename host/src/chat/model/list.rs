//! Which models a server has, as it lists them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use pinhole_ground::guard::Guard;
use pinhole_egress::{Destination, Redactor, Request};
use pinhole_sandbox::MAX_MODEL_BYTES;
use pinhole_ground::text::is_plain;

/// How long a list is taken as it was, in time.
pub(super) const MAX_LIST_AGE: Duration = Duration::from_secs(300);
/// The same where it lacks a model that somebody names.
pub(super) const MAX_LIST_AGE_ON_MISS: Duration = Duration::from_secs(10);
/// Time after which a server that gave no list is asked again.
const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Time that a server may take for its list.
const MAX_LIST_TIME: Duration = Duration::from_secs(5);
/// Length of a list, in bytes.
const MAX_LIST_BYTES: usize = 4 << 20;

/// A model that a server lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What a request names it by.
    pub id: String,
    /// What a person is shown.
    pub name: String,
    /// Whose it is, by the server's word.
    pub owner: Option<String>,
    /// When it was made, in seconds since 1970; 0 where the server does not say.
    pub created: i64,
}

/// The last list of a server.
#[derive(Debug)]
pub(super) struct List {
    last: Mutex<Last>,
    /// Finds the server's key.
    redactor: Arc<Redactor>,
}

#[derive(Debug, Default)]
struct Last {
    asked: Option<Instant>,
    /// `None` where the server has given none yet.
    models: Option<Arc<[Listed]>>,
}

impl List {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            last: Mutex::default(),
            redactor,
        }
    }

    /// The models as they were at most `age` ago. A server that fails keeps the list that it gave
    /// before; `None` where it never gave any.
    pub(super) async fn models(
        &self,
        server: &Destination,
        age: Duration,
    ) -> Option<Arc<[Listed]>> {
        // Held while the server is asked: who comes meanwhile waits for that answer.
        let mut last = self.last.lock().await;
        let age = match last.models {
            Some(_) => age,
            None => age.max(MAX_SILENCE),
        };
        if last.asked.is_none_or(|asked| asked.elapsed() >= age) {
            match ask(server, &self.redactor).await {
                Ok(models) => last.models = Some(models.into()),
                Err(why) => tracing::warn!("{} lists no chat models: {why}", server.origin()),
            }
            last.asked = Some(Instant::now());
        }
        last.models.clone()
    }
}

async fn ask(server: &Destination, redactor: &Redactor) -> Result<Vec<Listed>, String> {
    let request = Request {
        method: Method::GET,
        path: "/models".to_owned(),
        headers: HeaderMap::new(),
        content_type: None,
        body: Bytes::new(),
    };
    let deadline = Instant::now() + MAX_LIST_TIME;
    let answer = server.send(request, MAX_LIST_BYTES, deadline).await;
    let mut answer = answer.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("the answer's status is {}", answer.status));
    }
    let body = answer.bytes().await.map_err(|error| error.to_string())?;
    read(&body, redactor)
}

/// The entries of a list that have a usable id, which holds no secret.
fn read(body: &[u8], redactor: &Redactor) -> Result<Vec<Listed>, String> {
    let list: Value =
        serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let entries = list.get("data").and_then(Value::as_array);
    let entries = entries.ok_or("the answer has no list `data`")?;
    let usable = |id: &&str| {
        let is_secret = redactor.finds_secret(id.as_bytes()) && Guard::SecretChat.holds();
        !id.is_empty() && is_plain(id, MAX_MODEL_BYTES) && !is_secret
    };
    let entry = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(usable);
        let id = text("id")?;
        Some(Listed {
            id: id.to_owned(),
            name: text("name").unwrap_or(id).to_owned(),
            owner: text("owned_by").map(str::to_owned),
            created: entry.get("created").and_then(Value::as_i64).unwrap_or(0),
        })
    };
    Ok(entries.iter().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(id: &str, name: &str, owner: Option<&str>, created: i64) -> Listed {
        Listed {
            id: id.to_owned(),
            name: name.to_owned(),
            owner: owner.map(str::to_owned),
            created,
        }
    }

    fn check(list: Value, expected: Option<&[Listed]>) {
        let redactor = Redactor::for_prose(["key-4711-0815-2342"]);
        let models = read(list.to_string().as_bytes(), &redactor).ok();
        assert_eq!(models.as_deref(), expected, "{list}");
    }

    #[test]
    fn a_list_is_read_as_far_as_it_can_be_used() {
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
        for no_list in [json!({}), json!([]), json!({"data": {}}), json!("x")] {
            check(no_list, None);
        }
    }
}
