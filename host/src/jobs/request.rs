//! The request of a client, and its conversion into a job for an engine.

use pinhole_sandbox::contract::{Abilities, Description, Job};
use pinhole_sandbox::{MAX_COUNT, MAX_MODEL_BYTES};
use serde_json::{Map, Value};

use super::defaults::JobDefaults;
use super::error::Error;
use super::size::parse_size;

/// Length of a prompt in bytes.
pub const MAX_PROMPT_BYTES: usize = 32_000;
/// Inference steps.
pub const MAX_STEPS: u32 = 1000;
/// Length of the engine-specific parameters as JSON, in bytes.
pub const MAX_PARAMETERS_BYTES: usize = 64 << 10;

/// What a client requests. If a field is `None`, the settings or the engine decide.
#[derive(Clone, Debug, Default)]
pub struct JobRequest {
    pub prompt: String,
    pub negative_prompt: Option<String>,
    /// A model of the engine.
    pub model: Option<String>,
    /// `WxH`, `auto` or empty.
    pub size: Option<String>,
    /// The number of images.
    pub count: Option<u32>,
    /// Inference steps.
    pub steps: Option<u32>,
    pub seed: Option<u64>,
    /// Engine-specific parameters.
    pub parameters: Map<String, Value>,
}

impl JobRequest {
    /// True if the request means the same to every engine: it names no model and has no engine-specific
    /// parameters.
    pub(super) fn is_portable(&self) -> bool {
        self.model.is_none() && self.parameters.is_empty()
    }

    /// Fills in the defaults and checks every limit.
    pub(super) fn into_job(
        self,
        defaults: &JobDefaults,
        engine: &Description,
    ) -> Result<Job, Error> {
        let negative_prompt = self.negative_prompt.filter(|text| !text.trim().is_empty());
        if self.prompt.trim().is_empty() {
            return Err(Error::invalid("prompt", "the prompt is empty"));
        }
        check_length("prompt", &self.prompt)?;
        check_length(
            "negative_prompt",
            negative_prompt.as_deref().unwrap_or_default(),
        )?;
        let Description {
            name, abilities, ..
        } = engine;
        require(
            "negative_prompt",
            negative_prompt.is_some(),
            abilities.negative_prompt,
            name,
        )?;
        require("seed", self.seed.is_some(), abilities.seed, name)?;
        require("steps", self.steps.is_some(), abilities.steps, name)?;
        let size = self.size.as_ref().or(defaults.size.as_ref());
        let size = size.map(String::as_str).unwrap_or_default();
        Ok(Job {
            count: check_count(self.count, engine)?,
            steps: check_steps(self.steps, defaults, abilities)?,
            model: check_model(self.model, defaults)?,
            size: parse_size(size).map_err(|why| Error::invalid("size", format!("size {why}")))?,
            parameters: check_parameters(self.parameters)?,
            prompt: self.prompt,
            negative_prompt,
            seed: self.seed,
        })
    }
}

fn check_length(field: &'static str, prompt: &str) -> Result<(), Error> {
    let length = prompt.len();
    if length > MAX_PROMPT_BYTES {
        return Err(Error::invalid(
            field,
            format!("the prompt has {length} bytes, more than the {MAX_PROMPT_BYTES} allowed"),
        ));
    }
    Ok(())
}

/// Fails if the request sets a field that the engine does not support.
fn require(
    field: &'static str,
    is_set: bool,
    is_supported: bool,
    engine: &str,
) -> Result<(), Error> {
    if is_set && !is_supported {
        return Err(Error::invalid(
            field,
            format!("engine {engine} does not support {field}: leave it out"),
        ));
    }
    Ok(())
}

fn check_count(count: Option<u32>, engine: &Description) -> Result<u32, Error> {
    let count = count.unwrap_or(1);
    let max_count = engine.abilities.max_count.min(MAX_COUNT);
    if !(1..=max_count).contains(&count) {
        return Err(Error::invalid(
            "n",
            format!(
                "{count} images were requested, but engine {} generates 1 to {max_count}",
                engine.name
            ),
        ));
    }
    Ok(count)
}

fn check_steps(
    steps: Option<u32>,
    defaults: &JobDefaults,
    abilities: &Abilities,
) -> Result<Option<u32>, Error> {
    let default = if abilities.steps {
        defaults.steps
    } else {
        None
    };
    let steps = steps.or(default);
    if steps.is_some_and(|steps| !(1..=MAX_STEPS).contains(&steps)) {
        return Err(Error::invalid(
            "steps",
            format!("steps must be from 1 to {MAX_STEPS}"),
        ));
    }
    Ok(steps)
}

fn check_model(model: Option<String>, defaults: &JobDefaults) -> Result<Option<String>, Error> {
    let model = model
        .filter(|model| !model.is_empty())
        .or_else(|| defaults.model.clone());
    let is_valid =
        |name: &String| name.len() <= MAX_MODEL_BYTES && !name.contains(char::is_control);
    if !model.as_ref().is_none_or(is_valid) {
        return Err(Error::invalid(
            "model",
            format!(
                "a model name must have at most {MAX_MODEL_BYTES} bytes and no control characters"
            ),
        ));
    }
    Ok(model)
}

fn check_parameters(parameters: Map<String, Value>) -> Result<String, Error> {
    let json = Value::Object(parameters).to_string();
    if json.len() > MAX_PARAMETERS_BYTES {
        return Err(Error::invalid(
            "parameters",
            format!("the parameters have more than {MAX_PARAMETERS_BYTES} bytes"),
        ));
    }
    Ok(json)
}
