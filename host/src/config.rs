//! What a process is told at start. The only reader of the environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::settings::Environment;

/// Jobs that run at once; more wait.
const DEFAULT_SLOTS: u32 = 1000;
/// Jobs at once that `PINHOLE_SLOTS` may say.
const MAX_SLOTS: u32 = 10_000;
/// Time a job may take, in seconds. Slow machines need minutes for a picture.
const DEFAULT_JOB_SECS: u64 = 600;
/// Seconds that `PINHOLE_JOB_TIMEOUT_SECS` may say.
const MAX_JOB_SECS: u64 = 24 * 3600;
/// Days that files may be kept; who wants longer leaves it unset.
const MAX_RETENTION_DAYS: u64 = 36_500;
const DAY_SECS: u64 = 24 * 3600;

/// What is fixed while the process runs.
#[derive(Clone)]
pub struct Config {
    /// `PINHOLE_DATA`: database, pictures and compiled engines.
    pub data: PathBuf,
    /// `PINHOLE_ENGINES`: the components.
    pub engines: PathBuf,
    /// `PINHOLE_SLOTS`: jobs that run at once.
    pub slots: u32,
    /// `PINHOLE_JOB_TIMEOUT_SECS`: time a job may take.
    pub job_timeout: Duration,
    /// `PINHOLE_FILE_RETENTION_DAYS`: how long files are kept; for ever where it is not set.
    pub file_retention: Option<Duration>,
    /// All variables, for settings.
    pub environment: Environment,
}

impl Config {
    /// Reads the process's environment. The error names the variable and what it may hold.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of the environment"
    )]
    pub fn from_environment() -> Result<Self> {
        // What is no UTF-8 is no setting of ours.
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::new(Environment::new(pairs))
    }

    /// From given variables.
    pub fn new(environment: Environment) -> Result<Self> {
        let number = |name: &str, max: u64| match environment.get(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse() {
                Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
                _ => bail!("{name} is {text:?}: it must be a whole number from 1 to {max}"),
            },
        };
        let slots = number("PINHOLE_SLOTS", MAX_SLOTS.into())?.unwrap_or(DEFAULT_SLOTS.into());
        let secs = number("PINHOLE_JOB_TIMEOUT_SECS", MAX_JOB_SECS)?.unwrap_or(DEFAULT_JOB_SECS);
        let days = number("PINHOLE_FILE_RETENTION_DAYS", MAX_RETENTION_DAYS)?;
        Ok(Self {
            data: environment.get("PINHOLE_DATA").unwrap_or("data").into(),
            engines: match environment.get("PINHOLE_ENGINES") {
                Some(folder) => folder.into(),
                None => beside_program(),
            },
            slots: u32::try_from(slots).unwrap_or(MAX_SLOTS),
            job_timeout: Duration::from_secs(secs),
            file_retention: days.map(|days| Duration::from_secs(days * DAY_SECS)),
            environment,
        })
    }
}

/// The folder `engines` beside the program, or else beside the program's folder.
fn beside_program() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let folders = program.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("engines"));
    let found = candidates.find(|folder| folder.is_dir());
    found.unwrap_or_else(|| PathBuf::from("engines"))
}
