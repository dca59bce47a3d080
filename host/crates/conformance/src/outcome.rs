//! What came of a case, beside what should have.

use serde_json::{Value, json};

use super::case::{Failure, Given, Outcome, Pictures, Report};
use super::host::{Failure as Failed, JobImages, TaskResult};
use super::progress::Play;
use pinhole_images::Image;
use pinhole_sandbox::Progress;
use pinhole_sandbox::contract::{ErrorKind, Model};

/// What the host gave.
pub(crate) enum Came {
    Pictures(Box<JobImages>),
    Models(Vec<Model>),
    Verified,
    Failed(Failed),
}

impl From<TaskResult> for Came {
    fn from(result: TaskResult) -> Self {
        match result {
            TaskResult::Images(images) => Self::Pictures(Box::new(images)),
            TaskResult::Models(models) => Self::Models(models),
            TaskResult::Verified => Self::Verified,
            TaskResult::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Came {
    /// The host could not start with the case's variables.
    pub(crate) fn not_started(error: &anyhow::Error) -> Self {
        let message = format!("{error:#}");
        Self::Failed(Failed {
            kind: ErrorKind::Invalid.name(),
            operator_message: message.clone(),
            message,
            code: None,
            field: None,
            retry_after_ms: None,
        })
    }

    /// Everything a person may come to read.
    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::Pictures(finished) => vec![
                finished.details.clone(),
                finished.revised_prompt.clone().unwrap_or_default(),
            ],
            Self::Models(models) => {
                let texts = models.iter();
                texts
                    .flat_map(|model| [model.id.clone(), model.name.clone()])
                    .collect()
            }
            Self::Verified => Vec::new(),
            Self::Failed(failed) => vec![
                failed.message.clone(),
                failed.operator_message.clone(),
                failed.code.clone().unwrap_or_default(),
                failed.field.clone().unwrap_or_default(),
            ],
        }
    }

    /// A line for each thing that is not as the case says.
    pub(crate) fn compare(&self, expected: &Outcome, play: &Play) -> Vec<String> {
        let found = match (self, expected) {
            (
                Self::Pictures(finished),
                Outcome {
                    pictures: Some(pictures),
                    ..
                },
            ) => compare_pictures(finished, pictures, expected, play),
            (
                Self::Models(models),
                Outcome {
                    models: Some(pattern),
                    ..
                },
            ) => {
                let models = models.iter();
                let came = models.map(|model| json!({"id": model.id, "name": model.name}));
                play.compare(pattern, &came.collect(), false)
            }
            (
                Self::Verified,
                Outcome {
                    verified: Some(true),
                    ..
                },
            ) => Vec::new(),
            (
                Self::Failed(failed),
                Outcome {
                    error: Some(error), ..
                },
            ) => failed.compare(error),
            _ => vec![format!(
                "expected {}, came {}",
                expected.words(),
                self.words()
            )],
        };
        found
            .into_iter()
            .map(|found| format!("/outcome: {found}"))
            .collect()
    }

    fn words(&self) -> String {
        match self {
            Self::Pictures(finished) => counted(finished.images.len()),
            Self::Models(models) => format!("{} models", models.len()),
            Self::Verified => "verified".to_owned(),
            Self::Failed(failed) => failed.words(),
        }
    }
}

impl Failed {
    fn words(&self) -> String {
        format!("error {} ({})", self.kind, self.operator_message)
    }

    fn compare(&self, expected: &Failure) -> Vec<String> {
        let mut found = Vec::new();
        if self.kind != expected.kind {
            found.push(format!(
                "expected error {}, came {}",
                expected.kind,
                self.words()
            ));
        }
        for text in expected
            .message
            .iter()
            .filter(|text| !self.message.contains(*text))
        {
            found.push(format!(
                "expected {text:?} in the message, came {:?}",
                self.message
            ));
        }
        for text in expected
            .lacks
            .iter()
            .filter(|text| self.message.contains(*text))
        {
            found.push(format!(
                "expected no {text:?} in the message, came {:?}",
                self.message
            ));
        }
        for (key, expected, came) in [
            ("code", &expected.code, &self.code),
            ("field", &expected.field, &self.field),
        ] {
            if let Some(expected) = expected
                && expected != came
            {
                found.push(format!(
                    "{key}: expected {}, came {}",
                    Value::from(expected.clone()),
                    Value::from(came.clone())
                ));
            }
        }
        if let Some(expected) = expected.retry_after_ms
            && expected != self.retry_after_ms
        {
            found.push(format!(
                "retry_after_ms: expected {}, came {}",
                Value::from(expected),
                Value::from(self.retry_after_ms)
            ));
        }
        found
    }
}

impl Outcome {
    fn words(&self) -> String {
        if let Some(error) = &self.error {
            return format!("error {}", error.kind);
        }
        match &self.pictures {
            Some(pictures) => counted(pictures.count()),
            None if self.models.is_some() => "models".to_owned(),
            None => "verified".to_owned(),
        }
    }
}

impl Pictures {
    fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::List(list) => list.len(),
        }
    }
}

