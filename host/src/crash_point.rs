//! Points of a change of an engine, and of a job, at which a test ends the server, as a crash of the machine does.
//!
//! `PINHOLE_CRASH_AT` names a point, or a point of one kind of change: `written` or `written:promoted`. Only debug
//! builds read it, so a release build has none of these points.

/// A point of a change of an engine, or of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CrashPoint {
    /// The component is compiled, and its bytes are not stored.
    Compiled,
    /// Its bytes are stored, and it has no row.
    Stored,
    /// It passed its test.
    Tested,
    /// The next snapshot is prepared, and no row is written.
    Prepared,
    /// The rows are written, and the old snapshot serves.
    Written,
    /// The new snapshot serves, and jobs finish with the old one.
    Published,
    /// The row of a job exists, and the job waits.
    JobAccepted,
    /// The start of a job is stored.
    JobStarted,
    /// The note of a job's engine is stored.
    JobNoted,
    /// The mark of a job's order is stored, and the order is not sent.
    JobMarked,
    /// A job's images are in memory, and nothing of them is stored.
    JobMade,
    /// A job's images and its end are stored, and no client knows it.
    JobEnded,
}

impl CrashPoint {
    #[cfg(debug_assertions)]
    const fn name(self) -> &'static str {
        match self {
            Self::Compiled => "compiled",
            Self::Stored => "stored",
            Self::Tested => "tested",
            Self::Prepared => "prepared",
            Self::Written => "written",
            Self::Published => "published",
            Self::JobAccepted => "job-accepted",
            Self::JobStarted => "job-started",
            Self::JobNoted => "job-noted",
            Self::JobMarked => "job-marked",
            Self::JobMade => "job-made",
            Self::JobEnded => "job-ended",
        }
    }

    /// Ends the process here if a test wants it. `change` is the word of the history for the change; empty before
    /// it is known.
    #[cfg(debug_assertions)]
    pub(crate) fn reach(self, change: &str) {
        static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "debug builds only; nothing else reads this variable"
        )]
        let wanted = WANTED.get_or_init(|| std::env::var("PINHOLE_CRASH_AT").ok());
        let Some(wanted) = wanted else { return };
        let (point, wanted_change) = wanted.split_once(':').unwrap_or((wanted, change));
        if point == self.name() && wanted_change == change {
            use rustix::process::{Signal, getpid, kill_process};
            // No destructor runs, and no memory is dumped.
            kill_process(getpid(), Signal::KILL).ok();
            std::process::abort();
        }
    }

    /// No release build has these points.
    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(crate) const fn reach(self, _change: &str) {}
}
