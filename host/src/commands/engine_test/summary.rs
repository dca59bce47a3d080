//! The results of all cases, as the last line and as JSON.

use std::fmt;
use std::time::Duration;

use pinhole_conformance::{CaseReport, Verdict};
use serde::Serialize;

/// The results of all cases. It displays as one line.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    pub(super) engine: &'a str,
    pub(super) passed: usize,
    pub(super) failed: usize,
    /// Cases that failed as expected.
    pub(super) known: usize,
    pub(super) milliseconds: u64,
    pub(super) cases: Vec<CaseSummary<'a>>,
}

#[derive(Serialize)]
pub(super) struct CaseSummary<'a> {
    pub(super) name: &'a str,
    pub(super) about: &'a str,
    /// `passed`, `failed` or `known`.
    pub(super) verdict: &'static str,
    /// A line for each difference.
    pub(super) failures: &'a [String],
    /// Why a known failure is expected.
    pub(super) reason: Option<&'a str>,
    pub(super) milliseconds: u64,
    pub(super) requests: usize,
    /// Bytes that entered the guest, if the case is a job.
    pub(super) bytes: Option<u64>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(engine: &'a str, duration: Duration, reports: &'a [CaseReport]) -> Self {
        let cases: Vec<_> = reports.iter().map(CaseSummary::new).collect();
        let count = |verdict| cases.iter().filter(|it| it.verdict == verdict).count();
        Self {
            engine,
            passed: count("passed"),
            failed: count("failed"),
            known: count("known"),
            milliseconds: milliseconds(duration),
            cases,
        }
    }
}

impl<'a> CaseSummary<'a> {
    fn new(report: &'a CaseReport) -> Self {
        let (verdict, failures, reason) = match &report.verdict {
            Verdict::Passed => ("passed", [].as_slice(), None),
            Verdict::Failed(lines) => ("failed", lines.as_slice(), None),
            Verdict::KnownFailure(reason) => ("known", [].as_slice(), Some(reason.as_str())),
        };
        Self {
            name: &report.name,
            about: &report.about,
            verdict,
            failures,
            reason,
            milliseconds: milliseconds(report.duration),
            requests: report.requests,
            bytes: report.entered_bytes,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.known > 0 {
            write!(f, ", {} known to fail", self.known)?;
        }
        write!(f, " in {:.1} s", self.milliseconds as f64 / 1e3)
    }
}
