//! The upstream's list of models.

use pinhole_sdk::families::matches_prefix;
use pinhole_sdk::{Error, Model, Settings};
use serde_json::Value;

use super::string_at;
use crate::endpoint::Endpoint;
use crate::settings::LISTED_MODELS;

const MAX_MODELS: usize = 500;
/// Prefixes of OpenAI's image models. Its list does not tell what a model makes.
const OPENAI_PREFIXES: &str = "gpt-image-,chatgpt-image-,dall-e-";
/// The values of `owned_by` in OpenAI's own list, which proxies pass on.
const OPENAI_OWNERS: [&str; 3] = ["openai-dev", "openai-internal", "system"];

/// JSON pointers to the list of what a model makes: OpenRouter's, and those of other gateways.
const OUTPUT_POINTERS: [&str; 4] = [
    "/architecture/output_modalities",
    "/output_modalities",
    "/supported_output_modalities",
    "/modalities/output",
];
/// Fields with a model's kind: Together's and Venice's `type`, Xinference's `model_type`, LiteLLM's `mode`,
/// and the task as Hugging Face names it.
const KIND_FIELDS: [&str; 5] = ["type", "model_type", "mode", "task", "pipeline_tag"];
/// Kinds of models that make images. OpenAI's own value of `type`, `model`, is no kind.
const IMAGE_KINDS: [&str; 8] = [
    "image",
    "image-edit",
    "image-generation",
    "image-to-image",
    "img2img",
    "text-to-image",
    "text2image",
    "txt2img",
];
/// Kinds of models that make no images.
const OTHER_KINDS: [&str; 24] = [
    "asr",
    "audio",
    "audio-speech",
    "audio-transcription",
    "automatic-speech-recognition",
    "chat",
    "code",
    "completion",
    "embedding",
    "embeddings",
    "feature-extraction",
    "image-text-to-text",
    "image-to-text",
    "language",
    "llm",
    "moderation",
    "rerank",
    "speech",
    "text",
    "text-generation",
    "text-to-speech",
    "text-to-video",
    "tts",
    "video",
];

/// The models that users can choose, in the upstream's order: those of the setting `listed-models`. If it is
/// empty: every model that makes images, as far as the upstream tells.
pub(crate) fn parse_models(body: &Value, settings: &Settings) -> Result<Vec<Model>, Error> {
    // Together's list has no object around it.
    let Some(items) = body.get("data").unwrap_or(body).as_array() else {
        return Err(Error::protocol(
            "the upstream's list of models has no data array",
        ));
    };
    let prefixes = settings.text(LISTED_MODELS);
    let is_openai = Endpoint::from_settings(settings).is_openai;
    let is_listed = |id: &str, item: &Value| match &prefixes {
        Some(prefixes) => matches_prefix(prefixes, Some(id)),
        None if is_openai => matches_prefix(OPENAI_PREFIXES, Some(id)),
        None => makes_images(id, item) != Some(false),
    };
    let models = items
        .iter()
        .filter_map(|item| Some((string_at(item, "id")?, item)))
        .filter(|(id, item)| is_listed(id, item))
        .take(MAX_MODELS)
        .map(|(id, _)| Model::new(id, id));
    Ok(models.collect())
}

