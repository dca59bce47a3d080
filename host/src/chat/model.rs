//! The language models behind: servers with OpenAI's chat completions, each with models of its own.

mod completion;
mod list;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::{Host, Url};

use pinhole_ground::audit::AuditLog;
use pinhole_egress::{BaseUrl, Credential, Destination, Egress, Error, Redactor, Request, Tls};
use crate::settings::{ModelServer, PromptSettings};

use list::{List, MAX_LIST_AGE, MAX_LIST_AGE_ON_MISS};

pub use completion::Completion;
pub use list::Listed;

/// Time for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Length of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Time for the answer to a task of ours, such as rewriting a prompt.
const MAX_TASK_TIME: Duration = Duration::from_secs(60);
/// Length of such an answer, in bytes.
const MAX_TASK_BYTES: usize = 1 << 20;

/// Fields of a chat request that are Open WebUI's own and mean nothing to a language model.
const OPEN_WEBUI: &[&str] = &[
    "background_tasks",
    "chat_id",
    "features",
    "files",
    "filter_ids",
    "id",
    "image_generation",
    "message_ids",
    "model_item",
    "params",
    "parent_id",
    "parent_message",
    "session_id",
    "tool_ids",
    "tool_servers",
    "user_message",
    "variables",
];

/// Parameters that Open WebUI nests under `params` and OpenAI's API takes at the top.
const PARAMETERS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "max_tokens",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "temperature",
    "top_p",
];

/// All servers with language models, in the order of their settings.
#[derive(Default)]
pub struct Models {
    connections: Vec<Connection>,
}

/// One of the servers.
struct Connection {
    server: Destination,
    /// On this machine or in a network of the operator's.
    local: bool,
    list: List,
    /// Finds the server's key.
    redactor: Arc<Redactor>,
    audit: AuditLog,
}

/// A language model: the server that has it, and what a request names it by.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    connection: &'a Connection,
    /// `None` where the caller names none: the server chooses.
    id: Option<&'a str>,
}

impl Models {
    /// Opens the servers of the settings. The error names the address and what is wrong with it.
    pub fn open(
        settings: &[ModelServer],
        egress: &Egress,
        audit: &AuditLog,
    ) -> Result<Self, String> {
        let connections = settings.iter().map(|server| connect(server, egress, audit));
        Ok(Self {
            connections: connections.collect::<Result<_, _>>()?,
        })
    }

    /// Is there no server at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The model of this id: where the first server has it that lists it or else, as not every
    /// server has a list, where the first is that gives none. Without an id the first server's.
    pub async fn find<'a>(&'a self, id: Option<&'a str>) -> Option<Model<'a>> {
        let Some(name) = id else {
            let connection = self.connections.first()?;
            return Some(Model { connection, id });
        };
        for age in [MAX_LIST_AGE, MAX_LIST_AGE_ON_MISS] {
            if let Some(listed) = self.listed(name, age).await {
                return Some(listed);
            }
        }
        let silent = join_all(self.connections.iter().map(async |connection| {
            let list = connection.list.models(&connection.server, MAX_LIST_AGE);
            list.await.is_none().then_some(connection)
        }));
        let connection = silent.await.into_iter().flatten().next()?;
        Some(Model { connection, id })
    }

    /// The model that does tasks of ours in a chat with this one: the one set for it where some
    /// server lists it, or else the chat's own.
    ///
    /// Source: Open WebUI `utils/task.py`: one setting for local chat models, one for all others.
    pub async fn for_tasks<'a>(
        &'a self,
        chat: Model<'a>,
        settings: &'a PromptSettings,
    ) -> Model<'a> {
        let set = match chat.connection.local {
            true => &settings.task_model,
            false => &settings.task_model_external,
        };
        let Some(name) = set else { return chat };
        self.listed(name, MAX_LIST_AGE).await.unwrap_or(chat)
    }

    /// Every model that is listed, once, and whether it is local.
    pub async fn all(&self) -> Vec<(Listed, bool)> {
        let mut all: Vec<(Listed, bool)> = Vec::new();
        let mut known = HashSet::new();
        for (connection, models) in self.connections.iter().zip(self.lists(MAX_LIST_AGE).await) {
            let new = models.iter().flat_map(|models| models.iter());
            let new = new.filter(|model| known.insert(model.id.clone()));
            all.extend(new.map(|model| (model.clone(), connection.local)));
        }
        all
    }

    async fn listed<'a>(&'a self, id: &'a str, age: Duration) -> Option<Model<'a>> {
        let lists = self.lists(age).await;
        let has = |list: &Option<Arc<[Listed]>>| {
            let mut models = list.iter().flat_map(|list| list.iter());
            models.any(|model| model.id == id)
        };
        let connection = self.connections.get(lists.iter().position(has)?)?;
        Some(Model {
            connection,
            id: Some(id),
        })
    }

    /// The list of each server, in order. They are asked at the same time.
    async fn lists(&self, age: Duration) -> Vec<Option<Arc<[Listed]>>> {
        let connections = self.connections.iter();
        let asked = connections.map(|connection| connection.list.models(&connection.server, age));
        join_all(asked).await
    }
}

