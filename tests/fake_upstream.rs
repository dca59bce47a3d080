//! A fake upstream for tests: records requests, and responds as a handler decides.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use pinhole_conformance::{FakeResponse, LoopbackServer, RawStep, RecordedRequest, RequestHandler};
use serde_json::Value;
use tokio::sync::watch;

/// Maximum number of recorded requests; later ones are only counted.
const MAX_RECORDED: usize = 10_000;

type BoxHandler = Arc<
    dyn Fn(RecordedRequest) -> Pin<Box<dyn Future<Output = FakeResponse> + Send>> + Send + Sync,
>;

/// A running upstream on a free port of 127.0.0.1. Dropping it closes all connections.
pub struct FakeUpstream {
    server: LoopbackServer,
    state: Arc<State>,
}

struct State {
    initial_handler: BoxHandler,
    handler: Mutex<BoxHandler>,
    requests: Mutex<Vec<RecordedRequest>>,
    request_count: watch::Sender<usize>,
    /// Connections accepted before the last reset.
    old_connections: Mutex<usize>,
}

impl FakeUpstream {
    /// Responds to each request with the handler's result.
    pub async fn start<F>(handler: impl Fn(RecordedRequest) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = FakeResponse> + Send + 'static,
    {
        let initial_handler = boxed(handler);
        let state = Arc::new(State {
            handler: Mutex::new(initial_handler.clone()),
            initial_handler,
            requests: Mutex::default(),
            request_count: watch::Sender::default(),
            old_connections: Mutex::default(),
        });
        let server = LoopbackServer::bind(Recorder(state.clone())).await;
        Self {
            server: server.expect("a free port on loopback"),
            state,
        }
    }

    /// Responds to each request with the same status and JSON.
    pub async fn json(status: u16, body: Value) -> Self {
        Self::start(move |_| {
            let response = FakeResponse::json(status, &body);
            async { response }
        })
        .await
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The requests since the last reset, in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Method and target of each request since the last reset.
    pub fn request_lines(&self) -> Vec<String> {
        let requests = self.state.requests.lock().unwrap();
        requests.iter().map(RecordedRequest::line).collect()
    }

    /// Waits until this many requests have arrived since the last reset.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut request_count = self.state.request_count.subscribe();
        request_count.wait_for(|it| *it >= count).await.unwrap();
    }

    /// The number of connections accepted since the last reset.
    pub fn connection_count(&self) -> usize {
        self.server.accepted_connections() - *self.state.old_connections.lock().unwrap()
    }

    /// Waits until no connection is open.
    pub async fn wait_until_idle(&self) {
        self.server.wait_until_idle().await;
    }

    /// Replaces the handler for later requests.
    pub fn set_handler<F>(&self, handler: impl Fn(RecordedRequest) -> F + Send + Sync + 'static)
    where
        F: Future<Output = FakeResponse> + Send + 'static,
    {
        *self.state.handler.lock().unwrap() = boxed(handler);
    }

    /// Responds to each later request with these raw steps.
    pub fn set_raw(&self, steps: Vec<RawStep>) {
        self.set_raw_handler(move |_| steps.clone());
    }

    /// Responds to each later request with the raw steps that this returns.
    pub fn set_raw_handler(
        &self,
        steps: impl Fn(&RecordedRequest) -> Vec<RawStep> + Send + Sync + 'static,
    ) {
        self.set_handler(move |request| {
            let response = FakeResponse::raw(steps(&request));
            async { response }
        });
    }

    /// Forgets the requests and connections so far, and restores the handler of the start.
    pub fn reset(&self) {
        *self.state.handler.lock().unwrap() = self.state.initial_handler.clone();
        self.state.requests.lock().unwrap().clear();
        self.state.request_count.send_replace(0);
        *self.state.old_connections.lock().unwrap() = self.server.accepted_connections();
    }
}

fn boxed<F>(handler: impl Fn(RecordedRequest) -> F + Send + Sync + 'static) -> BoxHandler
where
    F: Future<Output = FakeResponse> + Send + 'static,
{
    Arc::new(move |request| Box::pin(handler(request)))
}

/// Records each request before its handler runs.
struct Recorder(Arc<State>);

impl RequestHandler for Recorder {
    async fn respond(self: Arc<Self>, request: RecordedRequest) -> FakeResponse {
        let state = &self.0;
        {
            let mut requests = state.requests.lock().unwrap();
            if requests.len() < MAX_RECORDED {
                requests.push(request.clone());
            }
        }
        let handler = state.handler.lock().unwrap().clone();
        state.request_count.send_modify(|count| *count += 1);
        let response = handler(request);
        response.await
    }
}
