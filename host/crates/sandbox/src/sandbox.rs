//! What all components share: wasmtime, the compiler, the slots and the guest runtimes.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::fair_queue::FairQueue;
use pinhole_images::Decoder;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::compile::{Compiler, MAX_COMPILES};
use crate::compiled_store::CompiledStore;
use crate::contract::ImageEngineWithExplain;
use crate::epoch_clock::EpochClock;
use crate::guest_runtime::GuestRuntimes;
use crate::queue::new_queue;
use crate::state::State;
use crate::wasmtime_engine::new_engine;

/// How [`Engines`](crate::Engines) are opened.
#[derive(Clone)]
pub struct Options {
    /// The data directory, for compiled code.
    pub data: PathBuf,
    /// Another directory for compiled code.
    pub cache: Option<PathBuf>,
    /// Calls that run at the same time.
    pub slots: u32,
    /// Slots that the jobs of one user may occupy.
    pub slots_per_user: u32,
    pub compiler: Compiler,
    /// Records refusals.
    pub audit: AuditLog,
    /// Decodes images, a limited number at the same time.
    pub decoder: Decoder,
}

/// What all components share.
pub struct Sandbox {
    pub engine: Engine,
    pub linker: Linker<State>,
    pub(crate) compiled: CompiledStore,
    pub(crate) compiler: Compiler,
    /// Permits for compilations that run at the same time.
    pub(crate) compiles: Arc<Semaphore>,
    /// The calls that run, and those that wait for a slot.
    pub(crate) queue: FairQueue,
    pub(crate) guest_runtimes: Arc<GuestRuntimes>,
    pub epochs: EpochClock,
    pub(crate) audit: AuditLog,
    pub(crate) decoder: Decoder,
}

impl Sandbox {
    /// Starts wasmtime and the guest runtimes.
    pub fn new(options: &Options) -> Result<Self> {
        let engine = new_engine(options.slots)
            .map_err(to_anyhow)
            .context("cannot start wasmtime")?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(to_anyhow)?;
        ImageEngineWithExplain::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(to_anyhow)?;
        options.compiler.warn_if_unconfined();
        Ok(Self {
            compiled: CompiledStore::open(options.cache.as_ref().unwrap_or(&options.data))?,
            compiler: options.compiler.clone(),
            compiles: Arc::new(Semaphore::new(MAX_COMPILES)),
            queue: new_queue(options.slots, options.slots_per_user),
            guest_runtimes: Arc::new(GuestRuntimes::new()?),
            epochs: EpochClock::start(&engine)?,
            audit: options.audit.clone(),
            decoder: options.decoder.clone(),
            engine,
            linker,
        })
    }
}

/// Wasmtime has an error type of its own.
fn to_anyhow(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
