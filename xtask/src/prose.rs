//! `cargo xtask prose`: checks spelling with `typos`, and every text that a person reads against
//! the word list in `xtask/prose-words.txt`.
//!
//! | text | where |
//! |---|---|
//! | documents | `*.md` |
//! | comments | `*.rs` and `*.wit`, documentation comments included, and those of the web pages |
//! | messages | string literals with a space in `*.rs` of the product, without its unit tests |
//! | texts of the web pages | `host/ui/src/text/en` |
//! | descriptions | `about` in `tests/cases/**/case.json` |
//!
//! Code in backticks or fences is not prose.

mod passages;
mod word_list;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::announce;
use crate::tools::TYPOS;
use crate::workspace::Workspace;
use passages::passages;
use word_list::WordList;

const WORD_LIST: &str = "xtask/prose-words.txt";
/// Directories without prose of ours.
const SKIPPED_DIRECTORIES: [&str; 10] = [
    "data",
    "host/ui/dist",
    "host/ui/generated",
    "host/ui/node_modules",
    "host/ui/src/text/de",
    "target",
    "tests/data",
    "tests/fuzz/corpus",
    "tests/fuzz/libfuzzer/target",
    "tests/it/snapshots",
];

#[derive(Args)]
pub(crate) struct Options {
    /// Print only the number of findings in each directory
    #[arg(long)]
    count: bool,
    /// Only files whose path starts with PREFIX (repeatable)
    #[arg(value_name = "PREFIX")]
    paths: Vec<String>,
}

/// A phrase of the word list in a file.
struct Finding {
    /// Relative to the root of the repository.
    file: String,
    line: usize,
    phrase: String,
    replacement: String,
}

/// Prints the findings. Exits with 1 if there is one.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let is_spelled = options.count || check_spelling(workspace, options)?;
    let rules = fs::read_to_string(workspace.root.join(WORD_LIST))
        .with_context(|| format!("cannot read {WORD_LIST}"))?;
    let word_list = WordList::parse(&rules).with_context(|| format!("cannot parse {WORD_LIST}"))?;
    let mut findings = Vec::new();
    for file in files(&workspace.root)? {
        if options.paths.is_empty() || options.paths.iter().any(|prefix| file.starts_with(prefix)) {
            let text = fs::read(workspace.root.join(&file))
                .with_context(|| format!("cannot read {file}"))?;
            check_file(
                &file,
                &String::from_utf8_lossy(&text),
                &word_list,
                &mut findings,
            );
        }
    }
    if options.count {
        print_counts(&findings);
    } else {
        for finding in &findings {
            let Finding {
                file,
                line,
                phrase,
                replacement,
            } = finding;
            println!("{file}:{line}: `{phrase}`: write {replacement}");
        }
    }
    println!("{} phrases of {WORD_LIST} found", findings.len());
    Ok(ExitCode::from(u8::from(
        !is_spelled || !findings.is_empty(),
    )))
}

/// Runs `typos`, which prints what it finds. Returns whether it found nothing.
fn check_spelling(workspace: &Workspace, options: &Options) -> Result<bool> {
    let typos = TYPOS.ensure_installed(workspace)?;
    announce("checking the spelling");
    let status = workspace
        .cargo_command(&typos, &["--format", "brief", "--config", "_typos.toml"])
        .args(&options.paths)
        .status()
        .context("cannot start typos")?;
    Ok(status.success())
}

fn check_file(file: &str, text: &str, word_list: &WordList, findings: &mut Vec<Finding>) {
    for passage in passages(file, text) {
        for hit in word_list.find(file, &passage) {
            findings.push(Finding {
                file: file.to_owned(),
                line: hit.line,
                phrase: hit.phrase,
                replacement: hit.replacement.to_owned(),
            });
        }
    }
}

/// The files with prose, relative to the root, sorted.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        let context = || format!("cannot read {}", root.join(&directory).display());
        for entry in fs::read_dir(root.join(&directory)).with_context(context)? {
            let entry = entry.with_context(context)?;
            let path = directory.join(entry.file_name());
            let name = path.to_string_lossy().into_owned();
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_type().with_context(context)?.is_dir() {
                let is_skipped = is_hidden && name != ".github";
                if !is_skipped && !SKIPPED_DIRECTORIES.contains(&name.as_str()) {
                    directories.push(path);
                }
            } else if has_prose(&name) {
                files.push(name);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn has_prose(file: &str) -> bool {
    let is_case = file.starts_with("tests/cases/") && file.ends_with("/case.json");
    let is_page =
        file.starts_with("host/ui/src/") && (file.ends_with(".ts") || file.ends_with(".tsx"));
    is_case || is_page || [".md", ".rs", ".wit"].iter().any(|end| file.ends_with(end))
}

/// Prints the number of findings in each part of the repository.
fn print_counts(findings: &[Finding]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(part(&finding.file)).or_default() += 1;
    }
    for (part, count) in counts {
        println!("{count:6}  {part}");
    }
}

/// The part of the repository that a file belongs to, such as `host/crates/egress` or `docs/guides`.
fn part(file: &str) -> &str {
    let depth = match file {
        _ if file.starts_with("host/crates/") || file.starts_with("host/src/") => 3,
        _ => 2,
    };
    let directories = file
        .rsplit_once('/')
        .map_or("", |(directories, _)| directories);
    let end = directories
        .match_indices('/')
        .nth(depth - 1)
        .map(|(at, _)| at);
    match directories.get(..end.unwrap_or(directories.len())) {
        Some("") | None => "(root)",
        Some(part) => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_is_a_few_directories_deep() {
        assert_eq!(part("README.md"), "(root)");
        assert_eq!(part("docs/guides/install.md"), "docs/guides");
        assert_eq!(part("host/crates/egress/src/url.rs"), "host/crates/egress");
        assert_eq!(part("host/src/web/images/size.rs"), "host/src/web");
        assert_eq!(part("host/src/web.rs"), "host/src");
        assert_eq!(part("tests/cases/openai/C1/case.json"), "tests/cases");
    }

    #[test]
    fn finding_has_file_line_and_replacement() {
        let list = WordList::parse("nobody => no user\n").unwrap();
        let mut findings = Vec::new();
        check_file(
            "README.md",
            "# Title\n\nRead by\nNobody.\n",
            &list,
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 4);
        assert_eq!(findings[0].phrase, "Nobody");
        assert_eq!(findings[0].replacement, "no user");
    }
}
