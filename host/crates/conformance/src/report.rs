//! The report of a case.

use std::fmt;
use std::time::Duration;

use crate::display::counted;

/// The report of one case. It displays as the line of `pinhole engine test`, without the cost.
#[derive(Clone, Debug)]
pub struct CaseReport {
    /// The name of the case's directory.
    pub name: String,
    /// What the case shows.
    pub about: String,
    pub verdict: Verdict,
    /// How long the case took.
    pub duration: Duration,
    /// Requests that the fake upstream got.
    pub requests: usize,
    /// Bytes that entered the guest; `None` if the case lists models or verifies settings.
    pub entered_bytes: Option<u64>,
}

/// Whether a case passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// A line for each difference.
    Failed(Vec<String>),
    /// The case failed and gives a reason why that is expected.
    KnownFailure(String),
}

impl CaseReport {
    /// Such as `2 requests, 1204 bytes entered the guest`.
    #[must_use]
    pub fn cost(&self) -> String {
        let requests = counted(self.requests, "request");
        match self.entered_bytes {
            Some(bytes) => format!("{requests}, {bytes} bytes entered the guest"),
            None => requests,
        }
    }
}

impl fmt::Display for CaseReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.verdict {
            Verdict::Passed => write!(f, "ok      {}", self.name),
            Verdict::KnownFailure(reason) => write!(f, "known   {}: {reason}", self.name),
            Verdict::Failed(failures) => {
                write!(f, "FAILED  {}", self.name)?;
                failures
                    .iter()
                    .try_for_each(|line| write!(f, "\n    {line}"))
            }
        }
    }
}
