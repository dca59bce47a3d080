//! Whether jobs continue after their process has ended.

use anyhow::{Result, bail};
use pinhole_ground::environment::Environment;

/// Whether jobs continue after their process has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DurableJobs {
    /// If several hosts use the database.
    #[default]
    Auto,
    On,
    /// The next start of the server interrupts them.
    Off,
}

impl DurableJobs {
    /// Reads `PINHOLE_DURABLE_JOBS`.
    pub(super) fn from_environment(environment: &Environment) -> Result<Self> {
        match environment.get("PINHOLE_DURABLE_JOBS") {
            None | Some("auto") => Ok(Self::Auto),
            Some("on") => Ok(Self::On),
            Some("off") => Ok(Self::Off),
            Some(other) => bail!("PINHOLE_DURABLE_JOBS is {other:?}: it must be auto, on or off"),
        }
    }

    /// Whether jobs continue, with a database that several hosts use or not.
    #[must_use]
    pub fn is_on(self, is_shared: bool) -> bool {
        match self {
            Self::Auto => is_shared,
            Self::On => true,
            Self::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_jobs_is_one_of_three_words() {
        let parse = |value: &str| {
            let pair = ("PINHOLE_DURABLE_JOBS".to_owned(), value.to_owned());
            DurableJobs::from_environment(&Environment::new([pair]))
        };
        for (value, alone, shared) in [
            ("", false, true),
            ("auto", false, true),
            ("on", true, true),
            ("off", false, false),
        ] {
            let parsed = parse(value).unwrap();
            let is_on = (parsed.is_on(false), parsed.is_on(true));
            assert_eq!(is_on, (alone, shared), "{value}");
        }
        let error = parse("true").unwrap_err().to_string();
        assert!(error.contains("it must be auto, on or off"), "{error}");
    }
}
