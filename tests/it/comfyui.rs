//! The engine `comfyui`: what the server is asked, what it plays over its socket, and what becomes
//! of both. This file has the server that plays recorded runs, and how a job gets in and out.

mod cancel;
mod failures;
mod frames;
mod polling;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pinhole::engine::{Control, Progress};
use pinhole::jobs::{Error, Finished, JobRequest};
use pinhole_tests::{Answer, Seen, Server, Upstream, WebSocket};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

const KEY: &str = "open-sesame-8188";
/// The id that our ComfyUI gives to every job.
const JOB: &str = "0f3b8c1e-5a7d-4e2b-9c64-1d2e3f405162";
/// A safety net, far above what any job here takes.
const PATIENCE: Duration = Duration::from_secs(120);

const RUNS: &str = include_str!("../data/comfyui/runs.json");
/// Of the pictures only their heads were recorded. These have the size of the first two.
const FIRST: &[u8] = include_bytes!("../data/comfyui/first.png");
const SECOND: &[u8] = include_bytes!("../data/comfyui/second.png");
const PREVIEW: &[u8] = include_bytes!("../data/comfyui/preview.jpg");

/// A recorded run, as it would be of a job with this id.
fn run_of(name: &str, id: &str) -> Value {
    let mut all: Value = serde_json::from_str(RUNS).unwrap();
    let run = all[name].take();
    let recorded = run["answer"]["prompt_id"].as_str();
    let recorded = recorded.unwrap_or_else(|| panic!("no run {name:?}"));
    serde_json::from_str(&run.to_string().replace(recorded, id)).unwrap()
}

/// The same of our job.
fn run(name: &str) -> Value {
    run_of(name, JOB)
}

/// A list in a run.
fn list<'a>(run: &'a Value, name: &str) -> &'a [Value] {
    run[name].as_array().unwrap()
}

/// The history's entry of our job.
fn entry(run: &mut Value) -> &mut Value {
    &mut run["history"][JOB]
}

/// A ComfyUI that plays runs.
struct Comfy {
    upstream: Upstream,
    /// What the next job becomes.
    run: watch::Sender<Value>,
}

/// The server's end of one job's socket.
struct Line {
    socket: WebSocket,
    jobs: watch::Receiver<u32>,
    /// How many jobs there are once the one of this socket is queued.
    mine: u32,
    run: watch::Receiver<Value>,
}

impl Comfy {
    /// Answers as `answer` says, where that is `None` as the run says, and lets `talk` talk over
    /// each socket.
    async fn start<F>(
        run: Value,
        answer: impl Fn(&Seen) -> Option<Answer> + Clone + Send + Sync + 'static,
        talk: impl Fn(Line) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (run, jobs) = (watch::Sender::new(run), watch::Sender::new(0));
        let playing = run.clone();
        let upstream = Upstream::start(move |seen| {
            let said = answer(&seen).unwrap_or_else(|| match path(&seen) {
                "/ws" => {
                    let (talk, run) = (talk.clone(), playing.subscribe());
                    let (mine, jobs) = (*jobs.borrow() + 1, jobs.subscribe());
                    Answer::web_socket(move |socket| {
                        talk(Line {
                            socket,
                            jobs,
                            mine,
                            run,
                        })
                    })
                }
                "/prompt" => {
                    jobs.send_modify(|jobs| *jobs += 1);
                    Answer::json(200, &playing.borrow()["answer"])
                }
                "/view" => {
                    let second = seen.target.contains("2_.png");
                    Answer::typed(200, "image/png", if second { SECOND } else { FIRST })
                }
                "/queue" if seen.method == "POST" => Answer::typed(200, "text/plain", ""),
                "/queue" => Answer::json(200, &json!({"queue_running": [], "queue_pending": []})),
                path if path == format!("/history/{JOB}") => {
                    Answer::json(200, &playing.borrow()["history"])
                }
                _ => Answer::typed(404, "text/plain", ""),
            });
            async { said }
        })
        .await;
        Self { upstream, run }
    }

    /// Plays the run as it was recorded.
    async fn playing(name: &str) -> Self {
        Self::start(run(name), |_| None, Line::play_all).await
    }

    /// Plays it to an engine that can only ask.
    async fn without_socket(
        run: Value,
        answer: impl Fn(&Seen) -> Option<Answer> + Clone + Send + Sync + 'static,
    ) -> Self {
        let refuse = move |seen: &Seen| match path(seen) {
            "/ws" => Some(Answer::typed(404, "text/plain", "")),
            _ => answer(seen),
        };
        Self::start(run, refuse, Line::play_all).await
    }

