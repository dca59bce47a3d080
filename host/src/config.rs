//! The configuration that is fixed while the process runs. The only reader of the process's environment.

mod database_settings;
mod durable_jobs;
mod engine_rules;
mod listen_address;
mod machine_memory;
mod page_choice;
mod storage_provider;
mod variables;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use pinhole_egress::DEFAULT_SILENCE;
use pinhole_egress::ip::Nat64;
use pinhole_ground::audit::{AuditLog, AuditRetention};
use pinhole_ground::environment::Environment;
use pinhole_ground::text::plain;
use pinhole_images::Decoder;
use pinhole_sandbox::{Compiler, Engines, MAX_CODE_BYTES, MAX_URGENT, Options};

use crate::clients::{AllowedOrigins, ClientRules, ConnectionLimits, TrustedProxies};
use crate::cluster::RedisConfig;
use crate::files::{StorageLimits, StorageProvider};
use crate::settings::{ValueKind, host_variables};
use crate::store::DatabaseLocation;

pub use durable_jobs::DurableJobs;
pub use engine_rules::{FirstUse, Strategy};
pub use listen_address::ListenAddress;
pub use page_choice::PageChoice;
pub use variables::Variables;

/// Jobs that run at the same time; more wait.
pub const DEFAULT_SLOTS: u32 = 1000;
/// The largest number of slots.
pub const MAX_SLOTS: u32 = 10_000;
/// Time of a job in seconds. Slow machines need minutes for an image.
pub const DEFAULT_JOB_SECS: u64 = 600;
const MAX_JOB_SECS: u64 = 24 * 3600;
/// Seconds in which jobs may end after the signal to shut down.
const DEFAULT_DRAIN_SECS: u64 = 30;
const MAX_DRAIN_SECS: u64 = 3600;
/// The name of a host in bytes.
const MAX_HOST_BYTES: usize = 64;
const MAX_RETENTION_DAYS: u64 = 36_500;
/// Length of the audit log in MiB.
const MAX_AUDIT_MIB: u64 = 1 << 20;
const DAY_SECS: u64 = 24 * 3600;
/// Jobs of a new version after which it is not watched any more.
const DEFAULT_WATCH_JOBS: u64 = 20;
const MAX_WATCH_JOBS: u64 = 1_000_000;
/// Files and chats of one user in MiB.
pub const DEFAULT_USER_STORAGE_MIB: u64 = 10 << 10;
/// Free space of the disk in MiB below which nothing new is stored.
pub const DEFAULT_RESERVED_DISK_MIB: u64 = 256;
const MAX_STORAGE_MIB: u64 = 1 << 40;
/// CPU time of one compilation in seconds.
pub const DEFAULT_COMPILE_SECS: u64 = 60;
const MAX_COMPILE_SECS: u64 = 3600;
/// Memory of one compilation in MiB.
pub const DEFAULT_COMPILE_MIB: u64 = 2048;
const MAX_COMPILE_MIB: u64 = 64 << 10;
const MAX_CONNECTIONS: u64 = 60_000;
/// Requests of a user for images and chat completions in a minute.
pub const DEFAULT_REQUESTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("not zero");
const MAX_REQUESTS_PER_MINUTE: u64 = 1_000_000;
/// Memory of the process that no request or job may hold, in MiB: code, stacks, the database's cache, the
/// buffers of connections, and what the allocator has not returned.
const RESERVED_MEMORY_MIB: u64 = 128;
/// Memory of the process, in MiB.
const MIN_MEMORY_MIB: u64 = 64 + RESERVED_MEMORY_MIB;
const MAX_MEMORY_MIB: u64 = 1 << 20;
/// Memory of a machine that does not tell it, in bytes.
const DEFAULT_MACHINE_BYTES: u64 = 2 << 30;
/// Length of a value that a warning quotes, in bytes.
const MAX_VALUE_BYTES: usize = 40;

