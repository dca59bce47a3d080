//! A server with one engine and one upstream whose responses a test lists job by job.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::HeaderMap;
use pinhole_conformance::{FakeResponse, RecordedRequest};
use serde_json::{Value, json};

use crate::{FakeUpstream, TestServer};

/// Far more than any job here takes.
const JOB_TIMEOUT: Duration = Duration::from_secs(120);

/// A server, its upstream, and the responses that the upstream has not sent yet.
pub struct EngineFixture {
    pub server: TestServer,
    pub upstream: FakeUpstream,
    secret: String,
    responses: Arc<Mutex<VecDeque<FakeResponse>>>,
}

/// The server's response to a job, and the upstream's requests during it.
#[derive(Debug)]
pub struct JobExchange {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub requests: Vec<RecordedRequest>,
}

impl EngineFixture {
    /// Starts both, with this engine.
    ///
    /// In the values of `variables`, `{upstream}` becomes the URL of the upstream and `{secret}`
    /// the secret that only the upstream may see.
    pub async fn start(engine: &str, secret: &str, variables: &[(&str, &str)]) -> Self {
        let responses = Arc::new(Mutex::new(VecDeque::new()));
        let queue = responses.clone();
        let upstream = FakeUpstream::start(move |_| {
            let next = queue.lock().unwrap().pop_front();
            async {
                next.unwrap_or_else(|| FakeResponse::json(500, &json!({"error": "unexpected"})))
            }
        })
        .await;
        let url = upstream.url();
        let filled: Vec<(&str, String)> = variables
            .iter()
            .map(|(name, value)| {
                let value = value
                    .replace("{upstream}", &url)
                    .replace("{secret}", secret);
                (*name, value)
            })
            .collect();
        let filled: Vec<(&str, &str)> = filled
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        Self {
            server: TestServer::with_engine(engine, &filled).await,
            upstream,
            secret: secret.to_owned(),
            responses,
        }
    }

    /// Posts an image request while the upstream sends these responses, one a request.
    ///
    /// Asserts that the upstream gets exactly as many requests, that the client does not see the
    /// secret, and that the upstream does not see the client's key.
    pub async fn generate(
        &self,
        responses: impl IntoIterator<Item = FakeResponse>,
        body: &Value,
    ) -> JobExchange {
        let before = self.upstream.requests().len();
        let expected = {
            let mut queue = self.responses.lock().unwrap();
            queue.extend(responses);
            queue.len()
        };
        let request = self.server.post("/v1/images/generations", body);
        let exchange = async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            (status, headers, response.text().await.unwrap())
        };
        let (status, headers, text) = tokio::time::timeout(JOB_TIMEOUT, exchange)
            .await
            .expect("the server responds in time");
        let requests = self.upstream.requests().split_off(before);
        assert_eq!(
            requests.len(),
            expected,
            "{body} led to {requests:?} and {text}"
        );
        let visible = format!("{headers:?} {text}");
        assert!(
            !visible.contains(&self.secret),
            "the secret is in {visible}"
        );
        let sent = format!("{requests:?}");
        assert!(!sent.contains(&self.server.key), "the key is in {sent}");
        JobExchange {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap(),
            requests,
        }
    }
}

/// The response of a recorded exchange: `{"reply": {"status", "headers", "body"}}`. A body that is a
/// string was not JSON.
pub fn recorded_response(exchange: &Value) -> FakeResponse {
    let reply = &exchange["reply"];
    let status = u16::try_from(reply["status"].as_u64().unwrap()).unwrap();
    let mut response = match &reply["body"] {
        Value::String(text) => FakeResponse::typed(status, "text/plain", text.clone()),
        body => FakeResponse::json(status, body),
    };
    for (name, value) in reply["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    response
}

impl JobExchange {
    /// The bytes of the images, in order. Panics if the job failed.
    pub fn images(&self) -> Vec<Vec<u8>> {
        assert_eq!(self.status, 200, "{}", self.body);
        let items = self.body["data"].as_array().unwrap();
        items
            .iter()
            .map(|item| {
                let base64 = item["b64_json"].as_str().unwrap();
                base64_simd::STANDARD.decode_to_vec(base64).unwrap()
            })
            .collect()
    }

    /// The only request that the upstream got.
    pub fn request(&self) -> &RecordedRequest {
        assert_eq!(self.requests.len(), 1, "{:?}", self.requests);
        &self.requests[0]
    }

    /// The error's status, code, parameter and message. Panics without an error.
    pub fn error(&self) -> (u16, &str, Option<&str>, &str) {
        let error = &self.body["error"];
        let text = |key: &str| error[key].as_str();
        (
            self.status,
            text("code").unwrap_or_default(),
            text("param"),
            text("message").unwrap_or_else(|| panic!("no error in {}", self.body)),
        )
    }
}