/// Does the model make images? `None` if the upstream does not tell.
fn makes_images(id: &str, item: &Value) -> Option<bool> {
    let outputs = OUTPUT_POINTERS
        .iter()
        .find_map(|pointer| item.pointer(pointer)?.as_array());
    if let Some(outputs) = outputs {
        return Some(outputs.iter().any(|output| output == "image"));
    }
    // `text->text+image`
    let modality = item
        .pointer("/architecture/modality")
        .and_then(Value::as_str);
    if let Some((_, made)) = modality.and_then(|text| text.split_once("->")) {
        return Some(made.split('+').any(|output| output == "image"));
    }
    let kind = KIND_FIELDS.iter().find_map(|field| {
        let kind = string_at(item, field)?.to_lowercase().replace('_', "-");
        if IMAGE_KINDS.contains(&kind.as_str()) {
            return Some(true);
        }
        OTHER_KINDS.contains(&kind.as_str()).then_some(false)
    });
    kind.or_else(|| {
        let owner = string_at(item, "owned_by")?;
        OPENAI_OWNERS
            .contains(&owner)
            .then(|| matches_prefix(OPENAI_PREFIXES, Some(id)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{BASE_URL, settings_with};

    #[track_caller]
    fn check(base_url: &str, listed: &str, body: &Value, expected: &[&str]) {
        let settings = settings_with(&[(BASE_URL, base_url), (LISTED_MODELS, listed)]);
        let models = parse_models(body, &settings).unwrap();
        let ids: Vec<String> = models.into_iter().map(|model| model.id).collect();
        assert_eq!(ids, expected, "{base_url} {listed:?}");
    }

    const OPENAI: &str = "https://api.openai.com/v1";
    const GATEWAY: &str = "http://127.0.0.1:4000/v1";
    const OPENAI_IMAGES: [&str; 4] = [
        "gpt-image-2",
        "dall-e-3",
        "chatgpt-image-latest",
        "gpt-image-1.5",
    ];

    fn openai_list() -> Value {
        serde_json::from_str(include_str!("../../testdata/models.json")).unwrap()
    }

    #[test]
    fn openai_models_are_filtered_by_name() {
        check(OPENAI, "", &openai_list(), &OPENAI_IMAGES);
        // Through a proxy.
        check(GATEWAY, "", &openai_list(), &OPENAI_IMAGES);
        check(OPENAI, "dall-e-", &openai_list(), &["dall-e-3"]);
        let plain = json!({"data": [{"id": "flux"}, {"id": "gpt-image-1", "owned_by": "openai"}]});
        check(OPENAI, "", &plain, &["gpt-image-1"]);
        let all = ["flux", "gpt-image-1"];
        check(OPENAI, "*", &plain, &all);
        check("https://eu.api.openai.com/v1", "", &plain, &["gpt-image-1"]);
        for other in [
            GATEWAY,
            "https://api.openai.com.evil.example/v1",
            "https://notopenai.com",
        ] {
            check(other, "", &plain, &all);
        }
        assert!(parse_models(&json!({}), &settings_with(&[])).is_err());
    }

    #[test]
    fn models_of_other_upstreams_are_filtered_by_what_it_tells() {
        let open_router = json!({"data": [
            {"id": "llama", "architecture": {"output_modalities": ["text"]}},
            {"id": "gemini-image", "architecture": {"output_modalities": ["text", "image"]}},
            {"id": "old", "architecture": {"modality": "text->text+image"}},
            {"id": "vision", "architecture": {"modality": "text+image->text"}},
        ]});
        check(GATEWAY, "", &open_router, &["gemini-image", "old"]);
        check(GATEWAY, "llama", &open_router, &["llama"]);
        let together = json!([
            {"id": "black-forest-labs/FLUX.1-schnell", "type": "image"},
            {"id": "llama-3.3", "type": "chat"},
            {"id": "bge", "type": "embedding"},
        ]);
        check(
            GATEWAY,
            "",
            &together,
            &["black-forest-labs/FLUX.1-schnell"],
        );
        let mixed = json!({"data": [
            {"id": "unknown", "object": "model", "type": "model", "owned_by": "openai"},
            {"id": "new-kind", "type": "holographic"},
            {"id": "xinference", "model_type": "image"},
            {"id": "litellm", "mode": "image_generation"},
            {"id": "speech", "mode": "audio_speech"},
            {"id": "hub", "pipeline_tag": "text-to-image"},
            {"id": "caption", "task": "image-to-text"},
            {"type": "image"},
            7,
        ]});
        let listed = ["unknown", "new-kind", "xinference", "litellm", "hub"];
        check(GATEWAY, "", &mixed, &listed);
    }

    #[test]
    fn list_is_bounded() {
        let items: Vec<Value> = (0..MAX_MODELS + 1)
            .map(|n| json!({"id": n.to_string()}))
            .collect();
        let models = parse_models(
            &json!({"data": items}),
            &settings_with(&[(BASE_URL, GATEWAY)]),
        );
        assert_eq!(models.unwrap().len(), MAX_MODELS);
    }
}
