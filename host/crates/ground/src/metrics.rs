//! Prometheus metrics.
//!
//! Counting starts with [`Metrics::install`]. Every label has a closed set of values: text of an engine,
//! an upstream or a client never becomes a label. `docs/guides/operating.md` lists the metrics.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::memory::ProcessMemory;

const REFUSALS: &str = "pinhole_refusals_total";
const AUDIT_DROPPED: &str = "pinhole_audit_lines_dropped_total";
const JOB_COST: &str = "pinhole_job_cost_micros_total";
const FLAGGED: &str = "pinhole_flagged_images_total";
/// Units of a cost that are values of a label.
const COST_UNITS: [&str; 3] = ["USD", "EUR", "credits"];
const JOBS: &str = "pinhole_jobs_total";
const JOB_TIME: &str = "pinhole_job_seconds";
const ENGINE_MEMORY: &str = "pinhole_engine_memory_peak_bytes";
const UPSTREAM_REQUESTS: &str = "pinhole_upstream_requests_total";
const UPSTREAM_BYTES: &str = "pinhole_upstream_bytes_total";
const GUEST_TIME: &str = "pinhole_guest_milliseconds_total";
const ENGINE_CHANGES: &str = "pinhole_engine_changes_total";
const COMPILES: &str = "pinhole_compiles_total";
const COMPILE_TIME: &str = "pinhole_compile_milliseconds_total";
const PICTURES: &str = "pinhole_pictures_decoded_total";
const SLOTS_USED: &str = "pinhole_slots_used";
const SLOTS_WAITING: &str = "pinhole_slots_waiting";
const MEMORY_HELD: &str = "pinhole_memory_held_bytes";
const MEMORY_LIMIT: &str = "pinhole_memory_limit_bytes";
const REDIS_CONNECTED: &str = "pinhole_redis_connected";
const REDIS_ERRORS: &str = "pinhole_redis_errors_total";
const EVENTS_DROPPED: &str = "pinhole_events_dropped_total";

/// Upper bounds of the buckets of [`JOB_TIME`], in seconds.
const JOB_TIME_BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0,
];

/// Which version of an engine served a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The version that serves.
    Current,
    /// A new version that serves a part of the jobs.
    Candidate,
}

impl Release {
    fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Candidate => "candidate",
        }
    }
}

