//! Prometheus metrics.
//!
//! Counting starts with [`Metrics::install`]. Every label has a closed set of values: text of an engine,
//! an upstream or a client never becomes a label. `docs/guides/operating.md` lists the metrics.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::memory::ProcessMemory;

const REFUSALS: &str = "pinhole_refusals_total";
const AUDIT_DROPPED: &str = "pinhole_audit_lines_dropped_total";
const JOBS: &str = "pinhole_jobs_total";
const GUEST_TIME: &str = "pinhole_guest_milliseconds_total";
const COMPILES: &str = "pinhole_compiles_total";
const COMPILE_TIME: &str = "pinhole_compile_milliseconds_total";
const PICTURES: &str = "pinhole_pictures_decoded_total";
const SLOTS_USED: &str = "pinhole_slots_used";
const SLOTS_WAITING: &str = "pinhole_slots_waiting";
const MEMORY_HELD: &str = "pinhole_memory_held_bytes";
const MEMORY_LIMIT: &str = "pinhole_memory_limit_bytes";

/// How busy the engine slots are.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub used: usize,
    /// Jobs that wait for a slot.
    pub waiting: usize,
}

/// The recorder, installed once in a process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder. `refusal_kinds` are the label values that start at zero.
    ///
    /// Fails if the process has a recorder already.
    pub fn install(refusal_kinds: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let handle = PrometheusBuilder::new()
            .install_recorder()
            .context("cannot install the metrics recorder")?;
        describe_counter!(REFUSALS, "Refusals by kind, as in the audit log");
        describe_counter!(
            AUDIT_DROPPED,
            "Refusals by kind without a line of their own in the audit log"
        );
        describe_counter!(JOBS, "Finished jobs by engine and outcome");
        describe_counter!(
            GUEST_TIME,
            "CPU time of engines in milliseconds, without waiting"
        );
        describe_counter!(COMPILES, "Compiled components by outcome");
        describe_counter!(COMPILE_TIME, "Time spent compiling, in milliseconds");
        describe_counter!(PICTURES, "Decoded images");
        describe_gauge!(SLOTS_USED, "Engine slots in use");
        describe_gauge!(SLOTS_WAITING, "Jobs waiting for an engine slot");
        describe_gauge!(MEMORY_HELD, "Memory that requests and jobs hold");
        describe_gauge!(
            MEMORY_LIMIT,
            "Memory that requests and jobs may hold, of PINHOLE_MEMORY_MIB"
        );
        // Counters are exported before their first event.
        for kind in refusal_kinds {
            counter!(REFUSALS, "kind" => kind).increment(0);
            counter!(AUDIT_DROPPED, "kind" => kind).increment(0);
        }
        Ok(Self(handle))
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self, Load { used, waiting }: Load, memory: &ProcessMemory) -> String {
        #[expect(
            clippy::cast_precision_loss,
            reason = "there are no 2^52 slots or bytes of memory"
        )]
        let number = |count: usize| count as f64;
        gauge!(SLOTS_USED).set(number(used));
        gauge!(SLOTS_WAITING).set(number(waiting));
        gauge!(MEMORY_HELD).set(number(memory.held_bytes()));
        gauge!(MEMORY_LIMIT).set(number(memory.max_bytes()));
        self.0.render()
    }
}

/// Counts a refusal; `kind` is a name of `audit::RefusalKind`.
pub fn count_refusal(kind: &'static str) {
    counter!(REFUSALS, "kind" => kind).increment(1);
}

/// Counts a refusal without a line of its own in the audit log; `kind` is a name of `audit::RefusalKind`.
pub fn count_dropped_audit_line(kind: &'static str) {
    counter!(AUDIT_DROPPED, "kind" => kind).increment(1);
}

/// Counts a finished job. `binding` is the name of an existing binding; `outcome` is `ok` or the kind of
/// the error.
pub fn count_job(binding: &str, outcome: &'static str) {
    counter!(JOBS, "engine" => binding.to_owned(), "outcome" => outcome).increment(1);
}

/// Adds CPU time of an admitted engine.
pub fn count_guest_time(engine: &str, running: Duration) {
    counter!(GUEST_TIME, "engine" => engine.to_owned()).increment(milliseconds(running));
}

/// Counts a compilation that succeeded or was refused.
pub fn count_compile(took: Duration, succeeded: bool) {
    let outcome = if succeeded { "ok" } else { "refused" };
    counter!(COMPILES, "outcome" => outcome).increment(1);
    counter!(COMPILE_TIME).increment(milliseconds(took));
}

/// Counts a decoded image.
pub fn count_decoded_image() {
    counter!(PICTURES).increment(1);
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
