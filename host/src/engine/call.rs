//! One call of an engine: a fresh instance, its limits, its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::{
    Description, EngineError, ErrorKind, ImageEngine, Job, Model, Picture, SettingValue,
};
use super::control::Control;
use super::errand::{Errands, Runner, errands};
use super::images::HeldImage;
use super::limits::{Broken, Holding, Limits, Memory, TICK};
use super::{Bound, Component, Error, Sandbox};
use crate::grant::Upstreams;
use crate::images::Image;
use crate::settings::EngineSettings;

/// Models that an engine may list.
const MAX_MODELS: usize = 10_000;
/// Length of a model's name, in bytes.
pub const MAX_MODEL_BYTES: usize = 512;

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

/// What an engine made.
#[derive(Clone, Debug)]
pub struct Made {
    /// In the engine's order; at least one.
    pub pictures: Vec<Produced>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, seeds, upstream ids.
    pub details: String,
}

/// One picture that an engine made.
#[derive(Clone, Debug)]
pub enum Produced {
    /// Checked and in memory.
    Held(Image),
    /// Still at an address that the host has to fetch.
    Address(String),
}

/// Everything that host functions know about the call they serve.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) engine: String,
    pub(crate) control: Control,
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) limits: Limits,
    /// When requests end.
    pub(crate) deadline: Instant,
    pub(crate) holding: Holding,
    /// Carries out what host functions wait for.
    pub(super) errands: Errands,
    /// Where sockets live: not on the guests' own runtime, which busy guests hold up.
    pub(crate) io: Handle,
    /// For keeping secrets out of what the guest says.
    settings: EngineSettings,
    /// What the operator should know about the last request that failed.
    pub(crate) last_failure: Option<String>,
    pub(crate) log_bytes_left: usize,
    pub(crate) requests_left: u32,
    host_calls_left: u32,
    memory: Memory,
    wasi: WasiCtx,
}

