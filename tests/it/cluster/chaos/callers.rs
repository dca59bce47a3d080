//! Clients that send jobs to random hosts, and repeat what fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use pinhole_tests::http_client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::hosts::{Host, Hosts};
use super::upstreams::prompt;

/// Time between two callers.
const INTERVAL: Duration = Duration::from_millis(250);
/// Time between two attempts of a caller.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// A host that takes longer does not respond at all.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(150);
const JOBS: &str = "/api/v1/jobs";

pub(super) struct Callers {
    hosts: Arc<Hosts>,
    client: reqwest::Client,
    random: Mutex<fastrand::Rng>,
    /// By what they show.
    outcomes: Mutex<BTreeMap<String, usize>>,
}

/// A response of a host.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    /// The same request would fail in the same way.
    is_final: bool,
}

impl Callers {
    pub(super) fn new(hosts: Arc<Hosts>, random: fastrand::Rng) -> Self {
        Self {
            hosts,
            client: http_client(),
            random: Mutex::new(random),
            outcomes: Mutex::default(),
        }
    }

    /// Starts callers for this long.
    pub(super) async fn call_for(self: &Arc<Self>, length: Duration) -> JoinSet<()> {
        let end = Instant::now() + length;
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut calls = JoinSet::new();
        let mut number = 0;
        while Instant::now() < end {
            ticks.tick().await;
            number += 1;
            let caller = self.clone();
            match self.random.lock().unwrap().u8(..4) {
                0 => calls.spawn(async move { caller.run_job(number, "openai").await }),
                1 => calls.spawn(async move { caller.run_job(number, "comfyui").await }),
                2 => calls.spawn(async move { caller.make_image(number).await }),
                _ => calls.spawn(async move { caller.run_turn(number).await }),
            };
        }
        calls
    }

    pub(super) fn print(&self) {
        for (outcome, count) in self.outcomes.lock().unwrap().iter() {
            eprintln!("chaos: {count:5} {outcome}");
        }
    }

    /// What the callers saw.
    pub(super) fn outcomes(&self) -> Vec<String> {
        self.outcomes.lock().unwrap().keys().cloned().collect()
    }

    fn count(&self, outcome: impl Into<String>) {
        let mut outcomes = self.outcomes.lock().unwrap();
        *outcomes.entry(outcome.into()).or_default() += 1;
    }

    /// A job of the jobs API, whose client waits for it on all hosts.
    async fn run_job(&self, number: usize, engine: &str) {
        let body = json!({"prompt": prompt(number), "engine": engine});
        let accepted = self
            .repeat(Method::POST, JOBS, Some(number), Some(&body))
            .await;
        assert!(
            matches!(accepted.status, 200 | 202),
            "{}: {}",
            accepted.status,
            accepted.body
        );
        let id = accepted.body["id"].as_str().unwrap();
        let path = format!("{JOBS}/{id}?wait=20");
        loop {
            let job = self.repeat(Method::GET, &path, None, None).await;
            assert_eq!(job.status, 200, "job {id}: {}", job.body);
            if job.body["ended_at"].is_i64() {
                let state = job.body["state"].as_str().unwrap();
                return self.count(format!("job of {engine}: {state}"));
            }
        }
    }

    /// An image for a client that waits for the response.
    async fn make_image(&self, number: usize) {
        let body = json!({"prompt": prompt(number)});
        let path = "/v1/images/generations";
        let reply = self
            .repeat(Method::POST, path, Some(number), Some(&body))
            .await;
        let status = reply.status;
        assert!(matches!(status, 200 | 502..=504), "{status} {}", reply.body);
        self.count(format!("image: status {status}"));
    }

    /// The turn of a chat, in the background.
    async fn run_turn(&self, number: usize) {
        let message = json!({"id": "a1", "role": "assistant", "content": ""});
        let chat = json!({"chat": {
            "title": "Foxes",
            "history": {"messages": {"a1": message}, "currentId": "a1"},
        }});
        let chat = self
            .repeat(Method::POST, "/api/v1/chats/new", None, Some(&chat))
            .await;
        assert_eq!(chat.status, 200, "{}", chat.body);
        let id = chat.body["id"].as_str().unwrap();
        let turn = json!({
            "model": "m", "stream": true, "session_id": "s1", "chat_id": id, "id": "a1",
            "features": {"image_generation": true},
            "messages": [{"role": "user", "content": prompt(number)}],
        });
        let host = self.any_host();
        // Without an idempotency key, it is not repeated.
        match self
            .send(
                &host,
                Method::POST,
                "/api/chat/completions",
                None,
                Some(&turn),
            )
            .await
        {
            None => return self.count("turn: broken connection"),
            // In a long outage, the user has too many of them.
            Some(reply) if matches!(reply.status, 429 | 503) => return self.count("turn: refused"),
            Some(reply) => assert_eq!(reply.status, 200, "{}", reply.body),
        }
        let path = format!("/api/v1/chats/{id}");
        loop {
            let stored = self.repeat(Method::GET, &path, None, None).await;
            assert_eq!(stored.status, 200, "{}", stored.body);
            let response = &stored.body["chat"]["history"]["messages"]["a1"];
            if response["done"] == true {
                let outcome = if response["files"].is_array() {
                    "image"
                } else {
                    "error"
                };
                return self.count(format!("turn: {outcome}"));
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Sends a request to one host after the other until one responds with something else than "later".
    async fn repeat(
        &self,
        method: Method,
        path: &str,
        key: Option<usize>,
        body: Option<&Value>,
    ) -> Reply {
        let mut attempts = tokio::time::interval(RETRY_INTERVAL);
        loop {
            attempts.tick().await;
            let host = self.any_host();
            match self.send(&host, method.clone(), path, key, body).await {
                None => self.count("request: broken connection"),
                Some(reply) if matches!(reply.status, 429 | 503) && !reply.is_final => {
                    self.count(format!("request: status {}", reply.status));
                }
                Some(reply) => return reply,
            }
        }
    }

    /// Sends a request with an idempotency key. `None` if the connection broke.
    pub(super) async fn send(
        &self,
        host: &Host,
        method: Method,
        path: &str,
        key: Option<usize>,
        body: Option<&Value>,
    ) -> Option<Reply> {
        let request = self.client.request(method, format!("{}{path}", host.url()));
        let mut request = request
            .bearer_auth(&self.hosts.key)
            .timeout(MAX_RESPONSE_TIME);
        if let Some(key) = key {
            request = request.header("idempotency-key", format!("chaos-{key}"));
        }
        if let Some(body) = body {
            let json = request.header("content-type", "application/json");
            request = json.body(body.to_string());
        }
        let broken = |error: reqwest::Error| assert!(!error.is_timeout(), "{path}: no response");
        let response = request.send().await.map_err(broken).ok()?;
        let status = response.status().as_u16();
        let retry = response.headers().get("x-should-retry");
        let is_final = retry.is_some_and(|value| value == "false");
        let bytes = response.bytes().await.map_err(broken).ok()?;
        let text = || String::from_utf8_lossy(&bytes).into_owned().into();
        Some(Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
            is_final,
        })
    }

    /// The bytes of a stored image.
    pub(super) async fn image(&self, host: &Host, path: &str) -> bytes::Bytes {
        let request = self.client.get(format!("{}{path}", host.url()));
        let response = request.bearer_auth(&self.hosts.key).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap()
    }

    fn any_host(&self) -> Arc<Host> {
        let index = self.random.lock().unwrap().usize(..self.hosts.all.len());
        self.hosts.all[index].clone()
    }
}
