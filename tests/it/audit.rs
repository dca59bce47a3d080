//! The audit log: its entries in the file and in the API, for administrators only, and the limit of entries that repeat.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pinhole_ground::audit::{Actor, Entry, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use pinhole_tests::{FakeUpstream, TestServer, engines, guests};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A server with the engines `hostile` and `sketch`, and a file that is not a component.
async fn start() -> (TestServer, FakeUpstream, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let to = |name: &str| directory.path().join(name);
    fs::copy(guests().join("hostile.wasm"), to("hostile.wasm")).unwrap();
    fs::copy(engines().join("sketch.wasm"), to("sketch.wasm")).unwrap();
    fs::write(to("torn-audit.wasm"), b"\0asm").unwrap();
    let upstream = FakeUpstream::json(200, json!({})).await;
    let variables = [
        ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
        ("IMAGE_GENERATION_ENGINE", "hostile"),
        ("HOSTILE_BASE_URL", &upstream.url()),
    ];
    let server = TestServer::start(&variables).await;
    (server, upstream, directory)
}

/// Records a refusal of the user `user-JOB` without a guard in the server's log.
fn record(server: &TestServer, kind: RefusalKind, engine: &str, job: &str, message: &str) {
    server.app.audit.record(&Event {
        kind,
        guard: None,
        actor: Actor::User(&format!("user-{job}")),
        engine,
        job,
        message,
    });
}

