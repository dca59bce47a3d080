//! Progress: telling our job's from that of others.

use pinhole_sdk::Progress;
use serde::Deserialize;
use serde_json::Value;

/// The answer of `/sdapi/v1/progress`: about whatever the server draws, not about our job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProgressAnswer {
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
    /// When the running job, or the last, was begun: the nearest thing to a name.
    job_timestamp: Value,
    sampling_step: Option<i64>,
    sampling_steps: Option<i64>,
    /// Somebody stopped the running job; it answers as if it had finished.
    interrupted: Option<bool>,
}

impl ProgressAnswer {
    fn busy(&self) -> bool {
        self.state.job_count.unwrap_or(0) != 0
    }
}

/// Tells our job's progress from that of the job which ran when ours came.
///
/// The server runs one job after another and names none. What it draws once that earlier job is
/// over counts as ours; with a third one in between we would be wrong until its end.
#[derive(Debug)]
pub(crate) struct Watch {
    before: Before,
    ours: bool,
    interrupted: bool,
    fraction: f32,
    last: Option<(bool, Option<i64>, Option<i64>, f32)>,
}

/// What ran before our job was sent.
#[derive(Debug)]
enum Before {
    /// Nobody could tell. What is seen running first counts as another's: better not to stop our
    /// own job than to stop another's.
    Unknown,
    Nothing,
    /// The job with this timestamp.
    Job(Value),
}

/// What a progress answer tells the host.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) progress: Progress,
    /// The answer holds a preview, and it is of our job.
    pub(crate) preview: bool,
}

impl Watch {
    /// From an answer of before our job was sent, if there was one.
    pub(crate) fn new(answer: Option<&ProgressAnswer>) -> Self {
        let mut watch = Self {
            before: Before::Unknown,
            ours: false,
            interrupted: false,
            fraction: 0.0,
            last: None,
        };
        if let Some(answer) = answer {
            watch.note_before(answer);
        }
        watch
    }

    fn note_before(&mut self, answer: &ProgressAnswer) {
        self.before = match answer.busy() {
            true => Before::Job(answer.state.job_timestamp.clone()),
            false => Before::Nothing,
        };
    }

    /// Did the last answer show our job running?
    pub(crate) fn ours_runs(&self) -> bool {
        self.ours
    }

    /// Was somebody seen to stop our job?
    pub(crate) fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// What is new to tell. The fraction never falls, though the server's does at the end.
    pub(crate) fn see(&mut self, answer: &ProgressAnswer) -> Option<Seen> {
        let state = &answer.state;
        // Once it is idle, the earlier job is over.
        if !answer.busy() || matches!(self.before, Before::Unknown) {
            self.note_before(answer);
        }
        let earlier = matches!(&self.before, Before::Job(begun) if *begun == state.job_timestamp);
        self.ours = answer.busy() && !earlier;
        self.interrupted |= self.ours && state.interrupted == Some(true);
        if !answer.busy() {
            return None;
        }
        if self.ours {
            self.fraction = self
                .fraction
                .max(answer.progress.unwrap_or(0.0).clamp(0.0, 1.0));
        }
        let now = (self.ours, state.job_no, state.sampling_step, self.fraction);
        if self.last.replace(now) == Some(now) {
            return None;
        }
        let note = match (self.ours, state.sampling_step, state.sampling_steps) {
            (false, ..) => Some("waiting for another job".to_owned()),
            (true, Some(step), Some(steps)) if steps > 0 => {
                Some(format!("step {} of {steps}", step.clamp(0, steps)))
            }
            (true, ..) => None,
        };
        let progress = Progress {
            fraction: self.ours.then_some(self.fraction),
            queue_position: None,
            note,
        };
        let preview = self.ours && answer.current_image.is_some();
        Some(Seen { progress, preview })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded_progress() -> Vec<ProgressAnswer> {
        serde_json::from_str(include_str!("../testdata/progress.json")).unwrap()
    }

    /// Fraction, note and preview.
    type Told = (Option<f32>, Option<String>, bool);

    /// What each answer tells anew, and whether our job runs after the last.
    fn watched(before: Option<usize>, answers: &[usize]) -> (Vec<Told>, bool) {
        let recorded = recorded_progress();
        let mut watch = Watch::new(before.map(|index| &recorded[index]));
        let seen = answers.iter().filter_map(|index| {
            let seen = watch.see(&recorded[*index])?;
            Some((seen.progress.fraction, seen.progress.note, seen.preview))
        });
        (seen.collect(), watch.ours_runs())
    }

    #[test]
    fn progress_rises_and_repeats_nothing() {
        let (seen, running) = watched(Some(0), &[1, 2, 3, 4, 4]);
        let note = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [
                (Some(0.01), note("step 0 of 8"), false),
                (Some(0.885), note("step 7 of 8"), true),
            ]
        );
        assert!(running);
        let (seen, _) = watched(Some(0), &[3, 2]);
        let fractions: Vec<_> = seen.iter().map(|seen| seen.0).collect();
        assert_eq!(fractions, [Some(0.885), Some(0.885)]);
        // Idle again: an interrupt would hit the next one's job.
        assert!(!watched(Some(0), &[3, 5]).1);
    }

    #[test]
    fn an_earlier_job_is_not_ours() {
        let (seen, running) = watched(Some(2), &[3, 4]);
        assert_eq!(
            seen,
            [(None, Some("waiting for another job".into()), false)]
        );
        assert!(!running);
        let (seen, running) = watched(Some(2), &[3, 6]);
        assert_eq!(seen[1], (Some(0.0125), Some("step 1 of 400".into()), false));
        assert!(running);
    }

    #[test]
    fn what_runs_unknown_is_not_ours_until_it_ended() {
        let (seen, running) = watched(None, &[3]);
        assert_eq!(seen[0].1.as_deref(), Some("waiting for another job"));
        assert!(!running);
        // Another job, and the same after the server was idle.
        assert!(watched(None, &[3, 6]).1);
        assert!(watched(None, &[3, 0, 3]).1);
    }

    #[test]
    fn an_interrupt_by_somebody_else_is_seen() {
        let answer = |interrupted| -> ProgressAnswer {
            let state = json!({"job_count": 1, "job_timestamp": "1", "interrupted": interrupted});
            serde_json::from_value(json!({ "state": state })).unwrap()
        };
        let mut ours = Watch::new(Some(&ProgressAnswer::default()));
        ours.see(&answer(false));
        assert!(!ours.was_interrupted());
        ours.see(&answer(true));
        assert!(ours.was_interrupted());
        let mut waiting = Watch::new(Some(&answer(false)));
        waiting.see(&answer(true));
        assert!(!waiting.was_interrupted());
    }

    #[test]
    fn odd_progress_does_no_harm() {
        for text in [
            "{}",
            r#"{"progress": null, "state": {"job_count": -1, "sampling_step": -3, "sampling_steps": 0}}"#,
            r#"{"progress": 1e30, "state": {"job_count": 1, "job_timestamp": 7, "sampling_step": 9, "sampling_steps": 3}}"#,
        ] {
            let answer: ProgressAnswer = serde_json::from_str(text).unwrap();
            let mut watch = Watch::new(Some(&ProgressAnswer::default()));
            if let Some(seen) = watch.see(&answer) {
                assert!(
                    seen.progress
                        .fraction
                        .is_some_and(|fraction| fraction <= 1.0)
                );
            }
        }
    }
}