/// The configuration that is fixed while the process runs.
#[derive(Clone)]
pub struct Config {
    /// `PINHOLE_DATA`: the directory of database, images and compiled engines.
    pub data: PathBuf,
    /// `DATABASE_URL`, `DATABASE_POOL_SIZE` and `PINHOLE_DATABASE_STATEMENTS`.
    pub database: DatabaseLocation,
    /// `PINHOLE_ENGINES`: the directory of component files.
    pub engines: PathBuf,
    /// `PINHOLE_WEB_CLIENT`: the directory of a web client's files. `None` serves no client.
    pub web_client: Option<PathBuf>,
    /// `PINHOLE_UI`: which of the server's own pages are served.
    pub pages: PageChoice,
    /// `PINHOLE_UI_DIR`: the directory of the pages. `None` serves those in the program.
    pub page_directory: Option<PathBuf>,
    /// `PINHOLE_SLOTS`: jobs that run at the same time.
    pub slots: u32,
    /// `PINHOLE_SLOTS_PER_USER`: slots that the jobs of one user may occupy, at most all but the reserve for
    /// users without a running job.
    pub slots_per_user: u32,
    /// `PINHOLE_JOB_TIMEOUT_SECS`: time of a job.
    pub job_timeout: Duration,
    /// `PINHOLE_DURABLE_JOBS`: whether jobs continue after their process has ended.
    pub durable_jobs: DurableJobs,
    /// `PINHOLE_HOST`, else `HOSTNAME`: the name of this host for people.
    pub host: Option<String>,
    /// `PINHOLE_DRAIN_SECS`: how long jobs may continue after the signal to shut down.
    pub drain_time: Duration,
    /// `PINHOLE_UPSTREAM_SILENCE_SECS`: how long a response of an upstream may pause.
    pub silence: Duration,
    /// `PINHOLE_NAT64_PREFIXES`: prefixes under which the network's translators reach IPv4.
    pub nat64: Vec<Nat64>,
    /// `PINHOLE_FILE_RETENTION_DAYS`: how long files are stored. `None` stores them without limit.
    pub file_retention: Option<Duration>,
    /// `PINHOLE_USER_STORAGE_MIB` and `PINHOLE_RESERVED_DISK_MIB`.
    pub storage: StorageLimits,
    /// `STORAGE_PROVIDER` and the variables of its bucket: where the bytes of files are stored.
    pub storage_provider: StorageProvider,
    /// `PINHOLE_AUDIT_RETENTION_DAYS` and `PINHOLE_AUDIT_MIB`: how much of the audit log is stored.
    pub audit: AuditRetention,
    /// `PINHOLE_COMPILER`, `PINHOLE_COMPILE_SECS` and `PINHOLE_COMPILE_MIB`.
    pub compiler: Compiler,
    /// `PINHOLE_ENGINE_GRANTS`: what happens to an engine that has no grant yet.
    pub first_use: FirstUse,
    /// `PINHOLE_ROLLOUT`: how a new version of an engine replaces another one.
    pub rollout: Strategy,
    /// `PINHOLE_WATCH_JOBS`: jobs after which a new version of an engine is not watched any more.
    pub watch_jobs: u64,
    /// `PINHOLE_ENGINE_CASES`: the directory with conformance cases for new versions of engines.
    pub engine_cases: Option<PathBuf>,
    /// What requests and jobs may hold of `PINHOLE_MEMORY_MIB`, the memory of the process. In bytes.
    pub memory_bytes: usize,
    /// `PINHOLE_METRICS_LISTEN`: where metrics are served. Without it, nothing is counted.
    pub metrics: Option<ListenAddress>,
    /// `PINHOLE_TRUSTED_PROXIES`, `CORS_ALLOW_ORIGIN`, `PINHOLE_CONNECTIONS`, `PINHOLE_REQUESTS_PER_MINUTE` and
    /// `PINHOLE_SOCKET_POLLING`.
    pub clients: ClientRules,
    /// `REDIS_URL` and the variables with it: the Redis through which several hosts act as one. `None` is one host.
    pub redis: Option<RedisConfig>,
    /// `PINHOLE_CACHE`: the directory of compiled engines. `None` is the data directory.
    pub cache: Option<PathBuf>,
    /// A directory of this person, for compiled engines of commands without a data directory.
    pub own_cache: Option<PathBuf>,
    /// `PINHOLE_LOG_FORMAT`
    pub log_format: LogFormat,
    /// The engine that an earlier start used because the environment configured no other.
    pub previous_engine: Option<String>,
    /// All variables, for settings.
    pub environment: Environment,
    /// The variables are those of the process, so they may name files.
    pub may_name_files: bool,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One JSON object in each line.
    Json,
}

