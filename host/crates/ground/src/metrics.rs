//! Counters for whoever watches the server, as Prometheus reads them.
//!
//! Nothing is counted until [`Metrics::install`]. Every label has a closed set of values: nothing that
//! an engine, an upstream or a client says becomes one. `docs/operating.md` lists them.

use std::time::Duration;

use anyhow::{Context, Result};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::audit::Kind;

const REFUSALS: &str = "pinhole_refusals_total";
const AUDIT_DROPPED: &str = "pinhole_audit_lines_dropped_total";
const JOBS: &str = "pinhole_jobs_total";
const GUEST_TIME: &str = "pinhole_guest_milliseconds_total";
const COMPILES: &str = "pinhole_compiles_total";
const COMPILE_TIME: &str = "pinhole_compile_milliseconds_total";
const PICTURES: &str = "pinhole_pictures_decoded_total";
const SLOTS_USED: &str = "pinhole_slots_used";
const SLOTS_WAITING: &str = "pinhole_slots_waiting";

/// How busy the engine slots are now.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Slots that are taken.
    pub used: usize,
    /// Jobs that wait for one.
    pub waiting: usize,
}

/// What was counted since it was installed.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// From now on the process counts. Fails where something counts already.
    pub fn install() -> Result<Self> {
        let handle = PrometheusBuilder::new()
            .install_recorder()
            .context("cannot count what happens")?;
        describe_counter!(
            REFUSALS,
            "What was refused, by kind, as the audit log tells it"
        );
        describe_counter!(AUDIT_DROPPED, "Lines that the audit log could not take");
        describe_counter!(JOBS, "Jobs that have ended, by engine and how they ended");
        describe_counter!(
            GUEST_TIME,
            "Time that engines have run, in milliseconds, without waiting"
        );
        describe_counter!(COMPILES, "Components that were compiled, by how that ended");
        describe_counter!(COMPILE_TIME, "Time that compiling took, in milliseconds");
        describe_counter!(PICTURES, "Pictures that were decoded");
        describe_gauge!(SLOTS_USED, "Engine slots that are taken");
        describe_gauge!(SLOTS_WAITING, "Jobs that wait for an engine slot");
        // What has not happened yet counts too: as nothing.
        for kind in Kind::ALL {
            counter!(REFUSALS, "kind" => kind.name()).increment(0);
        }
        counter!(AUDIT_DROPPED).increment(0);
        Ok(Self(handle))
    }

    /// All of it, as Prometheus reads it.
    #[must_use]
    pub fn text(&self, Load { used, waiting }: Load) -> String {
        #[expect(clippy::cast_precision_loss, reason = "there are no 2^52 slots")]
        let number = |count: usize| count as f64;
        gauge!(SLOTS_USED).set(number(used));
        gauge!(SLOTS_WAITING).set(number(waiting));
        self.0.render()
    }
}

/// A refusal.
pub(crate) fn count_refusal(kind: Kind) {
    counter!(REFUSALS, "kind" => kind.name()).increment(1);
}

/// A line that did not get into the audit log.
pub(crate) fn count_dropped_audit_line() {
    counter!(AUDIT_DROPPED).increment(1);
}

/// A job that has ended. `binding` is the name of one that there is; `outcome` is `ok` or the kind of
/// the error.
pub(crate) fn count_job(binding: &str, outcome: &'static str) {
    counter!(JOBS, "engine" => binding.to_owned(), "outcome" => outcome).increment(1);
}

/// Time that an admitted engine has run.
pub(crate) fn count_guest_time(engine: &str, running: Duration) {
    counter!(GUEST_TIME, "engine" => engine.to_owned()).increment(milliseconds(running));
}

/// A component that was compiled, or not.
pub(crate) fn count_compile(took: Duration, done: bool) {
    let outcome = match done {
        true => "ok",
        false => "refused",
    };
    counter!(COMPILES, "outcome" => outcome).increment(1);
    counter!(COMPILE_TIME).increment(milliseconds(took));
}

/// A picture that was decoded.
pub(crate) fn count_picture() {
    counter!(PICTURES).increment(1);
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
