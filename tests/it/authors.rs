//! `pinhole engine new`: the folder of each language becomes a component that the server admits, passes its cases and
//! makes an image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use pinhole_tests::{FakeUpstream, TestServer, authors, program};
use serde_json::json;
use sha2::{Digest, Sha256};

/// CPU time of a compilation in seconds. The compiler of a test build takes four times as long as a released one.
const COMPILE_SECS: &str = "600";

/// A language, and what xtask installed for it.
struct Language {
    name: &'static str,
    /// The directory of its packages: what `authors` has, and what the build script expects. It is skipped without them.
    packages: Option<(&'static str, &'static str)>,
}

const RUST: Language = Language {
    name: "rust",
    packages: None,
};
const JAVASCRIPT: Language = Language {
    name: "js",
    packages: Some(("node/node_modules", "node_modules")),
};
const PYTHON: Language = Language {
    name: "python",
    packages: Some(("python", ".venv")),
};
const C: Language = Language {
    name: "c",
    packages: Some(("python", ".venv")),
};

fn pinhole(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_clear()
        .env("PINHOLE_CACHE", authors().join("code"))
        .env("PINHOLE_COMPILE_SECS", COMPILE_SECS);
    command
}

/// Runs a command and returns its output; fails with all that it printed.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The names and contents of all files, in order.
fn digest_folder(folder: &Path, digest: &mut Sha256) {
    let mut paths: Vec<PathBuf> = folder
        .read_dir()
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        digest.update(path.file_name().unwrap().as_encoded_bytes());
        if path.is_dir() {
            digest_folder(&path, digest);
        } else {
            digest.update(fs::read(path).unwrap());
        }
    }
}

/// Builds the folder. An unchanged one was built by an earlier run.
fn build(language: &Language, folder: &Path, engine: &str) -> PathBuf {
    let mut digest = Sha256::new();
    digest_folder(folder, &mut digest);
    let digest: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stored = authors().join(format!("{engine}-{}.wasm", &digest[..16]));
    if stored.exists() {
        return stored;
    }
    if let Some((installed, expected)) = language.packages {
        symlink(authors().join(installed), folder.join(expected)).unwrap();
    }
    let mut script = Command::new(folder.join("build.sh"));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let directories = program().parent().map(Path::to_owned).into_iter();
    let paths = std::env::join_paths(directories.chain(std::env::split_paths(&paths))).unwrap();
    script
        .env("PATH", paths)
        .env("CARGO_TARGET_DIR", authors().join("cargo"))
        .env("ZIG_GLOBAL_CACHE_DIR", authors().join("zig"))
        .env_remove("RUSTFLAGS");
    run(script);
    let unfinished = stored.with_extension(std::process::id().to_string());
    fs::copy(folder.join(format!("build/{engine}.wasm")), &unfinished).unwrap();
    fs::rename(&unfinished, &stored).unwrap();
    stored
}

async fn assert_new_engine_works(language: Language) {
    let name = language.name;
    if let Some((installed, _)) = language.packages
        && !authors().join(installed).exists()
    {
        eprintln!("skipped: no packages for engines in {name}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let engine = format!("my-{name}");
    let folder = directory.path().join(&engine);
    let into = folder.to_str().unwrap();
    run(pinhole(&[
        "engine", "new", &engine, "--lang", name, "--into", into,
    ]));
    let component = build(&language, &folder, &engine);

    let cases = folder.join("cases");
    let report = run(pinhole(&[
        "engine",
        "test",
        component.to_str().unwrap(),
        "--cases",
        cases.to_str().unwrap(),
    ]));
    assert!(report.contains("2 passed, 0 failed"), "{report}");

    let engines = directory.path().join("engines");
    fs::create_dir(&engines).unwrap();
    fs::copy(&component, engines.join(format!("{engine}.wasm"))).unwrap();
    let image = pinhole_tests::pixel_base64();
    let upstream = FakeUpstream::json(200, json!({"data": [{"b64_json": image}]})).await;
    let variable = format!("MY_{}_BASE_URL", name.to_uppercase());
    let server = TestServer::start(&[
        ("PINHOLE_ENGINES", engines.to_str().unwrap()),
        ("PINHOLE_CACHE", authors().join("code").to_str().unwrap()),
        ("PINHOLE_COMPILE_SECS", COMPILE_SECS),
        ("IMAGE_GENERATION_ENGINE", &engine),
        (&variable, &upstream.url()),
    ])
    .await;
    let request = json!({"prompt": "a fox", "response_format": "b64_json"});
    let (status, body) = server.post_json("/v1/images/generations", &request).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["data"][0]["b64_json"], json!(image), "{body}");
    assert_eq!(upstream.request_lines(), ["POST /v1/images"]);
}

#[tokio::test]
async fn new_engine_in_rust_works() {
    assert_new_engine_works(RUST).await;
}

#[tokio::test]
async fn new_engine_in_javascript_works() {
    assert_new_engine_works(JAVASCRIPT).await;
}

#[tokio::test]
async fn new_engine_in_python_works() {
    assert_new_engine_works(PYTHON).await;
}

#[tokio::test]
async fn new_engine_in_c_works() {
    assert_new_engine_works(C).await;
}
