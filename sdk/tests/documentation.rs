//! Each public item of the SDK has an example. The documentation tests run them.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads the sources of the SDK"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Beginnings of a line that declares an item which needs an example. Constants, and what `macro_rules!`
/// and `wit-bindgen` generate, need none.
const ITEMS: [&str; 6] = [
    "pub fn ",
    "pub const fn ",
    "pub struct ",
    "pub enum ",
    "pub trait ",
    "macro_rules! ",
];

fn source_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The items of a file whose documentation has no example. A module's documentation is that of its file.
fn items_without_example(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let is_public_module = text.contains("pub fn ") || text.contains("pub struct ");
    let module = text.lines().take_while(|line| line.starts_with("//!"));
    if is_public_module && !module.into_iter().any(|line| line.contains("```")) {
        found.push("the module");
    }
    let (mut has_example, mut is_hidden) = (false, false);
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            break;
        }
        if line.starts_with("///") {
            has_example |= line.contains("```");
        } else if line.starts_with("#[") {
            is_hidden |= line == "#[doc(hidden)]";
        } else {
            let is_item = ITEMS.iter().any(|begin| line.starts_with(begin));
            if is_item && !has_example && !is_hidden {
                found.push(line);
            }
            (has_example, is_hidden) = (false, false);
        }
    }
    found
}

#[test]
fn public_items_have_an_example() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&sources, &mut files);
    assert!(files.len() > 10);
    let mut missing = Vec::new();
    for file in files {
        // Modules that are not public: their items are reached by other paths.
        let name = file.strip_prefix(&sources).unwrap().to_str().unwrap();
        let is_private = ["engine.rs", "error.rs"].contains(&name) || name.contains('/');
        let text = fs::read_to_string(&file).unwrap();
        for item in items_without_example(&text) {
            if !(is_private && item == "the module") {
                missing.push(format!("{name}: {item}"));
            }
        }
    }
    assert!(missing.is_empty(), "without example: {missing:#?}");
}

#[test]
fn items_without_example_are_found() {
    let text =
        "//! A module.\n\n/// Text.\n#[must_use]\npub fn a() {}\n/// ```\n/// ```\npub fn b() {}";
    assert_eq!(items_without_example(text), ["the module", "pub fn a() {}"]);
}
