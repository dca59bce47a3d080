//! A ComfyUI that runs its jobs until a test lets them finish.

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{FakeResponse, FakeUpstream, PIXEL, RecordedRequest, WebSocket};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

pub(crate) struct Comfy {
    pub(crate) upstream: FakeUpstream,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The ids of the jobs, in the order of their requests.
    orders: Vec<String>,
    is_finished: bool,
    /// The number of requests for the queue.
    looks: usize,
}

impl Comfy {
    pub(crate) async fn start() -> Self {
        let state = watch::Sender::new(State::default());
        let of_upstream = state.clone();
        let upstream = FakeUpstream::start(move |request| {
            let response = respond(&request, &of_upstream);
            async { response }
        })
        .await;
        Self { upstream, state }
    }

    /// Lets all jobs finish.
    pub(crate) fn finish(&self) {
        self.state.send_modify(|state| state.is_finished = true);
    }

    pub(crate) fn orders(&self) -> usize {
        self.state.borrow().orders.len()
    }

    pub(crate) async fn wait_for_orders(&self, count: usize) {
        let mut states = self.state.subscribe();
        states
            .wait_for(|it| it.orders.len() >= count)
            .await
            .unwrap();
    }

    /// The number of requests for the queue.
    pub(crate) fn looks(&self) -> usize {
        self.state.borrow().looks
    }

    /// Waits until there were more requests for the queue than this.
    pub(crate) async fn wait_for_look_after(&self, looks: usize) {
        let mut states = self.state.subscribe();
        states.wait_for(|it| it.looks > looks).await.unwrap();
    }

    /// The requests that stop a job.
    pub(crate) fn cancellations(&self) -> usize {
        let lines = self.upstream.request_lines();
        let is_stop = |line: &&String| {
            line.starts_with("POST") && (line.contains("cancel") || line.contains("interrupt"))
        };
        lines.iter().filter(is_stop).count()
    }
}

fn respond(request: &RecordedRequest, state: &watch::Sender<State>) -> FakeResponse {
    let path = request.target.split('?').next().unwrap_or_default();
    match path {
        "/ws" => {
            let states = state.subscribe();
            FakeResponse::web_socket(move |socket| send_end(socket, states))
        }
        "/prompt" => {
            let id = request.json()["prompt_id"].as_str().unwrap().to_owned();
            state.send_modify(|state| state.orders.push(id.clone()));
            FakeResponse::json(
                200,
                &json!({"prompt_id": id, "number": 1, "node_errors": {}}),
            )
        }
        "/queue" => {
            state.send_modify(|state| state.looks += 1);
            let State {
                orders,
                is_finished,
                ..
            } = state.borrow().clone();
            let running: Vec<Value> = orders
                .iter()
                .filter(|_| !is_finished)
                .map(|id| json!([1, id, {}, {}, []]))
                .collect();
            FakeResponse::json(200, &json!({"queue_running": running, "queue_pending": []}))
        }
        "/upload/image" => FakeResponse::json(
            200,
            &json!({"name": "source.png", "subfolder": "pinhole", "type": "input"}),
        ),
        "/view" => FakeResponse::typed(200, "image/png", PIXEL),
        _ => FakeResponse::json(200, &history(path, &state.borrow())),
    }
}

/// The history of a finished job.
fn history(path: &str, state: &State) -> Value {
    let id = path.rsplit('/').next().unwrap_or_default();
    if !state.is_finished || !state.orders.iter().any(|order| order == id) {
        return json!({});
    }
    let image = json!({"filename": "a.png", "subfolder": "", "type": "output"});
    json!({id: {"outputs": {"9": {"images": [image]}}, "status": {"status_str": "success"}}})
}

/// Waits for the client's first message and the end of the jobs, then sends it.
async fn send_end(mut socket: WebSocket, mut states: watch::Receiver<State>) {
    let Some(Ok(_)) = socket.next().await else {
        return;
    };
    let is_over = |state: &State| state.is_finished && !state.orders.is_empty();
    let Ok(state) = states.wait_for(is_over).await.map(|state| state.clone()) else {
        return;
    };
    for id in &state.orders {
        let done = json!({"type": "executing", "data": {"node": null, "prompt_id": id}});
        socket.send(Message::text(done.to_string())).await.ok();
    }
    while let Some(Ok(_)) = socket.next().await {}
}
