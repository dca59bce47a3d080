//! Language models: servers with OpenAI's chat completions API, each with several models.

mod completion;
mod model_list;
mod payload;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use pinhole_egress::{BaseUrl, Credential, Destination, Egress, Error, Redactor, Request, Tls};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::json_bounds::JsonBounds;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use url::{Host, Url};

use crate::settings::{ModelServer, PromptSettings};
use model_list::{MAX_LIST_AGE, MAX_LIST_AGE_ON_MISS, ModelList, request_list};
use payload::to_model_payload;

pub use completion::Completion;
pub use model_list::{ListError, ListedModel};
pub use payload::parse_form_value;

/// Duration of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
/// Length of a response in bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Duration of the response to a task of the server, such as rewriting a prompt.
const TASK_TIMEOUT: Duration = Duration::from_secs(60);
/// Length of that response in bytes.
const MAX_TASK_RESPONSE_BYTES: usize = 1 << 20;

/// Bounds of a JSON text of a server: of a list, a completion or a chunk of one.
const JSON_BOUNDS: JsonBounds = JsonBounds {
    max_values: 100_000,
    max_depth: 64,
    max_string_bytes: usize::MAX,
};

/// The models of all servers, in the order of the settings.
#[derive(Default)]
pub struct Models {
    connections: Vec<Connection>,
}

/// A server with language models.
struct Connection {
    destination: Destination,
    /// On this machine or in a private network.
    is_local: bool,
    has_key: bool,
    list: ModelList,
    /// Finds the server's key.
    redactor: Arc<Redactor>,
    audit: AuditLog,
}

/// The response of a server to a request for its list of models.
pub struct ServerList {
    /// For the operator.
    pub base_url: String,
    /// The request had a key.
    pub has_key: bool,
    pub models: Result<Vec<ListedModel>, ListError>,
}

/// A language model and its server.
#[derive(Clone, Copy)]
pub struct Model<'a> {
    connection: &'a Connection,
    /// `None` leaves the choice to the server.
    id: Option<&'a str>,
}

impl Models {
    /// Opens the servers of the settings. The error names the URL and the problem.
    pub fn open(
        servers: &[ModelServer],
        egress: &Egress,
        audit: &AuditLog,
    ) -> Result<Self, String> {
        let connections = servers
            .iter()
            .map(|server| Connection::new(server, egress, audit))
            .collect::<Result<_, _>>()?;
        Ok(Self { connections })
    }

    /// True if no server is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The model with this id: of the first server that lists it, or else of the first server without a
    /// list, because not every server has one. Without an id, the first server.
    pub async fn find<'a>(&'a self, id: Option<&'a str>) -> Option<Model<'a>> {
        let Some(name) = id else {
            let connection = self.connections.first()?;
            return Some(Model { connection, id });
        };
        for max_age in [MAX_LIST_AGE, MAX_LIST_AGE_ON_MISS] {
            if let Some(model) = self.find_listed(name, max_age).await {
                return Some(model);
            }
        }
        let lists = self.lists(MAX_LIST_AGE).await;
        let without_list = lists.iter().position(Option::is_none)?;
        let connection = self.connections.get(without_list)?;
        Some(Model { connection, id })
    }

    /// The model for the server's tasks in a chat: the one in the settings if a server lists it, or else
    /// the chat's own.
    ///
    /// Source: Open WebUI `utils/task.py`: one setting for local chat models, one for all others.
    pub async fn task_model<'a>(
        &'a self,
        chat_model: Model<'a>,
        settings: &'a PromptSettings,
    ) -> Model<'a> {
        let configured = if chat_model.connection.is_local {
            &settings.task_model
        } else {
            &settings.task_model_external
        };
        let Some(name) = configured else {
            return chat_model;
        };
        self.find_listed(name, MAX_LIST_AGE)
            .await
            .unwrap_or(chat_model)
    }

    /// All listed models, each once, and whether its server is local.
    pub async fn all(&self) -> Vec<(ListedModel, bool)> {
        let mut all: Vec<(ListedModel, bool)> = Vec::new();
        let mut known = HashSet::new();
        let lists = self.lists(MAX_LIST_AGE).await;
        for (connection, list) in self.connections.iter().zip(lists) {
            for model in list.iter().flat_map(|models| models.iter()) {
                if known.insert(model.id.clone()) {
                    all.push((model.clone(), connection.is_local));
                }
            }
        }
        all
    }

    /// Does a server list the model?
    pub async fn is_listed(&self, id: &str) -> bool {
        self.find_listed(id, MAX_LIST_AGE).await.is_some()
    }

    /// Requests the list of each server now, in the order of the settings.
    pub async fn request_lists(&self) -> Vec<ServerList> {
        let requests = self.connections.iter().map(async |connection| ServerList {
            base_url: connection.destination.base_url().to_owned(),
            has_key: connection.has_key,
            models: request_list(&connection.destination, &connection.redactor).await,
        });
        join_all(requests).await
    }

    async fn find_listed<'a>(&'a self, id: &'a str, max_age: Duration) -> Option<Model<'a>> {
        let lists = self.lists(max_age).await;
        let contains = |list: &Option<Arc<[ListedModel]>>| {
            let mut models = list.iter().flat_map(|models| models.iter());
            models.any(|model| model.id == id)
        };
        let connection = self.connections.get(lists.iter().position(contains)?)?;
        Some(Model {
            connection,
            id: Some(id),
        })
    }

    /// The list of each server, in order. Requests them concurrently.
    async fn lists(&self, max_age: Duration) -> Vec<Option<Arc<[ListedModel]>>> {
        let requests = self
            .connections
            .iter()
            .map(|connection| connection.list.models(&connection.destination, max_age));
        join_all(requests).await
    }
}

