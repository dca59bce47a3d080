//! A server with one engine and one upstream, whose answers a test lays out job by job.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::HeaderMap;
use serde_json::{Value, json};

use crate::{Answer, Seen, Server, Upstream};

/// A safety net, far above what any job here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server, its upstream, and the answers that the upstream has left to give.
pub struct Stage {
    pub server: Server,
    pub upstream: Upstream,
    secret: String,
    left: Arc<Mutex<VecDeque<Answer>>>,
}

/// What a client was told, and what the upstream was asked meanwhile.
#[derive(Debug)]
pub struct Played {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub seen: Vec<Seen>,
}

impl Stage {
    /// Starts both, with this engine. In the variables' values `{upstream}` stands for the
    /// upstream's address and `{secret}` for the secret that nobody but the upstream may see.
    pub async fn start(engine: &str, secret: &str, variables: &[(&str, &str)]) -> Self {
        let left = Arc::new(Mutex::new(VecDeque::new()));
        let answers = left.clone();
        let upstream = Upstream::start(move |_| {
            let next = answers.lock().unwrap().pop_front();
            async { next.unwrap_or_else(|| Answer::json(500, &json!({"error": "unexpected"}))) }
        })
        .await;
        let filled = |text: &str| {
            text.replace("{upstream}", &upstream.url())
                .replace("{secret}", secret)
        };
        let variables: Vec<(&str, String)> = variables
            .iter()
            .map(|(name, value)| (*name, filled(value)))
            .collect();
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Self {
            server: Server::with_engine(engine, &variables).await,
            upstream,
            secret: secret.to_owned(),
            left,
        }
    }

    /// Posts a request for pictures while the upstream gives these answers, one a request.
    ///
    /// All of them must be asked for and no more, the client must not see the secret, and the
    /// upstream must not see the client's key.
    pub async fn play(&self, answers: impl IntoIterator<Item = Answer>, body: &Value) -> Played {
        let before = self.upstream.seen().len();
        let expected = {
            let mut left = self.left.lock().unwrap();
            left.extend(answers);
            left.len()
        };
        let asking = async {
            let response = self.server.post("/v1/images/generations", body).send();
            let response = response.await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            (status, headers, response.text().await.unwrap())
        };
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        let (status, headers, text) = answered.expect("the server answers in time");
        let seen = self.upstream.seen().split_off(before);
        assert_eq!(seen.len(), expected, "{body} led to {seen:?} and {text}");
        let shown = format!("{headers:?} {text}");
        assert!(!shown.contains(&self.secret), "the secret is in {shown}");
        let asked = format!("{seen:?}");
        assert!(!asked.contains(&self.server.key), "the key is in {asked}");
        Played {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap(),
            seen,
        }
    }
}

impl Answer {
    /// The reply of a recorded exchange: `{"reply": {"status", "headers", "body"}}`, where a body
    /// that is a text was no JSON.
    pub fn recorded(exchange: &Value) -> Self {
        let reply = &exchange["reply"];
        let status = u16::try_from(reply["status"].as_u64().unwrap()).unwrap();
        let mut answer = match &reply["body"] {
            Value::String(text) => Self::typed(status, "text/plain", text.clone()),
            body => Self::json(status, body),
        };
        for (name, value) in reply["headers"].as_object().unwrap() {
            answer = answer.header(name.clone().leak(), value.as_str().unwrap());
        }
        answer
    }
}

impl Played {
    /// The bytes of the pictures, in their order. Panics where there are none.
    pub fn pictures(&self) -> Vec<Vec<u8>> {
        assert_eq!(self.status, 200, "{}", self.body);
        let data = self.body["data"].as_array().unwrap().iter();
        data.map(|item| {
            let text = item["b64_json"].as_str().unwrap();
            base64_simd::STANDARD.decode_to_vec(text).unwrap()
        })
        .collect()
    }

    /// The one request that the upstream got.
    pub fn request(&self) -> &Seen {
        assert_eq!(self.seen.len(), 1, "{:?}", self.seen);
        &self.seen[0]
    }

    /// The error's status, code, parameter and message.
    pub fn error(&self) -> (u16, &str, Option<&str>, &str) {
        let error = &self.body["error"];
        let text = |key: &str| error[key].as_str();
        let message = text("message").unwrap_or_else(|| panic!("no error in {}", self.body));
        (
            self.status,
            text("code").unwrap_or_default(),
            text("param"),
            message,
        )
    }
}
