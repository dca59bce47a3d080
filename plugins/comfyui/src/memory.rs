//! The runs of a job, which are stored with it: an attempt after an interruption continues with them, so that the
//! server does not make the same images twice.

use std::cell::RefCell;

use pinhole_sdk::job;
use serde::{Deserialize, Serialize};

/// The ids of one run of a graph.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct RunIds {
    pub(crate) prompt_id: String,
    /// The server sends the run's messages to the socket of this client.
    pub(crate) client_id: String,
}

thread_local! {
    /// The runs of this attempt, in order. An instance carries out one job.
    static RUNS: RefCell<Vec<RunIds>> = const { RefCell::new(Vec::new()) };
}

/// The ids of the next run: those of an earlier attempt, or else these. Stores them before the run is queued.
/// The second value is true if an earlier attempt has stored them.
pub(crate) fn next_run(new: RunIds) -> (RunIds, bool) {
    RUNS.with_borrow_mut(|runs| {
        let earlier = parse(job::remembered().as_deref());
        let resumed = earlier.get(runs.len()).cloned();
        let is_resumed = resumed.is_some();
        let run = resumed.unwrap_or(new);
        runs.push(run.clone());
        store(runs);
        (run, is_resumed)
    })
}

/// The server gave the latest run this id.
pub(crate) fn set_prompt_id(prompt_id: &str) {
    RUNS.with_borrow_mut(|runs| {
        if let Some(run) = runs.last_mut() {
            prompt_id.clone_into(&mut run.prompt_id);
        }
        store(runs);
    });
}

/// Without it, an interrupted job starts again. The host takes the ids of about 40 runs.
fn store(runs: &[RunIds]) {
    if let Ok(text) = serde_json::to_string(runs) {
        job::remember(&text).ok();
    }
}

fn parse(text: Option<&str>) -> Vec<RunIds> {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_runs_can_be_read_again() {
        let runs = vec![RunIds {
            prompt_id: "p".into(),
            client_id: "c".into(),
        }];
        let text = serde_json::to_string(&runs).unwrap();
        assert_eq!(parse(Some(&text)), runs);
        assert!(parse(None).is_empty() && parse(Some("x")).is_empty());
    }
}
