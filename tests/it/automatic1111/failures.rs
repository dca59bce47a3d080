//! What the web UI refuses, what fails while it draws, and answers that are no answers.

use pinhole::engine::bindings::ErrorKind;

use super::*;

/// What the web UI answers instead of pictures, by name.
fn refusal(name: &str) -> Answer {
    let said = |status, body: Value| Answer::json(status, &body);
    match name {
        "CUDA out of memory" => said(
            500,
            json!({
                "error": "OutOfMemoryError", "detail": "", "body": "",
                "errors": "CUDA out of memory. Tried to allocate 2.00 GiB",
            }),
        ),
        "Forge: 422" => said(
            422,
            json!({"detail": [{
                "type": "int_parsing", "loc": ["body", "steps"], "input": "abc",
                "msg": "Input should be a valid integer, unable to parse string as an integer",
            }]}),
        ),
        "images: null" => said(200, json!({"images": null, "parameters": {}, "info": "{}"})),
        "without images" => reply(&recorded(TXT2IMG, name)),
        "no base64" => said(200, json!({"images": ["%%%"], "info": "{}"})),
        "no picture" => said(
            200,
            json!({"images": ["aGVsbG8gd29ybGQ="], "info": "{\"all_seeds\": [1]}"}),
        ),
        "login page" => Answer::typed(200, "text/html", "<!doctype html><title>Log in</title>"),
        "redirect" => {
            Answer::typed(302, "text/html", "").header("location", "http://127.0.0.1:9/login")
        }
        "bad gateway" => Answer::typed(502, "text/html", "<html>Bad Gateway</html>"),
        _ => reply(&recorded(REFUSALS, name)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_is_wrong() {
    let upstream = idle(refusal).await;
    let server = server(&upstream, &[]).await;
    let smaller = "the web UI ran out of memory: ask for a smaller size or fewer images";
    let cases = [
        (
            "wrong type: 422",
            (400, "invalid", "steps"),
            "steps: value is not a valid integer",
        ),
        (
            "Forge: 422",
            (400, "invalid", "steps"),
            "steps: Input should be a valid integer, unable to parse string as an integer",
        ),
        (
            "unknown sampler: 404 here, 400 from 1.10",
            (400, "invalid", "sampler_name"),
            "the web UI does not know this sampler",
        ),
        (
            "unknown script",
            (400, "invalid", ""),
            "Script 'nope' not found",
        ),
        (
            "img2img with a bad image",
            (400, "invalid", "image"),
            "Invalid encoded image",
        ),
        (
            "negative width",
            (502, "RuntimeError", ""),
            "RuntimeError: Trying to create tensor with negative dimension -8: [4, 8, -8]",
        ),
        (
            "allocation failure on CPU (what an out-of-memory reply looks like)",
            (502, "RuntimeError", ""),
            smaller,
        ),
        ("CUDA out of memory", (502, "OutOfMemoryError", ""), smaller),
        (
            "without images",
            (502, "protocol", ""),
            "the web UI answered without an image",
        ),
        (
            "images: null",
            (502, "protocol", ""),
            "the web UI answered without an image",
        ),
        (
            "no base64",
            (502, "protocol", ""),
            "the text at /images/0 is not base64",
        ),
        (
            "no picture",
            (502, "protocol", ""),
            "the bytes are not a PNG, JPEG, WebP, GIF or AVIF image",
        ),
        (
            "login page",
            (502, "protocol", ""),
            "the answer is not JSON: expected value at line 1 column 1",
        ),
        (
            "redirect",
            (502, "protocol", ""),
            "the upstream answered with status 302",
        ),
        (
            "bad gateway",
            (503, "unavailable", ""),
            "the upstream answered with status 502",
        ),
    ];
    for (index, (name, expected, message)) in cases.into_iter().enumerate() {
        let body = json!({"prompt": name});
        let (status, reply) = server.ask("/v1/images/generations", &body).await;
        let error = &reply["error"];
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        assert_eq!((status, text("code"), text("param")), expected, "{reply}");
        assert_eq!(text("message"), message, "{name}");
        let asked = asked(&upstream);
        assert_eq!(asked.len(), index + 1, "{name}");
        assert_eq!(asked[index].json()["prompt"], name);
    }
    assert_eq!(server.stored(), 0);
    let error = generate(&server, request("login page")).await.unwrap_err();
    let line = error.for_operator();
    assert!(
        line.ends_with("check that AUTOMATIC1111_BASE_URL is the address of AUTOMATIC1111"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_is_told_from_none() {
    let upstream = Upstream::start(|seen| {
        let name = match seen.header("authorization") {
            "" => "no credentials",
            _ => "wrong password",
        };
        async move { reply(&recorded(REFUSALS, name)) }
    })
    .await;
    let refused =
        "the web UI refuses the user and password of api-auth: Incorrect username or password";
    for (login, header, message) in [
        (LOGIN, BASIC, refused),
        (
            "",
            "",
            "the web UI asks for a user and a password: set api-auth",
        ),
    ] {
        let before = upstream.seen().len();
        let server = server(&upstream, &[("AUTOMATIC1111_API_AUTH", login)]).await;
        let error = generate(&server, request("one")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.to_string(), message);
        assert!(
            error
                .for_operator()
                .ends_with("set AUTOMATIC1111_API_AUTH to a key that it accepts"),
            "{}",
            error.for_operator()
        );
        let seen = upstream.seen().split_off(before);
        assert_eq!(
            lines(&seen),
            [
                "GET /sdapi/v1/progress?skip_current_image=true",
                "POST /sdapi/v1/txt2img"
            ]
        );
        assert!(
            seen.iter()
                .all(|seen| seen.header("authorization") == header)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_ui_without_its_api_is_recognised() {
    let upstream = Upstream::start(|seen| async move {
        match path(&seen) {
            "/internal/ping" => Answer::json(200, &json!({})),
            _ => not_found(),
        }
    })
    .await;
    for model in [None, Some("random-sd15-tiny")] {
        let server = server(&upstream, &[]).await;
        let body = json!({"prompt": "one", "model": model});
        let (status, reply) = server.ask("/v1/images/generations", &body).await;
        assert_eq!(status, 400, "{reply}");
        let error = &reply["error"];
        assert_eq!(
            [&error["code"], &error["param"], &error["message"]],
            [
                "invalid",
                "base-url",
                "the web UI's API is not enabled: start the web UI with --api"
            ]
        );
    }
    assert_eq!(
        lines(&asked(&upstream)),
        ["POST /sdapi/v1/txt2img", "GET /sdapi/v1/sd-models"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_ui_that_does_not_run_is_named_with_the_remedy() {
    // Bound but not listening: connections are refused, and nobody else can take the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let variables = [("AUTOMATIC1111_BASE_URL", url.as_str())];
    let server = Server::with_engine("automatic1111", &variables).await;
    let body = json!({"prompt": "one"});
    let (status, reply) = server.ask("/v1/images/generations", &body).await;
    assert_eq!(status, 503, "{reply}");
    assert_eq!(reply["error"]["code"], "unavailable");
    assert_eq!(
        reply["error"]["message"], "the upstream cannot be reached",
        "addresses are for the operator"
    );
    let error = generate(&server, request("one")).await.unwrap_err();
    let line = error.for_operator();
    for part in [
        url.as_str(),
        "check that AUTOMATIC1111 runs",
        "AUTOMATIC1111_BASE_URL",
    ] {
        assert!(line.contains(part), "{line}");
    }
}
