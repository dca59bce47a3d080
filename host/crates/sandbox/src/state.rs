//! The state of a call: the data of its wasmtime store, which every host function can access.
//!
//! The fields are grouped by purpose: [`CallBudget`] counts CPU time and host calls, [`MemoryBudget`] the bytes
//! that the host holds, [`Network`] requests; [`GuestLog`] has the guest's lines; [`CallRedactor`] removes
//! secrets.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::budget::CallBudget;
use crate::call_usage::CallUsage;
use crate::contract::pinhole::engine::types;
use crate::cpu_meter::{CpuMeter, LastComputing};
use crate::epoch_clock::{EpochClock, Ticking};
use crate::grant::{ImageHostSetting, Upstreams};
use crate::guest_log::{EngineLog, GuestLog, GuestStream, LogSource, StandardStream};
use crate::guest_memory::GuestMemory;
use crate::host_task::{HostTaskDriver, HostTasks};
use crate::job_context::JobContext;
use crate::limits::Limits;
use crate::memory_budget::MemoryBudget;
use crate::network::Network;
use crate::orphan_request::Place;
use crate::redaction::CallRedactor;
use crate::traffic_recorder::CallRecorder;
use pinhole_egress::Redactor;
use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::memory::MemoryFull;
use pinhole_images::Decoder;

/// Random bytes that WASI returns at once.
const MAX_RANDOM_BYTES: usize = 64 << 10;

/// What a call starts with.
pub struct CallSetup<'a> {
    /// The engine's name for logs. Until the component is admitted, its file name.
    pub engine: &'a str,
    /// The job that the call belongs to.
    pub context: JobContext,
    /// The upstreams that the engine can reach.
    pub upstreams: Arc<Upstreams>,
    /// The operator's list of hosts from which images may be fetched.
    pub image_hosts: Arc<ImageHostSetting>,
    /// Finds the secrets of the engine's settings.
    pub redactor: Arc<Redactor>,
    /// The limits of the call.
    pub limits: Limits,
    /// Records refusals.
    pub audit: AuditLog,
    /// The log of all calls of the engine.
    pub engine_log: Arc<EngineLog>,
    /// Counts what the call uses.
    pub call_usage: Arc<CallUsage>,
    /// Limits how many images are decoded at once. The call's memory counts in the decoder's budget.
    pub decoder: Decoder,
    /// When a call of the component has computed.
    pub last_computing: LastComputing,
    /// Interrupts the guest.
    pub epochs: EpochClock,
}

/// The state of a call.
pub struct State {
    pub(crate) table: ResourceTable,
    pub(crate) engine: String,
    pub(crate) context: JobContext,
    pub(crate) limits: Limits,
    pub(crate) budget: CallBudget,
    pub(crate) memory: MemoryBudget,
    pub(crate) network: Network,
    pub(crate) redactor: CallRedactor,
    pub(crate) log: GuestLog,
    pub(crate) decoder: Decoder,
    pub(crate) call_usage: Arc<CallUsage>,
    /// The call's place, if a request may hold it after the job was cancelled.
    pub(crate) place: Option<Place>,
    pub(crate) recorder: Option<Arc<CallRecorder>>,
    /// The guest knows that the job is cancelled: a host function reported it. Its requests may stop the upstream's work.
    pub(crate) knows_cancel: bool,
    audit: AuditLog,
    epochs: EpochClock,
    /// Set as long as the store exists.
    ticking: Option<Ticking>,
    guest_memory: GuestMemory,
    wasi: WasiCtx,
}

impl State {
    /// The state of a new call, and the driver of its host tasks. Call it on a Tokio runtime, which then runs
    /// the call's sockets.
    #[must_use]
    pub fn new(setup: CallSetup<'_>) -> (Self, HostTaskDriver) {
        let CallSetup {
            engine,
            context,
            limits,
            audit,
            ..
        } = setup;
        let share = setup.decoder.memory().of(context.user.as_deref());
        let (host_tasks, driver) = HostTasks::new();
        let mut table = ResourceTable::new();
        table.set_max_capacity(Guard::Handles.limit(limits.handles));
        let max_random_bytes = Guard::RandomBytes.limit(MAX_RANDOM_BYTES);
        let redactor =
            || CallRedactor::new(setup.redactor.clone(), audit.clone(), engine, &context);
        let source = LogSource {
            engine: engine.to_owned(),
            context: context.clone(),
            redactor: redactor(),
            audit: audit.clone(),
            engine_log: setup.engine_log,
        };
        let log = GuestLog::new(source, limits.log_bytes);
        let standard_stream = |stream| GuestStream {
            log: log.clone(),
            stream,
        };
        let state = Self {
            table,
            engine: engine.to_owned(),
            budget: CallBudget::new(&limits, setup.last_computing),
            memory: MemoryBudget::new(&limits, share.clone()),
            network: Network::new(
                engine,
                setup.upstreams,
                setup.image_hosts,
                host_tasks,
                &limits,
            ),
            redactor: redactor(),
            decoder: setup.decoder,
            call_usage: setup.call_usage.clone(),
            place: None,
            recorder: context
                .recorder
                .as_ref()
                .map(|it| it.of_call(&context.job, setup.redactor.clone())),
            knows_cancel: false,
            epochs: setup.epochs,
            ticking: None,
            guest_memory: GuestMemory::new(&limits, share.job(), setup.call_usage),
            // Without files, environment, arguments, standard input, sockets and name resolution.
            wasi: WasiCtx::builder()
                .max_random_size(max_random_bytes as u64)
                .stdout(standard_stream(StandardStream::Output))
                .stderr(standard_stream(StandardStream::Error))
                .build(),
            log,
            context,
            limits,
            audit,
        };
        if state.context.queue_time.is_none() {
            state.network.begin();
        }
        (state, driver)
    }

    /// Waits for the memory that the guest starts with.
    pub(crate) async fn start_memory(&mut self) -> Result<(), MemoryFull> {
        self.guest_memory.start().await
    }

    /// The meter of the call's CPU time.
    #[must_use]
    pub fn cpu_meter(&self) -> CpuMeter {
        self.budget.meter.clone()
    }

    /// A store with this state that enforces the limits of the call.
    #[must_use]
    pub fn into_store(mut self, engine: &Engine) -> Store<Self> {
        self.ticking = Some(self.epochs.run());
        let copied_bytes = Guard::CopiedBytes.limit(self.limits.copied_bytes);
        let mut store = Store::new(engine, self);
        store.limiter(|state| &mut state.guest_memory);
        store.set_hostcall_fuel(copied_bytes);
        store.epoch_deadline_callback(|context| {
            let budget = &context.data().budget;
            budget.check_running()?;
            // After the guest has waited, its first tick is overdue although it has not computed.
            if budget.meter.is_slice_used() {
                return Ok(UpdateDeadline::Yield(1));
            }
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        store
    }

    /// Records a refusal in the audit log.
    pub(crate) fn record(&self, kind: RefusalKind, refusal: &Refusal) {
        self.audit.record(&Event {
            kind,
            guard: refusal.guard,
            actor: self.context.actor(),
            engine: &self.engine,
            job: &self.context.job,
            message: &refusal.reason,
        });
    }
}

impl types::Host for State {}

impl WasiView for State {
    /// Every WASI function calls this first.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.budget.charge_wasi();
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
