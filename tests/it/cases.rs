//! The conformance cases of the included engines, and the failures of the case runner.

mod command;
mod suite;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pinhole::conformance_host::ConformanceHost;
use pinhole_conformance::{CapturedLog, CaseReport, ConformanceSuite, Verdict};
use pinhole_tests::{compiler, engines, guests};
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