impl State {
    pub(super) fn new(
        engine: &str,
        control: Control,
        bound: Bound,
        limits: Limits,
    ) -> (Self, Runner) {
        let (errands, runner) = errands();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let state = Self {
            table,
            errands,
            engine: engine.to_owned(),
            control,
            upstreams: bound.upstreams,
            settings: bound.settings,
            limits,
            // Later than the call's own end, so that a request never ends by itself just when the
            // guest is cancelled, and what it then tells its upstream is not cut off.
            deadline: Instant::now() + limits.wall + limits.grace,
            holding: Holding::new(&limits),
            io: Handle::current(),
            last_failure: None,
            log_bytes_left: limits.log_bytes,
            requests_left: limits.requests,
            host_calls_left: limits.host_calls,
            memory: Memory::new(&limits),
            // No files, environment, arguments, standard streams, sockets or names.
            wasi: WasiCtx::builder().build(),
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
}

impl super::bindings::pinhole::engine::types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
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
    let control = Control::new("admission".to_owned());
    let (state, runner) = State::new(file, control.clone(), Bound::default(), limits);
    let deadline = Instant::now() + limits.wall;
    let (sandbox_, pre) = (sandbox.clone(), pre.clone());
    let call = async move { ask_describe(&sandbox_, &pre, state).await };
    let call = Box::pin(runner.beside(call));
    supervise(sandbox, &control, &limits, deadline, call).await
}

/// The same in the caller's own task, so that nothing but the instance is measured.
pub(super) async fn describe_here(
    sandbox: &Sandbox,
    component: &Component,
) -> Result<Description, Error> {
    let control = Control::new("benchmark".to_owned());
    let limits = Limits::describe();
    let (state, _) = State::new(&component.file, control, Bound::default(), limits);
    ask_describe(sandbox, &component.pre, state).await
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
    bound: &Bound,
    control: &Control,
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
    bound: &Bound,
    control: &Control,
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
                shown(answered(store, models)?)
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
    bound: &Bound,
    control: &Control,
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
    bound: &Bound,
    control: &Control,
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
    let (state, runner) = State::new(name, control.clone(), bound.clone(), limits);
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
    let call = Box::pin(runner.beside(call));
    supervise(sandbox, control, &limits, deadline, call).await
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
            error: clean(error, &state.settings),
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
    store.set_hostcall_fuel(limits.copied_bytes);
    let mut ticks_left = limits.running.as_millis() / TICK.as_millis();
    store.epoch_deadline_callback(move |_| {
        ticks_left = ticks_left.saturating_sub(1);
        match ticks_left {
            0 => Err(Broken::Running(limits.running).into()),
            _ => Ok(UpdateDeadline::Yield(1)),
        }
    });
    store.set_epoch_deadline(1);
    store
}

/// Waits for a free slot, runs the call on the guests' runtime, and ends it when its time is over.
async fn supervise<T: Send + 'static>(
    sandbox: &Arc<Sandbox>,
    control: &Control,
    limits: &Limits,
    deadline: Instant,
    call: BoxFuture<'static, Result<T, Error>>,
) -> Result<T, Error> {
    let slot = sandbox.slots.clone().acquire_owned();
    let slot = tokio::select! {
        slot = timeout_at(deadline, slot) => slot,
        () = control.cancel.cancelled() => return Err(Error::cancelled()),
    };
    let Ok(Ok(slot)) = slot else {
        return Err(Error::Busy(limits.wall));
    };
    let mut task = sandbox.guests.spawn(async move {
        let result = call.await;
        drop(slot);
        result
    });
    let running = Running {
        guest: task.abort_handle(),
        cancel: control.cancel.clone(),
        grace: limits.grace,
        guests: sandbox.guests.handle().clone(),
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
        Ok(Ok(result)) => result,
        Ok(Err(crash)) => Err(Error::Trapped(format!("the host failed: {crash}"))),
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

fn made(
    store: &mut Store<State>,
    output: super::bindings::Output,
    max_count: usize,
) -> Result<Made, Error> {
    /// Length of what an engine tells of its pictures, as JSON, in bytes.
    const MAX_DETAILS_BYTES: usize = 64 << 10;
    let protocol = |message: String| Err(Error::protocol(message));
    match output.pictures.len() {
        0 => return protocol("the engine gave no picture and no reason".to_owned()),
        given if given > max_count => {
            return protocol(format!(
                "the engine gave {given} pictures, {max_count} at most were asked for"
            ));
        }
        _ => {}
    }
    if output.details.len() > MAX_DETAILS_BYTES {
        return protocol(format!(
            "the engine's details are longer than {MAX_DETAILS_BYTES} bytes"
        ));
    }
    let mut pictures = Vec::new();
    for picture in output.pictures {
        pictures.push(match picture {
            Picture::Address(address) => Produced::Address(address),
            Picture::Held(handle) => {
                let held = store.data_mut().table.delete(handle);
                Produced::Held(
                    held.map_err(|error| Error::protocol(error.to_string()))?
                        .image,
                )
            }
        });
    }
    Ok(Made {
        pictures,
        revised_prompt: output.revised_prompt.map(|text| plain(&text, 8 << 10)),
        details: output.details,
    })
}

/// A list of models that a person can be shown.
fn shown(mut models: Vec<Model>) -> Result<Vec<Model>, Error> {
    if models.len() > MAX_MODELS {
        let message = format!("the engine lists more than {MAX_MODELS} models");
        return Err(Error::protocol(message));
    }
    for model in &mut models {
        if model.id.len() > MAX_MODEL_BYTES || model.id.contains(char::is_control) {
            return Err(Error::protocol(
                "the engine lists a model whose name no job could carry".to_owned(),
            ));
        }
        model.name = plain(&model.name, MAX_MODEL_BYTES);
    }
    Ok(models)
}

/// An engine's error with texts that a person can be shown: upstreams may repeat a secret in them.
fn clean(mut error: EngineError, settings: &EngineSettings) -> EngineError {
    let shown = |text: &str, max| plain(&settings.without_secrets(text), max);
    error.message = shown(&error.message, 2 << 10);
    error.code = error.code.map(|code| shown(&code, 100));
    error.field = error.field.map(|field| shown(&field, 100));
    error
}

/// Text from outside, cut to `max` bytes and without control characters.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let text = text.get(..text.floor_char_boundary(max)).unwrap_or(text);
    // Besides control characters, those that turn the direction of a line round.
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if hidden(c) { ' ' } else { c })
        .collect()
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
