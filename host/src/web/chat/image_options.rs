//! What a chat request says of its picture besides the prompt.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::chat::model::written_out;
use crate::jobs::{Requester, JobRequest};
use pinhole_ground::text::plain;
use crate::web::error::ApiError;

/// The object with the wishes. Clients of Open WebUI can send their own fields under `params`, as JSON
/// in a text where a person typed them.
const NAME: &str = "image_generation";
/// Length of a reason that the client is told, in bytes.
const MAX_REASON_BYTES: usize = 200;

/// The fields; an addition to Open WebUI's. What is not known here is left alone.
#[derive(Default, Deserialize)]
struct ImageOptions {
    n: Option<u32>,
    size: Option<String>,
    negative_prompt: Option<String>,
    steps: Option<u32>,
    seed: Option<u64>,
    model: Option<String>,
    engine: Option<String>,
    parameters: Option<Map<String, Value>>,
}

/// The wishes of a request, of the first of the three places that has any.
///
/// Fails on a field of the wrong type. What the engine cannot do is for the job to say.
pub(super) fn read(payload: &Map<String, Value>) -> Result<JobRequest, ApiError> {
    let params = payload.get("params");
    let custom = params.and_then(|params| params.get("custom_params"));
    let places = [
        payload.get(NAME),
        params.and_then(|params| params.get(NAME)),
        custom.and_then(|custom| custom.get(NAME)),
    ];
    let given = places.into_iter().flatten().map(written_out);
    let given = given.into_iter().find(|given| !given.is_null());
    let wishes: ImageOptions = match given {
        Some(given) => serde_path_to_error::deserialize(given).map_err(|error| refused(&error))?,
        None => ImageOptions::default(),
    };
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(JobRequest {
        prompt: String::new(),
        negative_prompt: wishes.negative_prompt,
        engine: named(wishes.engine),
        model: named(wishes.model),
        size: named(wishes.size),
        count: wishes.n,
        steps: wishes.steps,
        seed: wishes.seed,
        parameters: wishes.parameters.unwrap_or_default(),
        asker: Requester::default(),
    })
}

fn refused(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = match error.path().iter().next() {
        Some(_) => format!("{NAME}.{}", error.path()),
        None => NAME.to_owned(),
    };
    let reason = plain(&error.inner().to_string(), MAX_REASON_BYTES);
    ApiError::invalid(&field, format!("{field} cannot be used: {reason}"))
}
