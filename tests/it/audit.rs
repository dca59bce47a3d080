//! What is refused is told in the audit log, to administrators, and never in the way of anybody.
//!
//! All servers of these tests are one process, so each log has the lines of others too.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pinhole_ground::audit::{Kind, Line, refused};
use pinhole_tests::{TestServer, FakeUpstream, engines, guests};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server with the engines `hostile` and `sketch`, and one that is none.
async fn start() -> (TestServer, FakeUpstream, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let to = |name: &str| folder.path().join(name);
    fs::copy(guests().join("hostile.wasm"), to("hostile.wasm")).unwrap();
    fs::copy(engines().join("sketch.wasm"), to("sketch.wasm")).unwrap();
    fs::write(to("torn-audit.wasm"), b"\0asm").unwrap();
    let upstream = FakeUpstream::json(200, json!({})).await;
    let variables = [
        ("PINHOLE_ENGINES", folder.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", &upstream.url()),
    ];
    let server = TestServer::start(&variables).await;
    (server, upstream, folder)
}

/// The newest lines, newest first, as an administrator reads them.
async fn told(server: &TestServer, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/v1/audit?limit=1000{query}"));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert!(answer["counted"].as_u64().unwrap() >= 1);
    answer["lines"].as_array().unwrap().clone()
}

/// The lines of the file, oldest first. Those that were asked for are in it.
fn file(server: &TestServer) -> Vec<Line> {
    let text = fs::read_to_string(server.data_dir.path().join("audit.jsonl")).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_line_that_says_whose_job_it_was() {
    let (server, upstream, _folder) = start().await;
    let prompt = json!({"prompt": "reach api /elsewhere-audit"});
    let (status, answer) = server.post_json("/v1/images/generations", &prompt).await;
    assert!(status >= 400, "{answer}");
    assert_eq!(upstream.requests().len(), 0);

    let lines = told(&server, "&kind=grant").await;
    let about = |line: &&Value| {
        line["message"]
            .as_str()
            .unwrap()
            .contains("/elsewhere-audit")
    };
    let [line] = lines.iter().filter(about).collect::<Vec<_>>()[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(line["kind"], "grant");
    assert_eq!(line["engine"], "hostile");
    assert_eq!(line["job"].as_str().unwrap().len(), 36);
    let own = server.get("/api/v1/auths/").send().await.unwrap();
    let own: Value = serde_json::from_slice(&own.bytes().await.unwrap()).unwrap();
    assert_eq!(line["user"], own["id"]);

    // What a start refuses is told too.
    let torn = |line: &&Value| line["engine"] == "torn-audit.wasm";
    let lines = told(&server, "&kind=admission").await;
    let found = lines.iter().find(torn).unwrap();
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("is WebAssembly of a version"), "{message}");
    assert!(
        told(&server, "&kind=grant")
            .await
            .iter()
            .all(|it| it["kind"] == "grant")
    );

    // The same stands in the file, for its owner alone.
    let lines = file(&server);
    let about = |line: &&Line| line.what.contains("/elsewhere-audit");
    let line = lines.iter().find(about).unwrap();
    assert_eq!(
        (line.kind.as_str(), line.user.as_str()),
        ("grant", own["id"].as_str().unwrap())
    );
    assert!(
        line.time.starts_with("20") && line.time.ends_with('Z'),
        "{}",
        line.time
    );
    let path = server.data_dir.path().join("audit.jsonl");
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_read_it() {
    let (server, _upstream, _folder) = start().await;
    let url = server.url("/api/v1/audit");
    let second = server.add_second_user().await;
    for request in [
        server.client.get(&url),
        server.client.get(&url).bearer_auth(second),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_job_is_told_a_few_times_and_counted() {
    let (server, _upstream, _folder) = start().await;
    let count = pinhole_ground::audit::count(Some(Kind::Address));
    for n in 0..5000 {
        refused(
            Kind::Address,
            "flooding",
            "job-flood",
            &format!("address {n} is refused"),
        );
    }
    refused(
        Kind::Address,
        "quiet",
        "job-quiet",
        "one address is refused",
    );
    let lines = told(&server, "&kind=address").await;
    let of = |job: &str| {
        let own = lines.iter().filter(|line| line["job"] == job);
        let told = own.filter(|line| !line["message"].as_str().unwrap().starts_with("and "));
        told.count()
    };
    assert_eq!(of("job-flood"), 10);
    assert_eq!(of("job-quiet"), 1);
    assert!(pinhole_ground::audit::count(Some(Kind::Address)) >= count + 5001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_one_line_of_text_that_can_be_seen() {
    let (server, _upstream, _folder) = start().await;
    let hostile = "one\ntwo\r\u{1b}[31mred\u{202e}back\u{200b}\0";
    refused(
        Kind::Request,
        &"e".repeat(5000),
        "job-hostile",
        &hostile.repeat(1000),
    );
    told(&server, "").await;
    let line = file(&server)
        .into_iter()
        .find(|line| line.job == "job-hostile")
        .unwrap();
    assert!(
        line.what.starts_with("one two  [31mredback"),
        "{}",
        line.what
    );
    assert!(!line.what.contains(char::is_control));
    assert!(line.what.len() <= 1000 && line.engine.len() <= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_where_it_was_after_a_start() {
    let (server, upstream, folder) = start().await;
    refused(Kind::Limit, "hostile", "job-before", "a limit is broken");
    told(&server, "").await;
    let variables = [
        ("PINHOLE_ENGINES", folder.path().to_str().unwrap()),
        ("HOSTILE_BASE_URL", &upstream.url()),
    ];
    let server = server.restart(&variables).await;
    refused(Kind::Limit, "hostile", "job-after", "a limit is broken");
    let lines = told(&server, "&kind=limit").await;
    let place = |job: &str| lines.iter().position(|line| line["job"] == job).unwrap();
    assert!(place("job-after") < place("job-before"));
}
