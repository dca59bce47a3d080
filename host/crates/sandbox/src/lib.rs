//! `Engines`: name to admitted component. The one door to wasm.

pub mod contract;
mod admission;
pub mod engine_settings;
pub mod grant;
mod request_body;
mod call;
mod compile;
mod compiled_store;
mod job_context;
mod json_document;
mod redaction;
mod host_task;
mod images;
mod job;
mod guest_runtime;
mod limits;
mod log;
mod outgoing_request;
mod output;
mod registry;
mod queue;
mod socket;
mod sse;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use pinhole_egress::Redactor;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_images::Decoder;
use crate::grant::{FirstUse, Grant, Grants, Right, Upstreams};
use pinhole_ground::metrics::Load;
use crate::engine_settings::EngineSettings;

use contract::{
    Abilities, Description, EngineError, ErrorKind, ImageEngine, ImageEnginePre, Job, Model,
};
use call::State;
use compile::MAX_COMPILES;
use compiled_store::Compiled;
use guest_runtime::Lanes;
use queue::Slots;

pub use admission::MAX_COMPONENT_BYTES;
pub use admission::MAX_COUNT;
pub use call::Edit;
pub use compile::{MAX_CODE_BYTES, CompileLimits, Compiler, compile_input};
pub use job_context::{JobContext, Progress, Usage};
pub use limits::Limits;
pub use output::{MAX_MODEL_BYTES, Made, Produced};
pub use registry::{MAX_FILES, Pending};

/// Core instances that one component may have, those of components inside it included.
const MAX_INSTANCES: u32 = 40;
/// Linear memories that it may have, likewise.
const MAX_MEMORIES: u32 = 4;
/// Tables that it may have, likewise.
const MAX_TABLES: u32 = 16;

/// Ready to be instantiated.
type Pre = ImageEnginePre<State>;

/// Why a job of an engine gave no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine said so itself, or its answer was unusable.
    #[error("{}", .error.message)]
    Engine {
        /// What it said.
        error: EngineError,
        /// For the operator, with hosts and ports: what its last request met.
        failure: Option<String>,
    },
    /// It broke a limit of its grant.
    #[error("the engine was stopped: {0}")]
    Limit(String),
    /// The wall clock ran out.
    #[error("the engine was stopped: it took longer than {0:?}")]
    Deadline(Duration),
    /// It crashed.
    #[error("the engine crashed: {0}")]
    Trapped(String),
    /// The server is told to end.
    #[error("the server is being ended")]
    Ending,
    /// No slot became free in time.
    #[error("the server is busy: no engine slot became free within {0:?}")]
    Busy(Duration),
    /// As many jobs wait for a slot as may.
    #[error("the server is busy: {0} jobs are waiting already, try again later")]
    Crowded(usize),
    /// As many jobs of this user wait for a slot as may.
    #[error("{0} of your jobs are waiting already: try again when some of them are done")]
    UserCrowded(usize),
}

/// All engines of a process.
pub struct Engines {
    sandbox: Arc<Sandbox>,
    folder: Dir,
    grants: Grants,
    admitted: BTreeMap<String, Arc<Component>>,
    pending: Vec<Pending>,
    refused: Vec<Refused>,
}

/// An admitted component: its code, and what it says of itself.
pub struct Component {
    /// The file it was read from.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// What it says of itself; checked, and without what is not granted.
    pub description: Description,
    /// All that it declares.
    pub declared: BTreeSet<Right>,
    /// What it may do.
    pub grant: Grant,
    pre: Arc<Pre>,
}

/// The settings of one side, generating or editing, and the upstreams that follow from them.
#[derive(Clone, Debug, Default)]
pub struct ResolvedSettings {
    /// As far as they are set.
    pub settings: EngineSettings,
    /// What the engine may reach.
    pub upstreams: Arc<Upstreams>,
    /// Finds the settings' secrets.
    pub redactor: Arc<Redactor>,
    /// Why the engine cannot work with these settings, where it says so itself.
    pub problem: Option<Problem>,
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its key.
    pub key: String,
    /// For the operator: which variable set it, what is wrong, and what was expected.
    pub message: String,
}

/// A file that was not admitted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its name in the folder of engines.
    pub file: String,
    /// One sentence: what is wrong, and what to do.
    pub reason: String,
}

/// What all components share.
struct Sandbox {
    engine: Engine,
    linker: Linker<State>,
    compiled: Compiled,
    compiler: Compiler,
    compiles: Semaphore,
    slots: Slots,
    lanes: Lanes,
    audit: AuditLog,
    decoder: Decoder,
}

/// How engines are opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory: compiled code and grants.
    pub data: PathBuf,
    /// The directory of components.
    pub engines: PathBuf,
    /// Calls that run at once.
    pub slots: u32,
    /// Slots that one user's jobs may take.
    pub slots_per_user: u32,
    /// How components are compiled.
    pub compiler: Compiler,
    /// What an engine without a grant may do.
    pub first_use: FirstUse,
    /// Records refusals.
    pub audit: AuditLog,
    /// Limits how many images are decoded at once.
    pub decoder: Decoder,
}

