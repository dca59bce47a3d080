//! Progress: which of the web UI's progress is that of our job.

use pinhole_sdk::Progress;
use serde::Deserialize;
use serde_json::Value;

/// The response of `/sdapi/v1/progress`. It describes the job that the web UI currently runs, which
/// may not be ours.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressResponse {
    progress: Option<f32>,
    current_image: Option<String>,
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    /// 0 when idle; -1 between a job's start and its first batch.
    job_count: Option<i64>,
    job_no: Option<i64>,
    /// Start of the running job, or of the last one. The web UI has no other id of a job.
    job_timestamp: Value,
    sampling_step: Option<i64>,
    sampling_steps: Option<i64>,
    /// A client interrupted the running job. Its response looks as if it had finished.
    interrupted: Option<bool>,
}

impl ProgressResponse {
    fn is_busy(&self) -> bool {
        self.state.job_count.unwrap_or(0) != 0
    }
}

/// Separates the progress of our job from that of the job that ran before it.
///
/// The server runs one job at a time and does not identify it. The first job after the earlier one
/// counts as ours. If a third job runs in between, the tracker is wrong until that job ends.
#[derive(Debug)]
pub(crate) struct JobTracker {
    earlier: EarlierJob,
    is_running: bool,
    was_interrupted: bool,
    fraction: f32,
    last: Option<ReportedState>,
}

/// The job that ran before ours was sent.
#[derive(Debug)]
enum EarlierJob {
    /// Not known. The first running job then counts as another client's: not to interrupt our own job
    /// is better than to interrupt another's.
    Unknown,
    Idle,
    /// The job with this timestamp.
    Running(Value),
}

/// The state that a progress report depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ReportedState {
    is_ours: bool,
    job_no: Option<i64>,
    step: Option<i64>,
    fraction: f32,
}

/// A change of progress to report to the host.
#[derive(Debug)]
pub(crate) struct ProgressUpdate {
    pub(crate) progress: Progress,
    /// The response holds a preview of our job.
    pub(crate) has_preview: bool,
}

impl JobTracker {
    /// `response` is from before our job was sent, if there is one.
    pub(crate) fn new(response: Option<&ProgressResponse>) -> Self {
        Self {
            earlier: response.map_or(EarlierJob::Unknown, EarlierJob::from_response),
            is_running: false,
            was_interrupted: false,
            fraction: 0.0,
            last: None,
        }
    }

    /// Whether the last response showed our job running.
    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Whether another client interrupted our job.
    pub(crate) fn was_interrupted(&self) -> bool {
        self.was_interrupted
    }

    /// Returns what changed since the last response. The fraction never falls, although the server's
    /// does at the end of a job.
    pub(crate) fn update(&mut self, response: &ProgressResponse) -> Option<ProgressUpdate> {
        let state = &response.state;
        let is_busy = response.is_busy();
        // An idle server has finished the earlier job.
        if !is_busy || matches!(self.earlier, EarlierJob::Unknown) {
            self.earlier = EarlierJob::from_response(response);
        }
        let is_earlier = matches!(&self.earlier, EarlierJob::Running(timestamp) if *timestamp == state.job_timestamp);
        self.is_running = is_busy && !is_earlier;
        self.was_interrupted |= self.is_running && state.interrupted == Some(true);
        if !is_busy {
            return None;
        }
        if self.is_running {
            let fraction = response.progress.unwrap_or(0.0).clamp(0.0, 1.0);
            self.fraction = self.fraction.max(fraction);
        }
        let reported = ReportedState {
            is_ours: self.is_running,
            job_no: state.job_no,
            step: state.sampling_step,
            fraction: self.fraction,
        };
        if self.last.replace(reported) == Some(reported) {
            return None;
        }
        let progress = Progress {
            fraction: self.is_running.then_some(self.fraction),
            queue_position: None,
            note: self.note(state),
        };
        let has_preview = self.is_running && response.current_image.is_some();
        Some(ProgressUpdate {
            progress,
            has_preview,
        })
    }

    fn note(&self, state: &State) -> Option<String> {
        if !self.is_running {
            return Some("waiting for another job".to_owned());
        }
        match (state.sampling_step, state.sampling_steps) {
            (Some(step), Some(steps)) if steps > 0 => {
                Some(format!("step {} of {steps}", step.clamp(0, steps)))
            }
            _ => None,
        }
    }
}

