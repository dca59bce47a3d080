//! `Engines`: name to admitted component. The one door to wasm.

pub mod bindings;
mod admit;
mod body;
mod call;
mod compile;
mod compiled;
mod control;
mod document;
mod errand;
mod images;
mod job;
mod limits;
mod log;
mod outgoing;
mod sse;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::folder;
use crate::grant::Upstreams;
use crate::settings::EngineSettings;

use bindings::{
    Abilities, Description, EngineError, ErrorKind, ImageEngine, ImageEnginePre, Job, Model,
};
use call::State;
use compiled::Compiled;

pub use admit::MAX_COMPONENT_BYTES;
pub(crate) use admit::{MAX_COUNT, fits};
pub(crate) use call::plain;
pub use call::{Edit, MAX_MODEL_BYTES, Made, Produced};
pub use control::{Control, Progress, Usage};
pub use limits::Limits;

/// Engines in the folder; those that come after in alphabetical order are refused.
const MAX_FILES: usize = 256;

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
}

/// All engines of a process.
pub struct Engines {
    sandbox: Arc<Sandbox>,
    slots: u32,
    admitted: BTreeMap<String, Arc<Component>>,
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
    /// What it says of itself; checked.
    pub description: Description,
    pre: Arc<Pre>,
}

/// The settings of one side, generating or editing, and the upstreams that follow from them.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// As far as they are set.
    pub settings: EngineSettings,
    /// What the engine may reach.
    pub upstreams: Arc<Upstreams>,
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
    slots: Arc<Semaphore>,
    guests: Guests,
}

impl Engines {
    /// Admits every component of a folder. What cannot be admitted is remembered with its reason;
    /// of two engines with one name, the second file in alphabetical order is refused.
    ///
    /// `slots` is how many jobs run at once; more wait. Fails when a folder cannot be used.
    pub async fn open(engines: &Path, data: &Path, slots: u32) -> Result<Self> {
        let sandbox = Arc::new(Sandbox::new(data, slots)?);
        let mut opened = Self {
            sandbox,
            slots,
            admitted: BTreeMap::new(),
            refused: Vec::new(),
        };
        let named = || {
            format!(
                "cannot read the folder of engines {}: set PINHOLE_ENGINES to the folder that holds them",
                engines.display()
            )
        };
        let folder = folder::open(engines).with_context(named)?;
        let mut files = Vec::new();
        for entry in folder.entries().with_context(named)? {
            let name = entry.with_context(named)?.file_name();
            files.extend(
                name.to_str()
                    .filter(|name| name.ends_with(".wasm"))
                    .map(str::to_owned),
            );
        }
        files.sort();
        for file in files.drain(MAX_FILES.min(files.len())..) {
            let reason =
                format!("comes after {MAX_FILES} other engines, which is as many as there may be");
            opened.refused.push(Refused { file, reason });
        }
        for file in files {
            let admitted = admit::admit(&opened.sandbox, &folder, &file).await;
            if let Err(reason) = admitted.and_then(|component| opened.publish(component)) {
                tracing::warn!("engine file {file} is not admitted: it {reason}");
                opened.refused.push(Refused { file, reason });
            }
        }
        Ok(opened)
    }

    fn publish(&mut self, component: Component) -> Result<(), String> {
        let name = &component.description.name;
        if let Some(other) = self.admitted.get(name) {
            return Err(format!(
                "names its engine {name}, as {} already does",
                other.file
            ));
        }
        self.admitted.insert(name.clone(), Arc::new(component));
        Ok(())
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

    /// The files that were not admitted.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Waits until no engine runs any more, but not longer than this.
    pub async fn drain(&self, at_most: Duration) {
        let all = self.sandbox.slots.acquire_many(self.slots);
        tokio::time::timeout(at_most, all).await.ok();
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
        bound: &Bound,
        control: &Control,
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
        bound: &Bound,
        control: &Control,
        limits: Limits,
    ) -> Result<Vec<Model>, Error> {
        call::models(&self.sandbox, component, bound, control, limits).await
    }

    /// Asks the engine whether these settings can work, and its upstream is there and accepts the
    /// credentials.
    pub async fn verify(
        &self,
        component: &Component,
        bound: &Bound,
        control: &Control,
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
        admit::check_settings(&self.sandbox, component, settings).await
    }
}

impl Sandbox {
    fn new(data: &Path, slots: u32) -> Result<Self> {
        let engine = engine(slots)
            .map_err(startup)
            .context("cannot start wasmtime")?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(startup)?;
        ImageEngine::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(startup)?;
        tick(&engine)?;
        Ok(Self {
            compiled: Compiled::open(data)?,
            slots: Arc::new(Semaphore::new(slots as usize)),
            guests: Guests::new()?,
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

/// The configuration that was measured; `ARCHITECTURE.md` says what for.
fn engine(slots: u32) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(slots)
            .total_core_instances(slots.saturating_mul(40))
            .total_memories(slots.saturating_mul(3))
            .total_tables(slots.saturating_mul(4))
            .total_stacks(slots)
            .max_core_instances_per_component(40)
            .max_memories_per_component(4)
            .max_tables_per_component(16)
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

/// The runtime that guests run on: busy guests delay each other, never the server.
struct Guests(Option<Runtime>);

impl Guests {
    fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("guest")
            .enable_all()
            .build()
            .context("cannot start the guests' runtime")?;
        Ok(Self(Some(runtime)))
    }
}

impl std::ops::Deref for Guests {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        match &self.0 {
            Some(runtime) => runtime,
            None => unreachable!("the runtime is taken only when dropped"),
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // Waiting for guests is not possible where a server is being dropped: let them end alone.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