impl Engines {
    /// Admits every component of a folder, within what is granted. What cannot be admitted is
    /// remembered with its reason, and what has to be granted first is [pending](Pending).
    ///
    /// Fails when a folder cannot be used.
    pub async fn open(options: &Options) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new(options)?);
        let folder = data_dir::open(&options.engines).with_context(|| {
            format!(
                "cannot read the folder of engines {}: set PINHOLE_ENGINES to the folder that holds them",
                options.engines.display()
            )
        })?;
        let mut opened = Self {
            sandbox,
            folder,
            grants: Grants::open(&options.data)?,
            admitted: BTreeMap::new(),
            pending: Vec::new(),
            refused: Vec::new(),
        };
        opened.admit_all(options.first_use).await?;
        Ok(opened)
    }

    /// The engine of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Component>> {
        self.admitted.get(name)
    }

    /// All admitted engines, by name.
    pub fn admitted(&self) -> impl Iterator<Item = &Arc<Component>> {
        self.admitted.values()
    }

    /// The components that wait for a grant.
    #[must_use]
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// What is granted to which engine.
    #[must_use]
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The files that were not admitted.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// How many slots are taken now, and how many jobs wait for one.
    #[must_use]
    pub fn load(&self) -> Load {
        self.sandbox.slots.load()
    }

    /// Waits until no engine runs any more, but not longer than this.
    pub async fn drain(&self, at_most: Duration) {
        let ended = self.sandbox.slots.all_free();
        tokio::time::timeout(at_most, ended).await.ok();
    }

    /// Makes one instance, asks it what it is, and drops it: what every job pays. For benchmarks.
    #[doc(hidden)]
    pub async fn instance(&self, component: &Component) -> Result<Description, Error> {
        call::describe_here(&self.sandbox, component).await
    }

    /// Makes images from a prompt, or from sources. Waits while all slots are taken.
    pub async fn make(
        &self,
        component: &Component,
        bound: &ResolvedSettings,
        control: &JobContext,
        limits: Limits,
        job: Job,
        edit: Option<Edit>,
    ) -> Result<Made, Error> {
        call::make(&self.sandbox, component, bound, control, limits, job, edit).await
    }

    /// The models that the engine's upstream offers.
    pub async fn models(
        &self,
        component: &Component,
        bound: &ResolvedSettings,
        control: &JobContext,
        limits: Limits,
    ) -> Result<Vec<Model>, Error> {
        call::models(&self.sandbox, component, bound, control, limits).await
    }

    /// Asks the engine whether these settings can work, and its upstream is there and accepts the
    /// credentials.
    pub async fn verify(
        &self,
        component: &Component,
        bound: &ResolvedSettings,
        control: &JobContext,
        limits: Limits,
    ) -> Result<(), Error> {
        call::verify(&self.sandbox, component, bound, control, limits).await
    }

    /// Has the engine check its settings, with nothing granted. What is wrong with them, if anything.
    pub async fn check_settings(
        &self,
        component: &Component,
        settings: &EngineSettings,
    ) -> Option<Problem> {
        admission::check_settings(&self.sandbox, component, settings).await
    }
}

impl Sandbox {
    fn new(options: &Options) -> Result<Self> {
        let engine = engine(options.slots)
            .map_err(startup)
            .context("cannot start wasmtime")?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(startup)?;
        ImageEngine::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(startup)?;
        tick(&engine)?;
        options.compiler.warn_of_what_is_missing();
        Ok(Self {
            compiled: Compiled::open(&options.data)?,
            compiler: options.compiler.clone(),
            compiles: Semaphore::new(MAX_COMPILES),
            slots: Slots::new(options.slots, options.slots_per_user),
            lanes: Lanes::new()?,
            audit: options.audit.clone(),
            decoder: options.decoder.clone(),
            engine,
            linker,
        })
    }
}

impl ErrorKind {
    /// Its name in `wit/engine.wit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::RateLimited => "rate-limited",
            Self::Blocked => "blocked",
            Self::NotFound => "not-found",
            Self::OutOfMemory => "out-of-memory",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Upstream => "upstream",
            Self::Protocol => "protocol",
        }
    }
}

impl Default for Abilities {
    /// One image at a time, from a prompt, and nothing else.
    fn default() -> Self {
        Self {
            edit: false,
            mask: false,
            progress: false,
            cancel: false,
            negative_prompt: false,
            seed: false,
            steps: false,
            max_count: 1,
            max_sources: 0,
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Engine {
            error: EngineError {
                kind: ErrorKind::Invalid,
                message: problem.message,
                code: None,
                field: Some(problem.key),
                retry_after_ms: None,
            },
            failure: None,
        }
    }
}

/// Wasmtime's errors have a type of their own.
fn startup(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

/// What code is compiled for, wherever that happens.
fn configuration() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20);
    config
}

/// The configuration that was measured; `ARCHITECTURE.md` says what for.
fn engine(slots: u32) -> wasmtime::Result<Engine> {
    let mut config = configuration();
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(slots)
            .total_core_instances(slots.saturating_mul(MAX_INSTANCES))
            // As many as all slots together may need: a greedy engine leaves the others theirs.
            .total_memories(slots.saturating_mul(MAX_MEMORIES))
            .total_tables(slots.saturating_mul(MAX_TABLES))
            .total_stacks(slots)
            .max_core_instances_per_component(MAX_INSTANCES)
            .max_memories_per_component(MAX_MEMORIES)
            .max_memories_per_module(MAX_MEMORIES)
            .max_tables_per_component(MAX_TABLES)
            .max_tables_per_module(MAX_TABLES)
            .max_memory_size(Limits::describe().memory_bytes)
            .table_elements(20_000)
            .max_core_instance_size(1 << 20)
            .max_component_instance_size(1 << 20)
            .max_unused_warm_slots(64)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(16 << 10)
            .pagemap_scan(wasmtime::Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        if let Ok(engine) = Engine::new(&config) {
            return Ok(engine);
        }
        tracing::warn!(
            "this machine has too little address space for {slots} pooled engine slots: instances are made on demand"
        );
    }
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// Counts time for running guests, on a thread of its own so that nothing delays it.
fn tick(engine: &Engine) -> Result<()> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of its own, with no runtime"
                )]
                std::thread::sleep(limits::TICK);
            }
        })
        .context("cannot start the epoch thread")?;
    Ok(())
}
