//! Comparison of a task's result and reports with the expected ones.

use pinhole_images::Image;
use pinhole_sandbox::{EngineReport, Progress};
use serde_json::{Value, json};

use crate::case::{ExpectedError, ExpectedImage, ExpectedImages, ExpectedOutcome, ExpectedReport};
use crate::case_run::CaseRun;
use crate::display::counted;
use crate::host::{Failure, JobImages, TaskResult};
use crate::placeholders::ObjectMatch;

impl ExpectedOutcome {
    /// A line for each difference.
    pub(crate) fn compare(&self, result: &TaskResult, run: &CaseRun) -> Vec<String> {
        let differences = match result {
            TaskResult::Images(job) if let Some(images) = &self.images => {
                self.compare_job(images, job, run)
            }
            TaskResult::Models(models) if let Some(pattern) = &self.models => {
                let actual = models
                    .iter()
                    .map(|model| json!({"id": model.id, "name": model.name}))
                    .collect();
                run.compare(pattern, &actual, ObjectMatch::Exact)
            }
            TaskResult::Verified(found) if let Some(pattern) = &self.verified => {
                compare_verification(pattern, found, run)
            }
            TaskResult::Failed(failure) if let Some(error) = &self.error => error.compare(failure),
            _ => vec![format!(
                "expected {}, got {}",
                self.describe(),
                describe_result(result)
            )],
        };
        prefixed("/outcome", differences).collect()
    }

    fn describe(&self) -> String {
        if let Some(error) = &self.error {
            return format!("error {}", error.kind);
        }
        match &self.images {
            Some(images) => counted(images.count(), "image"),
            None if self.models.is_some() => "models".to_owned(),
            None => "verified".to_owned(),
        }
    }

    fn compare_job(&self, images: &ExpectedImages, job: &JobImages, run: &CaseRun) -> Vec<String> {
        let mut differences = Vec::new();
        if job.images.len() != images.count() {
            let expected = counted(images.count(), "image");
            differences.push(format!("expected {expected}, got {}", job.images.len()));
        }
        if let ExpectedImages::List(list) = images {
            for (index, (expected, image)) in list.iter().zip(&job.images).enumerate() {
                differences.extend(prefixed(&format!("image {index}"), expected.compare(image)));
            }
        }
        if let Some(prompt) = &self.revised_prompt {
            let (pattern, actual) = (prompt.clone().into(), job.revised_prompt.clone().into());
            let found = run.compare(&pattern, &actual, ObjectMatch::Exact);
            differences.extend(prefixed("revised_prompt", found));
        }
        if let Some(pattern) = &self.details {
            let found = run.compare(pattern, &job.report(), ObjectMatch::Subset);
            differences.extend(prefixed("details", found));
        }
        if let Some(pattern) = &self.warnings {
            let found = run.compare(pattern, &json!(job.warnings), ObjectMatch::Exact);
            differences.extend(prefixed("warnings", found));
        }
        differences
    }
}

fn compare_verification(pattern: &Value, found: &EngineReport, run: &CaseRun) -> Vec<String> {
    if *pattern == Value::Bool(true) {
        return Vec::new();
    }
    let rows = found.rows.iter().map(|row| {
        json!({
            "setting": row.setting, "role": row.role, "node": row.node,
            "title": row.title, "input": row.input, "value": row.value,
        })
    });
    let actual = json!({
        "server": found.server,
        "rows": rows.collect::<Vec<_>>(),
        "problems": found.problems,
    });
    prefixed(
        "verified",
        run.compare(pattern, &actual, ObjectMatch::Subset),
    )
    .collect()
}

fn prefixed(prefix: &str, differences: Vec<String>) -> impl Iterator<Item = String> {
    differences
        .into_iter()
        .map(move |difference| format!("{prefix}: {difference}"))
}

fn describe_result(result: &TaskResult) -> String {
    match result {
        TaskResult::Images(job) => counted(job.images.len(), "image"),
        TaskResult::Models(models) => counted(models.len(), "model"),
        TaskResult::Verified(_) => "verified".to_owned(),
        TaskResult::Failed(failure) => describe_failure(failure),
    }
}

fn describe_failure(failure: &Failure) -> String {
    format!("error {} ({})", failure.kind, failure.operator_message)
}

