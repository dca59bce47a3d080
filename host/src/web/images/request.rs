//! Requests of Open WebUI's image API. `engine`, `seed` and `parameters` are additions to its fields.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use pinhole_sandbox::contract::Description;

use super::schema;
use super::valid_json::{Fields, FromFields};
use crate::jobs::JobRequest;
use crate::web::error::ApiError;
use crate::web::openai::is_openai_engine;

/// The field that names the images to edit.
pub(super) const IMAGE: &str = "image";
/// The field that names the mask.
pub(super) const MASK: &str = "mask";

/// The images to generate.
#[derive(Deserialize, ToSchema)]
pub(super) struct GenerationRequest {
    #[schema(schema_with = schema::image_count)]
    n: Option<u32>,
    #[schema(schema_with = schema::optional_steps)]
    steps: Option<u32>,
    #[schema(schema_with = schema::prompt)]
    prompt: String,
    #[schema(schema_with = schema::negative_prompt)]
    negative_prompt: Option<String>,
    /// Overrides the configured engine.
    engine: Option<String>,
    #[schema(schema_with = schema::model)]
    model: Option<String>,
    #[schema(schema_with = schema::size)]
    size: Option<String>,
    #[schema(schema_with = schema::seed)]
    seed: Option<u64>,
    #[schema(schema_with = schema::strength)]
    strength: Option<f32>,
    /// Parameters that only this engine knows.
    parameters: Option<Map<String, Value>>,
    /// For engines of OpenAI's API; other engines ignore it.
    background: Option<String>,
}

impl FromFields for GenerationRequest {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.parse()
    }
}

impl GenerationRequest {
    /// The name of the requested engine.
    pub(super) fn engine(&self) -> Option<&str> {
        self.engine.as_deref().filter(|name| !name.is_empty())
    }

    /// The requested model.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref().filter(|name| !name.is_empty())
    }

    /// The request for an engine. Fields of Open WebUI that the engine does not support are removed:
    /// clients send them to every engine, and Open WebUI ignores them too.
    pub(super) fn into_job_request(self, engine: &Description) -> JobRequest {
        let mut request = JobRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            model: self.model,
            size: non_empty(self.size),
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            strength: self.strength,
            parameters: self.parameters.unwrap_or_default(),
        };
        if !engine.abilities.negative_prompt {
            request.negative_prompt = None;
        }
        if !engine.abilities.steps {
            request.steps = None;
        }
        if let Some(background) = non_empty(self.background)
            && is_openai_engine(engine)
        {
            let parameter = request.parameters.entry("background");
            parameter.or_insert_with(|| background.into());
        }
        request
    }
}

/// The images to edit, and how.
#[derive(ToSchema)]
pub(super) struct EditRequest {
    /// The images to edit: data URLs, URLs of stored files, or their ids.
    pub(super) image: ImageNames,
    /// Not part of Open WebUI's API: a PNG that is transparent where the first image may change, named like an image.
    pub(super) mask: Option<String>,
    #[schema(inline)]
    #[serde(flatten)]
    pub(super) generation: GenerationRequest,
}

/// An edit, or an object with the edit in `form_data`, which clients of Open WebUI 0.6.43 send.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum EditBody {
    Flat(EditRequest),
    Nested { form_data: EditRequest },
}

impl FromFields for EditBody {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        let is_nested = fields.enter("form_data");
        let request = EditRequest {
            image: fields.parse_field(IMAGE)?,
            mask: non_empty(fields.parse_field(MASK)?),
            generation: fields.parse()?,
        };
        if is_nested {
            return Ok(Self::Nested { form_data: request });
        }
        Ok(Self::Flat(request))
    }
}

impl EditBody {
    pub(super) fn into_request(self) -> EditRequest {
        match self {
            Self::Flat(request) | Self::Nested { form_data: request } => request,
        }
    }
}

/// One image or several.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(super) enum ImageNames {
    One(String),
    Several(Vec<String>),
}

impl ImageNames {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}

impl<'de> Deserialize<'de> for ImageNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ImageNamesVisitor)
    }
}

struct ImageNamesVisitor;

impl<'de> Visitor<'de> for ImageNamesVisitor {
    type Value = ImageNames;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of strings")
    }

    fn visit_str<E>(self, name: &str) -> Result<ImageNames, E> {
        Ok(ImageNames::One(name.to_owned()))
    }

    fn visit_string<E>(self, name: String) -> Result<ImageNames, E> {
        Ok(ImageNames::One(name))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ImageNames, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Ok(ImageNames::Several(names))
    }
}

/// Clients send an empty string for a field that is not set.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
