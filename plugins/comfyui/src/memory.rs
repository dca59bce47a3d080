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

/// The runs of the job: those of earlier attempts, and those that this attempt adds.
#[derive(Default)]
struct Runs {
    ids: Vec<RunIds>,
    /// The number of runs that this attempt has begun.
    begun: usize,
    is_loaded: bool,
    has_earlier: bool,
}

thread_local! {
    /// An instance carries out one job.
    static RUNS: RefCell<Runs> = RefCell::default();
}

/// The ids of the next run: those of an earlier attempt, or else these. Stores them before the run is queued.
/// The second value is true if an earlier attempt has stored them.
pub(crate) fn next_run(new: RunIds) -> (RunIds, bool) {
    RUNS.with_borrow_mut(|runs| {
        runs.load();
        let resumed = runs.ids.get(runs.begun).cloned();
        let is_resumed = resumed.is_some();
        if !is_resumed {
            runs.ids.push(new.clone());
        }
        runs.begun += 1;
        runs.store();
        (resumed.unwrap_or(new), is_resumed)
    })
}

/// Stores the runs so far before an upload, which the host counts as an order: if the server stops now, the next
/// attempt knows that it queued no further run. Later attempts must do so before each order.
pub(crate) fn store_before_upload() {
    RUNS.with_borrow_mut(|runs| {
        let is_first = !runs.is_loaded;
        runs.load();
        if is_first || runs.has_earlier {
            runs.store();
        }
    });
}

/// The server gave the latest run this id.
pub(crate) fn set_prompt_id(prompt_id: &str) {
    RUNS.with_borrow_mut(|runs| {
        let latest = runs.begun.checked_sub(1);
        if let Some(run) = latest.and_then(|index| runs.ids.get_mut(index)) {
            prompt_id.clone_into(&mut run.prompt_id);
        }
        runs.store();
    });
}

impl Runs {
    fn load(&mut self) {
        if !std::mem::replace(&mut self.is_loaded, true) {
            let earlier = job::remembered();
            self.has_earlier = earlier.is_some();
            self.ids = parse(earlier.as_deref());
        }
    }

    /// The host takes the ids of about 40 runs. If it refuses them, it also refuses the next order.
    fn store(&self) {
        if let Ok(text) = serde_json::to_string(&self.ids) {
            job::remember(&text).ok();
        }
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
