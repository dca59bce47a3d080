//! A ComfyUI that runs its jobs until a test lets them finish, or for a time of their own.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{FakeResponse, FakeUpstream, PIXEL, RecordedRequest, WebSocket};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

pub(crate) struct Comfy {
    pub(crate) upstream: FakeUpstream,
    state: watch::Sender<State>,
}

/// How long a job takes, by the number of orders before it. `None` until a test lets it finish.
type WorkTime = fn(usize) -> Option<Duration>;

#[derive(Debug, Default)]
struct State {
    /// The jobs, in the order of their requests.
    orders: Vec<Order>,
    /// All jobs finish at once.
    is_finished: bool,
    /// The number of requests for the queue.
    looks: usize,
}

#[derive(Clone, Debug)]
struct Order {
    id: String,
    /// As JSON.
    workflow: String,
    is_finished: bool,
}

impl State {
    fn has_finished(&self, order: &Order) -> bool {
        self.is_finished || order.is_finished
    }
}

impl Comfy {
    pub(crate) async fn start() -> Self {
        Self::with_work_time(|_| None).await
    }

    pub(crate) async fn with_work_time(work_time: WorkTime) -> Self {
        let state = watch::Sender::new(State::default());
        let of_upstream = state.clone();
        let upstream = FakeUpstream::start(move |request| {
            let response = respond(&request, &of_upstream, work_time);
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

    /// The workflow of each job as JSON, in the order of their requests.
    pub(crate) fn workflows(&self) -> Vec<String> {
        let state = self.state.borrow();
        let workflows = state.orders.iter().map(|order| order.workflow.clone());
        workflows.collect()
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

fn respond(
    request: &RecordedRequest,
    state: &watch::Sender<State>,
    work_time: WorkTime,
) -> FakeResponse {
    let path = request.target.split('?').next().unwrap_or_default();
    match path {
        "/ws" => {
            let states = state.subscribe();
            FakeResponse::web_socket(move |socket| send_ends(socket, states))
        }
        "/prompt" => {
            let id = add_order(request, state, work_time);
            FakeResponse::json(
                200,
                &json!({"prompt_id": id, "number": 1, "node_errors": {}}),
            )
        }
        "/queue" => {
            state.send_modify(|state| state.looks += 1);
            let state = state.borrow();
            let active = state
                .orders
                .iter()
                .filter(|order| !state.has_finished(order));
            let running: Vec<Value> = active
                .map(|order| json!([1, order.id, {}, {}, []]))
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

/// Adds the job of a request. Returns its id.
fn add_order(
    request: &RecordedRequest,
    state: &watch::Sender<State>,
    work_time: WorkTime,
) -> String {
    let body = request.json();
    let id = body["prompt_id"].as_str().unwrap().to_owned();
    let mut index = 0;
    state.send_modify(|state| {
        index = state.orders.len();
        state.orders.push(Order {
            id: id.clone(),
            workflow: body["prompt"].to_string(),
            is_finished: false,
        });
    });
    if let Some(time) = work_time(index) {
        let state = state.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            state.send_modify(|state| state.orders[index].is_finished = true);
        });
    }
    id
}

/// The history of a finished job.
fn history(path: &str, state: &State) -> Value {
    let id = path.rsplit('/').next().unwrap_or_default();
    let is_finished = |order: &Order| order.id == id && state.has_finished(order);
    if !state.orders.iter().any(is_finished) {
        return json!({});
    }
    let image = json!({"filename": "a.png", "subfolder": "", "type": "output"});
    json!({id: {"outputs": {"9": {"images": [image]}}, "status": {"status_str": "success"}}})
}

/// After the client's first message, sends the end of each job. Those that finished before are not sent again, unless a
/// test let all finish.
async fn send_ends(mut socket: WebSocket, mut states: watch::Receiver<State>) {
    let finished_ids = |state: &State, is_sent: &dyn Fn(&Order) -> bool| -> Vec<String> {
        let finished = state
            .orders
            .iter()
            .filter(|order| state.has_finished(order) && !is_sent(order));
        finished.map(|order| order.id.clone()).collect()
    };
    let before = finished_ids(&states.borrow(), &|order| !order.is_finished);
    let mut sent: HashSet<String> = before.into_iter().collect();
    let Some(Ok(_)) = socket.next().await else {
        return;
    };
    loop {
        let ids = finished_ids(&states.borrow_and_update(), &|order| {
            sent.contains(&order.id)
        });
        for id in ids {
            let done = json!({"type": "executing", "data": {"node": null, "prompt_id": id}});
            if socket.send(Message::text(done.to_string())).await.is_err() {
                return;
            }
            sent.insert(id);
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}
