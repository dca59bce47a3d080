//! The figures of a version as administrators read them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// The figures of one version of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VersionFigures {
    pub engine: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The start of the range in milliseconds since 1970: a multiple of ten minutes after the start of the server.
    pub since_ms: u64,
    /// Jobs that wait for a slot or run now.
    pub running: usize,
    /// Finished attempts. A job that falls back is an attempt of each engine.
    pub jobs: u64,
    pub ok: u64,
    /// Jobs that failed by the engine or its upstream. Cancelled, invalid and blocked ones are not among them.
    pub failed: u64,
    /// All jobs without images, by reason: `crash`, `limit`, `deadline`, `busy` or an error kind.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub failures: BTreeMap<&'static str, u64>,
    /// Median time of jobs that are `ok` or `failed`, in milliseconds.
    pub p50_ms: Option<u64>,
    /// 99 % of these jobs were faster, in milliseconds.
    pub p99_ms: Option<u64>,
    /// CPU time of all jobs in milliseconds, without waiting.
    pub cpu_ms: u64,
    /// CPU time of a job on average, in milliseconds.
    pub mean_cpu_ms: f64,
    /// The largest memory of one job.
    pub peak_memory_bytes: usize,
    /// Requests by upstream.
    pub traffic: Vec<UpstreamFigures>,
    /// Minutes without a job are left out.
    pub minutes: Vec<MinuteFigures>,
}

/// The requests of a version to one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UpstreamFigures {
    /// The upstream's name in the component; `null` for images at URLs of other hosts.
    pub upstream: Option<String>,
    pub requests: u64,
    /// Requests without a complete response or with an error status.
    pub failed_requests: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
}

/// The jobs that ended in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MinuteFigures {
    /// The start of the minute in milliseconds since 1970.
    pub at_ms: u64,
    pub jobs: u64,
    pub failed: u64,
}