fn counted(pictures: usize) -> String {
    match pictures {
        1 => "1 picture".to_owned(),
        more => format!("{more} pictures"),
    }
}

fn compare_pictures(
    finished: &JobImages,
    pictures: &Pictures,
    expected: &Outcome,
    play: &Play,
) -> Vec<String> {
    let mut found = Vec::new();
    let came = finished.images.len();
    if came != pictures.count() {
        let expected = counted(pictures.count());
        found.push(format!("expected {expected}, came {came}"));
    }
    if let Pictures::List(list) = pictures {
        for (number, (given, image)) in list.iter().zip(&finished.images).enumerate() {
            found.extend(
                compare_picture(given, image)
                    .into_iter()
                    .map(|found| format!("picture {number}: {found}")),
            );
        }
    }
    if let Some(prompt) = &expected.revised_prompt {
        let (pattern, came) = (
            prompt.clone().into(),
            finished.revised_prompt.clone().into(),
        );
        let differences = play.compare(&pattern, &came, false);
        found.extend(
            differences
                .into_iter()
                .map(|found| format!("revised_prompt: {found}")),
        );
    }
    if let Some(pattern) = &expected.details {
        match serde_json::from_str(&finished.details) {
            Ok(came) => {
                let differences = play.compare(pattern, &came, true);
                found.extend(
                    differences
                        .into_iter()
                        .map(|found| format!("details: {found}")),
                );
            }
            Err(error) => found.push(format!("details: they are no JSON: {error}")),
        }
    }
    found
}

fn compare_picture(given: &Given, image: &Image) -> Vec<String> {
    let (width, height) = image.size();
    let size = format!("{width}x{height}");
    let compared = [
        (&given.media_type, image.media_type()),
        (&given.size, size.as_str()),
    ];
    let mut found = Vec::new();
    for (expected, came) in compared {
        if let Some(expected) = expected
            && expected != came
        {
            found.push(format!("expected {expected}, came {came}"));
        }
    }
    if let Some(picture) = &given.picture
        && picture.bytes != image.bytes()
    {
        let length = image.bytes().len();
        found.push(format!(
            "expected other bytes than the {length} that came ({size})"
        ));
    }
    found
}

/// The expected reports that did not come in their order.
pub(crate) fn compare_reports(expected: &[Report], came: &[Progress], play: &Play) -> Vec<String> {
    let mut left = came.iter();
    for (number, report) in expected.iter().enumerate() {
        if !left.any(|came| report.fits(came, play)) {
            let came: Vec<String> = came.iter().map(words).collect();
            let came = match came.is_empty() {
                true => "none".to_owned(),
                false => came.join("; "),
            };
            let expected = report.words();
            return vec![format!(
                "/reports/{number}: expected {expected}, came {came}"
            )];
        }
    }
    Vec::new()
}

impl Report {
    fn fits(&self, came: &Progress, play: &Play) -> bool {
        let fraction = |expected: f32| {
            let came = came.fraction;
            came.is_some_and(|came| (came - expected).abs() < 1e-4)
        };
        let note = |expected: &String| {
            let pattern = Value::from(expected.clone());
            let came = Value::from(came.note.clone());
            play.compare(&pattern, &came, false).is_empty()
        };
        let preview = came.preview.as_ref().map(Image::media_type);
        self.fraction.is_none_or(fraction)
            && (self.queue_position.is_none() || self.queue_position == came.queue_position)
            && (self.preview.is_none() || self.preview.as_deref() == preview)
            && self.note.as_ref().is_none_or(note)
    }

    fn words(&self) -> String {
        let preview = self.preview.as_deref();
        described(
            self.fraction,
            self.queue_position,
            self.note.as_deref(),
            preview,
        )
    }
}

fn words(progress: &Progress) -> String {
    let preview = progress.preview.as_ref().map(Image::media_type);
    described(
        progress.fraction,
        progress.queue_position,
        progress.note.as_deref(),
        preview,
    )
}

fn described(
    fraction: Option<f32>,
    queue_position: Option<u32>,
    note: Option<&str>,
    preview: Option<&str>,
) -> String {
    let parts = [
        fraction.map(|fraction| format!("fraction {fraction}")),
        queue_position.map(|position| format!("queue position {position}")),
        note.map(|note| format!("note {note:?}")),
        preview.map(|preview| format!("preview {preview}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => "an empty report".to_owned(),
        false => parts.join(", "),
    }
}

/// Every kind of error.
const KINDS: [ErrorKind; 14] = [
    ErrorKind::Invalid,
    ErrorKind::Unauthorized,
    ErrorKind::Forbidden,
    ErrorKind::Quota,
    ErrorKind::RateLimited,
    ErrorKind::Blocked,
    ErrorKind::NotFound,
    ErrorKind::OutOfMemory,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Unsupported,
    ErrorKind::Upstream,
    ErrorKind::Protocol,
];

/// Is there a kind of this name?
pub(crate) fn is_kind(name: &str) -> bool {
    KINDS.into_iter().any(|kind| kind.name() == name)
}
