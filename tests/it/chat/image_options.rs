//! Image options of a request.

use serde_json::{Value, json};

use super::decision::ChatFixture;
use super::{EventListener, IMAGE_FAILED, ask, outline};

const PLAIN: [(&str, &str); 1] = [("ENABLE_IMAGE_PROMPT_GENERATION", "false")];

fn request(pointer: &str, options: &Value) -> Value {
    let mut request = json!({
        "model": "m", "chat_id": "c1", "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a fox"}],
        "params": {"custom_params": {}},
    });
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    request.pointer_mut(parent).unwrap()[name] = options.clone();
    request
}

const POINTERS: [&str; 3] = [
    "/image_generation",
    "/params/image_generation",
    "/params/custom_params/image_generation",
];

#[tokio::test(flavor = "multi_thread")]
async fn image_options_reach_the_engine() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let options = json!({
        "n": 2, "size": "1024x1536", "model": "gpt-image-1", "parameters": {"quality": "low"},
        "of no interest": {},
    });
    for pointer in POINTERS {
        for form in [options.clone(), json!(options.to_string())] {
            ask(&fixture.server, &request(pointer, &form)).await;
            let upstream_requests = fixture.upstream.requests();
            let [.., image_request, chat_request] = upstream_requests.as_slice() else {
                panic!("{upstream_requests:?}")
            };
            let image_request = image_request.json();
            assert_eq!(image_request["n"], 2, "{pointer}: {image_request}");
            assert_eq!(image_request["size"], "1024x1536");
            assert_eq!(image_request["model"], "gpt-image-1");
            assert_eq!(image_request["quality"], "low");
            assert_eq!(image_request["prompt"], "a fox");
            assert_eq!(chat_request.json().get("image_generation"), None);
        }
    }
    // Without options the settings apply.
    for nothing in [
        json!(null),
        json!({}),
        json!({"size": "", "model": "", "engine": "", "n": null}),
    ] {
        ask(&fixture.server, &request(POINTERS[0], &nothing)).await;
        let upstream_requests = fixture.upstream.requests();
        let image_request = upstream_requests[upstream_requests.len() - 2].json();
        for field in ["size", "quality"] {
            assert_eq!(image_request.get(field), None, "{image_request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_object_with_image_options_counts() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let mut both = request(POINTERS[1], &json!({"size": "1x1"}));
    both["image_generation"] = json!({"size": "2x2"});
    ask(&fixture.server, &both).await;
    let upstream_requests = fixture.upstream.requests();
    assert_eq!(
        upstream_requests[upstream_requests.len() - 2].json()["size"],
        "2x2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_option_of_wrong_type_is_refused_by_name() {
    let fixture = ChatFixture::start(&PLAIN).await;
    for (options, field) in [
        (json!({"n": "two"}), "image_generation.n"),
        (json!({"n": -1}), "image_generation.n"),
        (json!({"n": 1.5}), "image_generation.n"),
        (json!({"size": 512}), "image_generation.size"),
        (json!({"seed": "x"}), "image_generation.seed"),
        (json!({"steps": 1e20}), "image_generation.steps"),
        (json!({"engine": {}}), "image_generation.engine"),
        (
            json!({"negative_prompt": []}),
            "image_generation.negative_prompt",
        ),
        (json!({"parameters": "x"}), "image_generation.parameters"),
        (json!("many"), "image_generation"),
        (json!(5), "image_generation"),
    ] {
        for pointer in POINTERS {
            let reply = ask(&fixture.server, &request(pointer, &options)).await;
            assert_eq!(reply.status, 400, "{options} at {pointer}: {}", reply.body);
            let detail = reply.json()["detail"].take();
            let message = detail.as_str().unwrap();
            let expected = format!("{field} cannot be used: ");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
    assert_eq!(fixture.request_summaries(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_image_option_is_reported_and_the_turn_continues() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let mut listener = EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
    for (options, reason) in [
        (json!({"seed": 5}), "does not support seed"),
        (
            json!({"negative_prompt": "snow"}),
            "does not support negative_prompt",
        ),
        (json!({"steps": 5}), "does not support steps"),
        (json!({"n": 0}), "0 images were requested"),
        (json!({"n": 1000}), "1000 images were requested"),
        (json!({"size": "wide"}), "size \"wide\" is neither"),
        (json!({"engine": "nosuch"}), "unknown engine nosuch"),
        (
            json!({"parameters": {"x": "y".repeat(70_000)}}),
            "the parameters have more than",
        ),
    ] {
        let reply = ask(&fixture.server, &request(POINTERS[0], &options)).await;
        assert_eq!(reply.status, 200, "{options}: {}", reply.body);
        let events = listener.collect_events(&fixture.server).await;
        assert_eq!(outline(&events), IMAGE_FAILED, "{reason}");
        let message = events[1]["data"]["data"]["reason"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(fixture.request_summaries(), ["answer"; 8]);
}
