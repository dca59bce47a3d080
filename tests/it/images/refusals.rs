//! Invalid requests: the error names the field, and nothing is stored.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{GENERATIONS, Refusal, assert_refused, invalid, malformed};

#[tokio::test(flavor = "multi_thread")]
async fn invalid_field_is_named() {
    let server = TestServer::start(&[]).await;
    let long = "x".repeat(32_001);
    let no_size = "is neither WxH, such as 1024x1024, nor auto";
    let no_such_size =
        "is not allowed: each side must be from 1 to 8192, and their product at most 16777216";
    let count = "images were requested, but engine sketch generates 1 to 10";
    for (field, value, message) in [
        ("prompt", json!(""), "the prompt is empty"),
        ("prompt", json!(" \n"), "the prompt is empty"),
        (
            "prompt",
            json!(long),
            "the prompt has 32001 bytes, more than the 32000 allowed",
        ),
        ("size", json!("0x0"), no_such_size),
        ("size", json!("0x512"), no_such_size),
        ("size", json!("99999x1"), no_such_size),
        ("size", json!("8192x8192"), no_such_size),
        ("size", json!("axb"), no_size),
        ("size", json!("-512x512"), no_size),
        ("size", json!("512x-512"), no_size),
        ("size", json!("512"), no_size),
        ("size", json!("512x512x512"), no_size),
        ("size", json!("99999999999x1"), no_size),
        ("size", json!("x".repeat(100_000)), no_size),
        ("size", json!("512×512"), no_size),
        ("n", json!(0), count),
        ("n", json!(11), count),
        ("n", json!(u32::MAX), count),
        (
            "engine",
            json!("nosuch"),
            "unknown engine nosuch: use one of automatic1111, comfyui, gemini, openai, sketch",
        ),
        (
            "engine",
            json!(""),
            "unknown engine : use one of automatic1111",
        ),
        ("engine", json!("../sketch"), "unknown engine ../sketch"),
        (
            "model",
            json!("x".repeat(513)),
            "a model name must have at most 512 bytes",
        ),
        ("model", json!("sketch\n"), "no control characters"),
        (
            "steps",
            json!(20),
            "engine sketch does not support steps: leave it out",
        ),
        (
            "negative_prompt",
            json!("hens"),
            "engine sketch does not support negative_prompt: leave it out",
        ),
    ] {
        let mut body = json!({"prompt": "a fox", "response_format": "url"});
        body[field] = value;
        let case: String = body.to_string().chars().take(200).collect();
        let response = server.post_json(GENERATIONS, &body).await;
        assert_refused(&case, response, &invalid(field, message));
    }
    let mut unused = json!({"prompt": "a fox", "response_format": "url"});
    unused["output_format"] = json!("x".repeat(65_536));
    let response = server.post_json(GENERATIONS, &unused).await;
    assert_refused(
        "long parameters",
        response,
        &invalid("parameters", "more than 65536 bytes"),
    );
    for (body, param, message) in [
        (
            json!({"stream": true, "response_format": "url"}),
            "response_format",
            "a stream contains images as b64_json only: remove response_format or stream",
        ),
        (
            json!({"stream": true, "partial_images": 4}),
            "partial_images",
            "partial_images must be 0 to 3",
        ),
    ] {
        let expected = Refusal {
            code: Value::Null,
            ..invalid(param, message)
        };
        assert_refused(param, server.post_json(GENERATIONS, &body).await, &expected);
    }
    assert_eq!(server.stored_files(), 0);
}