impl EarlierJob {
    fn from_response(response: &ProgressResponse) -> Self {
        if response.is_busy() {
            Self::Running(response.state.job_timestamp.clone())
        } else {
            Self::Idle
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded_progress() -> Vec<ProgressResponse> {
        serde_json::from_str(include_str!("../testdata/progress.json")).unwrap()
    }

    /// Fraction, note and whether there is a preview.
    type Update = (Option<f32>, Option<String>, bool);

    /// The updates from recorded responses, and whether our job runs after the last one.
    fn track(before: Option<usize>, responses: &[usize]) -> (Vec<Update>, bool) {
        let recorded = recorded_progress();
        let mut tracker = JobTracker::new(before.map(|index| &recorded[index]));
        let updates = responses.iter().filter_map(|index| {
            let update = tracker.update(&recorded[*index])?;
            let progress = update.progress;
            Some((progress.fraction, progress.note, update.has_preview))
        });
        (updates.collect(), tracker.is_running())
    }

    #[test]
    fn tracker_reports_rising_progress_once() {
        let (updates, is_running) = track(Some(0), &[1, 2, 3, 4, 4]);
        let note = |text: &str| Some(text.to_owned());
        assert_eq!(
            updates,
            [
                (Some(0.01), note("step 0 of 8"), false),
                (Some(0.885), note("step 7 of 8"), true),
            ]
        );
        assert!(is_running);
        let (falling, _) = track(Some(0), &[3, 2]);
        let fractions: Vec<_> = falling.iter().map(|update| update.0).collect();
        assert_eq!(fractions, [Some(0.885), Some(0.885)]);
        // Idle again: an interrupt would stop the next client's job.
        assert!(!track(Some(0), &[3, 5]).1);
    }

    #[test]
    fn tracker_ignores_earlier_job() {
        let (earlier, earlier_runs) = track(Some(2), &[3, 4]);
        assert_eq!(
            earlier,
            [(None, Some("waiting for another job".into()), false)]
        );
        assert!(!earlier_runs);
        let (updates, is_running) = track(Some(2), &[3, 6]);
        assert_eq!(
            updates[1],
            (Some(0.0125), Some("step 1 of 400".into()), false)
        );
        assert!(is_running);
    }

    #[test]
    fn tracker_ignores_unknown_job_until_it_ends() {
        let (updates, is_running) = track(None, &[3]);
        assert_eq!(updates[0].1.as_deref(), Some("waiting for another job"));
        assert!(!is_running);
        // Another job, and the same job after the server was idle.
        assert!(track(None, &[3, 6]).1);
        assert!(track(None, &[3, 0, 3]).1);
    }

    #[test]
    fn tracker_detects_interrupt_by_other_client() {
        let running = |interrupted| -> ProgressResponse {
            let state = json!({"job_count": 1, "job_timestamp": "1", "interrupted": interrupted});
            serde_json::from_value(json!({ "state": state })).unwrap()
        };
        let mut ours = JobTracker::new(Some(&ProgressResponse::default()));
        ours.update(&running(false));
        assert!(!ours.was_interrupted());
        ours.update(&running(true));
        assert!(ours.was_interrupted());
        let mut waiting = JobTracker::new(Some(&running(false)));
        waiting.update(&running(true));
        assert!(!waiting.was_interrupted());
    }

    #[test]
    fn tracker_tolerates_invalid_progress() {
        for text in [
            "{}",
            r#"{"progress": null, "state": {"job_count": -1, "sampling_step": -3, "sampling_steps": 0}}"#,
            r#"{"progress": 1e30, "state": {"job_count": 1, "job_timestamp": 7, "sampling_step": 9, "sampling_steps": 3}}"#,
        ] {
            let response: ProgressResponse = serde_json::from_str(text).unwrap();
            let mut tracker = JobTracker::new(Some(&ProgressResponse::default()));
            if let Some(update) = tracker.update(&response) {
                assert!(
                    update
                        .progress
                        .fraction
                        .is_some_and(|fraction| fraction <= 1.0)
                );
            }
        }
    }
}
