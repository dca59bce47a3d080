//! The engine `automatic1111`: what the web UI is asked, and what its answers become. This file has
//! the web UI that answers as it was recorded, and how a job gets in and out.

mod failures;
mod watching;

use std::future::Future;
use std::time::Duration;

use pinhole::engine::Control;
use pinhole::jobs::{Error, Finished, JobRequest};
use pinhole_tests::{Answer, Seen, Server, Upstream};
use serde_json::{Value, json};

const LOGIN: &str = "fox:den";
/// What that is in a header.
const BASIC: &str = "Basic Zm94OmRlbg==";
/// A safety net, far above what any job here takes.
const PATIENCE: Duration = Duration::from_secs(120);

const TXT2IMG: &str = include_str!("../data/automatic1111/txt2img.json");
const PROGRESS: &str = include_str!("../data/automatic1111/progress.json");
const REFUSALS: &str = include_str!("../data/automatic1111/refusals.json");
const MODELS: &str = include_str!("../data/automatic1111/sd-models.json");

/// What was recorded under this name.
fn recorded(recordings: &str, name: &str) -> Value {
    let mut all: Value = serde_json::from_str(recordings).unwrap();
    let found = all[name].take();
    assert!(!found.is_null(), "nothing is recorded as {name:?}");
    found
}

fn reply(recorded: &Value) -> Answer {
    let status = recorded["status"].as_u64().unwrap();
    Answer::json(status.try_into().unwrap(), &recorded["body"])
}

fn not_found() -> Answer {
    reply(&recorded(REFUSALS, "without --api"))
}

/// The web UI's answer to everything but a job, in this state.
fn web_ui(seen: &Seen, state: &str) -> Answer {
    match path(seen) {
        "/sdapi/v1/progress" => Answer::json(200, &recorded(PROGRESS, state)),
        "/sdapi/v1/sd-models" => Answer::typed(200, "application/json", MODELS),
        _ => not_found(),
    }
}

fn path(seen: &Seen) -> &str {
    seen.target.split('?').next().unwrap_or_default()
}

/// An idle web UI that answers a job at once, as its prompt says.
async fn idle(made: impl Fn(&str) -> Answer + Clone + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| {
        let answer = match path(&seen) {
            "/sdapi/v1/txt2img" => made(seen.json()["prompt"].as_str().unwrap()),
            _ => web_ui(&seen, "idle"),
        };
        async { answer }
    })
    .await
}

/// An idle web UI that answers a job with the recording whose name is its prompt.
async fn replaying() -> Upstream {
    idle(|prompt| reply(&recorded(TXT2IMG, prompt))).await
}

/// A server for this web UI, with the login unless the variables say otherwise.
async fn server(upstream: &Upstream, variables: &[(&str, &str)]) -> Server {
    let url = upstream.url();
    let mut all = vec![
        ("AUTOMATIC1111_BASE_URL", url.as_str()),
        ("AUTOMATIC1111_API_AUTH", LOGIN),
    ];
    all.extend(variables);
    Server::with_engine("automatic1111", &all).await
}

/// All requests but looks at the progress, which come as time passes. Every one has the login, and
/// none touches the options, which are everybody's.
fn asked(upstream: &Upstream) -> Vec<Seen> {
    let mut seen = upstream.seen();
    for seen in &seen {
        assert_eq!(seen.header("authorization"), BASIC, "{}", seen.line());
        assert!(!seen.target.contains("options"), "{}", seen.line());
    }
    seen.retain(|seen| path(seen) != "/sdapi/v1/progress");
    seen
}

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(Seen::line).collect()
}

/// The body of the one job that was asked for, and nothing else was.
fn job(upstream: &Upstream) -> Value {
    let asked = asked(upstream);
    assert_eq!(lines(&asked), ["POST /sdapi/v1/txt2img"]);
    assert_eq!(asked[0].header("content-type"), "application/json");
    asked[0].json()
}

/// The pictures of a reply in base64.
fn pictures(reply: &(u16, Value)) -> Vec<&str> {
    let (status, body) = reply;
    assert_eq!(*status, 200, "{body}");
    let items = body["data"].as_array().unwrap().iter();
    items
        .map(|item| item["b64_json"].as_str().unwrap())
        .collect()
}

