//! The running jobs of each engine, so that they can be stopped together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The running jobs of all engines.
#[derive(Debug, Default)]
pub(super) struct RunningJobs(Mutex<HashMap<String, Arc<EngineJobs>>>);

/// The jobs of an engine, whatever version they run.
#[derive(Debug, Default)]
struct EngineJobs {
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// A running job. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct RunningJob {
    pub(super) stop: CancellationToken,
    _token: TaskTrackerToken,
}

impl RunningJobs {
    /// Adds a job of this engine.
    pub(super) fn start(&self, engine: &str) -> RunningJob {
        let mut engines = self.lock();
        let jobs = match engines.get(engine) {
            Some(jobs) => jobs.clone(),
            None => engines.entry(engine.to_owned()).or_default().clone(),
        };
        RunningJob {
            stop: jobs.stop.clone(),
            _token: jobs.tracker.token(),
        }
    }

    /// Stops the jobs of an engine, and waits until they have ended. Later jobs run.
    pub(super) async fn stop(&self, engine: &str) {
        let Some(jobs) = self.lock().remove(engine) else {
            return;
        };
        jobs.stop.cancel();
        jobs.tracker.close();
        jobs.tracker.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<EngineJobs>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_of_one_engine_are_stopped_and_waited_for() {
        let running = Arc::new(RunningJobs::default());
        let (first, other) = (running.start("sketch"), running.start("openai"));
        let stopping = tokio::spawn({
            let running = running.clone();
            async move { running.stop("sketch").await }
        });
        first.stop.cancelled().await;
        assert!(!stopping.is_finished() && !other.stop.is_cancelled());
        // A job that starts later is another one.
        let later = running.start("sketch");
        assert!(!later.stop.is_cancelled());
        drop(first);
        stopping.await.unwrap();
        running.stop("unknown").await;
    }
}
