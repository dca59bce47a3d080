//! One call of an engine: a fresh instance, its limits, its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinError};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::contract::{Description, EngineError, ErrorKind, ImageEngine, Job, Model, SettingValue};
use super::job_context::JobContext;
use super::redaction::Echo;
use super::host_task::{Errands, Runner, errands};
use super::images::HeldImage;
use super::guest_runtime::Computed;
use super::limits::{Broken, Holding, Limits, Memory};
use super::output::{Made, clean, made, shown};
use super::queue::Crowded;
use super::{ResolvedSettings, Component, Error, Sandbox};
use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use crate::grant::Upstreams;
use pinhole_images::{Decoder, Image};
use pinhole_ground::metrics;
use pinhole_ground::text::plain;

/// Random bytes that WASI gives at once.
const MAX_RANDOM_BYTES: usize = 64 << 10;

/// Source pictures and a mask, as a guest holds them.
type Sources = (Vec<Resource<HeldImage>>, Option<Resource<HeldImage>>);

/// What an edit has besides its job.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Never empty.
    pub sources: Vec<Image>,
    /// Transparent where the first source may change.
    pub mask: Option<Image>,
}

/// Everything that host functions know about the call they serve.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) engine: String,
    audit: AuditLog,
    pub(crate) decoder: Decoder,
    pub(crate) control: JobContext,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) limits: Limits,
    /// When requests end.
    pub(crate) deadline: Instant,
    pub(crate) holding: Holding,
    /// Carries out what host functions wait for.
    pub(super) errands: Errands,
    /// Where sockets live: not on the guests' own runtime, which busy guests hold up.
    pub(crate) io: Handle,
    /// Keeps secrets out of what the guest reads and says.
    pub(super) echo: Echo,
    /// What the operator should know about the last request that failed.
    pub(crate) last_failure: Option<String>,
    pub(crate) log_bytes_left: usize,
    pub(crate) requests_left: u32,
    pub(super) sent_bytes_left: usize,
    /// One for each request under way, stream and WebSocket.
    pub(super) connections: Arc<Semaphore>,
    host_calls_left: u32,
    /// WASI was called when no call was left.
    overcalled: bool,
    pub(super) computed: Computed,
    /// For work of the host that takes long.
    pub(super) long: Handle,
    memory: Memory,
    wasi: WasiCtx,
}

impl State {
    pub(super) fn new(
        sandbox: &Sandbox,
        engine: &str,
        control: JobContext,
        bound: ResolvedSettings,
        limits: Limits,
    ) -> (Self, Runner) {
        let (errands, runner) = errands();
        let echo = Echo::new(bound.redactor, sandbox.audit.clone(), engine, &control.job);
        let mut table = ResourceTable::new();
        table.set_max_capacity(Guard::Handles.limit(limits.handles));
        let connections = Guard::Connections.limit(limits.connections);
        let random = Guard::RandomBytes.limit(MAX_RANDOM_BYTES);
        let state = Self {
            table,
            errands,
            engine: engine.to_owned(),
            audit: sandbox.audit.clone(),
            decoder: sandbox.decoder.clone(),
            control,
            upstreams: bound.upstreams,
            echo,
            limits,
            // Later than the call's own end, so that a request never ends by itself just when the
            // guest is cancelled, and what it then tells its upstream is not cut off.
            deadline: Instant::now() + limits.wall + limits.grace,
            holding: Holding::new(&limits),
            io: Handle::current(),
            last_failure: None,
            log_bytes_left: Guard::LogBytes.limit(limits.log_bytes),
            requests_left: u32_limit(Guard::Requests, limits.requests),
            sent_bytes_left: Guard::SentBytes.limit(limits.sent_bytes),
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            host_calls_left: u32_limit(Guard::HostCalls, limits.host_calls),
            overcalled: false,
            computed: Computed::default(),
            long: Handle::current(),
            memory: Memory::new(&limits),
            // No files, environment, arguments, standard streams, sockets or names.
            wasi: WasiCtx::builder().max_random_size(random as u64).build(),
        };
        (state, runner)
    }

    /// Makes the pictures of an edit the guest's.
    fn take_in(&mut self, edit: Edit) -> wasmtime::Result<Sources> {
        let sources = edit.sources.into_iter().map(|image| self.hold(image));
        let sources = sources.collect::<Result<_, _>>()?;
        let mask = edit.mask.map(|image| self.hold(image)).transpose()?;
        Ok((sources, mask))
    }

