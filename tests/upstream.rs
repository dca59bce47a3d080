//! A service on loopback that answers as a closure says and remembers what it was asked.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    /// `GET /models`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The server's end of a WebSocket.
pub type WebSocket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

type Talk = Box<dyn FnOnce(WebSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What an upstream answers.
pub struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Body,
    talk: Option<Talk>,
}

impl Answer {
    /// A status and a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json", body.to_string())
    }

    /// A status and a body of some type.
    pub fn typed(status: u16, media_type: &str, body: impl Into<Body>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: vec![(CONTENT_TYPE.as_str(), media_type.to_owned())],
            body: body.into(),
            talk: None,
        }
    }

    /// The same with a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Accepts a WebSocket and talks over it.
    pub fn web_socket<F>(talk: impl FnOnce(WebSocket) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut answer = Self::typed(101, "", Body::empty());
        answer.headers.clear();
        answer.talk = Some(Box::new(|socket| Box::pin(talk(socket))));
        answer
    }
}

/// A running upstream; it ends when dropped.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    /// Answers every request as `answer` says.
    pub async fn start<F>(answer: impl Fn(Seen) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let memory = seen.clone();
        let service = axum::Router::new().fallback(async move |request: Request| {
            let response = respond(request, &memory, &counter, answer).await;
            Ok::<_, Infallible>(response)
        });
        let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        Self {
            address,
            seen,
            count,
            task,
        }
    }

    /// Answers every request with the same status and JSON.
    pub async fn json(status: u16, body: Value) -> Self {
        Self::start(move |_| {
            let answer = Answer::json(status, &body);
            async { answer }
        })
        .await
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything asked so far, in order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The lines of everything asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    /// Waits until this many requests have arrived.
    pub async fn wait_for(&self, requests: usize) {
        let mut count = self.count.clone();
        count.wait_for(|count| *count >= requests).await.unwrap();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond<F: Future<Output = Answer>>(
    mut request: Request,
    memory: &Mutex<Vec<Seen>>,
    counter: &watch::Sender<usize>,
    answer: impl Fn(Seen) -> F,
) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let seen = Seen {
        method: head.method,
        target: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers,
        body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
    };
    memory.lock().unwrap().push(seen.clone());
    counter.send_modify(|count| *count += 1);
    let key = seen.headers.get(SEC_WEBSOCKET_KEY).cloned();
    let answer = answer(seen).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    if let (Some(talk), Some(key)) = (answer.talk, key) {
        response = response
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                let stream = TokioIo::new(upgraded);
                talk(WebSocketStream::from_raw_socket(stream, Role::Server, None).await).await;
            }
        });
    }
    response.body(answer.body).unwrap()
}
