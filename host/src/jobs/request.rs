//! The request of a client, and its conversion into a job for an engine.

use pinhole_ground::text::plain;
use pinhole_sandbox::contract::{Description, Job, ModelAbilities};
use pinhole_sandbox::{InvalidParameter, MAX_COUNT, MAX_MODEL_BYTES};
use serde_json::{Map, Value};

use super::abilities::EffectiveAbilities;
use super::defaults::JobDefaults;
use super::error::Error;
use super::size::parse_size;

/// Length of a prompt in bytes.
pub const MAX_PROMPT_BYTES: usize = 32_000;
/// Inference steps.
pub const MAX_STEPS: u32 = 1000;
/// Length of the engine-specific parameters as JSON, in bytes.
pub const MAX_PARAMETERS_BYTES: usize = 64 << 10;

/// Length of a parameter's name in a message, in bytes.
const MAX_NAME_BYTES: usize = 60;

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
    /// How far an edit may differ from its first source, from 0 to 1.
    pub strength: Option<f32>,
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
        abilities: &EffectiveAbilities,
        is_edit: bool,
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
        let EffectiveAbilities {
            subject,
            abilities: able,
        } = abilities;
        let is_set = negative_prompt.is_some();
        require("negative_prompt", is_set, able.negative_prompt, subject)?;
        require("seed", self.seed.is_some(), able.seed, subject)?;
        require("steps", self.steps.is_some(), able.steps, subject)?;
        require("strength", self.strength.is_some(), able.strength, subject)?;
        let size = self.size.as_ref().or(defaults.size.as_ref());
        let size = size.map(String::as_str).unwrap_or_default();
        let size = parse_size(size).map_err(|why| Error::invalid("size", format!("size {why}")))?;
        let is_requested = self.size.is_some();
        if let Some(sizes) = size
            .filter(|_| is_requested)
            .and_then(|it| abilities.other_sizes(it))
        {
            let message = format!("{subject} makes no image of this size: use {sizes}");
            return Err(Error::invalid("size", message));
        }
        Ok(Job {
            count: check_count(self.count, abilities)?,
            steps: check_steps(self.steps, defaults, able)?,
            strength: check_strength(self.strength, is_edit)?,
            model: check_model(self.model, defaults)?,
            size,
            parameters: check_parameters(&self.parameters, engine)?,
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
    subject: &str,
) -> Result<(), Error> {
    if is_set && !is_supported {
        return Err(Error::invalid(
            field,
            format!("{subject} does not support {field}: leave it out"),
        ));
    }
    Ok(())
}

fn check_count(count: Option<u32>, abilities: &EffectiveAbilities) -> Result<u32, Error> {
    let count = count.unwrap_or(1);
    let EffectiveAbilities { subject, abilities } = abilities;
    let max_count = abilities.max_count.min(MAX_COUNT);
    if !(1..=max_count).contains(&count) {
        return Err(Error::invalid(
            "n",
            format!("{count} images were requested, but {subject} generates 1 to {max_count}"),
        ));
    }
    Ok(count)
}

fn check_steps(
    steps: Option<u32>,
    defaults: &JobDefaults,
    abilities: &ModelAbilities,
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

fn check_strength(strength: Option<f32>, is_edit: bool) -> Result<Option<f32>, Error> {
    let problem = match strength {
        Some(_) if !is_edit => "strength is for edits: leave it out",
        Some(value) if !(0.0..=1.0).contains(&value) => "strength must be a number from 0 to 1",
        _ => return Ok(strength),
    };
    Err(Error::invalid("strength", problem))
}

/// Fails if the engine does not take a parameter, or if its value is not one that the engine declares.
fn check_parameters(
    parameters: &Map<String, Value>,
    engine: &Description,
) -> Result<String, Error> {
    let json = serde_json::to_string(parameters).unwrap_or_default();
    if json.len() > MAX_PARAMETERS_BYTES {
        return Err(Error::invalid(
            "parameters",
            format!("the parameters have more than {MAX_PARAMETERS_BYTES} bytes"),
        ));
    }
    pinhole_sandbox::check_parameters(engine, parameters).map_err(|invalid| {
        let InvalidParameter { name, problem } = invalid;
        let name = plain(&name, MAX_NAME_BYTES);
        Error::invalid(name.clone(), format!("parameter {name} {problem}"))
    })?;
    Ok(json)
}