    /// A server for it, with the key and the run's workflow unless the variables say otherwise.
    async fn server(&self, variables: &[(&str, &str)]) -> Server {
        let (url, graph) = (self.upstream.url(), self.run.borrow()["graph"].to_string());
        let mut all = vec![
            ("COMFYUI_BASE_URL", url.as_str()),
            ("COMFYUI_API_KEY", KEY),
            ("COMFYUI_WORKFLOW", &graph),
        ];
        all.extend(variables);
        Server::with_engine("comfyui", &all).await
    }

    /// All requests. Each has the key and no origin, and those for jobs know their socket.
    fn seen(&self) -> Vec<Seen> {
        let seen = self.upstream.seen();
        let mut client_id = "";
        for seen in &seen {
            let key = seen.header("authorization");
            assert_eq!(key, format!("Bearer {KEY}"), "{}", seen.line());
            assert_eq!(seen.header("origin"), "", "{}", seen.line());
            if let Some(id) = seen.target.strip_prefix("/ws?clientId=") {
                client_id = id;
            }
            if seen.line() == "POST /prompt" {
                assert_eq!(seen.header("content-type"), "application/json");
                assert_eq!(seen.json()["client_id"], client_id);
                assert_eq!(client_id.len(), 36, "{client_id:?}");
            }
        }
        seen
    }

    /// The lines of all requests; a socket's without its id, which is drawn by lot.
    fn lines(&self) -> Vec<String> {
        let seen = self.seen();
        let line = |seen: &Seen| match path(seen) {
            "/ws" => "GET /ws".to_owned(),
            _ => seen.line(),
        };
        seen.iter().map(line).collect()
    }

    /// The graph of the newest job.
    fn graph(&self) -> Value {
        let seen = self.seen();
        let mut jobs = seen.iter().filter(|seen| seen.line() == "POST /prompt");
        let graph = jobs.next_back().unwrap().json()["prompt"].take();
        assert!(!graph.to_string().contains("null"), "{graph}");
        graph
    }
}

impl Line {
    /// Waits until the engine has introduced itself, and gives what it said, and until its job is
    /// queued.
    async fn begin(&mut self) -> Value {
        let said = self.socket.next().await.unwrap().unwrap();
        let mine = self.mine;
        self.jobs.wait_for(|jobs| *jobs >= mine).await.unwrap();
        serde_json::from_str(said.to_text().unwrap()).unwrap()
    }

    /// The recorded frames.
    fn frames(&self) -> Vec<Value> {
        list(&self.run.borrow(), "frames").to_vec()
    }

    async fn play(&mut self, frames: &[Value]) {
        for frame in frames {
            // The engine may have gone.
            self.socket.send(message(frame)).await.ok();
        }
    }

    /// Waits until the engine has taken in all that was played: it answers a ping in its turn.
    async fn taken(&mut self) {
        self.socket.send(Message::Ping("?".into())).await.unwrap();
        while !self.socket.next().await.unwrap().unwrap().is_pong() {}
    }