    /// Every host function begins with this.
    pub(crate) fn charge(&mut self) -> wasmtime::Result<()> {
        let left = self.host_calls_left.checked_sub(1);
        self.host_calls_left = left.ok_or(Broken::HostCalls(self.limits.host_calls))?;
        Ok(())
    }

    /// While a guest computes, it is asked every [`TICK`](super::limits::TICK).
    fn may_go_on(&self) -> Result<(), Broken> {
        if self.overcalled {
            return Err(Broken::HostCalls(self.limits.host_calls));
        }
        let limit = self.limits.running;
        match self.computed.so_far() > limit && Guard::RunningTime.holds() {
            true => Err(Broken::Running(limit)),
            false => Ok(()),
        }
    }

    /// Tells the operator what this call was refused.
    pub(super) fn refuse(&self, kind: RefusalKind, what: &str) {
        self.audit.record(&Event { kind, guard: None, engine: &self.engine, job: &self.control.job, message: what });
    }
}

fn u32_limit(check: Guard, limit: u32) -> u32 {
    u32::try_from(check.limit(limit as usize)).unwrap_or(u32::MAX)
}

impl super::contract::pinhole::engine::types::Host for State {}

impl WasiView for State {
    /// Every function of WASI begins with this.
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // It cannot fail: the guest is stopped when it computes next.
        if Guard::WasiCalls.holds() && self.charge().is_err() {
            self.overcalled = true;
        }
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// Asks a component what it is, without any grant.
pub(super) async fn describe(
    sandbox: &Arc<Sandbox>,
    file: &str,
    pre: &Arc<super::Pre>,
) -> Result<Description, Error> {
    let limits = Limits::describe();
    let control = JobContext::new("admission".to_owned());
    let (state, runner) = State::new(sandbox, file, control.clone(), ResolvedSettings::default(), limits);
    let deadline = Instant::now() + limits.wall;
    let computed = state.computed.clone();
    let (sandbox_, pre) = (sandbox.clone(), pre.clone());
    let call = async move { ask_describe(&sandbox_, &pre, state).await };
    let call = (runner.beside(computed.clone(), call).boxed(), computed);
    let described = supervise(sandbox, &control, &limits, deadline, call).await;
    noted(sandbox, file, &control, described)
}

/// The same in the caller's own task, so that nothing but the instance is measured.
pub(super) async fn describe_here(
    sandbox: &Sandbox,
    component: &Component,
) -> Result<Description, Error> {
    let control = JobContext::new("benchmark".to_owned());
    let limits = Limits::describe();
    let (state, runner) = State::new(sandbox, &component.file, control, ResolvedSettings::default(), limits);
    let computed = state.computed.clone();
    let call = ask_describe(sandbox, &component.pre, state);
    runner.beside(computed, call).await
}

async fn ask_describe(
    sandbox: &Sandbox,
    pre: &super::Pre,
    state: State,
) -> Result<Description, Error> {
    let (mut store, engine) = instantiate(sandbox, pre, state).await?;
    let described = engine.pinhole_engine_engine().call_describe(&mut store);
    described.await.map_err(|error| trapped(&error))
}

/// Runs one generation or edit.
pub(super) async fn make(
    sandbox: &Arc<Sandbox>,
    component: &Component,
    bound: &ResolvedSettings,
    control: &JobContext,
    limits: Limits,
    job: Job,
    edit: Option<Edit>,
) -> Result<Made, Error> {
    let max_count = component.description.abilities.max_count.max(job.count) as usize;
    let texts = [
        Some(&job.prompt),
        job.negative_prompt.as_ref(),
        job.model.as_ref(),
    ];
    let length = texts
        .into_iter()
        .flatten()
        .chain([&job.parameters])
        .map(String::len);
    control.usage.count_entered(length.sum());
    run(
        sandbox,
        component,
        bound,
        control,
        limits,
        move |store, engine, settings| {
            Box::pin(async move {
                let exports = engine.pinhole_engine_engine();
                let output = match edit {
                    None => exports.call_generate(&mut *store, &job, settings).await,
                    Some(edit) => {
                        let held = store.data_mut().take_in(edit);
                        let (sources, mask) = held.map_err(|error| trapped(&error))?;
                        let edit = exports.call_edit(&mut *store, &job, &sources, mask, settings);
                        edit.await
                    }
                };
                let output = answered(store, output)?;
                made(store, output, max_count)
            })
        },
    )
    .await
}

/// Asks for the models that the upstream offers.
pub(super) async fn models(
    sandbox: &Arc<Sandbox>,
    component: &Component,
    bound: &ResolvedSettings,
    control: &JobContext,
    limits: Limits,
) -> Result<Vec<Model>, Error> {
    run(
        sandbox,
        component,
        bound,
        control,
        limits,
        move |store, engine, settings| {
            Box::pin(async move {
                let exports = engine.pinhole_engine_engine();
                let models = exports.call_models(&mut *store, settings).await;
                shown(answered(store, models)?, &store.data().echo)
            })
        },
    )
    .await
}

/// Asks whether the settings can work, and, where anything is granted, whether the upstream accepts
/// the credentials.
pub(super) async fn verify(
    sandbox: &Arc<Sandbox>,
    component: &Component,
    bound: &ResolvedSettings,
    control: &JobContext,
    limits: Limits,
) -> Result<(), Error> {
    run(
        sandbox,
        component,
        bound,
        control,
        limits,
        move |store, engine, settings| {
            Box::pin(async move {
                let exports = engine.pinhole_engine_engine();
                let verified = exports.call_verify(&mut *store, settings).await;
                answered(store, verified)
            })
        },
    )
    .await
}

/// Makes an instance with what is bound, asks it, and drops it.
async fn run<T: Send + 'static>(
    sandbox: &Arc<Sandbox>,
    component: &Component,
    bound: &ResolvedSettings,
    control: &JobContext,
    limits: Limits,
    ask: impl for<'a> FnOnce(
        &'a mut Store<State>,
        &'a ImageEngine,
        &'a [SettingValue],
    ) -> BoxFuture<'a, Result<T, Error>>
    + Send
    + 'static,
) -> Result<T, Error> {
    let name = &component.description.name;
    let (mut state, runner) = State::new(sandbox, name, control.clone(), bound.clone(), limits);
    state.long = sandbox.lanes.long().clone();
    let computed = state.computed.clone();
    let settings = bound.settings.values();
    let length = settings
        .iter()
        .map(|pair| pair.key.len() + pair.value.len());
    control.usage.count_entered(length.sum());
    let deadline = Instant::now() + limits.wall;
    let (sandbox_, pre) = (sandbox.clone(), component.pre.clone());
    let call = async move {
        let (mut store, engine) = instantiate(&sandbox_, &pre, state).await?;
        ask(&mut store, &engine, &settings).await
    };
    let call = (
        runner.beside(computed.clone(), call).boxed(),
        computed.clone(),
    );
    let ended = supervise(sandbox, control, &limits, deadline, call).await;
    metrics::count_guest_time(name, computed.so_far());
    noted(sandbox, name, control, ended)
}

