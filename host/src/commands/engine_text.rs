//! What the commands of engines print of versions and times.

use std::time::{SystemTime, UNIX_EPOCH};

use pinhole::releases::{EngineStatus, VersionStatus};

/// Digits of a digest that are printed.
const SHORT_DIGITS: usize = 12;
const MINUTE_SECS: i64 = 60;
const HOUR_SECS: i64 = 60 * MINUTE_SECS;
const DAY_SECS: i64 = 24 * HOUR_SECS;

/// The beginning of a digest, which names a version on the command line.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..SHORT_DIGITS).unwrap_or(digest)
}

/// A version in a sentence.
pub(crate) fn label(version: &VersionStatus) -> String {
    format!("version {} ({})", version.version, short(&version.digest))
}

/// The version that most users get.
pub(crate) fn serving(engine: &EngineStatus) -> Option<&VersionStatus> {
    let state = if engine.percent >= 100 {
        "candidate"
    } else {
        "current"
    };
    let mut versions = engine.versions.iter();
    versions.find(|it| it.state == state)
}

/// The state of a version for a person.
pub(crate) fn state(engine: &EngineStatus, version: &VersionStatus) -> String {
    let is_rollout = engine.percent > 0;
    let mut state = match version.state.as_str() {
        "candidate" if engine.percent >= 100 => "current, watched".to_owned(),
        "candidate" => format!("canary, {} % of users", engine.percent),
        "current" if is_rollout && engine.percent >= 100 => {
            "serves again if the new one fails".to_owned()
        }
        "current" if !engine.serves => "does not serve".to_owned(),
        "parked" => "waits for approval".to_owned(),
        _ if engine.revision == 0 => "removed".to_owned(),
        "rolled-back" => "rolled back".to_owned(),
        other => other.to_owned(),
    };
    if version.is_previous {
        state.push_str(", previous");
    }
    if engine.pinned && serving(engine).is_some_and(|it| it.digest == version.digest) {
        state.push_str(", pinned");
    }
    state
}

/// Where a version came from.
pub(crate) fn origin(version: &VersionStatus) -> &str {
    match (version.file.as_str(), version.added_by.as_str()) {
        ("", "") => "upload",
        ("", by) => by,
        (file, _) => file,
    }
}

/// The time since then, for a person.
pub(crate) fn since(then: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX));
    duration((now - then).max(0))
}

fn duration(secs: i64) -> String {
    match secs {
        DAY_SECS.. => format!("{} d", secs / DAY_SECS),
        HOUR_SECS.. => format!("{} h", secs / HOUR_SECS),
        MINUTE_SECS.. => format!("{} min", secs / MINUTE_SECS),
        _ => format!("{secs} s"),
    }
}

/// Prints rows in columns.
pub(crate) fn print_table<const N: usize>(rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, columns)| format!("{cell:columns$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_one_unit() {
        for (secs, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (7199, "1 h"),
            (6 * DAY_SECS, "6 d"),
        ] {
            assert_eq!(duration(secs), expected);
        }
    }
}