/// The newest entries, newest first, as the API lists them.
async fn list_entries(server: &TestServer, query: &str) -> Vec<Value> {
    let request = server.get(&format!("/api/v1/audit?limit=1000{query}"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert!(list["counted"].as_u64().unwrap() >= 1);
    list["lines"].as_array().unwrap().clone()
}

/// The entries in the file, oldest first. Includes all that [`list_entries`] returned before.
fn read_file(server: &TestServer) -> Vec<Entry> {
    let text = fs::read_to_string(server.data_dir.path().join("audit.jsonl")).unwrap();
    let entries = text.lines().map(serde_json::from_str);
    entries.collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_logged_with_job_and_user() {
    let (server, upstream, _directory) = start().await;
    let prompt = json!({"prompt": "reach api /elsewhere-audit"});
    let (status, body) = server.post_json("/v1/images/generations", &prompt).await;
    assert!(status >= 400, "{body}");
    assert_eq!(upstream.requests().len(), 0);

    let entries = list_entries(&server, "&kind=grant").await;
    let names_path = |entry: &&Value| {
        entry["message"]
            .as_str()
            .unwrap()
            .contains("/elsewhere-audit")
    };
    let [entry] = entries.iter().filter(names_path).collect::<Vec<_>>()[..] else {
        panic!("{entries:?}");
    };
    assert_eq!(entry["kind"], "grant");
    assert_eq!(entry["engine"], "hostile");
    assert_eq!(entry["job"].as_str().unwrap().len(), 36);
    let own = server.get("/api/v1/auths/").send().await.unwrap();
    let own: Value = serde_json::from_slice(&own.bytes().await.unwrap()).unwrap();
    assert_eq!(entry["user"], own["id"]);

    // The log includes the files that the start rejected.
    let torn = |admission: &&Value| admission["engine"] == "torn-audit.wasm";
    let admissions = list_entries(&server, "&kind=admission").await;
    let message = admissions.iter().find(torn).unwrap()["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("is WebAssembly of an unsupported version"),
        "{message}"
    );
    assert!(
        list_entries(&server, "&kind=grant")
            .await
            .iter()
            .all(|grant| grant["kind"] == "grant")
    );

    // The file contains the same entry, and only its owner can read it.
    let stored = read_file(&server);
    let same_path = |record: &&Entry| record.message.contains("/elsewhere-audit");
    let record = stored.iter().find(same_path).unwrap();
    assert_eq!(
        (record.kind.as_str(), record.user.as_str()),
        ("grant", own["id"].as_str().unwrap())
    );
    assert!(
        record.time.starts_with("20") && record.time.ends_with('Z'),
        "{}",
        record.time
    );
    let path = server.data_dir.path().join("audit.jsonl");
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_is_only_for_administrators() {
    let (server, _upstream, _directory) = start().await;
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
async fn repeated_refusals_of_one_user_are_logged_ten_times_and_counted() {
    let (server, _upstream, _directory) = start().await;
    let audit = &server.app.audit;
    let count = audit.count(Some(RefusalKind::Address));
    for n in 0..5000 {
        let message = format!("address {n} is refused");
        record(
            &server,
            RefusalKind::Address,
            "flooding",
            "job-flood",
            &message,
        );
    }
    let message = "one address is refused";
    record(&server, RefusalKind::Address, "quiet", "job-quiet", message);
    let entries = list_entries(&server, "&kind=address").await;
    let logged = |job: &str| entries.iter().filter(|entry| entry["job"] == job).count();
    assert_eq!(logged("job-flood"), 10);
    assert_eq!(logged("job-quiet"), 1);
    assert_eq!(audit.count(Some(RefusalKind::Address)), count + 5001);
    assert_eq!(audit.dropped(Some(RefusalKind::Address)), 4990);
    assert_eq!(audit.dropped(Some(RefusalKind::Grant)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_is_one_line_of_visible_text() {
    let (server, _upstream, _directory) = start().await;
    let hostile = "one\ntwo\r\u{1b}[31mred\u{202e}back\u{200b}\0";
    record(
        &server,
        RefusalKind::Request,
        &"e".repeat(5000),
        "job-hostile",
        &hostile.repeat(1000),
    );
    list_entries(&server, "").await;
    let entry = read_file(&server)
        .into_iter()
        .find(|entry| entry.job == "job-hostile")
        .unwrap();
    assert!(
        entry.message.starts_with("one two  [31mredback"),
        "{}",
        entry.message
    );
    assert!(!entry.message.contains(char::is_control));
    assert!(entry.message.len() <= 1000 && entry.engine.len() <= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_continues_after_restart() {
    let (server, upstream, directory) = start().await;
    let message = "a limit is exceeded";
    record(
        &server,
        RefusalKind::Limit,
        "hostile",
        "job-before",
        message,
    );
    list_entries(&server, "").await;
    let variables = [
        ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
        ("HOSTILE_BASE_URL", &upstream.url()),
    ];
    let restarted = server.restart(&variables).await;
    record(
        &restarted,
        RefusalKind::Limit,
        "hostile",
        "job-after",
        message,
    );
    let entries = list_entries(&restarted, "&kind=limit").await;
    let position = |job: &str| {
        entries
            .iter()
            .position(|entry| entry["job"] == job)
            .unwrap()
    };
    assert!(position("job-after") < position("job-before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_log_counts_dropped_lines_and_guards_by_kind() {
    let (server, _upstream, _directory) = start().await;
    for _ in 0..12 {
        server.app.audit.record(&Event {
            kind: RefusalKind::Picture,
            guard: Some(Guard::PictureEnd),
            actor: Actor::User("ada"),
            engine: "",
            job: "",
            message: "refused",
        });
    }
    let list = async |query: &str| -> Value {
        let request = server.get(&format!("/api/v1/audit?{query}"));
        let bytes = request.send().await.unwrap().bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let pictures = list("kind=picture").await;
    assert_eq!(
        (&pictures["counted"], &pictures["dropped"]),
        (&json!(12), &json!(2))
    );
    assert_eq!(pictures["guards"], json!({"picture-end": 12}));
    let grants = list("kind=grant").await;
    assert_eq!(
        (&grants["dropped"], &grants["guards"]),
        (&json!(0), &json!({}))
    );
    assert!(list("").await["counted"].as_u64().unwrap() >= 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_filtered_and_read_page_by_page() {
    let (server, _upstream, _directory) = start().await;
    for number in 0..25 {
        let engine = if number % 5 == 0 { "draw" } else { "paint" };
        let job = number.to_string();
        record(&server, RefusalKind::Limit, engine, &job, "too much");
    }
    let request = async |query: &str| {
        let path = format!("/api/v1/audit?{query}");
        let response = server.get(&path).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (mut jobs, mut next_query) = (Vec::new(), "kind=limit&limit=10".to_owned());
    loop {
        let (status, page) = request(&next_query).await;
        assert_eq!(status, 200, "{page}");
        let lines = page["lines"].as_array().unwrap();
        jobs.extend(
            lines
                .iter()
                .map(|it| it["job"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        next_query = format!("kind=limit&limit=10&cursor={next}");
    }
    let expected: Vec<_> = (0..25).rev().map(|number| number.to_string()).collect();
    assert_eq!(jobs, expected);

    let count = async |query: &str| {
        let (status, page) = request(query).await;
        assert_eq!(
            (status, &page["next"]),
            (200, &Value::Null),
            "{query}: {page}"
        );
        page["lines"].as_array().unwrap().len()
    };
    assert_eq!(count("engine=draw").await, 5);
    assert_eq!(count("engine=draw&user=user-5").await, 1);
    assert_eq!(count("user=user-5&kind=grant").await, 0);
    assert_eq!(count("kind=limit&since=0").await, 25);
    assert_eq!(count("kind=limit&since=4000000000").await, 0);
    assert_eq!(count("kind=limit&before=4000000000").await, 25);
    assert_eq!(count("kind=limit&before=5").await, 0);
    for (query, field) in [
        ("cursor=x", "cursor"),
        ("cursor=1-2-3", "cursor"),
        ("since=999999999999", "since"),
        ("before=253402300800", "before"),
        ("limit=1001", "limit"),
    ] {
        let (status, refused) = request(query).await;
        assert_eq!(status, 400, "{query}");
        assert!(
            refused["detail"].as_str().unwrap().contains(field),
            "{refused}"
        );
    }
    // A cursor beyond all files is the end.
    assert_eq!(count("cursor=0-0").await, 0);
    assert_eq!(request("cursor=18446744073709551615-0").await.0, 200);
}