/// Body, field of the error, and part of its message.
const MALFORMED_BODIES: &[(&str, Option<&str>, &str)] = &[
    ("", None, "EOF while parsing"),
    ("prompt=a+fox", None, "expected"),
    (r#"{"prompt": "a fox""#, None, "EOF while parsing"),
    (r#"{"prompt": "a fox"}}"#, None, "trailing"),
    (
        r#"[{"prompt": "a fox"}]"#,
        None,
        "expected an object, received an array",
    ),
    ("null", None, "invalid type: null"),
    (r#"{"prompt": null}"#, Some("prompt"), "invalid type: null"),
    (
        r#"{"prompt": 5}"#,
        Some("prompt"),
        "invalid type: integer `5`, expected a string",
    ),
    (
        r#"{"prompt": ["a fox"]}"#,
        Some("prompt"),
        "invalid type: sequence",
    ),
    (
        r#"{"prompt": "a", "prompt": "b"}"#,
        None,
        "duplicate field `prompt`",
    ),
    (r#"{"prompt": "\ud800"}"#, Some("prompt"), "hex escape"),
    (r#"{"prompt": "a", "n": -1}"#, Some("n"), "expected u32"),
    (r#"{"prompt": "a", "n": 1.5}"#, Some("n"), "expected u32"),
    (r#"{"prompt": "a", "n": "2"}"#, Some("n"), "expected u32"),
    (
        r#"{"prompt": "a", "n": 4294967296}"#,
        Some("n"),
        "expected u32",
    ),
    (
        r#"{"prompt": "a", "n": 1e400}"#,
        Some("n"),
        "number out of range",
    ),
    (
        r#"{"prompt": "a", "size": 512}"#,
        Some("size"),
        "expected a string",
    ),
    (
        r#"{"prompt": "a", "size": {"width": 5}}"#,
        Some("size"),
        "expected a string",
    ),
    (
        r#"{"prompt": "a", "seed": -1}"#,
        Some("seed"),
        "expected u64",
    ),
    (
        r#"{"prompt": "a", "seed": 18446744073709551616}"#,
        Some("seed"),
        "expected u64",
    ),
    (
        r#"{"prompt": "a", "steps": "many"}"#,
        Some("steps"),
        "expected u32",
    ),
    (
        r#"{"prompt": "a", "model": {}}"#,
        Some("model"),
        "expected a string",
    ),
    (
        r#"{"prompt": "a", "engine": 5}"#,
        Some("engine"),
        "expected a string",
    ),
    (
        r#"{"prompt": "a", "stream": "yes"}"#,
        Some("stream"),
        "expected a boolean",
    ),
    (
        r#"{"prompt": "a", "partial_images": -1}"#,
        Some("partial_images"),
        "expected u32",
    ),
    (
        r#"{"prompt": "a", "response_format": "nonsense"}"#,
        Some("response_format"),
        "unknown variant `nonsense`, expected `b64_json` or `url`",
    ),
    (
        r#"{"prompt": "a", "response_format": 5}"#,
        Some("response_format"),
        "expected",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn malformed_body_is_refused() {
    let server = TestServer::start(&[]).await;
    let deep = format!(r#"{{"prompt": "a fox", "x": {}"#, "[".repeat(1000));
    for (body, param, message) in MALFORMED_BODIES.iter().copied() {
        let request = server
            .client
            .post(server.url(GENERATIONS))
            .bearer_auth(&server.key);
        let response = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let answer = (
            response.status().as_u16(),
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        );
        let case: String = body.chars().take(200).collect();
        let expected = Refusal {
            param: json!(param),
            ..malformed(message)
        };
        assert_refused(&case, answer, &expected);
    }
    let long = " ".repeat((1 << 20) + 1);
    let wide = format!(r#"{{"prompt": "a fox", "x": [{}0]}}"#, "0,".repeat(20_000));
    for (case, body, message) in [
        ("a long body", long, "length limit exceeded"),
        ("a deep body", deep, "nested deeper than 64 levels"),
        ("a wide body", wide, "more than 20000 values"),
    ] {
        let request = server
            .client
            .post(server.url(GENERATIONS))
            .bearer_auth(&server.key);
        let response = request.body(body).send().await.unwrap();
        let answer = (
            response.status().as_u16(),
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        );
        let expected = Refusal {
            status: 413,
            ..malformed(message)
        };
        assert_refused(case, answer, &expected);
    }
    let nothing = server.post_json(GENERATIONS, &json!({})).await;
    assert_refused("{}", nothing, &invalid("prompt", "the prompt is empty"));
    assert_eq!(server.stored_files(), 0);
}
