//! The details of an output, which the host stores with its images.

use pinhole_sdk::Cost;
use serde::Serialize;
use serde_json::json;

use super::plan::{ImageApi, RequestPlan};
use super::response::{ImageAttributes, ResponseDetails};
use super::usage::Usage;

#[derive(Serialize)]
struct OutputDetails<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    /// Of the first response.
    #[serde(flatten)]
    attributes: ImageAttributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_size: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_ids: Vec<&'a str>,
}

/// The details as a JSON object. Fields without a value are omitted.
pub(crate) fn output_details(plan: &RequestPlan, responses: &[ResponseDetails]) -> String {
    let attributes = responses
        .first()
        .map(|response| response.attributes.clone());
    let request_ids = responses
        .iter()
        .filter_map(|response| response.request_id.as_deref());
    let size_change = plan.size_change.as_ref();
    let details = OutputDetails {
        model: plan.model.as_deref(),
        attributes: attributes.unwrap_or_default(),
        asked_size: size_change.map(|change| change.requested.to_string()),
        sent_size: size_change.map(|change| change.sent.to_string()),
        request_ids: request_ids.collect(),
    };
    json!(details).to_string()
}

/// The counts of all requests as a JSON object.
pub(crate) fn output_usage(responses: &[ResponseDetails]) -> Option<String> {
    Some(json!(sum_usage(responses)?).to_string())
}

/// What OpenRouter charges for all requests, in US dollars. OpenAI's images API does not say it.
pub(crate) fn output_cost(plan: &RequestPlan, responses: &[ResponseDetails]) -> Option<Cost> {
    let dollars = sum_usage(responses)?.cost()?;
    (plan.api == ImageApi::ChatCompletions).then(|| Cost::usd(dollars))
}

fn sum_usage(responses: &[ResponseDetails]) -> Option<Usage> {
    let usages = responses
        .iter()
        .filter_map(|response| response.usage.clone());
    usages.reduce(Usage::sum)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::{Job, Size};
    use serde_json::Value;

    use super::*;
    use crate::settings::Operation;
    use crate::wire::parse_response;
    use crate::wire::plan::tests::{job, plan_with};

    fn parse(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn output_details_hold_values_of_plan_and_responses() {
        let job = Job {
            size: Some(Size::new(512, 512)),
            ..job("gpt-image-1.5")
        };
        let plan = plan_with(&job, &[], Operation::Generate);
        let response = || {
            let body = parse(include_str!("../../testdata/success.json"));
            let (_, details) = parse_response(&body).unwrap();
            details.with_request_id(Some("req_1".into()))
        };
        let one = json!({
            "model": "gpt-image-1.5", "size": "1024x1024", "quality": "medium",
            "background": "opaque", "output_format": "png",
            "asked_size": "512x512", "sent_size": "1024x1024", "request_ids": ["req_1"],
        });
        assert_eq!(parse(&output_details(&plan, &[response()])), one);
        let usage = |responses: &[ResponseDetails]| parse(&output_usage(responses).unwrap());
        let counts = json!({
            "input_tokens": 50, "input_tokens_details": {"image_tokens": 40, "text_tokens": 10},
            "output_tokens": 50, "total_tokens": 100,
        });
        assert_eq!(usage(&[response()]), counts);
        assert_eq!(usage(&[response(), response()])["total_tokens"], 200);
    }
}