impl Connection {
    fn new(server: &ModelServer, egress: &Egress, audit: &AuditLog) -> Result<Self, String> {
        let credential = server
            .key
            .as_deref()
            .map(Credential::bearer)
            .transpose()
            .map_err(|why| format!("OPENAI_API_KEY cannot be used: {why}"))?;
        let base_url = BaseUrl {
            url: &server.base_url,
            allows_private: server.is_url_set,
            setting: "OPENAI_API_BASE_URL",
        };
        let destination = egress
            .destination(base_url, credential.unwrap_or_default(), &Tls::default())
            .map_err(|why| {
                let has_user = Url::parse(&server.base_url).is_ok_and(|url| has_user(&url));
                let remedy = if has_user {
                    ": remove them; the server sends OPENAI_API_KEY as a bearer token"
                } else {
                    ""
                };
                format!("OPENAI_API_BASE_URL cannot be used: {why}{remedy}")
            })?;
        let redactor = Arc::new(Redactor::for_prose(server.key.as_deref()));
        Ok(Self {
            destination,
            is_local: is_local(&server.base_url),
            has_key: server.key.is_some(),
            list: ModelList::new(redactor.clone()),
            redactor,
            audit: audit.clone(),
        })
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// True if the URL's host is this machine or in a private network, judged by its spelling: a private IP
/// address, or a name that is not public.
fn is_local(base_url: &str) -> bool {
    const LOCAL_SUFFIXES: &[&str] = &[".home.arpa", ".internal", ".lan", ".local", ".localhost"];
    let Ok(url) = Url::parse(base_url) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(Host::Ipv6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Some(Host::Domain(name)) => {
            !name.contains('.') || LOCAL_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        }
        None => false,
    }
}

/// Requests the completion of a user's chat. It is a stream if the request says so.
pub async fn complete(
    model: Model<'_>,
    user: &str,
    payload: Map<String, Value>,
) -> Result<Completion, Error> {
    let body = Value::Object(to_model_payload(payload));
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    send(model, user, &body, MAX_RESPONSE_BYTES, deadline).await
}

/// Asks the model a question of the server for a user. Returns the whole completion. The error is for the log.
pub async fn ask(model: Model<'_>, user: &str, question: &str) -> Result<Value, String> {
    let body = json!({
        "model": model.id,
        "messages": [{"role": "user", "content": question}],
        "stream": false,
    });
    let deadline = Instant::now() + TASK_TIMEOUT;
    let mut completion = send(model, user, &body, MAX_TASK_RESPONSE_BYTES, deadline)
        .await
        .map_err(|error| error.to_string())?;
    if !completion.status().is_success() {
        return Err(format!("the response has status {}", completion.status()));
    }
    let bytes = completion
        .bytes(MAX_TASK_RESPONSE_BYTES)
        .await
        .map_err(|error| error.to_string())?;
    parse_json(&bytes)
}

/// Parses a JSON text of a server. The error is for the log.
pub fn parse_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    JSON_BOUNDS
        .check(text)
        .map_err(|refusal| format!("the JSON of the response: {refusal}"))?;
    serde_json::from_slice(text).map_err(|error| format!("the response is not JSON: {error}"))
}

/// The text of a completion.
#[must_use]
pub fn completion_text(completion: &Value) -> Option<&str> {
    completion.pointer("/choices/0/message/content")?.as_str()
}

async fn send(
    model: Model<'_>,
    user: &str,
    body: &Value,
    max_bytes: usize,
    deadline: Instant,
) -> Result<Completion, Error> {
    let accept = HeaderValue::from_static("application/json, text/event-stream");
    let request = Request {
        method: Method::POST,
        path: "/chat/completions".to_owned(),
        headers: HeaderMap::from_iter([(ACCEPT, accept)]),
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from(body.to_string()),
        ..Request::default()
    };
    let Connection {
        destination,
        redactor,
        audit,
        ..
    } = model.connection;
    let response = destination.send(request, max_bytes, deadline).await?;
    Ok(Completion::new(
        response,
        redactor.clone(),
        audit.clone(),
        user,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_local_judges_the_spelling_of_the_host() {
        for (url, expected) in [
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
            assert_eq!(is_local(url), expected, "{url}");
        }
    }
}
