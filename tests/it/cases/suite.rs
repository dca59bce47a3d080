//! What the suite says of cases that fail, pass, never end or cannot be read.

use std::time::Duration;

use super::*;

/// The failure lines of each case in `tests/conformance/failing`. Text after `…` is not compared.
const FAILURES: &[(&str, &[&str])] = &[
    (
        "F1-wrong-request",
        &[
            "unexpected request GET /base/allowed/x",
            "/upstream/0/request (GET /base/allowed/y): expected this request, got none",
        ],
    ),
    (
        "F2-wrong-header",
        &[
            "/upstream/0/request (GET /base/allowed/x): header authorization: expected none, got \"Bearer open-sesame-9\"",
        ],
    ),
    (
        "F3-missing-request",
        &["/upstream/0/request (GET /base/allowed/x): expected this request, got none"],
    ),
    (
        "F4-repeated-request",
        &["unexpected request GET /base/allowed/x: /upstream/0 already got all its requests"],
    ),
    (
        "F5-secret-in-message",
        &[
            "/variables/OTHER_TOKEN: its value appears in the outcome: it is not-for-anybody, is it",
            "/variables/OTHER_TOKEN: its value appears in a log line: …",
        ],
    ),
    (
        "F6-secret-in-base64",
        &[
            "/variables/OTHER_PASSWORD: its value appears in the outcome: bWU6bm90LWZvci1hbnlib2R5",
            "/variables/OTHER_PASSWORD: its value appears in a log line: …",
        ],
    ),
    (
        "F7-wrong-error",
        &[
            "/outcome: expected error invalid, got error upstream (engine hostile: some words)",
            "/outcome: expected \"more words\" in the message, got \"some words\"",
            "/outcome: expected no \"some\" in the message, got \"some words\"",
            "/outcome: code: expected \"c\", got null",
            "/outcome: retry_after_ms: expected 1, got null",
        ],
    ),
    (
        "F8-wrong-image",
        &[
            "/outcome: expected 2 images, got 1",
            "/outcome: image 0: expected image/jpeg, got image/png",
            "/outcome: image 0: expected 2x2, got 1x1",
            "/outcome: image 0: expected an image of …",
            "/outcome: revised_prompt: expected \"{any} fox\", got null",
            "/outcome: details: at /seed: expected 1, got nothing",
        ],
    ),
    (
        "F9-error-instead-of-image",
        &["/outcome: expected 1 image, got error protocol (engine hostile: …"],
    ),
    (
        "F10-missing-report",
        &["/reports/0: expected fraction 0.5, note \"half\", got none"],
    ),
    (
        "F11-unexpected-pass",
        &["/not_passing: the case passes; remove this key"],
    ),
    (
        "F12-missing-message",
        &["/upstream/0/socket/0: expected a message, but the WebSocket closed"],
    ),
    ("F13-wrong-models", &["/outcome: expected 1 item, got 0"]),
    (
        "F14-verified-instead-of-error",
        &["/outcome: expected error unauthorized, got verified"],
    ),
];

/// Runs the cases of a directory with the engine `hostile`.
async fn run_cases(directory: &str) -> Vec<CaseReport> {
    let suite = open_suite(&hostile(), directory, &[]).await.unwrap();
    run_suite(&suite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_case_reports_each_difference() {
    let reports = run_cases("conformance/failing").await;
    let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
    let expected_names: Vec<&str> = FAILURES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected_names);
    for (report, (name, expected)) in reports.iter().zip(FAILURES) {
        let Verdict::Failed(lines) = &report.verdict else {
            panic!("{name}: {:?}", report.verdict)
        };
        assert_eq!(lines.len(), expected.len(), "{name}: {lines:#?}");
        for (line, expected_line) in lines.iter().zip(*expected) {
            let is_expected = match expected_line.split_once('…') {
                Some((start, _)) => line.starts_with(start),
                None => line == expected_line,
            };
            assert!(is_expected, "{name}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passed_case_reports_its_cost() {
    let reports = run_cases("conformance/passing").await;
    let lines: Vec<String> = reports.iter().map(CaseReport::to_string).collect();
    assert_eq!(
        lines,
        [
            "ok      P1-one-request",
            "ok      P2-cancelled",
            "ok      P3-connection-refused",
            "ok      P4-connection-breaks",
            "ok      P5-url-not-granted",
            "ok      P6-socket",
            "ok      P7-refused-by-host",
            "ok      P8-invalid-settings",
            "known   P9-known-failure: hostile returns no image on purpose",
            "ok      P10-second-server",
        ]
    );
    assert_eq!((reports[0].requests, reports[1].requests), (1, 2));
    assert!(reports[0].entered_bytes.is_some_and(|bytes| bytes > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_job_fails_with_what_it_waits_for() {
    let mut suite = open_suite(&hostile(), "conformance/endless", &[])
        .await
        .unwrap();
    suite.case_timeout = Duration::from_millis(300);
    let reports = run_suite(&suite).await;
    let Verdict::Failed(lines) = &reports[0].verdict else {
        panic!("{:?}", reports[0])
    };
    assert_eq!(lines.last().unwrap(), "the job did not end within 300ms");
    let cancel = "/cancel: waits for 1 progress report, which did not happen";
    assert!(lines.iter().any(|line| line == cancel), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_case_fails_by_itself() {
    let names = ["U1".to_owned()];
    let suite = open_suite(&hostile(), "conformance/invalid", &names).await;
    let reports = run_suite(&suite.unwrap()).await;
    let [report] = &reports[..] else {
        panic!("{reports:?}")
    };
    let expected = "FAILED  U1-unknown-key
    cannot read the case: case.json at /upstream/0/request/jsn: unknown field `jsn`";
    assert!(report.to_string().starts_with(expected), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn suite_explains_why_it_cannot_run() {
    let text_file = package_path("Cargo.toml");
    let missing = package_path("missing.wasm");
    let no_prefixes = || Vec::new();
    for (component, cases, prefixes, expected) in [
        (
            &text_file,
            "conformance/passing",
            no_prefixes(),
            "is not admitted: it is not WebAssembly",
        ),
        (
            &missing,
            "conformance/passing",
            no_prefixes(),
            "cannot read component",
        ),
        (
            &hostile(),
            "conformance/missing",
            no_prefixes(),
            "set another with --cases",
        ),
        (
            &hostile(),
            "cases",
            no_prefixes(),
            "there are no cases of engine hostile",
        ),
        (
            &hostile(),
            "conformance/passing",
            vec!["Q".to_owned()],
            "starts with Q",
        ),
    ] {
        let error = open_suite(component, cases, &prefixes).await.err();
        let message = format!("{:#}", error.unwrap_or_else(|| panic!("{expected}")));
        assert!(message.contains(expected), "{message}");
    }
}
