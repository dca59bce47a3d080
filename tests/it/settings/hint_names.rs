//! Messages name only variables that exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pinhole::settings::setting_keys;
use pinhole_tests::TestServer;

/// The sources whose texts people read.
const SOURCES: [&str; 4] = ["host/src", "host/crates", "plugins", "sdk/src"];
/// What the names of variables begin with.
const PREFIXES: [&str; 12] = [
    "PINHOLE_",
    "IMAGE_",
    "IMAGES_",
    "COMFYUI_",
    "AUTOMATIC1111_",
    "GEMINI_",
    "OPENAI_",
    "ENABLE_",
    "TASK_",
    "USER_PERMISSIONS_",
    "RESET_",
    "CORS_",
];

/// The string literals of a source before its tests.
fn string_literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut literals = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, from) = rest.split_at(at);
        if from.starts_with("//") {
            rest = from.split_once('\n').map_or("", |(_, next)| next);
        } else if from.starts_with("'\"'") || from.starts_with("'/'") {
            rest = &from[3..];
        } else if let Some(text) = from.strip_prefix('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before.trim_end_matches('#').ends_with('r');
            let end = if is_raw {
                text.find(&format!("\"{}", "#".repeat(hashes)))
            } else {
                end_of_literal(text)
            };
            let end = end.unwrap_or(text.len());
            literals.push(text[..end].to_owned());
            rest = text.get(end + 1..).unwrap_or_default();
        } else {
            rest = &from[1..];
        }
    }
    literals
}

/// The index of the closing quote.
fn end_of_literal(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// The names of variables in a text, without parts of names such as `PINHOLE_<ENGINE>_HEADERS`, and without the
/// constants of a format text.
fn variable_names(text: &str) -> impl Iterator<Item = &str> {
    let is_constant = |name: &str| {
        let start = name.as_ptr().addr() - text.as_ptr().addr();
        text[..start].ends_with('{')
    };
    let in_name =
        |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    text.split(move |letter| !in_name(letter))
        .filter(move |name| {
            PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
                && !name.ends_with('_')
                && !is_constant(name)
        })
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_name_only_variables_that_exist() {
    let server = TestServer::start(&[]).await;
    let snapshot = server.app.jobs.snapshot();
    let engines = snapshot.engines.admitted();
    let keys = setting_keys(engines.map(|engine| &engine.description));
    let mut known: BTreeSet<String> = keys
        .into_iter()
        .flat_map(|key| [key.variables, key.shared_variables].concat())
        .collect();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = Vec::new();
    for directory in SOURCES {
        for file in sources(&workspace.join(directory)) {
            for literal in string_literals(&std::fs::read_to_string(&file).unwrap()) {
                // Code that reads a variable has its name alone.
                if variable_names(&literal).next() == Some(literal.as_str()) {
                    known.insert(literal);
                    continue;
                }
                let names = variable_names(&literal).map(str::to_owned);
                named.extend(names.map(|name| (file.clone(), name)));
            }
        }
    }
    assert!(named.len() > 30, "{} names", named.len());
    // The variable of each engine, of which messages and descriptions name one as an example.
    known.insert("PINHOLE_OPENAI_CONCURRENCY".to_owned());
    let unknown: Vec<_> = named
        .iter()
        .filter(|(_, name)| !known.contains(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn variable_names_are_found_in_literals() {
    let source = r####"
        let a = "set COMFYUI_API_KEY, \"or\" PINHOLE_<ENGINE>_HEADERS"; // PINHOLE_COMMENT "
        let b = ('"', r#"IMAGE_SIZE "x" is"#, 'x');
        #[cfg(test)] "PINHOLE_TEST"
    "####;
    let literals = string_literals(source);
    let names: Vec<&str> = literals.iter().flat_map(|it| variable_names(it)).collect();
    assert_eq!(names, ["COMFYUI_API_KEY", "IMAGE_SIZE"]);
}
