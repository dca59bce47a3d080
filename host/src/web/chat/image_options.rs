//! `ImageOptions`: what a chat request says about its image, except for the prompt.

use serde::Deserialize;
use serde_json::{Map, Value};

use pinhole_ground::text::plain;

use crate::chat::EditChoice;
use crate::chat::model::parse_form_value;
use crate::files::MAX_SOURCES;
use crate::jobs::JobRequest;
use crate::web::error::ApiError;

/// The field with the options. Clients of Open WebUI can send fields of their own in `params`, as JSON
/// text if a user typed them.
const FIELD: &str = "image_generation";
/// Length of a reason in an error, in bytes.
const MAX_REASON_BYTES: usize = 200;

/// The image options of a chat request, an addition to Open WebUI's fields. Unknown fields are ignored.
#[derive(Default, Deserialize)]
pub(in crate::web) struct ImageOptions {
    n: Option<u32>,
    size: Option<String>,
    negative_prompt: Option<String>,
    steps: Option<u32>,
    seed: Option<u64>,
    strength: Option<f32>,
    model: Option<String>,
    engine: Option<String>,
    parameters: Option<Map<String, Value>>,
    /// `false`: a new image, whatever images the conversation has. `true`: an edit.
    edit: Option<bool>,
    /// The images to edit, in place of those of the conversation.
    sources: Option<Vec<String>>,
    mask: Option<String>,
}

impl ImageOptions {
    /// Reads the options from the first of the three places that contains any.
    ///
    /// Fails if a field has the wrong type. The job refuses values that the engine does not support.
    pub(in crate::web) fn from_payload(payload: &Map<String, Value>) -> Result<Self, ApiError> {
        let params = payload.get("params");
        let custom_params = params.and_then(|it| it.get("custom_params"));
        let places = [
            payload.get(FIELD),
            params.and_then(|it| it.get(FIELD)),
            custom_params.and_then(|it| it.get(FIELD)),
        ];
        let mut values = places.into_iter().flatten().map(parse_form_value);
        match values.find(|value| !value.is_null()) {
            Some(value) => serde_path_to_error::deserialize(value).map_err(|it| type_error(&it)),
            None => Ok(Self::default()),
        }
    }

    /// The name of the requested engine.
    pub(in crate::web) fn engine(&self) -> Option<String> {
        non_empty(self.engine.clone())
    }

    /// Removes what the options say about the images to edit. Fails if it contradicts itself.
    pub(in crate::web) fn take_edit_choice(&mut self) -> Result<EditChoice, ApiError> {
        let choice = EditChoice {
            is_edit: self.edit.take(),
            sources: self.sources.take().unwrap_or_default(),
            mask: non_empty(self.mask.take()),
        };
        let field = |name: &str| format!("{FIELD}.{name}");
        if choice.sources.len() > MAX_SOURCES {
            let field = field("sources");
            let message = format!("{field} has more than {MAX_SOURCES} images: send fewer");
            return Err(ApiError::invalid(&field, message));
        }
        let names_images = !choice.sources.is_empty() || choice.mask.is_some();
        if choice.is_edit == Some(false) && names_images {
            let field = field("edit");
            let message =
                format!("{field} is false, but there are sources or a mask: leave them out");
            return Err(ApiError::invalid(&field, message));
        }
        Ok(choice)
    }

    /// A job's request with these options and without a prompt.
    pub(in crate::web) fn into_job_request(self) -> JobRequest {
        JobRequest {
            prompt: String::new(),
            negative_prompt: self.negative_prompt,
            model: non_empty(self.model),
            size: non_empty(self.size),
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            strength: self.strength,
            parameters: self.parameters.unwrap_or_default(),
        }
    }
}

/// Clients send an empty string for an option that is not set.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn type_error(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = match error.path().iter().next() {
        Some(_) => format!("{FIELD}.{}", error.path()),
        None => FIELD.to_owned(),
    };
    let reason = plain(&error.inner().to_string(), MAX_REASON_BYTES);
    ApiError::invalid(&field, format!("{field} cannot be used: {reason}"))
}