impl Config {
    /// Reads the process's environment. `data` replaces its data directory.
    ///
    /// The error names the variable and the values that it accepts.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the only reader of the environment"
    )]
    pub fn from_environment(data: Option<PathBuf>) -> Result<Self> {
        // A variable that is not UTF-8 cannot be a setting of this server.
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let environment = Variables::of_server().read_files(&Environment::new(pairs))?;
        let own_cache = environment
            .get("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(environment.get("HOME")?).join(".cache")))
            .filter(|directory| directory.is_absolute());
        let config = Self::new(environment)?;
        let data = data.unwrap_or_else(|| config.data.clone());
        Ok(Self {
            // Messages then name the same directory wherever they are read.
            data: std::path::absolute(&data).unwrap_or(data),
            may_name_files: true,
            own_cache: own_cache.map(|directory| directory.join("pinhole")),
            ..config
        })
    }

    /// The configuration with the files that variables of these engines name, except those of the engines
    /// before, whose files were read.
    pub fn with_engine_files(&self, engines: &Engines, before: Option<&Engines>) -> Result<Self> {
        if !self.may_name_files {
            return Ok(self.clone());
        }
        let mut variables = Variables::of_engines(engines);
        if let Some(before) = before {
            variables.remove(&Variables::of_engines(before));
        }
        let environment = variables.read_files(&self.environment)?;
        Ok(Self {
            environment,
            ..self.clone()
        })
    }

    /// The variables that nothing reads, and the values that mean nothing: a sentence for each.
    #[must_use]
    pub fn warnings(&self, engines: &Engines) -> Vec<String> {
        let variables = Variables::of_engines(engines);
        let mut warnings = variables.report_unknown(engines, &self.environment);
        for (name, kind) in host_variables() {
            let value = self.environment.started_value(name).unwrap_or("true");
            let is_boolean = ["true", "false"]
                .iter()
                .any(|it| value.eq_ignore_ascii_case(it));
            if kind == ValueKind::Boolean && !is_boolean {
                let value = plain(value, MAX_VALUE_BYTES);
                warnings.push(format!(
                    "{name} is {value:?}, which counts as false: use true or false"
                ));
            }
        }
        warnings
    }

    /// Reads these variables.
    pub fn new(environment: Environment) -> Result<Self> {
        let number = |name: &str, max: u64| parse_number(&environment, name, max);
        let slots = number("PINHOLE_SLOTS", MAX_SLOTS.into())?.unwrap_or(DEFAULT_SLOTS.into());
        let slots_per_user = number("PINHOLE_SLOTS_PER_USER", slots)?.unwrap_or(slots);
        let job_secs =
            number("PINHOLE_JOB_TIMEOUT_SECS", MAX_JOB_SECS)?.unwrap_or(DEFAULT_JOB_SECS);
        let silence = number("PINHOLE_UPSTREAM_SILENCE_SECS", MAX_JOB_SECS)?;
        let nat64 = parse_nat64(&environment)?;
        let retention_days = number("PINHOLE_FILE_RETENTION_DAYS", MAX_RETENTION_DAYS)?;
        Ok(Self {
            memory_bytes: parse_memory(&environment)?,
            metrics: parse_metrics_listen(&environment)?,
            redis: RedisConfig::from_environment(&environment)?,
            cache: environment.get("PINHOLE_CACHE").map(PathBuf::from),
            own_cache: None,
            previous_engine: None,
            log_format: parse_log_format(&environment)?,
            may_name_files: false,
            clients: parse_client_rules(&environment)?,
            first_use: parse_first_use(&environment)?,
            rollout: parse_rollout(&environment)?,
            engine_cases: environment.get("PINHOLE_ENGINE_CASES").map(PathBuf::from),
            watch_jobs: number("PINHOLE_WATCH_JOBS", MAX_WATCH_JOBS)?.unwrap_or(DEFAULT_WATCH_JOBS),
            audit: parse_audit(&environment)?,
            compiler: parse_compiler(&environment)?,
            storage: parse_storage(&environment)?,
            storage_provider: storage_provider::parse(&environment)?,
            data: environment.get("PINHOLE_DATA").unwrap_or("data").into(),
            database: database_settings::parse_database(&environment)?,
            engines: match environment.get("PINHOLE_ENGINES") {
                Some(directory) => directory.into(),
                None => default_engine_directory(),
            },
            web_client: environment.get("PINHOLE_WEB_CLIENT").map(PathBuf::from),
            pages: PageChoice::from_environment(&environment)?,
            page_directory: environment.get("PINHOLE_UI_DIR").map(PathBuf::from),
            slots: u32::try_from(slots).unwrap_or(MAX_SLOTS),
            slots_per_user: u32::try_from(slots_per_user).unwrap_or(MAX_SLOTS),
            job_timeout: Duration::from_secs(job_secs),
            durable_jobs: DurableJobs::from_environment(&environment)?,
            host: parse_host(&environment)?,
            drain_time: Duration::from_secs(parse_drain_secs(&environment)?),
            silence: silence.map_or(DEFAULT_SILENCE, Duration::from_secs),
            nat64,
            file_retention: retention_days.map(|days| Duration::from_secs(days * DAY_SECS)),
            environment,
        })
    }

    /// The storage provider of this name, with its variables, whatever `STORAGE_PROVIDER` is.
    pub fn storage_provider_named(&self, name: &str) -> Result<StorageProvider> {
        storage_provider::parse_named(name, &self.environment)
    }

    /// The options to open engines with.
    #[must_use]
    pub fn engine_options(&self, audit: AuditLog, decoder: Decoder) -> Options {
        Options {
            data: self.data.clone(),
            cache: self.cache.clone(),
            slots: self.slots,
            slots_per_user: self.slots_per_user,
            compiler: self.compiler.clone(),
            audit,
            decoder,
        }
    }
}