    /// Stays until the engine goes.
    async fn stay(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    async fn play_all(mut self) {
        self.begin().await;
        let frames = self.frames();
        self.play(&frames).await;
        self.stay().await;
    }
}

/// A frame as it goes over the socket.
fn message(frame: &Value) -> Message {
    if let Some(text) = frame.get("text") {
        return Message::text(text.to_string());
    }
    let (mut bytes, kind) = match frame.get("preview") {
        Some(metadata) => {
            let text = metadata.to_string();
            let length = u32::try_from(text.len()).unwrap();
            let head = [&[0, 0, 0, 4], &length.to_be_bytes()[..], text.as_bytes()];
            (head.concat(), &metadata["image_type"])
        }
        None => {
            let format = if frame["bare"] == "png" { 2 } else { 1 };
            (vec![0, 0, 0, 1, 0, 0, 0, format], &frame["bare"])
        }
    };
    let is_png = kind.as_str().unwrap().ends_with("png");
    bytes.extend_from_slice(if is_png { FIRST } else { PREVIEW });
    Message::binary(bytes)
}

fn path(seen: &Seen) -> &str {
    seen.target.split('?').next().unwrap_or_default()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let what = tokio::time::timeout(PATIENCE, what);
    what.await.expect("it does not take that long")
}

/// A job for one picture.
fn fox() -> JobRequest {
    JobRequest {
        prompt: "a red fox".into(),
        ..JobRequest::default()
    }
}

/// The same for two.
fn foxes() -> JobRequest {
    JobRequest {
        count: Some(2),
        ..fox()
    }
}

/// A job that runs while a test looks on.
fn spawn(
    server: &Server,
    request: JobRequest,
) -> (JoinHandle<Result<Finished, Error>>, Arc<Control>) {
    let control = Arc::new(Control::new("watched".into()));
    let (app, watched) = (server.app.clone(), control.clone());
    let run = async move { app.jobs.generate(request, &watched).await };
    (tokio::spawn(run), control)
}

async fn generate(server: &Server, request: JobRequest) -> Result<Finished, Error> {
    soon(spawn(server, request).0).await.unwrap()
}

/// Waits for such a report.
async fn told(control: &Control, wanted: impl FnMut(&Progress) -> bool) -> Progress {
    let mut progress = control.progress.subscribe();
    soon(progress.wait_for(wanted)).await.unwrap().clone()
}

fn pictures(finished: &Finished) -> Vec<&[u8]> {
    let images = finished.images.iter();
    images.map(|image| &image.bytes()[..]).collect()
}

const HISTORY: &str = "GET /history/0f3b8c1e-5a7d-4e2b-9c64-1d2e3f405162";
const VIEWS: [&str; 2] = [
    "GET /view?filename=core_t2i_00001_.png&subfolder=&type=output",
    "GET /view?filename=core_t2i_00002_.png&subfolder=&type=output",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_queued_once_its_socket_is_open_and_its_end_is_waited_for_there() {
    let comfy = Comfy::playing("two pictures").await;
    let nodes = json!([
        {"type": "prompt", "key": "value", "node_ids": ["1"]},
        {"type": "seed", "key": "value", "node_ids": ["3"]},
        {"type": "width", "node_ids": ["4"]},
        {"type": "height", "key": "height", "node_ids": [4]},
        {"type": "n", "key": "", "node_ids": ["4"]},
    ]);
    let server = comfy
        .server(&[("COMFYUI_WORKFLOW_NODES", &nodes.to_string())])
        .await;
    // Beyond 2^53, where JSON numbers lose digits in many programs.
    let seed = 9_007_199_254_740_993_u64;
    let body = json!({
        "prompt": "a \"red\" fox\nat dawn", "size": "128x72", "n": 2, "seed": seed,
        "response_format": "url",
    });
    let (status, reply) = server.ask("/v1/images/generations", &body).await;
    assert_eq!(status, 200, "{reply}");
    for (index, picture) in [FIRST, SECOND].into_iter().enumerate() {
        let url = reply["data"][index]["url"].as_str().unwrap();
        let kept = server.get(url).send().await.unwrap();
        assert_eq!(kept.bytes().await.unwrap(), picture);
    }

    let [first, second] = VIEWS;
    let expected = ["GET /ws", "POST /prompt", HISTORY, first, second];
    assert_eq!(comfy.lines(), expected);
    let mut graph = run("two pictures")["graph"].take();
    graph["1"]["inputs"]["value"] = body["prompt"].clone();
    graph["3"]["inputs"]["value"] = seed.into();
    graph["4"]["inputs"]["width"] = 128.into();
    graph["4"]["inputs"]["height"] = 72.into();
    assert_eq!(comfy.graph(), graph);
    let shown = format!("{:?}", comfy.seen());
    assert!(
        !shown.contains(&server.key),
        "the client's key went upstream"
    );

    let job = JobRequest {
        seed: Some(seed),
        ..foxes()
    };
    let finished = generate(&server, job).await.unwrap();
    let details: Value = serde_json::from_str(&finished.details).unwrap();
    assert_eq!(details, json!({"prompt_id": JOB, "seed": seed}));
    assert_eq!(pictures(&finished), [FIRST, SECOND]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_has_a_socket_of_its_own() {
    let comfy = Comfy::playing("two pictures").await;
    let server = comfy.server(&[("COMFYUI_API_KEY", "")]).await;
    for _ in 0..2 {
        generate(&server, foxes()).await.unwrap();
    }
    let seen = comfy.upstream.seen();
    let mut sockets: Vec<_> = seen.iter().filter(|seen| path(seen) == "/ws").collect();
    sockets.dedup_by_key(|seen| &seen.target);
    assert_eq!(sockets.len(), 2, "{:?}", comfy.upstream.lines());
    for seen in &seen {
        assert_eq!(seen.header("authorization"), "", "{}", seen.line());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mapping_the_default_workflow_takes_the_whole_job() {
    let comfy = Comfy::playing("previews").await;
    let server = comfy.server(&[("COMFYUI_WORKFLOW", "")]).await;
    let bare = generate(&server, fox()).await.unwrap();
    let graph = comfy.graph();
    let inputs = |graph: &Value, id: &str| graph[id]["inputs"].clone();
    assert_eq!(inputs(&graph, "6")["text"], "a red fox");
    assert_eq!(inputs(&graph, "7")["text"], "");
    assert_eq!(inputs(&graph, "4")["ckpt_name"], "model.safetensors");
    assert_eq!(
        inputs(&graph, "5"),
        json!({"width": 512, "height": 512, "batch_size": 1})
    );
    assert_eq!(inputs(&graph, "3")["steps"], 20);
    // A job without a seed gets one: to an identical graph the server would give the old pictures.
    let seed = inputs(&graph, "3")["seed"].clone();
    assert!(seed.as_u64().is_some_and(|seed| seed < 1 << 53), "{seed}");
    let details: Value = serde_json::from_str(&bare.details).unwrap();
    assert_eq!(details["seed"], seed);
    generate(&server, fox()).await.unwrap();
    assert_ne!(inputs(&comfy.graph(), "3")["seed"], seed);

    let full = JobRequest {
        negative_prompt: Some("blurry".into()),
        model: Some("fox.safetensors".into()),
        size: Some("768x516".into()),
        count: Some(3),
        steps: Some(4),
        seed: Some(42),
        parameters: json!({"cfg": 5.5}).as_object().unwrap().clone(),
        ..fox()
    };
    generate(&server, full).await.unwrap();
    let graph = comfy.graph();
    assert_eq!(inputs(&graph, "6")["text"], "a red fox");
    assert_eq!(inputs(&graph, "7")["text"], "blurry");
    assert_eq!(inputs(&graph, "4")["ckpt_name"], "fox.safetensors");
    assert_eq!(
        inputs(&graph, "5"),
        json!({"width": 768, "height": 512, "batch_size": 3})
    );
    let sampler = inputs(&graph, "3");
    let written = [&sampler["seed"], &sampler["steps"], &sampler["cfg"]];
    assert_eq!(written, [&json!(42), &json!(4), &json!(5.5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_leaves_open_stays_as_the_workflow_has_it() {
    let comfy = Comfy::playing("previews").await;
    let nodes = json!([
        {"type": "prompt", "node_ids": ["6"]},
        {"type": "negative_prompt", "node_ids": ["7"]},
        {"type": "model", "key": "ckpt_name", "node_ids": ["4"]},
        {"type": "width", "node_ids": ["5"]},
        {"type": "height", "node_ids": ["5"]},
        {"type": "steps", "node_ids": ["3"]},
        {"type": null, "key": "scheduler", "value": "karras", "node_ids": ["3"]},
        {"type": "", "key": "cfg", "value": null, "node_ids": ["3"]},
    ]);
    let server = comfy
        .server(&[("COMFYUI_WORKFLOW_NODES", &nodes.to_string())])
        .await;
    let job = JobRequest {
        prompt: "a grey wolf".into(),
        ..JobRequest::default()
    };
    generate(&server, job).await.unwrap();
    let mut graph = run("previews")["graph"].take();
    graph["6"]["inputs"]["text"] = "a grey wolf".into();
    graph["3"]["inputs"]["scheduler"] = "karras".into();
    assert_eq!(comfy.graph(), graph);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_given_however_the_server_keeps_them() {
    let comfy = Comfy::playing("two pictures").await;
    let server = comfy.server(&[]).await;
    let check = async |name: &str, run: Value, views: &[&str]| {
        let before = comfy.lines().len();
        comfy.run.send_replace(run);
        let finished = generate(&server, foxes()).await.unwrap();
        assert_eq!(pictures(&finished), [FIRST, SECOND], "{name}");
        assert_eq!(comfy.lines()[before + 3..], *views, "{name}");
    };
    check("nothing had to be run", run("all cached"), &VIEWS).await;

    let mut only_previewed = run("two pictures");
    let images = &mut entry(&mut only_previewed)["outputs"]["5"]["images"];
    for image in images.as_array_mut().unwrap() {
        image["type"] = "temp".into();
    }
    check(
        "only previewed",
        only_previewed,
        &VIEWS
            .map(|view| view.replace("type=output", "type=temp"))
            .each_ref()
            .map(String::as_str),
    )
    .await;

    let mut both = run("two pictures");
    entry(&mut both)["outputs"]["4"] =
        json!({"images": [{"filename": "x.png", "subfolder": "", "type": "temp"}]});
    check("kept ones go before previewed ones", both, &VIEWS).await;

    let mut odd = run("two pictures");
    let images = &mut entry(&mut odd)["outputs"]["5"]["images"];
    images[0]["filename"] = "füchse & co? 100%.png".into();
    images[0]["subfolder"] = "my foxes/#1".into();
    check(
        "names of any kind",
        odd,
        &[
            "GET /view?filename=f%C3%BCchse%20%26%20co%3F%20100%25.png&subfolder=my%20foxes%2F%231&type=output",
            VIEWS[1],
        ],
    )
    .await;
}
