//! The directory of an engine's cases.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cap_std::fs::Dir;

use super::NamedCase;
use crate::case::Case;
use crate::case_files::CaseFiles;

/// Maximum number of cases of an engine.
const MAX_CASES: usize = 1000;
/// The directory of shared recordings; it is not a case.
const RECORDINGS: &str = "recordings";

/// Reads the selected cases in the order of their numbers.
pub(super) fn read_cases(
    directory: &Dir,
    path: &Path,
    prefixes: &[String],
) -> Result<Vec<NamedCase>> {
    let mut names = read_names(directory, prefixes)
        .with_context(|| format!("cannot read the directory of cases {}", path.display()))?;
    if names.is_empty() && prefixes.is_empty() {
        bail!("there are no cases in {}", path.display());
    }
    if names.is_empty() {
        let prefixes = prefixes.join(" or ");
        bail!("no case in {} starts with {prefixes}", path.display());
    }
    if names.len() > MAX_CASES {
        bail!("{} has too many cases (limit {MAX_CASES})", path.display());
    }
    names.sort_by_key(|name| sort_key(name));
    let read = |name: String| NamedCase {
        case: read_case(directory, &name)
            .map(Arc::new)
            .map_err(|error| format!("{error:#}")),
        name,
    };
    Ok(names.into_iter().map(read).collect())
}

fn read_names(directory: &Dir, prefixes: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let file_name = entry.file_name();
        let name = file_name
            .to_str()
            .with_context(|| format!("the name {} is not UTF-8", file_name.display()))?;
        let is_selected =
            prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
        if is_selected && name != RECORDINGS {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn read_case(directory: &Dir, name: &str) -> Result<Case> {
    let files = CaseFiles {
        case: directory.open_dir(name)?,
        engine: directory.try_clone()?,
    };
    Case::read(&files).map_err(|reason| anyhow!("{reason}"))
}

/// Sorts `O2` before `O10`.
fn sort_key(name: &str) -> (String, u64, String) {
    let digits_start = name
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(name.len());
    let (letters, rest) = name.split_at_checked(digits_start).unwrap_or((name, ""));
    let digits_end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, suffix) = rest.split_at_checked(digits_end).unwrap_or((rest, ""));
    (
        letters.to_owned(),
        digits.parse().unwrap_or(0),
        suffix.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sort_key_orders_cases_by_number() {
        let mut names = ["O10-x", "C2-x", "O2-x", "other", "C11b-x", "C11a-x"];
        names.sort_by_key(|name| sort_key(name));
        assert_eq!(
            names,
            ["C2-x", "C11a-x", "C11b-x", "O2-x", "O10-x", "other"]
        );
    }
}