/// A whole number from 1 to `max`.
fn parse_number(environment: &Environment, name: &str, max: u64) -> Result<Option<u64>> {
    let Some(text) = environment.get(name) else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
        _ => bail!("{name} is {text:?}: it must be a whole number from 1 to {max}"),
    }
}

fn parse_boolean(environment: &Environment, name: &str, default: bool) -> Result<bool> {
    match environment.get(name).map(str::trim) {
        None => Ok(default),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => bail!("{name} is {text:?}: it must be true or false"),
    }
}

/// The name of this host for people.
fn parse_host(environment: &Environment) -> Result<Option<String>> {
    if let Some(name) = environment.get("PINHOLE_HOST") {
        if plain(name, MAX_HOST_BYTES) != name {
            bail!("PINHOLE_HOST must be printable text of at most {MAX_HOST_BYTES} bytes");
        }
        return Ok(Some(name.to_owned()));
    }
    let name = environment.get("HOSTNAME");
    Ok(name.map(|name| plain(name, MAX_HOST_BYTES)))
}

/// As [`parse_number`], but 0 ends jobs at once.
fn parse_drain_secs(environment: &Environment) -> Result<u64> {
    match environment.get("PINHOLE_DRAIN_SECS").map(str::trim) {
        Some("0") => Ok(0),
        _ => Ok(
            parse_number(environment, "PINHOLE_DRAIN_SECS", MAX_DRAIN_SECS)?
                .unwrap_or(DEFAULT_DRAIN_SECS),
        ),
    }
}

fn parse_nat64(environment: &Environment) -> Result<Vec<Nat64>> {
    match environment.get("PINHOLE_NAT64_PREFIXES") {
        Some(text) => {
            Nat64::parse_list(text).map_err(|why| anyhow!("PINHOLE_NAT64_PREFIXES {why}"))
        }
        None => Ok(Vec::new()),
    }
}

fn parse_client_rules(environment: &Environment) -> Result<ClientRules> {
    const RATE: &str = "PINHOLE_REQUESTS_PER_MINUTE";
    let text = |name| environment.get(name).unwrap_or_default();
    let proxies = TrustedProxies::parse(text("PINHOLE_TRUSTED_PROXIES"))
        .map_err(|why| anyhow!("PINHOLE_TRUSTED_PROXIES {why}"))?;
    let origins = AllowedOrigins::parse(text("CORS_ALLOW_ORIGIN"))
        .map_err(|why| anyhow!("CORS_ALLOW_ORIGIN {why}"))?;
    let connections = parse_number(environment, "PINHOLE_CONNECTIONS", MAX_CONNECTIONS)?;
    let requests = parse_number(environment, RATE, MAX_REQUESTS_PER_MINUTE)?;
    Ok(ClientRules {
        has_polling: parse_boolean(environment, "PINHOLE_SOCKET_POLLING", true)?,
        proxies,
        origins,
        limits: connections
            .and_then(|number| usize::try_from(number).ok())
            .map_or_else(
                ConnectionLimits::default,
                ConnectionLimits::with_connections,
            ),
        requests_per_minute: requests
            .and_then(|number| u32::try_from(number).ok())
            .and_then(NonZeroU32::new)
            .unwrap_or(DEFAULT_REQUESTS_PER_MINUTE),
    })
}

