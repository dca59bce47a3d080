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

/// Whether the packages of the language are there. Prints why a test is skipped.
fn can_build(language: &Language) -> bool {
    let (Some((installed, _)), name) = (language.packages, language.name) else {
        return true;
    };
    let is_installed = authors().join(installed).exists();
    if !is_installed {
        eprintln!("skipped: no packages for engines in {name}");
    }
    is_installed
}

/// Writes the folder of a new engine.
fn create(language: &Language, engine: &str, folder: &Path) {
    let into = folder.to_str().unwrap();
    let name = language.name;
    run(pinhole(&[
        "engine", "new", engine, "--lang", name, "--into", into,
    ]));
}

async fn assert_new_engine_works(language: Language) {
    if !can_build(&language) {
        return;
    }
    let name = language.name;
    let directory = tempfile::tempdir().unwrap();
    let engine = format!("my-{name}");
    let folder = directory.path().join(&engine);
    create(&language, &engine, &folder);
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

/// Changes a file of an engine's folder.
fn edit(path: PathBuf, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(text)).unwrap();
}

/// How a new engine becomes one that explains its settings.
struct Explaining {
    code: &'static str,
    /// Added to the code.
    source: &'static str,
    script: &'static str,
    /// A text of the script, and its replacement.
    world: [&'static str; 2],
}

fn assert_engine_explains(language: &Language, change: &Explaining) {
    if !can_build(language) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let engine = format!("my-{}", language.name);
    let folder = directory.path().join(&engine);
    create(language, &engine, &folder);
    edit(folder.join(change.code), |text| text + change.source);
    let [old, new] = change.world;
    edit(folder.join(change.script), |text| {
        assert!(text.contains(old));
        text.replace(old, new)
    });
    let component = build(language, &folder, &engine);
    let engines = directory.path().join("engines");
    fs::create_dir(&engines).unwrap();
    fs::copy(&component, engines.join(format!("{engine}.wasm"))).unwrap();
    let mut explain = pinhole(&["engine", "explain", &engine]);
    explain
        .env("PINHOLE_ENGINES", &engines)
        .env("PINHOLE_DATA", directory.path().join("data"));
    let table = run(explain);
    for text in ["prompt", "node-6", "https://images.example.com"] {
        assert!(table.contains(text), "{table}");
    }
}

#[test]
fn engine_in_javascript_explains_its_settings() {
    const SOURCE: &str = r#"
import { defineExplain } from "./pinhole-sdk/index.js";

export const explain = defineExplain({
  explain: (settings) => ({
    rows: [{ setting: "base-url", role: "prompt", node: "node-6", value: settings["base-url"] }],
  }),
});
"#;
    let change = Explaining {
        code: "engine.js",
        source: SOURCE,
        script: "package.json",
        world: [" --out ", " --world image-engine-with-explain --out "],
    };
    assert_engine_explains(&JAVASCRIPT, &change);
}

#[test]
fn engine_in_python_explains_its_settings() {
    const SOURCE: &str = r#"

from pinhole_sdk.explain import Explanation, export_explain, placement


class Explainer:
    def explain(self, settings):
        row = placement("base-url", "prompt", node="node-6", value=settings["base-url"])
        return Explanation([row], [])


Explain = export_explain(Explainer)
"#;
    let change = Explaining {
        code: "engine.py",
        source: SOURCE,
        script: "build.sh",
        world: [
            "--world image-engine ",
            "--world image-engine-with-explain ",
        ],
    };
    assert_engine_explains(&PYTHON, &change);
}
