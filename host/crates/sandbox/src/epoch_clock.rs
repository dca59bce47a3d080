//! Time for guests: a thread that increments wasmtime's epoch every [`TICK`] while calls exist.
//!
//! An idle server needs no ticks, so the thread parks after the last call has ended. Without ticks a guest would
//! never be interrupted, so a store holds [`Ticking`] as long as it exists.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;

use anyhow::Context;
use wasmtime::{Engine, EngineWeak};

/// Interval at which a running guest is interrupted.
const TICK: Duration = Duration::from_millis(1);
/// Ticks after the last call until the thread parks, so that calls in quick succession do not wake it.
const IDLE_TICKS: u32 = 100;

/// The clock of one wasmtime engine. Clones share its thread. The default has none: no guest runs with it.
#[derive(Clone, Debug, Default)]
pub struct EpochClock(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Calls that need ticks.
    calls: AtomicUsize,
    is_parked: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The clock ticks while this exists.
#[derive(Debug)]
pub(crate) struct Ticking(EpochClock);

impl EpochClock {
    /// Starts the thread, so that no other work delays the ticks. It ends when the last clone is dropped.
    pub(crate) fn start(engine: &Engine) -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (weak, engine) = (Arc::downgrade(&shared), engine.weak());
        let thread = std::thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || tick(&weak, &engine))
            .context("cannot start the epoch thread")?;
        shared.thread.set(thread.thread().clone()).ok();
        Ok(Self(shared))
    }

    /// Ticks until the result is dropped.
    pub(crate) fn run(&self) -> Ticking {
        // The thread sets `is_parked` before it reads `calls`, so one of the two sees the other.
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.0.is_parked.load(Ordering::SeqCst) {
            self.0.wake();
        }
        Ticking(self.clone())
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(weak: &Weak<Shared>, engine: &EngineWeak) {
    let mut idle_ticks = 0;
    while let (Some(shared), Some(engine)) = (weak.upgrade(), engine.upgrade()) {
        engine.increment_epoch();
        drop(engine);
        let is_idle = shared.calls.load(Ordering::SeqCst) == 0;
        idle_ticks = if is_idle { idle_ticks + 1 } else { 0 };
        if idle_ticks < IDLE_TICKS {
            drop(shared);
            #[expect(
                clippy::disallowed_methods,
                reason = "this thread has no async runtime"
            )]
            std::thread::sleep(TICK);
            continue;
        }
        shared.is_parked.store(true, Ordering::SeqCst);
        let is_still_idle = shared.calls.load(Ordering::SeqCst) == 0;
        // Dropping the last clone wakes the thread, so it must not hold one while it is parked.
        drop(shared);
        if is_still_idle {
            std::thread::park();
        }
        if let Some(awake) = weak.upgrade() {
            awake.is_parked.store(false, Ordering::SeqCst);
        }
        idle_ticks = 0;
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Instance, Module, Store, Trap};

    use super::*;

    /// Runs an endless loop until the clock interrupts it.
    fn assert_interrupts(clock: &EpochClock, engine: &Engine) {
        let module = Module::new(
            engine,
            wat::parse_str("(module (func (export \"run\") (loop (br 0))))").unwrap(),
        );
        let _ticking = clock.run();
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(2);
        let instance = Instance::new(&mut store, &module.unwrap(), &[]).unwrap();
        let run = instance
            .get_typed_func::<(), ()>(&mut store, "run")
            .unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    }

    #[test]
    fn epoch_clock_ticks_again_after_it_was_parked() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = EpochClock::start(&engine).unwrap();
        assert_interrupts(&clock, &engine);
        while !clock.0.is_parked.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        assert_interrupts(&clock, &engine);
    }

    #[test]
    fn epoch_thread_ends_with_the_clock() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let clock = EpochClock::start(&engine).unwrap();
        let shared = Arc::downgrade(&clock.0);
        drop(clock);
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
