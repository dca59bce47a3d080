//! The details of an output, which the host stores with its images.

use pinhole_sdk::Batch;
use pinhole_sdk::upstream_text::truncate;
use serde::Serialize;
use serde_json::json;

use super::plan::RequestPlan;
use super::response::ResponseSummary;
use super::sizes::ImageShape;
use super::usage::Usage;
use crate::method::Method;

/// Bytes of the texts that all responses of a job hold next to their images.
const MAX_CAPTION_BYTES: usize = 2000;

#[derive(Serialize)]
struct OutputDetails<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_ids: Vec<&'a str>,
    /// The model's text next to its images.
    #[serde(skip_serializing_if = "String::is_empty")]
    caption: String,
    /// As requested.
    #[serde(flatten)]
    shape: &'a ImageShape,
}

/// The details as a JSON object. Fields without a value are omitted.
pub(crate) fn output_details(plan: &RequestPlan, batch: &Batch<ResponseSummary>) -> String {
    let responses = &batch.readings;
    let captions: Vec<&str> = responses
        .iter()
        .map(|response| response.caption.as_str())
        .filter(|caption| !caption.is_empty())
        .collect();
    let details = OutputDetails {
        model: &plan.target.model,
        model_version: responses
            .iter()
            .find_map(|response| response.model_version.as_deref()),
        response_ids: responses
            .iter()
            .filter_map(|response| response.response_id.as_deref())
            .collect(),
        caption: truncate(&captions.join("\n"), MAX_CAPTION_BYTES),
        shape: &plan.shape,
    };
    json!(details).to_string()
}

/// The tokens of all requests as a JSON object.
pub(crate) fn output_usage(batch: &Batch<ResponseSummary>) -> Option<String> {
    let usages = batch.readings.iter().filter_map(|response| response.usage);
    let sum = usages.reduce(Usage::saturating_add)?;
    Some(json!(sum).to_string())
}

/// Warnings about missing images, with the reasons.
pub(crate) fn output_warnings(plan: &RequestPlan, batch: &Batch<ResponseSummary>) -> Vec<String> {
    let mut reasons: Vec<String> = batch
        .readings
        .iter()
        .flat_map(|response| &response.errors)
        .map(|error| error.message.clone())
        .collect();
    let is_unexplained = reasons.is_empty() && batch.errors.is_empty();
    let is_incomplete = batch.images.len() < plan.requested_images;
    if plan.target.method == Method::Predict && is_unexplained && is_incomplete {
        reasons.push("the upstream filtered the missing images without a reason".to_owned());
    }
    batch.warnings(&reasons)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{Error, Job, Size};
    use serde_json::Value;

    use super::*;
    use crate::wire::ResponseReader;
    use crate::wire::plan::tests::{job, plan_with_method};

    fn parse(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn output_details_hold_values_of_plan_and_responses() {
        let job = Job {
            size: Some(Size::new(1920, 1080)),
            seed: Some(7),
            ..job("models/gemini-3.1-flash-image")
        };
        let plan = plan_with_method(&job, "generateContent");
        // Without images, which only the host can make.
        let mut batch = Batch::new(0, 10);
        let mut add_response = |body: &Value| {
            let mut reader = ResponseReader::new(&plan.target);
            reader.read_document(body).unwrap();
            batch.readings.push(reader.summary);
            let usage = parse(&output_usage(&batch).unwrap());
            (parse(&output_details(&plan, &batch)), usage)
        };
        let one = json!({
            "model": "gemini-3.1-flash-image", "model_version": "gemini-2.5-flash-image",
            "response_ids": ["r1"], "caption": "Here is your image.",
            "aspect_ratio": "16:9", "image_size": "2K",
        });
        let success = parse(include_str!("../../testdata/success.json"));
        let usage = json!({"input_tokens": 8, "output_tokens": 1290, "total_tokens": 1298});
        assert_eq!(add_response(&success), (one, usage));
        let (_, sum) = add_response(&json!({
            "candidates": [{"finishReason": "SAFETY"}],
            "usageMetadata": {"totalTokenCount": 2},
        }));
        assert_eq!(sum["total_tokens"], 1300);
        let blocked = "the upstream's safety system refused the image (SAFETY)";
        assert_eq!(output_warnings(&plan, &batch), [blocked]);
        batch.errors.push(Error::protocol("slow down"));
        assert_eq!(output_warnings(&plan, &batch), [blocked, "slow down"]);
    }

    #[test]
    fn warnings_explain_missing_predictions_without_reason() {
        let four_images = Job {
            count: 4,
            ..job("imagen-4.0-generate-001")
        };
        let plan = plan_with_method(&four_images, "predict");
        let mut batch = Batch::new(4, 10);
        let received = "0 of 4 images received";
        let unexplained = "the upstream filtered the missing images without a reason";
        assert_eq!(output_warnings(&plan, &batch), [received, unexplained]);
        batch.errors.push(Error::protocol("slow down"));
        assert_eq!(output_warnings(&plan, &batch), [received, "slow down"]);
    }
}
