//! The JSON bodies of requests for images.

use pinhole_sdk::Job;
use serde_json::{Value, json};

use super::sizes::ImageShape;

/// The body of a `generateContent` request. `source_types` are the media types of the source
/// images.
pub(super) fn content_body(
    job: &Job,
    source_types: &[String],
    shape: &ImageShape,
    seed: Option<u64>,
) -> Value {
    let mut image_config = json!({});
    set_field(
        &mut image_config,
        "aspectRatio",
        shape.aspect_ratio.as_deref(),
    );
    set_field(&mut image_config, "imageSize", shape.image_size.as_deref());
    let mut config = json!({"responseModalities": ["TEXT", "IMAGE"]});
    if image_config != json!({}) {
        set_field(&mut config, "imageConfig", Some(image_config));
    }
    set_field(&mut config, "seed", seed);
    let mut parts = vec![json!({"text": job.prompt})];
    // The host replaces each null by the base64 of a source image.
    let source_part =
        |media_type: &String| json!({"inlineData": {"mimeType": media_type, "data": null}});
    parts.extend(source_types.iter().map(source_part));
    json!({
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": config,
    })
}

/// The JSON pointer in a [`content_body`] to each source image.
pub(super) fn source_pointers(source_count: usize) -> Vec<String> {
    (1..=source_count)
        .map(|part| format!("/contents/0/parts/{part}/inlineData/data"))
        .collect()
}

/// The body of a `predict` request for `count` images.
pub(super) fn predict_body(job: &Job, shape: &ImageShape, count: u32, seed: Option<u64>) -> Value {
    // Without includeRaiReason, filtered images are missing without a reason.
    let mut parameters = json!({"sampleCount": count, "includeRaiReason": true});
    set_field(
        &mut parameters,
        "aspectRatio",
        shape.aspect_ratio.as_deref(),
    );
    set_field(
        &mut parameters,
        "sampleImageSize",
        shape.image_size.as_deref(),
    );
    set_field(&mut parameters, "seed", seed);
    json!({
        "instances": [{"prompt": job.prompt}],
        "parameters": parameters,
    })
}

fn set_field(object: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.into(), value.into());
    }
}
