//! The conformance cases of the included engines, and the failures of the case runner.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use pinhole::conformance_host::ConformanceHost;
use pinhole_conformance::{CapturedLog, CaseReport, ConformanceSuite, Verdict};
use pinhole_tests::{compiler, engines, guests, program};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The included engines and the examples, each with a directory of cases.
const ENGINES: [&str; 8] = [
    "automatic1111",
    "comfyui",
    "gemini",
    "openai",
    "replicate",
    "sketch",
    "stability",
    "swarmui",
];
/// The examples, which do not ship.
const EXAMPLES: [&str; 3] = ["replicate", "stability", "swarmui"];

const PAGE_HEAD: &str = "\
# Cases

A test writes this page from the directories next to it, each of which is one case. [Conformance cases](../../docs/reference/conformance-cases.md)
describes the format. `cargo xtask test` runs all cases, and `pinhole engine test COMPONENT` runs those of one engine against any
component. A number is unique within an engine; variants of a case share it.
";

/// A path in this package.
fn package_path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The log of all tests of this process. Each job has its own name in it.
fn captured_log() -> CapturedLog {
    static LOG: OnceLock<CapturedLog> = OnceLock::new();
    let install = || {
        let log = CapturedLog::default();
        tracing_subscriber::registry().with(log.layer()).init();
        log
    };
    LOG.get_or_init(install).clone()
}

async fn open_suite(
    component: &Path,
    cases: &str,
    prefixes: &[String],
) -> anyhow::Result<ConformanceSuite> {
    let cases = package_path(cases);
    ConformanceSuite::open(
        component,
        &cases,
        prefixes,
        None,
        &compiler(),
        captured_log(),
    )
    .await
}

async fn run_suite(suite: &ConformanceSuite) -> Vec<CaseReport> {
    let mut reports = Vec::new();
    suite
        .run::<ConformanceHost>(|report| reports.push(report))
        .await;
    reports
}

fn component(engine: &str) -> PathBuf {
    let directory = if EXAMPLES.contains(&engine) {
        guests()
    } else {
        engines()
    };
    directory.join(format!("{engine}.wasm"))
}