impl ExpectedError {
    fn compare(&self, failure: &Failure) -> Vec<String> {
        let mut differences = Vec::new();
        if failure.kind != self.kind {
            let got = describe_failure(failure);
            differences.push(format!("expected error {}, got {got}", self.kind));
        }
        let message = &failure.message;
        for text in &self.message {
            if !message.contains(text) {
                differences.push(format!("expected {text:?} in the message, got {message:?}"));
            }
        }
        for text in &self.lacks {
            if message.contains(text) {
                differences.push(format!(
                    "expected no {text:?} in the message, got {message:?}"
                ));
            }
        }
        let texts = [
            ("code", &self.code, &failure.code),
            ("field", &self.field, &failure.field),
        ];
        for (key, expected, actual) in texts {
            if let Some(expected) = expected
                && expected != actual
            {
                differences.push(difference(key, expected.clone(), actual.clone()));
            }
        }
        if let Some(expected) = self.retry_after_ms
            && expected != failure.retry_after_ms
        {
            let key = "retry_after_ms";
            differences.push(difference(key, expected, failure.retry_after_ms));
        }
        differences
    }
}

fn difference(key: &str, expected: impl Into<Value>, actual: impl Into<Value>) -> String {
    format!("{key}: expected {}, got {}", expected.into(), actual.into())
}

impl ExpectedImage {
    fn compare(&self, image: &Image) -> Vec<String> {
        let (width, height) = image.size();
        let size = format!("{width}x{height}");
        let properties = [
            (&self.media_type, image.media_type()),
            (&self.size, size.as_str()),
        ];
        let mut differences = Vec::new();
        for (expected, actual) in properties {
            if let Some(expected) = expected
                && expected != actual
            {
                differences.push(format!("expected {expected}, got {actual}"));
            }
        }
        if let Some(expected) = &self.image
            && expected.bytes != image.bytes()
        {
            let (expected, got) = (expected.bytes.len(), image.bytes().len());
            differences.push(format!(
                "expected an image of {expected} bytes, got {got} different bytes ({size})"
            ));
        }
        differences
    }
}

/// The failure if the expected reports did not occur in order. Others may occur between them.
pub(crate) fn compare_reports(
    expected: &[ExpectedReport],
    actual: &[Progress],
    run: &CaseRun,
) -> Option<String> {
    let mut remaining = actual.iter();
    for (index, report) in expected.iter().enumerate() {
        if !remaining.any(|progress| report.matches(progress, run)) {
            let missing = report.describe();
            let got = match actual {
                [] => "none".to_owned(),
                reports => {
                    let reports: Vec<String> = reports.iter().map(describe_progress).collect();
                    reports.join("; ")
                }
            };
            return Some(format!("/reports/{index}: expected {missing}, got {got}"));
        }
    }
    None
}

impl ExpectedReport {
    fn matches(&self, progress: &Progress, run: &CaseRun) -> bool {
        let is_near = |expected: f32| {
            let fraction = progress.fraction;
            fraction.is_some_and(|fraction| (fraction - expected).abs() < 1e-4)
        };
        let has_note = |expected: &String| {
            let (pattern, note) = (expected.clone().into(), progress.note.clone().into());
            run.compare(&pattern, &note, ObjectMatch::Exact).is_empty()
        };
        let preview = progress.preview.as_ref().map(Image::media_type);
        self.fraction.is_none_or(is_near)
            && (self.queue_position.is_none() || self.queue_position == progress.queue_position)
            && (self.preview.is_none() || self.preview.as_deref() == preview)
            && self.note.as_ref().is_none_or(has_note)
    }

    fn describe(&self) -> String {
        ReportText {
            fraction: self.fraction,
            queue_position: self.queue_position,
            note: self.note.as_deref(),
            preview: self.preview.as_deref(),
        }
        .join()
    }
}

fn describe_progress(progress: &Progress) -> String {
    ReportText {
        fraction: progress.fraction,
        queue_position: progress.queue_position,
        note: progress.note.as_deref(),
        preview: progress.preview.as_ref().map(Image::media_type),
    }
    .join()
}

/// The parts of a report that a failure shows.
struct ReportText<'a> {
    fraction: Option<f32>,
    queue_position: Option<u32>,
    note: Option<&'a str>,
    preview: Option<&'a str>,
}

impl ReportText<'_> {
    fn join(&self) -> String {
        let parts = [
            self.fraction.map(|fraction| format!("fraction {fraction}")),
            self.queue_position
                .map(|position| format!("queue position {position}")),
            self.note.map(|note| format!("note {note:?}")),
            self.preview.map(|preview| format!("preview {preview}")),
        ];
        let present: Vec<String> = parts.into_iter().flatten().collect();
        if present.is_empty() {
            return "an empty report".to_owned();
        }
        present.join(", ")
    }
}