/// Tells the operator of a call that was ended, or not even begun.
fn noted<T>(sandbox: &Sandbox, engine: &str, control: &JobContext, ended: Result<T, Error>) -> Result<T, Error> {
    let kind = match &ended {
        Err(Error::Limit(_) | Error::Deadline(_) | Error::Crowded(_) | Error::UserCrowded(_)) => {
            RefusalKind::Limit
        }
        Err(Error::Trapped(_)) => RefusalKind::Crash,
        _ => return ended,
    };
    if let Err(error) = &ended {
        let what = format!("engine {engine}: {error}");
        sandbox.audit.record(&Event { kind, guard: None, engine, job: &control.job, message: &what });
    }
    ended
}

/// What the guest answered, or what ended it.
fn answered<T>(
    store: &mut Store<State>,
    result: wasmtime::Result<Result<T, EngineError>>,
) -> Result<T, Error> {
    let state = store.data_mut();
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::Engine {
            error: clean(error, &state.echo),
            failure: state.last_failure.take(),
        }),
        Err(error) => Err(trapped(&error)),
    }
}

async fn instantiate(
    sandbox: &Sandbox,
    pre: &super::Pre,
    state: State,
) -> Result<(Store<State>, ImageEngine), Error> {
    let mut store = bounded(sandbox, state);
    let engine = pre
        .instantiate_async(&mut store)
        .await
        .map_err(|error| trapped(&error))?;
    Ok((store, engine))
}

