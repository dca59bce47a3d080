//! The files of a new engine, for each language.
//!
//! A template is a working engine with the name `my-engine`, in `host/templates`. The folder `pinhole-sdk` of a new engine has
//! the contract and the SDK of its language, because no registry has them.

use super::Language;

/// The name of the engine in the templates.
pub(super) const NAME: &str = "my-engine";
const VARIABLE: &str = "MY_ENGINE";
const TITLE: &str = "My engine";

/// A file of a template.
pub(super) struct TemplateFile {
    /// In the engine's folder.
    pub(super) path: &'static str,
    pub(super) text: &'static str,
}

impl TemplateFile {
    /// Whether a person can execute it.
    pub(super) fn is_program(&self) -> bool {
        self.text.starts_with("#!")
    }
}

/// Files of the repository: the place in the engine's folder, then the directory in the repository, then the names.
macro_rules! files {
    ($($place:literal from $directory:literal: $($name:literal)+;)+) => {
        &[$($(TemplateFile {
            path: concat!($place, $name),
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $directory, "/", $name)),
        },)+)+]
    };
}

const SHARED: &[TemplateFile] = files! {
    "" from "templates": "cases/my-engine/M1-one-image/case.json" "cases/my-engine/M2-refused-key/case.json" ".gitignore";
    "pinhole-sdk/" from "..": "wit/engine.wit";
};

const RUST: &[TemplateFile] = files! {
    "" from "templates/rust": "Cargo.lock" "Cargo.toml" "README.md" "build.sh" "src/lib.rs" "pinhole-sdk/Cargo.toml";
    "pinhole-sdk/" from "../sdk": "src/batch.rs" "src/describe.rs" "src/engine.rs" "src/error.rs" "src/error_body.rs"
        "src/error_body/page.rs" "src/families.rs" "src/json_text.rs" "src/lib.rs" "src/outline.rs" "src/output.rs" "src/parameters.rs"
        "src/refusal.rs" "src/request.rs" "src/request/form.rs" "src/response.rs" "src/retry.rs" "src/settings.rs"
        "src/sizes.rs" "src/testing.rs" "src/upstream_text.rs";
};

const JS: &[TemplateFile] = files! {
    "" from "templates/js": "README.md" "build.sh" "engine.js" "package.json" "package-lock.json";
    "pinhole-sdk/" from "../sdk/js": "componentize.mjs" "index.d.ts" "index.js" "package.json";
};

const PYTHON: &[TemplateFile] = files! {
    "" from "templates/python": "README.md" "build.sh" "engine.py" "requirements.txt";
    "pinhole-sdk/" from "../sdk/python": "pinhole_sdk/__init__.py" "pinhole_sdk/description.py" "pinhole_sdk/engine.py"
        "pinhole_sdk/error.py" "pinhole_sdk/explain.py" "pinhole_sdk/job.py" "pinhole_sdk/py.typed" "pinhole_sdk/request.py" "pyproject.toml";
};

const C: &[TemplateFile] = files! {
    "" from "templates/c": "Makefile" "README.md" "build.sh" "engine.c" "requirements.txt";
    "pinhole-sdk/" from "../sdk/c": "image_engine.c" "image_engine.h" "pinhole.c" "pinhole.h";
};

/// The files of a new engine in this language.
pub(super) fn files(language: Language) -> impl Iterator<Item = &'static TemplateFile> {
    let own = match language {
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
        Language::C => C,
    };
    own.iter().chain(SHARED)
}

/// The text with the name of the engine.
pub(super) fn fill(text: &str, name: &str) -> String {
    let title = name.replace('-', " ");
    let (first, rest) = title.split_at_checked(1).unwrap_or(("", &title));
    text.replace(NAME, name)
        .replace(VARIABLE, &name.to_ascii_uppercase().replace('-', "_"))
        .replace(TITLE, &format!("{}{rest}", first.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn paths_in(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            // The tests of an SDK stay in the repository, and so does what running them writes.
            let name = path.file_name().unwrap();
            if name == "tests" || name == "__pycache__" {
                continue;
            }
            if path.is_dir() {
                paths_in(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    /// Every file below a directory of the repository is in this template, at this place.
    fn check_all_files(language: Language, directory: &str, place: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let known: BTreeSet<&str> = files(language).map(|file| file.path).collect();
        let mut found = Vec::new();
        paths_in(&root, &mut found);
        assert!(!found.is_empty());
        for path in found {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let expected = format!("{place}{name}");
            assert!(
                known.contains(expected.as_str()),
                "{language:?} lacks {expected}"
            );
        }
    }

    #[test]
    fn templates_have_all_files_of_their_directories() {
        check_all_files(Language::Rust, "templates/rust", "");
        check_all_files(Language::Rust, "../sdk/src", "pinhole-sdk/src/");
        check_all_files(Language::Js, "templates/js", "");
        check_all_files(Language::Js, "../sdk/js", "pinhole-sdk/");
        check_all_files(Language::Python, "templates/python", "");
        check_all_files(Language::Python, "../sdk/python", "pinhole-sdk/");
        check_all_files(Language::C, "templates/c", "");
        check_all_files(Language::C, "../sdk/c", "pinhole-sdk/");
        check_all_files(Language::C, "templates/cases", "cases/");
    }

    #[test]
    fn fill_replaces_each_form_of_the_name() {
        let text = "my-engine, MY_ENGINE_API_KEY, My engine";
        assert_eq!(fill(text, "flux-2"), "flux-2, FLUX_2_API_KEY, Flux 2");
    }

    /// The text of the first line that begins with this, up to the closing quote.
    fn quoted<'a>(text: &'a str, begin: &str) -> &'a str {
        let line = text.lines().find(|line| line.starts_with(begin)).unwrap();
        line.split('"').nth(1).unwrap()
    }

    #[test]
    fn rust_template_has_the_packages_of_the_sdk_in_the_versions_of_the_repository() {
        let lock = include_str!("../../../../Cargo.lock");
        let sdk = include_str!("../../../../sdk/Cargo.toml");
        let template = include_str!("../../../templates/rust/pinhole-sdk/Cargo.toml");
        let dependencies = |manifest: &'static str| {
            let (_, list) = manifest.split_once("[dependencies]\n").unwrap();
            let list = list.lines().take_while(|line| !line.is_empty());
            list.map(|line| line.split([' ', '.']).next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(dependencies(sdk), dependencies(template));
        assert_eq!(quoted(sdk, "version = "), quoted(template, "version = "));
        for line in template.lines().filter(|line| line.contains("\"=")) {
            let name = line.split(' ').next().unwrap();
            let (_, version) = line.split_once("\"=").unwrap();
            let version = version.split('"').next().unwrap();
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "{name} is not {version}");
        }
    }
}
