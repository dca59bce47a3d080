//! The end of a job without images.

use super::job_record::ErrorRecord;
use crate::store::{JobRow, JobState, now};

impl JobRow {
    /// The server stopped while the job was active, and it does not continue.
    pub(super) fn set_interrupted(&mut self) {
        let (message, hint) = match (self.started_at, self.ordered) {
            // The start may be missing in the row: no order waits for it.
            (_, true) => (
                "the server was restarted while this job ran. Its upstream may have generated the image, and may charge for it",
                "look at the upstream before you start it again",
            ),
            (None, false) => (
                "the server was restarted before this job began",
                "start it again",
            ),
            (Some(_), false) => (
                "the server was restarted while this job ran",
                "start it again",
            ),
        };
        self.set_ended(
            JobState::Interrupted,
            &ErrorRecord {
                message: message.to_owned(),
                code: "interrupted".to_owned(),
                hint: Some(hint.to_owned()),
            },
        );
    }

    /// The job has ended without images.
    pub(super) fn set_ended(&mut self, state: JobState, error: &ErrorRecord) {
        self.error = serde_json::to_string(error).ok();
        self.state = state;
        self.ended_at = Some(now());
    }

    /// A user has stopped the job.
    pub(super) fn set_cancelled(&mut self, works_on: bool) {
        let hint = works_on
            .then(|| "the upstream may still finish the image, and charge for it".to_owned());
        let error = ErrorRecord {
            message: "the job was stopped".to_owned(),
            code: "cancelled".to_owned(),
            hint,
        };
        self.set_ended(JobState::Cancelled, &error);
    }
}