/// A store in which the limits of the call hold.
pub(super) fn bounded(sandbox: &Sandbox, state: State) -> Store<State> {
    let limits = state.limits;
    let mut store = Store::new(&sandbox.engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(Guard::CopiedBytes.limit(limits.copied_bytes));
    store.epoch_deadline_callback(|context| {
        context.data().may_go_on()?;
        Ok(UpdateDeadline::Yield(1))
    });
    store.set_epoch_deadline(1);
    store
}

/// A call, and what counts how long it computes.
type Call<T> = (BoxFuture<'static, Result<T, Error>>, Computed);

/// Waits for a free slot, runs the call on the guests' runtime, and ends it when its time is over.
async fn supervise<T: Send + 'static>(
    sandbox: &Arc<Sandbox>,
    control: &JobContext,
    limits: &Limits,
    deadline: Instant,
    (call, computed): Call<T>,
) -> Result<T, Error> {
    let slot = sandbox.slots.acquire(control.user.as_deref());
    let slot = tokio::select! {
        slot = timeout_at(deadline, slot) => slot,
        () = control.cancel.cancelled() => return Err(Error::cancelled()),
    };
    let slot = match slot {
        Ok(Ok(slot)) => slot,
        Ok(Err(Crowded::User(waiting))) => return Err(Error::UserCrowded(waiting)),
        Ok(Err(Crowded::All(waiting))) => return Err(Error::Crowded(waiting)),
        Err(_) => return Err(Error::Busy(limits.wall)),
    };
    let call = async move {
        let result = call.await;
        drop(slot);
        result
    };
    let mut task = sandbox.lanes.spawn(call.boxed(), computed);
    // The clock of a call that may take as long as it wants never comes to its end.
    let deadline = match Guard::WallTime.holds() {
        true => deadline,
        false => deadline + limits.wall * 1000,
    };
    let running = Running {
        guest: task.abort_handle(),
        cancel: control.cancel.clone(),
        grace: limits.grace,
        guests: sandbox.lanes.quick().clone(),
    };
    let ended = tokio::select! {
        ended = timeout_at(deadline, &mut task) => ended,
        () = control.cancel.cancelled() => {
            let last = Instant::now() + limits.grace;
            let ended = timeout_at(last, &mut task).await;
            if ended.is_err() {
                running.guest.abort();
                return Err(Error::cancelled());
            }
            ended
        }
    };
    match ended {
        Ok(Ok(Ok(result))) => result,
        Ok(Ok(Err(crash)) | Err(crash)) => Err(Error::Trapped(failed(&crash))),
        Err(_) => Err(Error::Deadline(limits.wall)),
    }
}

/// A guest that runs. When nobody waits for it any more, because the caller went away or its time
/// is over, it is cancelled and has a short while to tell its upstream.
struct Running {
    guest: AbortHandle,
    cancel: CancellationToken,
    grace: Duration,
    guests: Handle,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.guest.is_finished() {
            return;
        }
        self.cancel.cancel();
        let (guest, grace) = (self.guest.clone(), self.grace);
        self.guests.spawn(async move {
            tokio::time::sleep(grace).await;
            guest.abort();
        });
    }
}

/// A fault of ours, whose own words may quote what a guest or an upstream sent.
pub(super) fn failed(crash: &JoinError) -> String {
    match crash.is_panic() {
        true => "the host failed; its log says where".to_owned(),
        false => "the host gave it up".to_owned(),
    }
}

/// What ended a guest that did not return.
fn trapped(error: &wasmtime::Error) -> Error {
    if let Some(broken) = error.downcast_ref::<Broken>() {
        return Error::Limit(broken.to_string());
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Error::Limit("it holds more handles than a job may".to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => {
            Error::Trapped("it panicked; its log line says where".to_owned())
        }
        Some(trap) => Error::Trapped(trap.to_string()),
        None => Error::Trapped(plain(&error.root_cause().to_string(), 500)),
    }
}

impl Error {
    fn cancelled() -> Self {
        Self::of(
            ErrorKind::Cancelled,
            "the job was cancelled".to_owned(),
            None,
        )
    }

    pub(crate) fn protocol(message: String) -> Self {
        Self::of(ErrorKind::Protocol, message, None)
    }

    /// An error that the host found in an engine's stead.
    pub(crate) fn of(kind: ErrorKind, message: String, failure: Option<String>) -> Self {
        Self::Engine {
            error: EngineError {
                kind,
                message,
                code: None,
                field: None,
                retry_after_ms: None,
            },
            failure,
        }
    }
}