async fn assert_engine_passes(engine: &str) {
    let component = component(engine);
    let suite = open_suite(&component, "cases", &[]).await.unwrap();
    let failures: Vec<String> = run_suite(&suite)
        .await
        .iter()
        .filter(|report| matches!(report.verdict, Verdict::Failed(_)))
        .map(CaseReport::to_string)
        .collect();
    assert!(
        failures.is_empty(),
        "engine {engine}:\n{}",
        failures.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic1111_passes_its_cases() {
    assert_engine_passes("automatic1111").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comfyui_passes_its_cases() {
    assert_engine_passes("comfyui").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_passes_its_cases() {
    assert_engine_passes("gemini").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_passes_its_cases() {
    assert_engine_passes("openai").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicate_passes_its_cases() {
    assert_engine_passes("replicate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sketch_passes_its_cases() {
    assert_engine_passes("sketch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stability_passes_its_cases() {
    assert_engine_passes("stability").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swarmui_passes_its_cases() {
    assert_engine_passes("swarmui").await;
}

/// The names of the directories in a directory, in order.
fn subdirectories(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_included_engine_has_cases_and_a_test() {
    let mut built: Vec<String> = std::fs::read_dir(engines())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".wasm").map(str::to_owned)
        })
        .collect();
    built.extend(EXAMPLES.map(str::to_owned));
    built.sort();
    assert_eq!(built, ENGINES);
    assert_eq!(subdirectories(&package_path("cases")), ENGINES);
}

/// The number of a case: `C11a-some-title`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CaseNumber {
    letter: String,
    digits: u32,
    /// Empty or a letter.
    variant: String,
}

fn parse_case_number(name: &str) -> Option<CaseNumber> {
    let (number, title) = name.split_once('-')?;
    let letter = number.get(..1)?;
    let digits = number
        .get(1..)?
        .trim_end_matches(|c: char| c.is_ascii_lowercase());
    let variant = &number[1 + digits.len()..];
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    let is_valid = letter.chars().all(|c| c.is_ascii_uppercase())
        && variant.len() <= 1
        && !title.is_empty()
        && title.chars().all(is_allowed);
    if !is_valid {
        return None;
    }
    Some(CaseNumber {
        letter: letter.to_owned(),
        digits: digits.parse().ok()?,
        variant: variant.to_owned(),
    })
}

/// The rows of the page for one engine.
fn case_rows(engine: &str) -> Vec<String> {
    let directory = package_path("cases").join(engine);
    let mut rows = BTreeMap::new();
    for name in subdirectories(&directory) {
        if name == "recordings" {
            continue;
        }
        let number = parse_case_number(&name)
            .unwrap_or_else(|| panic!("{engine}/{name} is not named <letter><number>-<title>"));
        let case = std::fs::read(directory.join(&name).join("case.json")).unwrap();
        let case: Value = serde_json::from_slice(&case).unwrap();
        let text = |key: &str| case[key].as_str().map(|text| text.replace('|', "\\|"));
        let row = format!(
            "| {}{}{} | [{name}]({engine}/{name}/case.json) | {} | {} |\n",
            number.letter,
            number.digits,
            number.variant,
            text("about").unwrap_or_default(),
            text("not_passing").as_deref().unwrap_or("pass"),
        );
        let duplicate = rows.insert(number, row);
        assert_eq!(
            duplicate, None,
            "{engine}/{name} has the number of another case"
        );
    }
    rows.into_values().collect()
}

#[test]
fn cases_page_is_current() {
    let mut page = PAGE_HEAD.to_owned();
    for engine in subdirectories(&package_path("cases")) {
        write!(
            page,
            "\n## {engine}\n\n| number | case | shows | result |\n|---|---|---|---|\n"
        )
        .unwrap();
        page.extend(case_rows(&engine));
    }
    let path = package_path("cases/README.md");
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    if current != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "tests/cases/README.md was out of date and has been rewritten: review and commit it"
        );
    }
}

fn hostile() -> PathBuf {
    guests().join("hostile.wasm")
}

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

#[tokio::test(flavor = "multi_thread")]
async fn failed_case_reports_each_difference() {
    let suite = open_suite(&hostile(), "conformance/failing", &[])
        .await
        .unwrap();
    let reports = run_suite(&suite).await;
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
    let suite = open_suite(&hostile(), "conformance/passing", &[])
        .await
        .unwrap();
    let reports = run_suite(&suite).await;
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

/// Exit code, standard output and standard error of `pinhole engine test`.
fn run_command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program())
        .args(["engine", "test", hostile().to_str().unwrap()])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn command_prints_only_a_summary_if_no_case_fails() {
    let arguments = [
        "--cases",
        "conformance/passing",
        "--case",
        "P1-",
        "--case",
        "P9",
    ];
    let (code, out, _) = run_command(&arguments);
    assert_eq!(code, Some(0), "{out}");
    let [summary] = out.lines().collect::<Vec<_>>()[..] else {
        panic!("{out}")
    };
    assert!(
        summary.starts_with("1 passed, 0 failed, 1 known to fail in "),
        "{out}"
    );
}

#[test]
fn verbose_command_prints_a_line_for_each_case() {
    let arguments = [
        "--verbose",
        "--cases",
        "conformance/passing",
        "--case",
        "P1-",
        "--case",
        "P9",
    ];
    let (code, out, _) = run_command(&arguments);
    assert_eq!(code, Some(0), "{out}");
    let [passed, known, summary] = out.lines().collect::<Vec<_>>()[..] else {
        panic!("{out}")
    };
    assert!(
        passed.starts_with("ok      P1-one-request  1 request, "),
        "{out}"
    );
    assert!(known.starts_with("known   P9-known-failure: "), "{out}");
    assert!(
        summary.starts_with("1 passed, 0 failed, 1 known to fail in "),
        "{out}"
    );
}

#[test]
fn command_writes_json_and_junit_reports() {
    let directory = tempfile::tempdir().unwrap();
    let junit = directory.path().join("report.xml");
    let (cases, missing) = (
        "conformance/failing",
        "/upstream/0/request (GET /base/allowed/x): expected this request, got none",
    );
    let arguments = ["--json", "--cases", cases, "--case", "F3", "--junit"];
    let (code, out, err) =
        run_command(&[arguments.as_slice(), &[junit.to_str().unwrap()]].concat());
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    let mut report: Value = serde_json::from_str(&out).unwrap();
    for key in ["/milliseconds", "/cases/0/milliseconds", "/cases/0/bytes"] {
        let number = report.pointer_mut(key).unwrap().take();
        assert!(number.as_u64().is_some_and(|number| number > 0), "{out}");
    }
    assert_eq!(
        report,
        serde_json::json!({
            "engine": "hostile", "passed": 0, "failed": 1, "known": 0, "milliseconds": null,
            "cases": [{
                "name": "F3-missing-request", "about": "the engine does not send an expected request", "verdict": "failed",
                "failures": [missing], "reason": null, "milliseconds": null, "requests": 0, "bytes": null,
            }],
        })
    );
    let xml = std::fs::read_to_string(&junit).unwrap();
    let failure = format!("<failure message=\"{missing}\">{missing}</failure>");
    assert!(xml.contains(&failure), "{xml}");
    assert!(
        xml.contains("<testsuite name=\"hostile\" tests=\"1\" failures=\"1\""),
        "{xml}"
    );
}

#[test]
fn command_refuses_a_report_file_that_it_cannot_write() {
    let arguments = [
        "--cases",
        "conformance/passing",
        "--case",
        "P1-",
        "--junit",
        "missing/report.xml",
    ];
    let (code, _, err) = run_command(&arguments);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.starts_with("pinhole: cannot write missing/report.xml: "),
        "{err}"
    );
}

#[test]
fn command_fails_if_a_case_fails() {
    let arguments = [
        "--cases",
        "conformance/failing",
        "--case",
        "F3",
        "--case",
        "F5",
    ];
    let (code, out, _) = run_command(&arguments);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.starts_with("FAILED  F3-missing-request\n    /upstream/0/request "),
        "{out}"
    );
    assert!(out.contains("appears in a log line"), "{out}");
    assert!(out.contains("\n0 passed, 2 failed in "), "{out}");
}

#[test]
fn command_fails_without_cases() {
    let (code, out, err) = run_command(&[]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.starts_with(
            "pinhole: cannot read the directory of cases tests/cases (set another with --cases): "
        ),
        "{err}"
    );
}
