//! A prediction: one run of a model on Replicate.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Length of a message in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

#[derive(Debug, Deserialize)]
pub(crate) struct Prediction {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) model: String,
    pub(crate) status: Status,
    /// A URL, or a list of URLs.
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Option<String>,
    /// The end of the model's log.
    #[serde(default)]
    pub(crate) logs: String,
    #[serde(default)]
    pub(crate) metrics: Metrics,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Starting,
    Processing,
    Succeeded,
    Failed,
    Canceled,
}

/// What Replicate counts, and bills.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Metrics {
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    predict_time: Option<f64>,
}

impl Status {
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Starting => "the model is starting",
            _ => "running",
        }
    }
}

impl Prediction {
    /// JSON pointers to the URLs of the images.
    pub(crate) fn image_pointers(&self) -> Vec<String> {
        match &self.output {
            Value::String(_) => vec!["/output".to_owned()],
            Value::Array(urls) => (0..urls.len()).map(|it| format!("/output/{it}")).collect(),
            _ => Vec::new(),
        }
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Error {
        let text = self.error.as_deref().unwrap_or("without a reason");
        let kind = if text.to_ascii_lowercase().contains("nsfw") {
            ErrorKind::Blocked
        } else if text.contains("CUDA out of memory") {
            ErrorKind::OutOfMemory
        } else {
            ErrorKind::Upstream
        };
        Error::new(
            kind,
            format!("the model failed: {}", truncate(text, MAX_MESSAGE_BYTES)),
        )
    }
}

/// The share of the work that is done, from the last progress bar in a log, such as ` 30%|███ | 15/50`.
pub(crate) fn find_progress(logs: &str) -> Option<f32> {
    let (before, _) = logs.rsplit_once("%|")?;
    let start = before
        .rfind(|letter: char| !letter.is_ascii_digit())
        .map_or(0, |index| index + 1);
    let percent: f32 = before.get(start..)?.parse().ok()?;
    (percent <= 100.0).then_some(percent / 100.0)
}

/// The seed that a log names, such as `Using seed: 1234`.
pub(crate) fn find_seed(logs: &str) -> Option<u64> {
    let lower = logs.to_ascii_lowercase();
    let (_, after) = lower.split_once("seed: ")?;
    let end = after.find(|letter: char| !letter.is_ascii_digit());
    after.get(..end.unwrap_or(after.len()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_and_seed_come_from_the_log() {
        let logs = "Using seed: 1234\n  0%|          | 0/50\n 30%|███       | 15/50 [00:01<00:02]";
        assert_eq!(
            (find_progress(logs), find_seed(logs)),
            (Some(0.3), Some(1234))
        );
        for other in ["", "done", "999%|x", "%|"] {
            assert_eq!(
                (find_progress(other), find_seed(other)),
                (None, None),
                "{other}"
            );
        }
    }

    #[test]
    fn output_is_one_url_or_a_list() {
        let pointers = |output: Value| {
            let json = json!({"id": "p", "status": "succeeded", "output": output});
            let prediction: Prediction = serde_json::from_value(json).unwrap();
            prediction.image_pointers()
        };
        assert_eq!(pointers(json!("https://x/a.png")), ["/output"]);
        assert_eq!(pointers(json!(["a", "b"])), ["/output/0", "/output/1"]);
        assert!(pointers(json!(null)).is_empty());
    }

    #[test]
    fn failure_says_what_kind_it_is() {
        let failure = |text: &str| {
            let json = json!({"id": "p", "status": "failed", "error": text});
            let prediction: Prediction = serde_json::from_value(json).unwrap();
            prediction.failure().kind
        };
        assert_eq!(failure("NSFW content detected"), ErrorKind::Blocked);
        assert_eq!(failure("CUDA out of memory."), ErrorKind::OutOfMemory);
        assert_eq!(failure("x"), ErrorKind::Upstream);
    }
}
