//! Uploads.

use bytes::Bytes;
use futures_util::stream;
use pinhole_tests::{PIXEL, TestServer, gif, long_image};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{content_url, form, post_form, response_bytes, response_json, sha256_hex, upload};

/// Maximum length of an upload, in bytes.
const MAX_BYTES: usize = 32 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn upload_type_comes_from_bytes() {
    let server = TestServer::start(&[]).await;
    // The form declares a web page.
    let metadata = br#"{"note": "mine"}"#;
    let parts = [
        ("metadata", None, &metadata[..]),
        ("file", Some("page.html"), PIXEL),
    ];
    let (status, mut row) = response_json(post_form(&server, &server.key, form(&parts))).await;
    assert_eq!(status, 200, "{row}");
    let url = content_url(&row);
    let user = server.app.store.user_by_key(&server.key).await.unwrap();
    for field in ["id", "created_at", "updated_at"] {
        assert!(!row[field].take().is_null(), "{field}");
    }
    let expected = json!({
        "status": true,
        "id": null,
        "user_id": user.unwrap().id,
        "hash": sha256_hex(PIXEL),
        "filename": "page.html",
        "data": {},
        "meta": {
            "name": "page.html",
            "content_type": "image/png",
            "size": PIXEL.len(),
            "data": {"note": "mine"},
        },
        "created_at": null,
        "updated_at": null,
    });
    assert_eq!(row, expected);
    let response = server.get(&url).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "image/png");
    assert_eq!(response.bytes().await.unwrap(), PIXEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_metadata_is_object_or_empty() {
    let server = TestServer::start(&[]).await;
    for (metadata, expected_data) in [
        ("", Some(json!({}))),
        ("null", Some(json!({}))),
        ("{}", Some(json!({}))),
        (r#"{"a": [1]}"#, Some(json!({"a": [1]}))),
        ("{", None),
        ("[]", None),
        ("\"x\"", None),
        ("mine", None),
    ] {
        let parts = [
            ("file", Some("fox.gif"), &gif(9)[..]),
            ("metadata", None, metadata.as_bytes()),
        ];
        let (status, status_line) =
            response_json(post_form(&server, &server.key, form(&parts))).await;
        match expected_data {
            Some(expected_data) => assert_eq!(
                (status, &status_line["meta"]["data"]),
                (200, &expected_data),
                "{metadata}"
            ),
            None => {
                let expected = json!({"detail": "[ERROR: Invalid metadata format]"});
                assert_eq!((status, status_line), (400, expected), "{metadata}");
            }
        }
    }
    assert_eq!(server.stored_files(), 4);
}

async fn check_refused(server: &TestServer, case: &str, body: Vec<u8>, expected: (u16, &str)) {
    let (status, status_line) = response_json(post_form(server, &server.key, body)).await;
    assert_eq!(
        (status, status_line["detail"].as_str().unwrap()),
        expected,
        "{case}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_refuses_other_than_images() {
    let server = TestServer::start(&[]).await;
    let file = |bytes: &[u8]| form(&[("file", Some("fox.png"), bytes)]);
    let none = "[ERROR: the bytes are not a PNG, JPEG, WebP, GIF or AVIF image]";
    for (case, body, expected) in [
        ("empty", file(b""), (400, "[ERROR: Error uploading file]")),
        ("a page", file(b"<html>"), (400, none)),
        (
            "a drawing",
            file(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            (400, none),
        ),
        (
            "a head",
            file(&PIXEL[..12]),
            (400, "[ERROR: the image/png image is truncated]"),
        ),
        (
            "no file",
            form(&[("metadata", None, b"{}")]),
            (422, "file: Field required"),
        ),
        (
            "another part",
            form(&[("picture", Some("fox.png"), PIXEL)]),
            (422, "file: Field required"),
        ),
        (
            "many parts",
            form(&[("x", None, &b""[..]); 17]),
            (400, "[ERROR: the form has more than 16 parts]"),
        ),
        (
            "long metadata",
            form(&[("metadata", None, &[b' '; 65_537])]),
            (413, "metadata is longer than 65536 bytes"),
        ),
    ] {
        check_refused(&server, case, body, expected).await;
    }
    for (case, body) in [
        ("nothing", &b""[..]),
        ("no form", b"{}"),
        ("cut in the head", b"--limit\r\ncontent-disposition: form-"),
        (
            "cut in the bytes",
            b"--limit\r\ncontent-disposition: form-data; name=\"file\"\r\n\r\nGIF89a",
        ),
        ("no disposition", b"--limit\r\n\r\nx\r\n--limit--"),
        (
            "no text",
            b"--limit\r\n\xff\xfe: \xff\r\n\r\nx\r\n--limit--",
        ),
    ] {
        let (status, status_line) = response_json(post_form(&server, &server.key, body)).await;
        assert!(
            [400, 422].contains(&status),
            "{case}: {status} {status_line}"
        );
    }
    let no_boundary = server.post("/api/v1/files/", &json!({"file": "x"}));
    assert_eq!(response_json(no_boundary).await.0, 400);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_length_is_limited() {
    let server = TestServer::start(&[]).await;
    let mut image = long_image(MAX_BYTES);
    let row = upload(&server, &server.key, "fox.png", &image).await;
    assert_eq!(row["meta"]["size"], MAX_BYTES);
    assert!(response_bytes(server.get(&content_url(&row))).await == image);
    image.push(0);
    let long = form(&[("file", Some("fox.gif"), &image)]);
    let expected = (413, "file is longer than 33554432 bytes");
    check_refused(&server, "one byte more", long, expected).await;
    assert_eq!(server.stored_files(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_upload_is_refused_while_reading() {
    let server = TestServer::start(&[]).await;
    for part in ["file", "other"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST /api/v1/files/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             content-type: multipart/form-data; boundary=limit\r\ncontent-length: 99999999999\r\n\r\n\
             --limit\r\ncontent-disposition: form-data; name=\"{part}\"; filename=\"x\"\r\n\r\n",
            server.key
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut responses, mut body) = stream.into_split();
        // The server responds while the client is still sending.
        let sending = async {
            let chunk = [0; 65_536];
            while body.write_all(&chunk).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let response = async {
            let mut status_line = [0; 12];
            responses.read_exact(&mut status_line).await.unwrap();
            String::from_utf8_lossy(&status_line).into_owned()
        };
        let status_line = tokio::select! {
            status_line = response => status_line,
            () = sending => unreachable!(),
        };
        assert_eq!(status_line, "HTTP/1.1 413", "{part}");
    }
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_needs_key() {
    let server = TestServer::start(&[]).await;
    let body = form(&[("file", Some("fox.gif"), &gif(9))]);
    let request = post_form(&server, "sk-000000", body);
    assert_eq!(request.send().await.unwrap().status(), 401);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_upload_stores_nothing() {
    let server = TestServer::start(&[]).await;
    let whole = form(&[("file", Some("fox.gif"), &gif(9))]);
    let half = Bytes::copy_from_slice(&whole[..whole.len() - 20]);
    let broken = [Ok(half), Err(std::io::Error::other("gone"))];
    let body = reqwest::Body::wrap_stream(stream::iter(broken));
    post_form(&server, &server.key, body)
        .send()
        .await
        .unwrap_err();
    let (_, rows) = response_json(server.get("/api/v1/files/")).await;
    assert_eq!((rows, server.stored_files()), (Value::Array(Vec::new()), 0));
}
