//! What a process is told at start. The only reader of the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

use pinhole_egress::{DEFAULT_SILENCE, Nat64};
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::{Options, Compiler, MAX_CODE_BYTES};
use pinhole_sandbox::grant::FirstUse;
use pinhole_ground::environment::Environment;

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
/// CPU time that compiling one component may take, in seconds.
const DEFAULT_COMPILE_SECS: u64 = 60;
/// Seconds that `PINHOLE_COMPILE_SECS` may say.
const MAX_COMPILE_SECS: u64 = 3600;
/// Memory that compiling one component may need, in MiB.
const DEFAULT_COMPILE_MIB: u64 = 2048;
/// MiB that `PINHOLE_COMPILE_MIB` may say.
const MAX_COMPILE_MIB: u64 = 64 << 10;

/// What is fixed while the process runs.
#[derive(Clone)]
pub struct Config {
    /// `PINHOLE_DATA`: database, pictures and compiled engines.
    pub data: PathBuf,
    /// `PINHOLE_ENGINES`: the components.
    pub engines: PathBuf,
    /// `PINHOLE_SLOTS`: jobs that run at once.
    pub slots: u32,
    /// `PINHOLE_SLOTS_PER_USER`: how many of them one user's jobs may take; half of them unless it is set.
    pub slots_per_user: u32,
    /// `PINHOLE_JOB_TIMEOUT_SECS`: time a job may take.
    pub job_timeout: Duration,
    /// `PINHOLE_UPSTREAM_SILENCE_SECS`: how long an upstream's answer may pause once it has begun.
    pub silence: Duration,
    /// `PINHOLE_NAT64_PREFIXES`: prefixes under which the networks' translators reach IPv4.
    pub nat64: Vec<Nat64>,
    /// `PINHOLE_FILE_RETENTION_DAYS`: how long files are kept; for ever where it is not set.
    pub file_retention: Option<Duration>,
    /// `PINHOLE_COMPILER`, `PINHOLE_COMPILE_SECS` and `PINHOLE_COMPILE_MIB`: how components are
    /// compiled.
    pub compiler: Compiler,
    /// `PINHOLE_ENGINE_GRANTS`: what becomes of an engine that has no grant yet.
    pub first_use: FirstUse,
    /// `PINHOLE_METRICS_LISTEN`: address and port for metrics; nothing is counted where it is not set.
    pub metrics: Option<SocketAddr>,
    /// All variables, for settings.
    pub environment: Environment,
}

impl Config {
    /// How engines are opened.
    #[must_use]
    pub fn engine_options(&self, audit: AuditLog, decoder: Decoder) -> Options {
        Options {
            data: self.data.clone(),
            engines: self.engines.clone(),
            slots: self.slots,
            slots_per_user: self.slots_per_user,
            compiler: self.compiler.clone(),
            first_use: self.first_use,
            audit,
            decoder,
        }
    }

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
        let share = number("PINHOLE_SLOTS_PER_USER", slots)?.unwrap_or((slots / 2).max(1));
        let secs = number("PINHOLE_JOB_TIMEOUT_SECS", MAX_JOB_SECS)?.unwrap_or(DEFAULT_JOB_SECS);
        let silence = number("PINHOLE_UPSTREAM_SILENCE_SECS", MAX_JOB_SECS)?;
        let nat64 = environment.get("PINHOLE_NAT64_PREFIXES").map(Nat64::list);
        let nat64 = nat64.transpose();
        let days = number("PINHOLE_FILE_RETENTION_DAYS", MAX_RETENTION_DAYS)?;
        let compiler = Compiler {
            program: match environment.get("PINHOLE_COMPILER") {
                Some(program) => program.into(),
                None => this_program(),
            },
            time: Duration::from_secs(
                number("PINHOLE_COMPILE_SECS", MAX_COMPILE_SECS)?.unwrap_or(DEFAULT_COMPILE_SECS),
            ),
            memory_bytes: number("PINHOLE_COMPILE_MIB", MAX_COMPILE_MIB)?
                .unwrap_or(DEFAULT_COMPILE_MIB)
                << 20,
            code_bytes: MAX_CODE_BYTES,
        };
        let first_use = match environment.get("PINHOLE_ENGINE_GRANTS") {
            None | Some("declared") => FirstUse::Declared,
            Some("explicit") => FirstUse::Explicit,
            Some(other) => {
                bail!("PINHOLE_ENGINE_GRANTS is {other:?}: it must be declared or explicit")
            }
        };
        let metrics = match environment.get("PINHOLE_METRICS_LISTEN") {
            None => None,
            Some(text) => match text.trim().parse() {
                Ok(address) => Some(address),
                Err(_) => bail!(
                    "PINHOLE_METRICS_LISTEN is {text:?}: it must be an address and a port, such as 127.0.0.1:9464"
                ),
            },
        };
        Ok(Self {
            metrics,
            first_use,
            compiler,
            data: environment.get("PINHOLE_DATA").unwrap_or("data").into(),
            engines: match environment.get("PINHOLE_ENGINES") {
                Some(folder) => folder.into(),
                None => beside_program(),
            },
            slots: u32::try_from(slots).unwrap_or(MAX_SLOTS),
            slots_per_user: u32::try_from(share).unwrap_or(MAX_SLOTS),
            job_timeout: Duration::from_secs(secs),
            silence: silence.map_or(DEFAULT_SILENCE, Duration::from_secs),
            nat64: nat64
                .map_err(|why| anyhow!("PINHOLE_NAT64_PREFIXES {why}"))?
                .unwrap_or_default(),
            file_retention: days.map(|days| Duration::from_secs(days * DAY_SECS)),
            environment,
        })
    }
}

/// The program itself; on Linux also where its file was replaced since it was started.
fn this_program() -> PathBuf {
    match cfg!(target_os = "linux") {
        true => PathBuf::from("/proc/self/exe"),
        false => std::env::current_exe().unwrap_or_default(),
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
