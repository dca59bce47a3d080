//! The JSON object kept beside the images.

use pinhole_sdk::Gathered;
use pinhole_sdk::words::cut;
use serde::Serialize;
use serde_json::json;

use super::answer::{Reading, Usage};
use super::plan::Plan;
use super::sizes::Shape;
use crate::settings::Method;

/// Of the texts that came with the pictures of a job, in bytes.
const MAX_CAPTION: usize = 2000;

/// What nobody said is absent.
#[derive(Serialize)]
struct Details<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_ids: Vec<&'a str>,
    /// What the model said beside its pictures.
    #[serde(skip_serializing_if = "String::is_empty")]
    caption: String,
    /// As it was asked for.
    #[serde(flatten)]
    shape: &'a Shape,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    seeds: &'a [u64],
    /// Of all requests together.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// The details of what a plan's requests gave, as JSON text.
pub(crate) fn details(plan: &Plan, gathered: &Gathered<Reading>) -> String {
    let readings = &gathered.readings;
    let said = readings.iter().map(|reading| reading.said.as_str());
    let captions: Vec<&str> = said.filter(|said| !said.is_empty()).collect();
    let usages = readings.iter().filter_map(|reading| reading.usage);
    let details = Details {
        model: &plan.asked.model,
        model_version: readings
            .iter()
            .find_map(|reading| reading.model_version.as_deref()),
        response_ids: readings
            .iter()
            .filter_map(|reading| reading.response_id.as_deref())
            .collect(),
        caption: cut(&captions.join("\n"), MAX_CAPTION),
        shape: &plan.shape,
        seeds: &plan.seeds,
        usage: usages.reduce(Usage::plus),
        notes: notes(plan, gathered),
    };
    json!(details).to_string()
}

fn notes(plan: &Plan, gathered: &Gathered<Reading>) -> Vec<String> {
    let refusals = gathered
        .readings
        .iter()
        .flat_map(|reading| &reading.refusals);
    let mut refused: Vec<String> = refusals.map(|error| error.message.clone()).collect();
    let silent = refused.is_empty() && gathered.errors.is_empty();
    let predicts = plan.asked.method == Method::Predict;
    if predicts && silent && gathered.pictures.len() < plan.count {
        refused.push("the upstream left out without a word what it filtered".to_owned());
    }
    gathered.notes(&refused)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{Error, Job, Picture, Size};
    use serde_json::Value;

    use super::*;
    use crate::wire::plan::tests::{job, planned};

    #[test]
    fn the_details_are_what_was_asked_and_answered() {
        let asked = Job {
            size: Some(Size::new(1920, 1080)),
            seed: Some(7),
            ..job("models/gemini-3.1-flash-image")
        };
        let plan = planned(&asked, "generateContent");
        let success: Value =
            serde_json::from_str(include_str!("../../testdata/success.json")).unwrap();
        let mut gathered = Gathered::new(1, 10);
        let mut add = |answer: &Value| {
            let mut reading = Reading::new(&plan.asked);
            reading.read(answer).unwrap();
            gathered.readings.push(reading);
            let address = Picture::Address("https://x.example/a".into());
            gathered.pictures.push(address);
            let details: Value = serde_json::from_str(&details(&plan, &gathered)).unwrap();
            details
        };
        let one = json!({
            "model": "gemini-3.1-flash-image", "model_version": "gemini-2.5-flash-image",
            "response_ids": ["r1"], "caption": "Here is your image.",
            "aspect_ratio": "16:9", "image_size": "2K", "seeds": [7],
            "usage": {"input_tokens": 8, "output_tokens": 1290, "total_tokens": 1298},
        });
        assert_eq!(add(&success), one);
        let two = add(&json!({
            "candidates": [{"finishReason": "SAFETY"}],
            "usageMetadata": {"totalTokenCount": 2},
        }));
        assert_eq!(two["usage"]["total_tokens"], 1300);
        let note = "the upstream's safety system refused the image (SAFETY)";
        assert_eq!(two["notes"], json!([note]));
        gathered.errors.push(Error::protocol("slow down"));
        let three: Value = serde_json::from_str(&details(&plan, &gathered)).unwrap();
        assert_eq!(three["notes"], json!([note, "slow down"]));
    }

    #[test]
    fn predictions_that_are_missing_without_a_reason_were_filtered() {
        let four = Job {
            count: 4,
            ..job("imagen-4.0-generate-001")
        };
        let plan = planned(&four, "predict");
        let mut gathered = Gathered::new(4, 10);
        let address = Picture::Address("https://x.example/a".into());
        gathered.pictures.push(address);
        let silent = "the upstream left out without a word what it filtered";
        assert_eq!(notes(&plan, &gathered), ["1 of 4 images came", silent]);
        gathered.errors.push(Error::protocol("slow down"));
        assert_eq!(notes(&plan, &gathered), ["1 of 4 images came", "slow down"]);
    }
}