/// The requests of one call of an engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    pub requests: u64,
    pub failed_requests: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

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
            .set_buckets_for_metric(Matcher::Full(JOB_TIME.to_owned()), &JOB_TIME_BUCKETS)
            .context("cannot set the buckets of the metrics")?
            .install_recorder()
            .context("cannot install the metrics recorder")?;
        describe_counter!(REFUSALS, "Refusals by kind, as in the audit log");
        describe_counter!(
            AUDIT_DROPPED,
            "Refusals by kind without a line of their own in the audit log"
        );
        describe_counter!(JOBS, "Finished jobs by engine, release and outcome");
        describe_counter!(
            JOB_COST,
            "What upstreams charge for jobs, in millionths of the unit, by engine and unit"
        );
        describe_counter!(
            FLAGGED,
            "Images that the upstream's safety system marked, by engine"
        );
        describe_histogram!(JOB_TIME, "Time of finished jobs in seconds, by engine");
        describe_gauge!(
            ENGINE_MEMORY,
            "Largest memory of a job of the engine's version that served last"
        );
        describe_counter!(
            UPSTREAM_REQUESTS,
            "Requests of engines to their upstreams, by engine and outcome"
        );
        describe_counter!(
            UPSTREAM_BYTES,
            "Bodies of requests and responses, by engine and direction"
        );
        describe_counter!(
            GUEST_TIME,
            "CPU time of engines in milliseconds, without waiting"
        );
        describe_counter!(ENGINE_CHANGES, "Changes of engines' versions");
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
        describe_gauge!(
            REDIS_CONNECTED,
            "1 while the Redis of REDIS_URL is connected, or else 0"
        );
        describe_counter!(REDIS_ERRORS, "Failed commands to Redis");
        describe_counter!(
            EVENTS_DROPPED,
            "Events that do not reach other hosts: Redis cannot take them"
        );
        // Counters are exported before their first event.
        for kind in refusal_kinds {
            counter!(REFUSALS, "kind" => kind).increment(0);
            counter!(AUDIT_DROPPED, "kind" => kind).increment(0);
        }
        Ok(Self(handle))
    }

    /// Adds the times of jobs to their buckets. Call it now and then: they need memory until then.
    pub fn drain(&self) {
        self.0.run_upkeep();
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self, Load { used, waiting }: Load, memory: &ProcessMemory) -> String {
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
pub fn count_job(binding: &str, release: Release, outcome: &'static str, took: Duration) {
    counter!(
        JOBS,
        "engine" => binding.to_owned(),
        "release" => release.name(),
        "outcome" => outcome
    )
    .increment(1);
    histogram!(JOB_TIME, "engine" => binding.to_owned()).record(took.as_secs_f64());
}

/// Adds what an upstream charges for a job of an existing binding. Units other than those that are known count as
/// `other`: a label may have few values.
pub fn count_cost(binding: &str, amount: f64, unit: &str) {
    let unit = COST_UNITS.iter().find(|known| **known == unit);
    let unit = unit.copied().unwrap_or("other");
    // A cast of a float saturates.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cost is at least 0, and the cast saturates"
    )]
    let millionths = (amount * 1e6).round() as u64;
    counter!(JOB_COST, "engine" => binding.to_owned(), "unit" => unit).increment(millionths);
}

/// Counts images that an upstream's safety system marked.
pub fn count_flagged(binding: &str, images: usize) {
    if images > 0 {
        counter!(FLAGGED, "engine" => binding.to_owned()).increment(images as u64);
    }
}

/// Sets the largest memory of a call of an admitted engine.
pub fn set_engine_memory(engine: &str, peak_bytes: usize) {
    gauge!(ENGINE_MEMORY, "engine" => engine.to_owned()).set(number(peak_bytes));
}

/// Counts the requests of a call of an admitted engine.
pub fn count_traffic(engine: &str, traffic: &Traffic) {
    let ok = traffic.requests.saturating_sub(traffic.failed_requests);
    for (outcome, requests) in [("ok", ok), ("failed", traffic.failed_requests)] {
        counter!(UPSTREAM_REQUESTS, "engine" => engine.to_owned(), "outcome" => outcome)
            .increment(requests);
    }
    for (direction, bytes) in [
        ("sent", traffic.sent_bytes),
        ("received", traffic.received_bytes),
    ] {
        counter!(UPSTREAM_BYTES, "engine" => engine.to_owned(), "direction" => direction)
            .increment(bytes);
    }
}

/// Adds CPU time of an admitted engine.
pub fn count_guest_time(engine: &str, running: Duration) {
    counter!(GUEST_TIME, "engine" => engine.to_owned()).increment(milliseconds(running));
}

/// Counts a change of an engine's version. `change` is a word of the server, such as `installed` or `rolled-back`.
pub fn count_engine_change(change: &str) {
    counter!(ENGINE_CHANGES, "change" => change.to_owned()).increment(1);
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

/// Records whether Redis is connected.
pub fn set_redis_connected(is_connected: bool) {
    gauge!(REDIS_CONNECTED).set(if is_connected { 1.0 } else { 0.0 });
}

/// Counts a command to Redis that failed.
pub fn count_redis_error() {
    counter!(REDIS_ERRORS).increment(1);
}

/// Counts events that do not reach other hosts.
pub fn count_dropped_events(events: u64) {
    counter!(EVENTS_DROPPED).increment(events);
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are no 2^52 slots or bytes of memory"
)]
fn number(count: usize) -> f64 {
    count as f64
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