/// The pictures in base64 of a recording, from the one with this index on.
fn recorded_pictures(name: &str, from: usize) -> Vec<String> {
    let images = &recorded(TXT2IMG, name)["body"]["images"];
    let images = images.as_array().unwrap().iter().skip(from);
    images.map(|image| image.as_str().unwrap().into()).collect()
}

fn request(prompt: &str) -> JobRequest {
    JobRequest {
        prompt: prompt.into(),
        ..JobRequest::default()
    }
}

async fn generate(server: &Server, request: JobRequest) -> Result<Finished, Error> {
    let control = Control::new("test".into());
    soon(server.app.jobs.generate(request, &control)).await
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let what = tokio::time::timeout(PATIENCE, what);
    what.await.expect("it does not take that long")
}

fn details(finished: &Finished) -> Value {
    serde_json::from_str(&finished.details).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_one_request_with_all_that_was_asked_for() {
    let upstream = idle(|_| reply(&recorded(TXT2IMG, "two"))).await;
    let server = server(&upstream, &[]).await;
    let reply = server
        .ask(
            "/v1/images/generations",
            &json!({
                "prompt": "a red fox", "negative_prompt": "blurry", "size": "512x768", "n": 2,
                "steps": 20, "seed": 5,
            }),
        )
        .await;
    assert_eq!(pictures(&reply), recorded_pictures("two", 0));
    assert_eq!(reply.1["output_format"], "png");
    assert_eq!(
        job(&upstream),
        json!({
            "prompt": "a red fox", "negative_prompt": "blurry", "width": 512, "height": 768,
            "batch_size": 2, "steps": 20, "seed": 5, "save_images": false,
        })
    );
    let look = &upstream.seen()[0];
    assert_eq!(
        look.line(),
        "GET /sdapi/v1/progress?skip_current_image=true"
    );
    let shown = format!("{:?}", upstream.seen());
    assert!(
        !shown.contains(&server.key),
        "the client's key went upstream"
    );

    let job = JobRequest {
        count: Some(2),
        ..request("a red fox")
    };
    let finished = generate(&server, job).await.unwrap();
    let made = json!({"seeds": [42, 43], "model": "random-sd15-tiny"});
    assert_eq!(details(&finished), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_leaves_open_is_left_to_the_web_ui() {
    let upstream = replaying().await;
    let server = server(&upstream, &[("AUTOMATIC1111_API_AUTH", "")]).await;
    let finished = generate(&server, request("unseeded")).await.unwrap();
    assert_eq!(details(&finished)["seeds"], json!([3_658_553_496_u32]));
    let seen = upstream.seen();
    for seen in &seen {
        assert_eq!(seen.header("authorization"), "", "{}", seen.line());
    }
    let job = seen.iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!(
        job.json(),
        json!({"prompt": "unseeded", "batch_size": 1, "save_images": false})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_looked_up_and_set_for_this_job_alone() {
    let title = "random-sd15-tiny.safetensors";
    for name in ["random-sd15-tiny", title] {
        let upstream = replaying().await;
        let server = server(&upstream, &[("IMAGE_GENERATION_MODEL", name)]).await;
        let finished = generate(&server, request("one")).await.unwrap();
        assert_eq!(details(&finished)["model"], "random-sd15-tiny");
        let asked = asked(&upstream);
        assert_eq!(
            lines(&asked),
            ["GET /sdapi/v1/sd-models", "POST /sdapi/v1/txt2img"]
        );
        assert_eq!(
            asked[1].json()["override_settings"],
            json!({"sd_model_checkpoint": title}),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_another_model_are_given_with_its_name() {
    let upstream = Upstream::start(|seen| {
        let answer = match path(&seen) {
            "/sdapi/v1/txt2img" => reply(&recorded(TXT2IMG, "another model")),
            "/sdapi/v1/sd-models" => Answer::json(
                200,
                &json!([{"title": "fox.safetensors [abcdef1234]", "model_name": "fox"}]),
            ),
            _ => web_ui(&seen, "idle"),
        };
        async { answer }
    })
    .await;
    let server = server(&upstream, &[("IMAGE_GENERATION_MODEL", "fox.safetensors")]).await;
    let finished = generate(&server, request("a red fox")).await.unwrap();
    assert_eq!(details(&finished)["model"], "random-sd15-tiny");
    assert_eq!(
        asked(&upstream)[1].json()["override_settings"],
        json!({"sd_model_checkpoint": "fox.safetensors [abcdef1234]"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_refused_before_anything_is_drawn() {
    let upstream = replaying().await;
    let server = server(&upstream, &[]).await;
    let body = json!({"prompt": "one", "model": "not-installed"});
    let (status, reply) = server.ask("/v1/images/generations", &body).await;
    assert_eq!(status, 400, "{reply}");
    let error = &reply["error"];
    assert_eq!(
        [&error["code"], &error["param"], &error["message"]],
        [
            "not-found",
            "model",
            "the web UI has no checkpoint \"not-installed\": choose one of its models"
        ]
    );
    assert_eq!(upstream.lines(), ["GET /sdapi/v1/sd-models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sides_are_whole_blocks_and_a_picture_has_the_size_it_has() {
    let upstream = replaying().await;
    let server = server(&upstream, &[]).await;
    let job_request = JobRequest {
        size: Some("70x50".into()),
        ..request("odd size")
    };
    let finished = generate(&server, job_request).await.unwrap();
    assert_eq!(finished.images[0].size(), (64, 48));
    let body = job(&upstream);
    assert_eq!([&body["width"], &body["height"]], [64, 48]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_parameters_come_last() {
    let upstream = idle(|_| reply(&recorded(TXT2IMG, "two"))).await;
    let variables = [
        ("IMAGE_SIZE", "512x512"),
        ("IMAGE_STEPS", "50"),
        (
            "AUTOMATIC1111_PARAMS",
            r#"{"cfg_scale": 7, "width": 640, "override_settings": {"CLIP_stop_at_last_layers": 2}}"#,
        ),
    ];
    let server = server(&upstream, &variables).await;
    let body = json!({
        "prompt": "a red fox", "negative_prompt": "bad", "n": 2, "model": "random-sd15-tiny",
    });
    let reply = server.ask("/v1/images/generations", &body).await;
    assert_eq!(pictures(&reply).len(), 2);
    assert_eq!(
        asked(&upstream)[1].json(),
        json!({
            "prompt": "a red fox", "negative_prompt": "bad", "batch_size": 2, "steps": 50,
            "width": 640, "height": 512, "cfg_scale": 7, "save_images": false,
            "override_settings": {
                "sd_model_checkpoint": "random-sd15-tiny.safetensors",
                "CLIP_stop_at_last_layers": 2,
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_of_all_pictures_is_left_out() {
    let upstream = replaying().await;
    let server = server(&upstream, &[]).await;
    let body = json!({"prompt": "grid", "n": 2});
    let reply = server.ask("/v1/images/generations", &body).await;
    assert_eq!(pictures(&reply), recorded_pictures("grid", 1));
    assert_eq!(job(&upstream)["save_images"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_what_its_bytes_are() {
    let upstream = replaying().await;
    let server = server(&upstream, &[]).await;
    let body = json!({"prompt": "jpeg"});
    let reply = server.ask("/v1/images/generations", &body).await;
    assert_eq!(pictures(&reply), recorded_pictures("jpeg", 0));
    assert_eq!(reply.1["output_format"], "jpeg");
    assert_eq!(job(&upstream)["batch_size"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_nothing_but_the_pictures_will_do() {
    let infos = json!({"empty": "", "null": null, "no JSON": "Steps: 20", "a list": "[]"});
    let cases = infos.clone();
    let upstream = Upstream::start(move |seen| {
        let answer = match path(&seen) {
            "/sdapi/v1/txt2img" => {
                let prompt = seen.json()["prompt"].as_str().unwrap().to_owned();
                let mut body = recorded(TXT2IMG, "one")["body"].take();
                body["info"] = cases[prompt].clone();
                Answer::json(200, &body)
            }
            // The server of stable-diffusion.cpp has no progress either.
            _ => Answer::typed(404, "text/plain", ""),
        };
        async { answer }
    })
    .await;
    let server = server(&upstream, &[]).await;
    for (case, _) in infos.as_object().unwrap() {
        let finished = generate(&server, request(case)).await.unwrap();
        assert_eq!(details(&finished), json!({}), "{case}");
        assert_eq!(finished.images[0].size(), (64, 64), "{case}");
    }
    assert_eq!(asked(&upstream).len(), 4);
}
