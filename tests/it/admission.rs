//! From the bytes of a file to an admitted component: what is admitted, why a file is rejected.

mod compiled_code;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pinhole::config::Config;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{Engines, JobContext, Limits, MAX_COMPONENT_BYTES, ResolvedSettings};
use pinhole_tests::{TestServer, compiler, engines, guests};
use serde_json::json;
use tempfile::TempDir;

fn component(name: &str) -> Vec<u8> {
    let own = engines().join(name);
    fs::read(if own.exists() {
        own
    } else {
        guests().join(name)
    })
    .unwrap()
}

/// A directory with these files.
fn directory(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

/// The bytes with each `from` replaced by `to`. Both have the same length, so that the bytes stay well-formed.
fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let positions: Vec<usize> = (0..bytes.len())
        .filter(|position| bytes[*position..].starts_with(from.as_bytes()))
        .collect();
    assert!(!positions.is_empty(), "the bytes do not contain {from}");
    for position in positions {
        bytes[position..position + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// A component with the right export, whose functions have no parameters and no results. It consists of this many
/// instances of the core module.
fn shell(instances: usize, module: &str) -> Vec<u8> {
    let functions = ["describe", "generate", "edit", "models", "verify"]
        .map(|name| format!(r#"(export "{name}" (func $f))"#))
        .concat();
    let more = "(core instance (instantiate $m))".repeat(instances - 1);
    let text = format!(
        r#"(component
            (core module $m {module} (func (export "f")))
            (core instance $i (instantiate $m)) {more}
            (func $f (canon lift (core func $i "f")))
            (instance $engine {functions})
            (export "pinhole:engine/engine@0.2.0" (instance $engine)))"#
    );
    wat::parse_str(text).unwrap()
}

async fn open(engines: &Path, data: &Path) -> Engines {
    let config = Config {
        data: data.to_owned(),
        engines: engines.to_owned(),
        slots: 2,
        compiler: compiler(),
        ..Config::new(Environment::default()).unwrap()
    };
    let options = config.engine_options(AuditLog::default(), Decoder::default());
    Engines::open(&options, &config.engines).await.unwrap()
}

/// Opens the directory with an empty data directory. Exactly these files must be rejected, each with a reason that
/// contains the text.
async fn open_with_rejected(directory: &TempDir, expected: &[(&str, &str)]) -> Engines {
    let data = tempfile::tempdir().unwrap();
    let engines = open(directory.path(), data.path()).await;
    let reasons = engines.rejected.iter();
    let reasons: BTreeMap<_, _> = reasons.map(|it| (it.file.as_str(), &it.reason)).collect();
    assert_eq!(
        reasons.len(),
        engines.rejected.len(),
        "a file is rejected twice"
    );
    for (file, expected_text) in expected {
        let reason = reasons
            .get(file)
            .unwrap_or_else(|| panic!("{file} is admitted"));
        assert!(reason.contains(expected_text), "{file}: {reason}");
        assert!(reason.len() < 500, "{file}: {reason}");
        assert!(!reason.contains(char::is_control), "{file}: {reason}");
    }
    let expected: BTreeSet<_> = expected.iter().map(|(file, _)| *file).collect();
    assert!(
        reasons.keys().all(|file| expected.contains(file)),
        "{reasons:?}"
    );
    engines
}

fn admitted_names(engines: &Engines) -> Vec<&str> {
    let admitted = engines.admitted();
    admitted
        .map(|component| component.description.name.as_str())
        .collect()
}

/// Asserts that the engine generates an image.
async fn assert_generates(engines: &Engines, name: &str) {
    let job = Job {
        // It means something to the engine `hostile` only.
        prompt: "picture".to_owned(),
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: Some(7),
        strength: None,
        parameters: "{}".to_owned(),
    };
    let limits = Limits::job(Duration::from_secs(600));
    let component = engines.get(name).unwrap();
    let (settings, context) = (
        ResolvedSettings::default(),
        JobContext::new("test".to_owned()),
    );
    let call = engines.call(component, &settings, &context, limits);
    assert_eq!(call.generate(job).await.unwrap().images.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_names_what_a_rejected_file_is() {
    let sketch = component("sketch.wasm");
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8)
        .collect();
    let directory = directory(&[
        ("sketch.wasm", &sketch),
        ("core.wasm", b"\0asm\x01\0\0\0"),
        ("cut.wasm", &sketch[..6]),
        ("elf.wasm", b"\x7fELF\x02\x01\x01"),
        ("empty.wasm", b""),
        ("later.wasm", b"\0asm\x0e\0\x01\0"),
        ("noise.wasm", &noise),
        ("notes.txt", b"not looked at"),
        ("text.wasm", b"(component)"),
        ("truncated.wasm", &sketch[..sketch.len() / 2]),
    ]);
    let inside = |name: &str| directory.path().join(name);
    fs::create_dir(inside("folder.wasm")).unwrap();
    let huge = fs::File::create(inside("huge.wasm")).unwrap();
    huge.set_len(MAX_COMPONENT_BYTES + 1).unwrap();
    symlink("/proc/self/exe", inside("outside.wasm")).unwrap();
    symlink("nowhere", inside("dangling.wasm")).unwrap();
    symlink("circle.wasm", inside("circle.wasm")).unwrap();
    // To open a pipe blocks until a process writes to it.
    let status = Command::new("mkfifo").arg(inside("pipe.wasm")).status();
    assert!(status.unwrap().success());

    let expected = [
        ("circle.wasm", "cannot be read"),
        ("core.wasm", "is a core module, not a component"),
        ("cut.wasm", "is WebAssembly of an unsupported version"),
        ("dangling.wasm", "cannot be read"),
        ("elf.wasm", "is not WebAssembly"),
        ("empty.wasm", "is empty"),
        ("folder.wasm", "is not a file"),
        (
            "huge.wasm",
            "has 67108865 bytes; a component may have 67108864 at most",
        ),
        ("later.wasm", "is WebAssembly of an unsupported version"),
        ("noise.wasm", "is not WebAssembly"),
        ("outside.wasm", "cannot be read: a path led outside"),
        ("pipe.wasm", "is not a file"),
        ("text.wasm", "is not WebAssembly"),
        ("truncated.wasm", "is not a valid component"),
    ];
    let engines = open_with_rejected(&directory, &expected).await;
    assert_eq!(admitted_names(&engines), ["sketch"]);
    assert_generates(&engines, "sketch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_names_what_differs_from_the_world() {
    let sketch = component("sketch.wasm");
    let log = "pinhole:engine/log@0.2.0";
    let long = format!(r#"(component (import "a{}" (func)))"#, "b".repeat(90_000));
    let directory = directory(&[
        ("bare.wasm", b"\0asm\x0d\0\x01\0"),
        (
            "export.wasm",
            &patched(&sketch, "engine@0.2.0", "engine@0.3.0"),
        ),
        (
            "foreign.wasm",
            &patched(&sketch, log, "evil:tools/shell-x@0.1.0"),
        ),
        ("function.wasm", &patched(&sketch, "random", "rendom")),
        (
            "http.wasm",
            &patched(&sketch, log, "wasi:http/outgoing@0.2.0"),
        ),
        ("long.wasm", &wat::parse_str(long).unwrap()),
        (
            "preview.wasm",
            &patched(&sketch, log, "wasi:io/streamings@0.3.0"),
        ),
        ("release.wasm", &patched(&sketch, "@0.2.0", "@0.9.0")),
        ("sketch.wasm", &sketch),
        ("types.wasm", &shell(1, "")),
        ("without.wasm", &patched(&sketch, "verify", "verity")),
    ]);
    let build = "rebuild it with pinhole-sdk 0.2, or against wit/engine.wit of this release";
    let expected = [
        (
            "bare.wasm",
            "does not export pinhole:engine/engine@0.2.0, so it is written for another world",
        ),
        (
            "export.wasm",
            "exports pinhole:engine/engine@0.3.0, but this host supports pinhole:engine/engine@0.2.0",
        ),
        ("export.wasm", build),
        (
            "foreign.wasm",
            "imports evil:tools/shell-x@0.1.0, which engines must not import",
        ),
        (
            "function.wasm",
            "was built against another revision of pinhole:engine@0.2.0",
        ),
        ("function.wasm", "rendom"),
        (
            "http.wasm",
            "imports wasi:http/outgoing@0.2.0, which engines must not import: send requests with pinhole:engine/upstream@0.2.0",
        ),
        ("long.wasm", "imports abbbb"),
        (
            "preview.wasm",
            "imports wasi:io/streamings@0.3.0, which engines must not import",
        ),
        (
            "release.wasm",
            "imports pinhole:engine/types@0.9.0, but this host supports pinhole:engine@0.2.0",
        ),
        ("release.wasm", build),
        ("types.wasm", "cannot describe itself"),
        (
            "without.wasm",
            "was built against another revision of pinhole:engine@0.2.0",
        ),
        ("without.wasm", "verify"),
    ];
    let engines = open_with_rejected(&directory, &expected).await;
    assert_eq!(admitted_names(&engines), ["sketch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_rejects_component_that_cannot_describe_itself() {
    let sketch = component("sketch.wasm");
    let directory = directory(&[
        ("memories.wasm", &shell(4, "(memory 1100)")),
        ("memory.wasm", &shell(1, "(memory 4097)")),
        ("name.wasm", &patched(&sketch, "sketch", "SKETCH")),
        ("sketch.wasm", &sketch),
        ("spin.wasm", &shell(1, "(func $s (loop (br 0))) (start $s)")),
        ("trap.wasm", &shell(1, "(func $s unreachable) (start $s)")),
    ]);
    let expected = [
        (
            "memories.wasm",
            "cannot describe itself: the engine was stopped: it needs more than 268435456 bytes of memory",
        ),
        ("memory.wasm", "memory"),
        (
            "name.wasm",
            "has an invalid description: its name is \"SKETCH\"",
        ),
        (
            "spin.wasm",
            "cannot describe itself: the engine was stopped: it ran for more than 1s",
        ),
        ("trap.wasm", "cannot describe itself: the engine crashed"),
    ];
    let engines = open_with_rejected(&directory, &expected).await;
    assert_eq!(admitted_names(&engines), ["sketch"]);
    assert_generates(&engines, "sketch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_of_two_files_with_one_engine_name_is_admitted() {
    let sketch = component("sketch.wasm");
    let directory = directory(&[
        ("b.wasm", &sketch),
        ("a.wasm", &sketch),
        ("c.wasm", &sketch),
    ]);
    let expected = [
        ("b.wasm", "names its engine sketch, as a.wasm already does"),
        ("c.wasm", "names its engine sketch, as a.wasm already does"),
    ];
    let engines = open_with_rejected(&directory, &expected).await;
    assert_eq!(engines.get("sketch").unwrap().file, "a.wasm");
}

#[tokio::test(flavor = "multi_thread")]
async fn symbolic_link_within_the_directory_is_followed() {
    // The layout that Kubernetes uses for mounted files.
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("..v1")).unwrap();
    fs::write(
        directory.path().join("..v1/sketch.wasm"),
        component("sketch.wasm"),
    )
    .unwrap();
    symlink("..v1", directory.path().join("..data")).unwrap();
    symlink("..data/sketch.wasm", directory.path().join("sketch.wasm")).unwrap();
    let engines = open_with_rejected(&directory, &[]).await;
    assert_generates(&engines, "sketch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_setting_is_reported_with_its_variable() {
    let directory = directory(&[
        ("gemini.wasm", &component("gemini.wasm")),
        ("hostile.wasm", &component("hostile.wasm")),
        ("sketch.wasm", &component("sketch.wasm")),
    ]);
    for (variables, problems) in [
        (
            [
                ("IMAGES_GEMINI_ENDPOINT_METHOD", "guess"),
                ("HOSTILE_BASE_URL", "nonsense"),
            ],
            [
                (
                    "gemini",
                    "cannot use variable IMAGES_GEMINI_ENDPOINT_METHOD: it must be one of generateContent, streamGenerateContent, predict",
                ),
                (
                    "hostile",
                    "setting base-url (HOSTILE_BASE_URL): the URL is invalid",
                ),
            ],
        ),
        (
            [
                ("GEMINI_API_BASE_URL", "http://me:secret-4711@127.0.0.1:1"),
                ("HOSTILE_NOTE", "two\nlines"),
            ],
            [
                (
                    "gemini",
                    "setting base-url (IMAGES_GEMINI_API_BASE_URL or GEMINI_API_BASE_URL): the URL of 127.0.0.1 contains a user name",
                ),
                (
                    "hostile",
                    "cannot use variable HOSTILE_NOTE: it must be one line of text",
                ),
            ],
        ),
        (
            [
                ("GEMINI_API_KEY", "secret-4711\n"),
                ("HOSTILE_BASE_URL", "http://169.254.169.254"),
            ],
            [
                (
                    "gemini",
                    "setting api-key (IMAGES_GEMINI_API_KEY or GEMINI_API_KEY): the secret contains characters that a header cannot carry",
                ),
                ("hostile", "setting base-url (HOSTILE_BASE_URL): "),
            ],
        ),
    ] {
        let path = directory.path().to_str().unwrap();
        let server =
            TestServer::start(&[&[("PINHOLE_ENGINES", path)], &variables[..]].concat()).await;
        let snapshot = server.app.jobs.snapshot();
        assert!(snapshot.binding("sketch").unwrap().problems().is_empty());
        for (engine, expected_text) in problems {
            let messages = snapshot.binding(engine).unwrap().problems();
            assert!(
                messages[0].contains(expected_text),
                "{engine}: {messages:?}"
            );
            assert!(!format!("{messages:?}").contains("secret-4711"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_starts_without_rejected_file_and_reports_it() {
    let sketch = component("sketch.wasm");
    let directory = directory(&[
        ("broken.wasm", &sketch[..sketch.len() / 2]),
        ("sketch.wasm", &sketch),
    ]);
    let path = directory.path().to_str().unwrap();
    let variables = [
        ("PINHOLE_ENGINES", path),
        ("IMAGE_GENERATION_ENGINE", "broken"),
    ];
    let server = TestServer::start(&variables).await;
    let images = "/v1/images/generations";
    let body = json!({"prompt": "a hill", "engine": "sketch", "size": "32x32"});
    let (status, response) = server.post_json(images, &body).await;
    assert_eq!(status, 200, "{response}");

    let (refused_status, refusal) = server.post_json(images, &json!({"prompt": "a hill"})).await;
    assert_eq!(refused_status, 400, "{refusal}");
    let message = refusal["error"]["message"].as_str().unwrap();
    let expected = "engine broken is not available: broken.wasm is not a valid component";
    assert!(message.starts_with(expected), "{message}");
}

/// Engines that were built with each published version of the contract. Their files never change: a change of the
/// contract that breaks one breaks the engines of authors.
#[tokio::test(flavor = "multi_thread")]
async fn engine_of_each_published_contract_makes_an_image() {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/contract");
    let mut versions = Vec::new();
    for entry in fs::read_dir(stored).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            let bytes = fs::read(&path).unwrap();
            let directory = directory(&[("hostile.wasm", &bytes)]);
            let engines = open_with_rejected(&directory, &[]).await;
            assert_generates(&engines, "hostile").await;
            versions.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    versions.sort();
    assert_eq!(versions, ["0.2.0"]);
}