fn connect(
    server: &ModelServer,
    egress: &Egress,
    audit: &AuditLog,
) -> Result<Connection, String> {
    let credential = server.key.as_deref().map(Credential::bearer).transpose();
    let credential = credential.map_err(|why| format!("OPENAI_API_KEY cannot be used: {why}"))?;
    let place = BaseUrl {
        url: &server.base_url,
        allows_private: server.is_url_set,
        setting: "OPENAI_API_BASE_URL",
    };
    let destination = egress.destination(place, credential.unwrap_or_default(), &Tls::default());
    let redactor = Arc::new(Redactor::for_prose(server.key.as_deref()));
    Ok(Connection {
        list: List::new(redactor.clone()),
        redactor,
        audit: audit.clone(),
        server: destination.map_err(|why| format!("OPENAI_API_BASE_URL cannot be used: {why}"))?,
        local: is_local(&server.base_url),
    })
}

/// Is the address on this machine or in a network of the operator's? Told by how it is written: a
/// private number, or a name that the internet does not know.
fn is_local(base_url: &str) -> bool {
    const LOCAL_ENDINGS: &[&str] = &[".home.arpa", ".internal", ".lan", ".local", ".localhost"];
    let Ok(url) = Url::parse(base_url) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => {
            !name.contains('.') || LOCAL_ENDINGS.iter().any(|ending| name.ends_with(ending))
        }
        None => false,
    }
}

/// Asks the model for the answer to a chat, which streams when the request says so.
pub async fn complete(model: Model<'_>, payload: Map<String, Value>) -> Result<Completion, Error> {
    let body = Value::Object(for_model(payload));
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    send(model, &body, MAX_ANSWER_BYTES, deadline).await
}

/// Asks the model one thing of our own. The whole completion; the error is for the log.
pub async fn ask(model: Model<'_>, question: &str) -> Result<Value, String> {
    let body = json!({
        "model": model.id,
        "messages": [{"role": "user", "content": question}],
        "stream": false,
    });
    let deadline = Instant::now() + MAX_TASK_TIME;
    let answer = send(model, &body, MAX_TASK_BYTES, deadline).await;
    let mut answer = answer.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("the answer's status is {}", answer.status()));
    }
    let body = answer.bytes().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| format!("the answer is no JSON: {error}"))
}

/// The words of a completion.
#[must_use]
pub fn words(completion: &Value) -> Option<&str> {
    completion.pointer("/choices/0/message/content")?.as_str()
}

async fn send(
    model: Model<'_>,
    body: &Value,
    max_bytes: usize,
    deadline: Instant,
) -> Result<Completion, Error> {
    let accepted = HeaderValue::from_static("application/json, text/event-stream");
    let request = Request {
        method: Method::POST,
        path: "/chat/completions".to_owned(),
        headers: HeaderMap::from_iter([(ACCEPT, accepted)]),
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from(body.to_string()),
    };
    let Connection {
        server,
        redactor,
        audit,
        ..
    } = model.connection;
    let response = server.send(request, max_bytes, deadline).await?;
    Ok(Completion::new(response, redactor.clone(), audit.clone()))
}

/// The request without what is Open WebUI's own.
fn for_model(mut payload: Map<String, Value>) -> Map<String, Value> {
    let params = payload.remove("params");
    for (name, value) in params
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if PARAMETERS.contains(&name.as_str()) && !value.is_null() {
            payload.entry(name).or_insert_with(|| value.clone());
        }
    }
    let custom = params
        .as_ref()
        .and_then(|params| params.get("custom_params"));
    for (name, value) in custom.and_then(Value::as_object).into_iter().flatten() {
        payload.entry(name).or_insert_with(|| written_out(value));
    }
    payload.retain(|name, _| !OPEN_WEBUI.contains(&name.as_str()));
    payload
}

/// A value as a person typed it into a form: the JSON that a text holds, or else the text.
#[must_use]
pub fn written_out(value: &Value) -> Value {
    let json = value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    json.unwrap_or_else(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_model_knows_is_sent() {
        let payload = json!({
            "model": "m", "messages": [], "stream": true, "temperature": 1,
            "features": {"image_generation": true}, "chat_id": "c", "id": "i", "session_id": "s",
            "image_generation": {"n": 2},
            "params": {
                "temperature": 0.5, "top_p": 0.9, "function_calling": "legacy", "stop": null,
                "custom_params": {
                    "model": "other", "top_k": "5", "mirostat": 2, "word": "plain", "chat_id": "d",
                    "image_generation": "{\"n\": 3}",
                },
            },
        });
        let Value::Object(payload) = payload else {
            panic!()
        };
        let expected = json!({
            "model": "m", "messages": [], "stream": true, "temperature": 1, "top_p": 0.9,
            "top_k": 5, "mirostat": 2, "word": "plain",
        });
        assert_eq!(Value::Object(for_model(payload)), expected);
    }

    #[test]
    fn a_local_address_is_known_by_how_it_is_written() {
        for (address, expected) in [
            ("http://127.0.0.1:11434/v1", true),
            ("http://192.168.1.5/v1", true),
            ("http://[::1]:1/v1", true),
            ("http://[fd12::1]/v1", true),
            ("http://ollama:11434/v1", true),
            ("http://localhost/v1", true),
            ("http://host.docker.internal:11434/v1", true),
            ("http://nas.local/v1", true),
            ("http://8.8.8.8/v1", false),
            ("http://[2606:4700::1111]/v1", false),
            ("https://api.openai.com/v1", false),
            ("https://local.example/v1", false),
            ("nothing", false),
        ] {
            assert_eq!(is_local(address), expected, "{address}");
        }
    }
}