fn parse_audit(environment: &Environment) -> Result<AuditRetention> {
    let days = parse_number(
        environment,
        "PINHOLE_AUDIT_RETENTION_DAYS",
        MAX_RETENTION_DAYS,
    )?;
    let mib = parse_number(environment, "PINHOLE_AUDIT_MIB", MAX_AUDIT_MIB)?;
    let default = AuditRetention::default();
    Ok(AuditRetention {
        max_age: days.map_or(default.max_age, |days| Duration::from_secs(days * DAY_SECS)),
        max_bytes: mib.map_or(default.max_bytes, |mib| mib << 20),
    })
}

fn parse_compiler(environment: &Environment) -> Result<Compiler> {
    let secs = parse_number(environment, "PINHOLE_COMPILE_SECS", MAX_COMPILE_SECS)?;
    let mib = parse_number(environment, "PINHOLE_COMPILE_MIB", MAX_COMPILE_MIB)?;
    Ok(Compiler {
        program: match environment.get("PINHOLE_COMPILER") {
            Some(program) => program.into(),
            None => this_program(),
        },
        time: Duration::from_secs(secs.unwrap_or(DEFAULT_COMPILE_SECS)),
        memory_bytes: mib.unwrap_or(DEFAULT_COMPILE_MIB) << 20,
        code_bytes: MAX_CODE_BYTES,
        urgent_time: MAX_URGENT,
    })
}

/// The memory that requests and jobs may hold: that of the process, without its reserve. The process has that of
/// the setting, or else half of the machine's.
fn parse_memory(environment: &Environment) -> Result<usize> {
    const NAME: &str = "PINHOLE_MEMORY_MIB";
    let Some(mib) = parse_number(environment, NAME, MAX_MEMORY_MIB)? else {
        let machine = machine_memory::available_bytes().unwrap_or(DEFAULT_MACHINE_BYTES);
        return Ok(held_bytes((machine / 2).max(MIN_MEMORY_MIB << 20)));
    };
    if mib < MIN_MEMORY_MIB {
        bail!(
            "{NAME} is {mib}: it must be a whole number from {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}"
        );
    }
    Ok(held_bytes(mib << 20))
}

fn held_bytes(process_bytes: u64) -> usize {
    (process_bytes - (RESERVED_MEMORY_MIB << 20)) as usize
}

fn parse_storage(environment: &Environment) -> Result<StorageLimits> {
    let mib = |name, default| {
        let mib = parse_number(environment, name, MAX_STORAGE_MIB)?;
        anyhow::Ok(mib.unwrap_or(default) << 20)
    };
    Ok(StorageLimits {
        user_bytes: mib("PINHOLE_USER_STORAGE_MIB", DEFAULT_USER_STORAGE_MIB)?,
        reserved_bytes: mib("PINHOLE_RESERVED_DISK_MIB", DEFAULT_RESERVED_DISK_MIB)?,
    })
}

fn parse_first_use(environment: &Environment) -> Result<FirstUse> {
    match environment.get("PINHOLE_ENGINE_GRANTS") {
        None | Some("declared") => Ok(FirstUse::Declared),
        Some("explicit") => Ok(FirstUse::Explicit),
        Some(other) => bail!("PINHOLE_ENGINE_GRANTS is {other:?}: it must be declared or explicit"),
    }
}

fn parse_rollout(environment: &Environment) -> Result<Strategy> {
    let Some(name) = environment.get("PINHOLE_ROLLOUT") else {
        return Ok(Strategy::default());
    };
    Strategy::parse(name).map_err(|why| anyhow!("PINHOLE_ROLLOUT: {why}"))
}

fn parse_metrics_listen(environment: &Environment) -> Result<Option<ListenAddress>> {
    const NAME: &str = "PINHOLE_METRICS_LISTEN";
    let parsed = environment.get(NAME).map(|text| {
        let address = text.parse::<ListenAddress>();
        address.map_err(|why| anyhow!("{NAME} is {text:?}: {why}"))
    });
    parsed.transpose()
}

fn parse_log_format(environment: &Environment) -> Result<LogFormat> {
    match environment.get("PINHOLE_LOG_FORMAT") {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => bail!("PINHOLE_LOG_FORMAT is {other:?}: it must be text or json"),
    }
}

/// The path of this program. On Linux it remains valid if the file is replaced.
fn this_program() -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    std::env::current_exe().unwrap_or_default()
}

/// The directory `engines` next to the program, or else next to the program's directory.
fn default_engine_directory() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("engines"))
        .find(|directory| directory.is_dir())
        .unwrap_or_else(|| PathBuf::from("engines"))
}
