//! Do the engines pass their conformance cases, and does the kit fail what it must?

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use pinhole_conformance::{Kit, Lines, JobExchange, Verdict};
use pinhole_tests::{compiler, engines, guests, program};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const HEAD: &str = "\
# Cases

A test writes this page from the directories next to it, each of which is one case. [Conformance cases](../../docs/reference/conformance-cases.md)
describes the format. `cargo xtask test` runs all cases, and `pinhole engine test COMPONENT` runs those of one engine against any
component. A number is unique within an engine; variants of a case share it.
";

/// A folder of this package.
fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the host logs while all tests of this process run. Each job has its own name in it.
fn lines() -> Lines {
    static LINES: OnceLock<Lines> = OnceLock::new();
    let listen = || {
        let lines = Lines::default();
        tracing_subscriber::registry().with(lines.layer()).init();
        lines
    };
    LINES.get_or_init(listen).clone()
}

async fn open(component: &Path, cases: &str, names: &[String]) -> anyhow::Result<Kit> {
    Kit::open(component, &folder(cases), names, &compiler(), lines()).await
}

async fn play(kit: &Kit) -> Vec<JobExchange> {
    let mut all = Vec::new();
    kit.run(|played| all.push(played)).await;
    all
}

async fn passes(engine: &str) {
    let component = engines().join(format!("{engine}.wasm"));
    let kit = open(&component, "cases", &[]).await.unwrap();
    let failed = |played: &JobExchange| matches!(played.verdict, Verdict::Failed(_));
    let failed: Vec<JobExchange> = play(&kit).await.into_iter().filter(failed).collect();
    let lines: Vec<String> = failed.iter().map(JobExchange::to_string).collect();
    assert!(lines.is_empty(), "engine {engine}:\n{}", lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic1111_passes() {
    passes("automatic1111").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comfyui_passes() {
    passes("comfyui").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_passes() {
    passes("gemini").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_passes() {
    passes("openai").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sketch_passes() {
    passes("sketch").await;
}

/// The names of the folders in a folder.
fn folders(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_engine_that_ships_has_a_test_here() {
    let built = std::fs::read_dir(engines()).unwrap().map(Result::unwrap);
    let mut built: Vec<String> = built
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.strip_suffix(".wasm").map(str::to_owned)
        })
        .collect();
    built.sort();
    let tested = ["automatic1111", "comfyui", "gemini", "openai", "sketch"];
    assert_eq!(built, tested);
    assert_eq!(folders(&folder("cases")), tested);
}

/// A case's letter, number and variant, and the words behind them.
fn number(name: &str) -> Option<(&str, u32, &str, &str)> {
    let (number, words) = name.split_once('-')?;
    let letter = number.get(..1)?;
    let digits = number
        .get(1..)?
        .trim_end_matches(|c: char| c.is_ascii_lowercase());
    let variant = &number[1 + digits.len()..];
    let plain = |words: &str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        !words.is_empty() && words.chars().all(allowed)
    };
    let fits = letter.chars().all(|c| c.is_ascii_uppercase()) && variant.len() <= 1 && plain(words);
    let digits = digits.parse().ok().filter(|_| fits)?;
    Some((letter, digits, variant, words))
}

#[test]
fn cases_page_is_current() {
    let mut page = HEAD.to_owned();
    for engine in folders(&folder("cases")) {
        write!(
            page,
            "\n## {engine}\n\n| number | case | shows | result |\n|---|---|---|---|\n"
        )
        .unwrap();
        let own = folder("cases").join(&engine);
        let mut rows = BTreeMap::new();
        for name in folders(&own)
            .into_iter()
            .filter(|name| name != "recordings")
        {
            let number = number(&name);
            let (letter, digits, variant, _) =
                number.unwrap_or_else(|| panic!("{engine}/{name} is no <letter><number>-<words>"));
            let case = std::fs::read(own.join(&name).join("case.json")).unwrap();
            let case: Value = serde_json::from_slice(&case).unwrap();
            let text = |key: &str| case[key].as_str().map(|text| text.replace('|', "\\|"));
            let row = format!(
                "| {letter}{digits}{variant} | [{name}]({engine}/{name}/case.json) | {} | {} |",
                text("about").unwrap_or_default(),
                text("not_passing").as_deref().unwrap_or("pass"),
            );
            let place = (letter.to_owned(), digits, variant.to_owned());
            let other = rows.insert(place, row);
            assert_eq!(other, None, "{engine}/{name} has another case's number");
        }
        page.extend(rows.into_values().map(|row| row + "\n"));
    }
    let path = folder("cases/README.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "tests/cases/README.md was out of date and has been rewritten: review and commit it"
        );
    }
}

fn hostile() -> PathBuf {
    guests().join("hostile.wasm")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_fails_says_what_came() {
    let kit = open(&hostile(), "kit/failing", &[]).await.unwrap();
    let all = play(&kit).await;
    let told: Vec<(&str, Vec<&str>)> = all
        .iter()
        .map(|played| match &played.verdict {
            Verdict::Failed(lines) => (
                played.name.as_str(),
                lines.iter().map(String::as_str).collect(),
            ),
            other => panic!("{}: {other:?}", played.name),
        })
        .collect();
    let job = "engine hostile: some words";
    let expected: &[(&str, &[&str])] = &[
        (
            "F1-another-request",
            &[
                "GET /base/allowed/x came, and no exchange is left for it",
                "/upstream/0/request (GET /base/allowed/y): it did not come",
            ],
        ),
        (
            "F2-another-header",
            &[
                "/upstream/0/request (GET /base/allowed/x): header authorization: expected none, came \"Bearer open-sesame-9\"",
            ],
        ),
        (
            "F3-never-asked",
            &["/upstream/0/request (GET /base/allowed/x): it did not come"],
        ),
        (
            "F4-asked-twice",
            &[
                "GET /base/allowed/x came, and no exchange is left for it; /upstream/0/request/line is used up",
            ],
        ),
        (
            "F5-secret-in-the-message",
            &[
                "/variables/OTHER_TOKEN: its value stands in the outcome: it is not-for-anybody, is it",
                "/variables/OTHER_TOKEN: its value stands in a log line: …",
            ],
        ),
        (
            "F6-secret-in-base64",
            &[
                "/variables/OTHER_PASSWORD: its value stands in the outcome: bWU6bm90LWZvci1hbnlib2R5",
                "/variables/OTHER_PASSWORD: its value stands in a log line: …",
            ],
        ),
        (
            "F7-another-error",
            &[
                &format!("/outcome: expected error invalid, came error upstream ({job})"),
                "/outcome: expected \"more words\" in the message, came \"some words\"",
                "/outcome: expected no \"some\" in the message, came \"some words\"",
                "/outcome: code: expected \"c\", came null",
                "/outcome: retry_after_ms: expected 1, came null",
            ],
        ),
        (
            "F8-another-picture",
            &[
                "/outcome: expected 2 pictures, came 1",
                "/outcome: picture 0: expected image/jpeg, came image/png",
                "/outcome: picture 0: expected 2x2, came 1x1",
                "/outcome: picture 0: expected other bytes than the …",
                "/outcome: revised_prompt: expected \"{any} fox\", came null",
                "/outcome: details: at /seed: expected 1, but it is not there",
            ],
        ),
        (
            "F9-error-for-a-picture",
            &["/outcome: expected 1 picture, came error protocol (engine hostile: …"],
        ),
        (
            "F10-no-report",
            &["/reports/0: expected fraction 0.5, note \"half\", came none"],
        ),
        (
            "F11-passes-after-all",
            &["/not_passing: the case passes: take the key out"],
        ),
        (
            "F12-no-message",
            &["/upstream/0/socket/0: expected a message, but the socket ended"],
        ),
        ("F13-other-models", &["/outcome: expected 1 items, came 0"]),
        (
            "F14-verified-for-an-error",
            &["/outcome: expected error unauthorized, came verified"],
        ),
    ];
    let names = |(name, _): &(&str, _)| (*name).to_owned();
    let came: Vec<String> = told.iter().map(names).collect();
    assert_eq!(
        came,
        expected
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect::<Vec<_>>()
    );
    for ((name, came), (_, expected)) in told.iter().zip(expected) {
        assert_eq!(came.len(), expected.len(), "{name}: {came:#?}");
        for (came, expected) in came.iter().zip(*expected) {
            // What follows `…` is not compared.
            let fits = match expected.split_once('…') {
                Some((begin, _)) => came.starts_with(begin),
                None => came == expected,
            };
            assert!(fits, "{name}: {came}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_that_passes_tells_what_it_cost() {
    let kit = open(&hostile(), "kit/passing", &[]).await.unwrap();
    let all = play(&kit).await;
    let told: Vec<String> = all.iter().map(JobExchange::to_string).collect();
    assert_eq!(
        told,
        [
            "ok      P1-one-request",
            "ok      P2-cancelled",
            "ok      P3-connection-refused",
            "ok      P4-connection-breaks",
            "ok      P5-address",
            "ok      P6-socket",
            "ok      P7-refused-by-the-host",
            "ok      P8-settings-that-cannot-work",
            "known   P9-known: hostile gives no picture on purpose",
            "ok      P10-elsewhere",
        ]
    );
    assert_eq!((all[0].requests, all[1].requests), (1, 2));
    assert!(all[0].entered_bytes.is_some_and(|bytes| bytes > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_end_fails_with_what_it_waits_for() {
    let mut kit = open(&hostile(), "kit/endless", &[]).await.unwrap();
    kit.patience = Duration::from_millis(300);
    let all = play(&kit).await;
    let Verdict::Failed(lines) = &all[0].verdict else {
        panic!("{:?}", all[0])
    };
    assert_eq!(lines.last().unwrap(), "the job had not ended after 300ms");
    let cancel = "/cancel waits for 1 progress reports, which did not come";
    assert!(lines.iter().any(|line| line == cancel), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_is_named() {
    let words = folder("Cargo.toml");
    let nowhere = folder("nowhere.wasm");
    let none = || Vec::new();
    for (component, cases, names, expected) in [
        (
            &words,
            "kit/passing",
            none(),
            "is not admitted: it is not WebAssembly",
        ),
        (&nowhere, "kit/passing", none(), "cannot read component"),
        (&hostile(), "kit/nowhere", none(), "name it with --cases"),
        (
            &hostile(),
            "cases",
            none(),
            "there are no cases of engine hostile",
        ),
        (
            &hostile(),
            "kit/passing",
            vec!["Q".to_owned()],
            "begins with Q",
        ),
        (
            &hostile(),
            "kit/unreadable",
            none(),
            "U1-unknown-key: case.json at /upstream/0/request/jsn: unknown field `jsn`",
        ),
    ] {
        let error = open(component, cases, &names).await.err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("{expected}")));
        assert!(error.contains(expected), "{error}");
    }
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    command
        .args(["engine", "test", hostile().to_str().unwrap()])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear();
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn the_command_prints_a_line_a_case_and_a_summary() {
    let (code, out, _) = run(&["--cases", "kit/passing", "--case", "P1-", "--case", "P9"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(code, Some(0), "{out}");
    let [passed, known, summary] = lines.as_slice() else {
        panic!("{out}")
    };
    assert!(
        passed.starts_with("ok      P1-one-request  1 request, "),
        "{out}"
    );
    assert!(known.starts_with("known   P9-known: "), "{out}");
    assert!(
        summary.starts_with("1 passed, 0 failed, 1 known to fail in "),
        "{out}"
    );

    let (code, out, _) = run(&["--cases", "kit/failing", "--case", "F3", "--case", "F5"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.starts_with("FAILED  F3-never-asked\n    /upstream/0/request "),
        "{out}"
    );
    assert!(out.contains("stands in a log line"), "{out}");
    assert!(out.contains("\n0 passed, 2 failed in "), "{out}");

    let (code, out, err) = run(&[]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.starts_with("pinhole: cannot read the folder of cases tests/cases: "),
        "{err}"
    );
}
