//! Edits that are refused: the error names the field, and nothing is stored.

use std::time::Duration;

use pinhole_images::Image;
use pinhole_sandbox::Limits;
use pinhole_tests::{PIXEL, TestServer, long_image, pixel_base64};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::edits::{
    BOUNDARY, EDITS, IMAGE, MASK, PROMPT, Part, WIDE_MASK, decoded, form, openai_server, post_form,
    response_json,
};
use super::{Refusal, assert_refused, invalid, malformed};

#[tokio::test(flavor = "multi_thread")]
async fn json_without_usable_image_is_refused() {
    let (upstream, server) = openai_server().await;
    let image = json!({"image_url": format!("data:image/png;base64,{}", pixel_base64())});
    for (images, mask, param, message) in [
        (
            json!([{"image_url": format!("{}/a.png", upstream.url())}]),
            Value::Null,
            "images",
            "images has a URL that the server does not fetch: send the image itself, or",
        ),
        (
            json!([{"image_url": "/api/v1/files/../../etc/passwd"}]),
            Value::Null,
            "images",
            "a URL that the server does not fetch",
        ),
        (
            json!([{"file_id": "nosuch"}]),
            Value::Null,
            "images",
            "a file that does not exist",
        ),
        (
            json!([{}]),
            Value::Null,
            "images",
            "images needs either image_url or file_id",
        ),
        (
            json!([{"image_url": "data:image/png;base64,%"}]),
            Value::Null,
            "images",
            "not base64",
        ),
        (
            json!([{"image_url": "data:image/png;base64,QUJD"}]),
            Value::Null,
            "images",
            "images cannot be used: the bytes are not a PNG",
        ),
        (json!("x"), Value::Null, "images", "images cannot be used"),
        (
            json!(vec![image.clone(); 17]),
            Value::Null,
            "image",
            "more than 16 source images",
        ),
        (
            json!([image]),
            json!({"file_id": "5"}),
            "mask",
            "a file that does not exist",
        ),
        (json!([image]), json!([]), "mask", "mask cannot be used"),
    ] {
        let body = json!({"prompt": "bluer", "images": images, "mask": mask});
        let expected = Refusal {
            code: Value::Null,
            ..invalid(param, message)
        };
        assert_refused(message, server.post_json(EDITS, &body).await, &expected);
    }
    for body in [
        json!({"prompt": "bluer"}),
        json!({"prompt": "bluer", "images": []}),
    ] {
        let expected = invalid("image", "there is no image to edit");
        assert_refused(
            "no picture",
            server.post_json(EDITS, &body).await,
            &expected,
        );
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn source_images_share_length_limit() {
    let (upstream, server) = openai_server().await;
    let long = long_image(30 << 20);
    let limits = Limits::job(Duration::ZERO).image;
    let long = Image::from_bytes(long.into(), limits).unwrap();
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    let user = user.unwrap();
    let saved = server
        .app
        .files
        .save_as("fox.png".into(), &user.id, &long, &json!({}))
        .await;
    let reference = json!({"file_id": saved.unwrap().id});
    let body = json!({"prompt": "bluer", "images": vec![reference; 4]});
    let expected = Refusal {
        code: Value::Null,
        ..invalid(
            "image",
            "the source images have more than 67108864 bytes together",
        )
    };
    assert_refused("four", server.post_json(EDITS, &body).await, &expected);
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_form_names_field() {
    let (upstream, server) = openai_server().await;
    let long = vec![b'x'; (64 << 10) + 1];
    let many: Vec<String> = (0..65).map(|number| format!("field-{number}")).collect();
    let many: Vec<Part> = many
        .iter()
        .map(|name| (name.as_str(), None, &b"x"[..]))
        .collect();
    let huge = vec![0; (32 << 20) + 1];
    for (parts, status, param, message) in [
        (
            vec![PROMPT, ("image", Some("a"), b"text")],
            400,
            Some("image"),
            "image cannot be used: the bytes are not a PNG",
        ),
        (
            vec![PROMPT, IMAGE, ("mask", Some("a"), b"")],
            400,
            Some("mask"),
            "mask cannot be used: the image is empty",
        ),
        (
            vec![IMAGE, PROMPT, PROMPT],
            400,
            Some("prompt"),
            "prompt occurs twice: send it once",
        ),
        (
            vec![IMAGE, PROMPT, ("n", None, b"many")],
            400,
            Some("n"),
            "invalid type: string \"many\", expected u32 (in n)",
        ),
        (
            vec![IMAGE, ("prompt", None, b"\xff")],
            400,
            Some("prompt"),
            "prompt is not UTF-8 text",
        ),
        (
            vec![IMAGE; 17],
            400,
            Some("image"),
            "more than 16 source images",
        ),
        (
            vec![IMAGE, ("prompt", None, &long)],
            413,
            Some("prompt"),
            "prompt has more than the 65536 bytes allowed",
        ),
        (many, 413, None, "the form has more than 64 fields"),
        (
            vec![PROMPT, ("image", Some("a"), &huge)],
            413,
            Some("image"),
            "image has more than the 33554432 bytes allowed",
        ),
    ] {
        let expected = Refusal {
            status,
            param: json!(param),
            ..malformed(message)
        };
        let request = post_form(&server, form(&parts));
        assert_refused(message, response_json(request).await, &expected);
    }
    let (transparent, wide) = (decoded(MASK), decoded(WIDE_MASK));
    for (parts, param, message) in [
        (vec![PROMPT], "image", "there is no image to edit"),
        (vec![IMAGE], "prompt", "the prompt is empty"),
        (
            vec![PROMPT, IMAGE, ("mask", Some("m"), PIXEL)],
            "mask",
            "the mask must be a PNG with an alpha channel",
        ),
        (
            vec![PROMPT, IMAGE, ("mask", Some("m"), &wide)],
            "mask",
            "must be 1x1 like the image",
        ),
        (
            vec![
                PROMPT,
                IMAGE,
                ("mask", Some("m"), &transparent),
                ("n", None, b"11"),
            ],
            "n",
            "images were requested, but engine openai generates 1 to 10",
        ),
    ] {
        let request = post_form(&server, form(&parts));
        assert_refused(
            message,
            response_json(request).await,
            &invalid(param, message),
        );
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_form_is_refused() {
    let (upstream, server) = openai_server().await;
    let whole = form(&[PROMPT, IMAGE]);
    let expected = malformed("the form cannot be read");
    for body in [b"".as_slice(), b"x", &whole[..whole.len() - 60]] {
        let request = post_form(&server, body.to_vec());
        assert_refused("broken", response_json(request).await, &expected);
    }
    // A chunked body whose chunk length is invalid.
    let mut socket = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let head = format!(
        "POST {EDITS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: \
         multipart/form-data; boundary={BOUNDARY}\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n",
        server.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");

    let request = server
        .client
        .post(server.url(EDITS))
        .bearer_auth(&server.key);
    let request = request.header("content-type", "multipart/form-data");
    let no_boundary = malformed("boundary");
    assert_refused(
        "no boundary",
        response_json(request.body(whole)).await,
        &no_boundary,
    );

    // Longer than the limit of edits.
    let images = vec![0; 30 << 20];
    let junk = ("image", Some("a"), &images[..]);
    let long = long_image(30 << 20);
    let long = ("image", Some("a"), &long[..]);
    let too_long = post_form(&server, form(&[long, long, long, junk]));
    let length_error = Refusal {
        status: 413,
        ..malformed("the form cannot be read")
    };
    assert_refused("too long", response_json(too_long).await, &length_error);
    let anonymous = server.client.post(server.url(EDITS)).body("x");
    let unauthenticated = Refusal {
        status: 401,
        ..malformed("Not authenticated")
    };
    assert_refused("no key", response_json(anonymous).await, &unauthenticated);
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_edit_is_refused() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let request = post_form(&server, form(&[PROMPT, IMAGE]));
    let expected = Refusal {
        code: json!("unsupported"),
        ..invalid("image", "engine sketch cannot edit images")
    };
    assert_refused("sketch", response_json(request).await, &expected);
}
