//! A bucket that sends something else than what was stored.

use std::time::SystemTime;

use bytes::Bytes;
use pinhole::files::Confirmation;
use pinhole_tests::{RawStep, TestServer, gif};

use super::super::{content_url, upload};
use super::fake_gcs::FakeGcs;
use super::test_bucket::TestBucket;

const HEADERS: &str = "etag: \"1\"\r\nlast-modified: Tue, 01 Dec 2026 08:00:00 GMT\r\n";

/// A response that claims this part of the object and this length, and then these steps.
fn part(range: &str, length: usize, body: Vec<RawStep>) -> Vec<RawStep> {
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\n{HEADERS}content-range: bytes {range}\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut steps = vec![RawStep::Send(head.into())];
    steps.extend(body);
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_never_more_or_less_than_was_stored() {
    let gcs = FakeGcs::start().await;
    let bucket = TestBucket::of_gcs(gcs.clone());
    let server = TestServer::start(&bucket.variables()).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let length = gif(9).len();
    let (whole, longer) = (
        format!("0-{}/{length}", length - 1),
        format!("0-{}/{}", length - 1, length + 1),
    );
    let (start, bytes) = (&gif(9)[..9], gif(9));
    let send = |body: &[u8]| vec![RawStep::Send(Bytes::copy_from_slice(body)), RawStep::Close];
    let flood = || RawStep::Flood(Bytes::from_static(b"5\r\nhello\r\n"));
    let chunked = |status: &str| {
        let head = format!("HTTP/1.1 {status}\r\n{HEADERS}transfer-encoding: chunked\r\n\r\n");
        vec![RawStep::Send(head.into()), flood()]
    };
    let other = format!("5-6/{length}");
    for (name, steps, status) in [
        (
            "another length",
            part(&longer, length, send(&bytes)),
            Some(500),
        ),
        ("no length", part("0-1/*", 2, send(&bytes)), Some(503)),
        ("another part", part(&other, 2, send(&bytes)), Some(503)),
        ("no part", chunked("206 Partial Content"), Some(503)),
        ("fewer bytes", part(&whole, length, send(start)), None),
        ("more bytes", part(&whole, 1 << 30, vec![flood()]), None),
        ("an error without end", chunked("403 Forbidden"), Some(503)),
    ] {
        gcs.upstream.set_raw(steps);
        let response = server.get(&content_url(&row)).send().await;
        match (response, status) {
            (Ok(response), Some(status)) => assert_eq!(response.status(), status, "{name}"),
            // The connection breaks, so that no client takes the bytes for the image.
            (Ok(response), None) => assert!(response.bytes().await.is_err(), "{name}"),
            (Err(error), status) => assert_eq!(status, None, "{name}: {error}"),
        }
    }
    gcs.upstream.reset();
    let restored = super::super::response_bytes(server.get(&content_url(&row))).await;
    assert_eq!(restored, gif(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnail_of_a_huge_object_is_not_loaded() {
    let gcs = FakeGcs::start().await;
    let bucket = TestBucket::of_gcs(gcs.clone());
    let server = TestServer::start(&bucket.variables()).await;
    let row = upload(&server, &server.key, "fox.gif", &gif(9)).await;
    let head = format!("HTTP/1.1 200 OK\r\n{HEADERS}content-length: 99999999999\r\n\r\n");
    gcs.upstream.set_raw(vec![
        RawStep::Send(head.into()),
        RawStep::Flood(Bytes::from_static(&[0; 1024])),
    ]);
    let url = content_url(&row).replace("/content", "/thumbnail");
    let response = server.get(&url).send().await.unwrap();
    assert_eq!(response.status(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_with_hostile_names_removes_nothing() {
    let gcs = FakeGcs::start().await;
    let bucket = TestBucket::of_gcs(gcs.clone());
    let server = TestServer::start(&bucket.variables()).await;
    let old = SystemTime::UNIX_EPOCH;
    let (id, files) = ("abcdef00-0000-4000-8000-000000000000", &server.app.files);
    for name in [
        "../x".to_owned(),
        format!("..%2f{id}"),
        format!("{id}/.."),
        format!("{id}.256/"),
        id.to_uppercase(),
    ] {
        gcs.insert(&name, b"x", old);
        let before = gcs.names();
        // A name that is no path makes the whole list invalid.
        match files.clean_up(None, Confirmation::Administrator).await {
            Ok(sweep) => assert_eq!(sweep.expired, 0, "{name}"),
            Err(error) => assert!(format!("{error:#}").contains("cannot list"), "{error:#}"),
        }
        let after = gcs.names();
        assert!(before.iter().all(|it| after.contains(it)), "{name}");
        gcs.remove(&name);
    }
    let flood = RawStep::Flood(Bytes::from_static(b"14\r\n<ListBucketResult>  \r\n"));
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    gcs.upstream
        .set_raw(vec![RawStep::Send(head.into()), flood]);
    let error = files.clean_up(None, Confirmation::None).await.unwrap_err();
    assert!(format!("{error:#}").contains("cannot list"), "{error:#}");
}
