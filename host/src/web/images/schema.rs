//! OpenAPI schemas of the request fields whose limits are constants, for both image APIs.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use pinhole_sandbox::{MAX_COUNT, MAX_MODEL_BYTES};

use crate::jobs::{MAX_PROMPT_BYTES, MAX_STEPS};

const SIZE_PATTERN: &str = "^(auto|[1-9][0-9]{0,3}x[1-9][0-9]{0,3})?$";

pub(in crate::web) fn prompt() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Description of the image, or of the change to it."))
        .min_length(Some(1))
        .max_length(Some(MAX_PROMPT_BYTES))
        .build()
}

pub(in crate::web) fn negative_prompt() -> Object {
    let description = format!(
        "What the image must not show, in at most {MAX_PROMPT_BYTES} bytes; Open WebUI's API ignores it \
         if the engine does not support it."
    );
    nullable(Type::String)
        .description(Some(description))
        .build()
}

pub(in crate::web) fn image_count() -> Object {
    nullable(Type::Integer)
        .description(Some("Number of images. Some engines accept fewer."))
        .minimum(Some(1))
        .maximum(Some(MAX_COUNT))
        .build()
}

pub(in crate::web) fn model() -> Object {
    nullable(Type::String)
        .description(Some("A model of the engine."))
        .max_length(Some(MAX_MODEL_BYTES))
        .build()
}

pub(in crate::web) fn size() -> Object {
    nullable(Type::String)
        .description(Some(
            "`WIDTHxHEIGHT` in pixels, or `auto` for the engine's default. If missing, the configured \
             size applies.",
        ))
        .pattern(Some(SIZE_PATTERN))
        .build()
}

/// How far an edit may differ from its first source.
pub(in crate::web) fn strength() -> Object {
    nullable(Type::Number)
        .minimum(Some(0.0))
        .maximum(Some(1.0))
        .description(Some(
            "How far an edit may differ from its first image, for engines that support it.",
        ))
        .build()
}

/// Inference steps of an API that ignores them if the engine does not support them.
pub(in crate::web) fn optional_steps() -> Object {
    let description =
        format!("Inference steps, 1 to {MAX_STEPS}; ignored if the engine does not support them.");
    nullable(Type::Integer)
        .description(Some(description))
        .minimum(Some(0))
        .build()
}

pub(in crate::web) fn steps() -> Object {
    nullable(Type::Integer)
        .description(Some(
            "Not part of OpenAI's API: inference steps, for engines that support them.",
        ))
        .minimum(Some(1))
        .maximum(Some(MAX_STEPS))
        .build()
}

/// Inference steps of an API that refuses them if the engine does not support them.
pub(in crate::web) fn supported_steps() -> Object {
    nullable(Type::Integer)
        .description(Some("Inference steps, for engines that support them."))
        .minimum(Some(1))
        .maximum(Some(MAX_STEPS))
        .build()
}

pub(in crate::web) fn seed() -> Object {
    nullable(Type::Integer)
        .description(Some(
            "Seed, for engines that support it. An addition to the original API.",
        ))
        .minimum(Some(0))
        .build()
}

fn nullable(schema_type: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([schema_type, Type::Null]))
}
