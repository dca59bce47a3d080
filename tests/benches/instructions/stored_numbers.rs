//! The numbers in the repository.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The file, in the directory of this package.
const FILE: &str = "benches/instructions/numbers.json";

/// Instructions of a request, by path.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredNumbers {
    /// How much a number may differ.
    tolerance_percent: f64,
    instructions: BTreeMap<String, u64>,
}

impl StoredNumbers {
    pub(crate) fn read() -> Self {
        let text = std::fs::read_to_string(file()).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }

    /// Replaces all numbers by those that were measured.
    pub(crate) fn replace(mut self, measured: &[(&str, u64)]) {
        for (path, instructions) in measured {
            println!("{path:<12} {instructions:>11}");
        }
        let measured = measured.iter();
        self.instructions = measured
            .map(|(path, it)| ((*path).to_owned(), *it))
            .collect();
        let json = serde_json::to_string_pretty(&self).unwrap();
        std::fs::write(file(), json + "\n").unwrap();
        println!("written to tests/{FILE}");
    }

    /// Prints each path. Fails if one differs by more than the tolerance.
    pub(crate) fn compare(&self, measured: &[(&str, u64)]) -> ExitCode {
        println!(
            "{:<12} {:>11} {:>11}   change",
            "path", "stored", "measured"
        );
        let mut differs = false;
        for (path, instructions) in measured {
            let stored = self.instructions.get(*path).copied().unwrap_or_default();
            let percent = (*instructions as f64 / stored as f64 - 1.0) * 100.0;
            let is_different = percent.abs() > self.tolerance_percent;
            let mark = if is_different { " DIFFERS" } else { "" };
            println!("{path:<12} {stored:>11} {instructions:>11} {percent:>+7.1} %{mark}");
            differs |= is_different;
        }
        if !differs {
            return ExitCode::SUCCESS;
        }
        println!(
            "a path differs by more than {} % from tests/{FILE}: find out why, or accept the new numbers with \
             `cargo xtask bench instructions --accept`",
            self.tolerance_percent
        );
        ExitCode::FAILURE
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE)
}
