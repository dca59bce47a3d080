//! ComfyUI's HTTP API: paths, request bodies and parsed responses.

mod history;
mod queue;

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Request, job};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::workflow::Graph;
use crate::{UPSTREAM, error};

pub(crate) use history::{HistoryEntry, OutputFile, OutputFiles};
pub(crate) use queue::{client_jobs, is_running, queue_position};

pub(crate) const PROMPT: &str = "/prompt";
pub(crate) const QUEUE: &str = "/queue";
pub(crate) const SYSTEM_STATS: &str = "/system_stats";
pub(crate) const INTERRUPT: &str = "/interrupt";
/// Maximum length of a job's id, in bytes. Servers use UUIDs.
const MAX_ID_BYTES: usize = 128;

/// Requests the JSON at a path of the server.
pub(crate) fn request_json<T: DeserializeOwned>(path: &str) -> Result<T, Error> {
    let response = Request::get(UPSTREAM, path).send()?;
    response.success().map_err(error::from_refusal)?.json()
}

/// A new random id.
pub(crate) fn random_id() -> String {
    format_uuid([job::random(), job::random()])
}

/// Formats a random UUID as servers require it: lower case, with hyphens.
fn format_uuid(random: [u64; 2]) -> String {
    let [first, second] = random;
    let high = first & !0xf000 | 0x4000;
    let low = second & !(0xc << 60) | 0x8 << 60;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

pub(crate) fn socket_path(client_id: &str) -> String {
    format!("/ws?clientId={}", percent_encode(client_id))
}

/// The first message on the socket. It requests metadata with previews, which identifies their job.
pub(crate) fn feature_flags() -> String {
    json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}}).to_string()
}

/// The body of a request to queue a job.
///
/// The engine chooses the job's id, so that it can cancel a job whose response never arrived. Some
/// servers ignore it and choose another id.
pub(crate) fn job_body(
    graph: &Graph,
    client_id: &str,
    prompt_id: &str,
    preview_method: Option<&str>,
) -> Value {
    let mut body = json!({"prompt": graph, "client_id": client_id, "prompt_id": prompt_id});
    if let (Some(method), Some(fields)) = (preview_method, body.as_object_mut()) {
        fields.insert("extra_data".into(), json!({ "preview_method": method }));
    }
    body
}

pub(crate) fn history_path(prompt_id: &str) -> String {
    format!("/history/{}", percent_encode(prompt_id))
}

pub(crate) fn cancel_path(prompt_id: &str) -> String {
    format!("/api/jobs/{}/cancel", percent_encode(prompt_id))
}

pub(crate) fn object_info_path(class: &str) -> String {
    format!("/object_info/{}", percent_encode(class))
}

/// The response to a queued job. It may list errors of nodes; the server still runs what does not depend
/// on these nodes.
#[derive(Debug, Deserialize)]
pub(crate) struct QueuedJob {
    pub(crate) prompt_id: String,
    #[serde(default)]
    pub(crate) node_errors: Value,
}

impl QueuedJob {
    pub(crate) fn parse(response: Value) -> Result<Self, Error> {
        let job: Option<Self> = serde_json::from_value(response).ok();
        job.filter(|job| (1..=MAX_ID_BYTES).contains(&job.prompt_id.len()))
            .ok_or_else(|| Error::protocol("ComfyUI accepted the job without returning its id"))
    }
}

/// The choices of an input in the schema of its node's class: a plain list, or a `COMBO`.
pub(crate) fn parse_choices(schemas: &Value, class: &str, input: &str) -> Vec<String> {
    let inputs = schemas.get(class).and_then(|schema| schema.get("input"));
    let schema = ["required", "optional"]
        .iter()
        .find_map(|group| inputs?.get(group)?.get(input));
    let choices = schema.and_then(|schema| match schema.get(0)? {
        Value::Array(choices) => Some(choices),
        _ => schema.get(1)?.get("options")?.as_array(),
    });
    let names = choices.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// The server's folder of the files that an input names.
pub(crate) fn model_folder(input: &str) -> Option<&'static str> {
    match input {
        "ckpt_name" => Some("checkpoints"),
        "unet_name" => Some("diffusion_models"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;

    use super::*;

    #[test]
    fn format_uuid_sets_version_and_variant() {
        assert_eq!(format_uuid([0, 0]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(
            format_uuid([u64::MAX, u64::MAX]),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            format_uuid([0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef]),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }

    #[test]
    fn queued_job_requires_valid_id() {
        let valid = json!({"prompt_id": "ab-1", "number": 3, "node_errors": {}});
        assert_eq!(QueuedJob::parse(valid).unwrap().prompt_id, "ab-1");
        for response in [
            json!(null),
            json!({}),
            json!({"prompt_id": ""}),
            json!({"prompt_id": 7}),
            json!({"prompt_id": "x".repeat(MAX_ID_BYTES + 1)}),
        ] {
            let error = QueuedJob::parse(response).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol);
        }
    }

    #[test]
    fn parse_choices_reads_lists_and_combos() {
        let schemas: Value =
            serde_json::from_str(include_str!("../testdata/object-info.json")).unwrap();
        let choices = |class: &str, input: &str| parse_choices(&schemas, class, input);
        assert_eq!(
            choices("CheckpointLoaderSimple", "ckpt_name"),
            ["random-sd15-tiny.safetensors", "random-sd15.safetensors"]
        );
        assert_eq!(choices("KSamplerSelect", "sampler_name")[0], "euler");
        assert!(choices("KSamplerSelect", "other").is_empty());
        assert!(choices("NotInstalledNode", "ckpt_name").is_empty());
    }
}
