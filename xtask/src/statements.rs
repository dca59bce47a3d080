//! `cargo xtask statements`: writes the statements that this version sends to PostgreSQL.
//!
//! Two versions run with one database during an upgrade, so the tables of a version must take the statements of the one
//! before. The tests of the store, and of what servers store, run with a PostgreSQL that logs their statements. The
//! distinct ones become a file in `tests/sql`, and a test prepares those of all files with the current tables.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::steps::announce;
use crate::test;
use crate::workspace::Workspace;

/// The directory of the files.
const DIRECTORY: &str = "tests/sql";
/// The tests of the store.
const STORE_TESTS: &str = "(package(pinhole) & test(/^store::/))";
/// The integration tests whose servers store something.
const STORED_STATE_TESTS: &str =
    "binary(it) & test(/^(accounts|chats|files|gallery|jobs_api|settings)::/)";
/// The variable with which the servers of tests use PostgreSQL.
const ON_POSTGRES: (&str, &str) = ("PINHOLE_TEST_DATABASE", "postgres");
/// How a message about a prepared statement begins. Its name and text follow.
const EXECUTION: &str = "execute ";
/// The first words of statements that read or change rows.
const VERBS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];

/// Runs the tests and writes the file. The exit code is that of nextest.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let log = tempfile::tempdir().context("cannot create a directory for the log")?;
    let filter = format!("{STORE_TESTS} | ({STORED_STATE_TESTS})");
    let exit_code = test::run(
        workspace,
        &test::Options::of_nextest(&["-E", &filter]),
        test::Setup {
            variables: &[ON_POSTGRES],
            statement_log: Some(log.path()),
        },
    )?;
    let statements = read_log(log.path())?;
    ensure!(
        !statements.is_empty(),
        "PostgreSQL logged no statement: install PostgreSQL 15 or later"
    );
    let name = format!("{DIRECTORY}/statements-{}.txt", env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(workspace.root.join(DIRECTORY))
        .and_then(|()| fs::write(workspace.root.join(&name), statements.join("\n") + "\n"))
        .with_context(|| format!("cannot write {name}"))?;
    announce(&format!("wrote {} statements to {name}", statements.len()));
    Ok(exit_code)
}

/// The distinct statements in the JSON logs of a directory, sorted.
fn read_log(directory: &Path) -> Result<Vec<String>> {
    let context = || format!("cannot read {}", directory.display());
    let mut statements = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let log = fs::read_to_string(&path).with_context(context)?;
        for statement in log.lines().filter_map(statement_of) {
            statements.entry(shape(&statement)).or_insert(statement);
        }
    }
    let mut distinct: Vec<String> = statements.into_values().collect();
    distinct.sort();
    Ok(distinct)
}

/// The statement of a line, on one line.
fn statement_of(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let message = line.get("message")?.as_str()?.strip_prefix(EXECUTION)?;
    let (_, text) = message.split_once(": ")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let statement = words.join(" ");
    let has_rows = VERBS.iter().any(|verb| statement.starts_with(verb));
    has_rows.then_some(statement)
}

/// The statement without the lengths of its lists: statements of one shape differ in the number of their values only.
fn shape(statement: &str) -> String {
    let mut parts = statement.split('$');
    let mut shape = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shape.push('$');
        shape.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    for (list, item) in [("$, $", "$"), ("($), ($)", "($)")] {
        while shape.contains(list) {
            shape = shape.replace(list, item);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executed_statement_is_one_line() {
        let line = |message: &str| serde_json::json!({"message": message}).to_string();
        let statement = statement_of(&line("execute sqlx_s_1: SELECT a\n   FROM b WHERE c = $1"));
        assert_eq!(statement.as_deref(), Some("SELECT a FROM b WHERE c = $1"));
        for other in [
            "statement: SELECT 1",
            "execute sqlx_s_1: CREATE TABLE a (b TEXT)",
            "x",
        ] {
            assert_eq!(statement_of(&line(other)), None, "{other}");
        }
        assert_eq!(statement_of("no JSON"), None);
    }

    #[test]
    fn lists_of_any_length_have_one_shape() {
        let of = |list: &str| {
            shape(&format!(
                "SELECT a FROM b WHERE c = $1 AND d IN ({list}) LIMIT $9"
            ))
        };
        assert_eq!(of("$2"), of("$2, $3, $4"));
        assert_ne!(of("$2"), shape("SELECT a FROM b WHERE c = $1"));
    }
}
