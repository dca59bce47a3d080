//! `pinhole engine test`: output, reports and exit codes.

use std::process::{Command, Output};

use pinhole_tests::program;

use super::*;

/// A case that passes, and one that is known to fail.
const PASSING: [&str; 6] = [
    "--cases",
    "conformance/passing",
    "--case",
    "P1-",
    "--case",
    "P9",
];

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
    let (code, out, _) = run_command(&PASSING);
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
    let (code, out, _) = run_command(&[&["--verbose"], &PASSING[..]].concat());
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
