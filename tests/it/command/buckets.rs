//! A bucket that is configured wrongly: one line, and nothing is written.

use pinhole_tests::{FakeResponse, FakeUpstream};

use super::Program;

const SECRET: &str = "secret-4711";

/// The message of a start with a bucket of this endpoint.
fn start_with_endpoint(endpoint: &str, variables: &[(&str, &str)]) -> String {
    let mut program = Program::new(&["sketch"])
        .with("STORAGE_PROVIDER", "s3")
        .with("S3_BUCKET_NAME", "pictures")
        .with("S3_ENDPOINT_URL", endpoint)
        .with("S3_ACCESS_KEY_ID", "fox")
        .with("S3_SECRET_ACCESS_KEY", SECRET);
    for (name, value) in variables {
        program = program.with(name, value);
    }
    let line = program.run(&["serve", "--listen", "127.0.0.1:0"]).failed(1);
    assert!(!program.path("data").exists(), "{line}");
    assert!(!line.contains("4711"), "{line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn start_names_the_variable_of_a_bucket_that_cannot_be_used() {
    let service = FakeUpstream::json(200, serde_json::Value::Null).await;
    for (status, code, expected) in [
        (
            403,
            "SignatureDoesNotMatch",
            "it refused the credentials (SignatureDoesNotMatch); check S3_ACCESS_KEY_ID",
        ),
        (
            403,
            "AccessDenied",
            "a request was not permitted (AccessDenied); let the credentials read, write, list and delete objects",
        ),
        (
            404,
            "NoSuchBucket",
            "it does not exist (NoSuchBucket); create it, or correct S3_BUCKET_NAME",
        ),
        (400, "secret 4711", "a request failed (status 400); check"),
    ] {
        service.set_handler(move |_| async move {
            let body = format!("<Error><Code>{code}</Code><Key>{SECRET}</Key></Error>");
            FakeResponse::typed(status, "application/xml", body)
        });
        let line = start_with_endpoint(&service.url(), &[]);
        let start = "pinhole: cannot use bucket pictures (STORAGE_PROVIDER=s3): ";
        assert!(line.starts_with(&format!("{start}{expected}")), "{line}");
    }
    // It takes the object, and returns another one.
    service.set_handler(|_| async {
        FakeResponse::typed(200, "text/plain", "something else")
            .header("etag", "\"1\"")
            .header("last-modified", "Tue, 01 Dec 2026 08:00:00 GMT")
    });
    let line = start_with_endpoint(&service.url(), &[]);
    assert!(line.contains("has other bytes than were written"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_names_an_endpoint_that_cannot_be_reached() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let line = start_with_endpoint(&closed, &[]);
    let expected = "it cannot be reached: Connection refused (os error 111); check S3_ENDPOINT_URL";
    assert!(line.contains(expected), "{line}");
    let proxy = ("HTTP_PROXY", "http://127.0.0.1:1");
    let service = FakeUpstream::json(503, serde_json::Value::Null).await;
    let failed = start_with_endpoint(&service.url(), &[proxy]);
    assert!(failed.contains("a request failed (status 503)"), "{failed}");
}

#[test]
fn start_names_wrong_values_of_buckets() {
    for (name, value, expected) in [
        ("STORAGE_PROVIDER", "ftp", "use local, s3, gcs or azure"),
        (
            "S3_ENDPOINT_URL",
            "http://u:secret-4711@host",
            "S3_ENDPOINT_URL is no URL",
        ),
        (
            "S3_ADDRESSING_STYLE",
            "host",
            "it must be auto, path or virtual",
        ),
        (
            "PINHOLE_FILES_REDIRECT",
            "maybe",
            "it must be true or false",
        ),
    ] {
        let line = start_with_endpoint("http://127.0.0.1:1", &[(name, value)]);
        assert!(line.contains(expected), "{line}");
    }
}
