//! One generation: request checked, engine called, pictures in memory.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::egress::{self, Egress};
use crate::engine::bindings::{Description, ErrorKind, Job, SettingKind, Size};
use crate::engine::{self, Component, Control, Engines, Limits, MAX_COUNT, Made, Produced};
use crate::images::Image;
use crate::settings::Settings;

/// Length of a prompt, in bytes.
pub const MAX_PROMPT_BYTES: usize = 32_000;
/// Width and height, in pixels.
pub const MAX_SIDE: u32 = 8192;
/// Width times height.
pub const MAX_PIXELS: u64 = 4096 * 4096;
/// Inference steps.
pub const MAX_STEPS: u32 = 1000;
/// Length of a model's name, in bytes.
const MAX_MODEL_BYTES: usize = 512;
/// Length of the engine-specific parameters as JSON, in bytes.
const MAX_PARAMETERS_BYTES: usize = 64 << 10;

/// Everything that makes pictures.
pub struct Jobs {
    /// The engines.
    pub engines: Engines,
    /// The way out.
    pub egress: Egress,
    /// The operator's settings.
    pub settings: Settings,
    timeout: Duration,
    ending: CancellationToken,
}

/// What a caller asks for. What is `None` comes from the settings or is the engine's choice.
#[derive(Clone, Debug, Default)]
pub struct JobRequest {
    /// What to draw.
    pub prompt: String,
    /// What to leave out.
    pub negative_prompt: Option<String>,
    /// An engine other than the settings' one.
    pub engine: Option<String>,
    /// A model of the engine.
    pub model: Option<String>,
    /// `WxH`, `auto` or empty.
    pub size: Option<String>,
    /// How many pictures.
    pub count: Option<u32>,
    /// Inference steps.
    pub steps: Option<u32>,
    /// The seed.
    pub seed: Option<u64>,
    /// Engine-specific parameters.
    pub parameters: Map<String, Value>,
}

/// What a job gave.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The job's name in logs.
    pub job: String,
    /// The engine that made it.
    pub engine: String,
    /// The component's digest.
    pub digest: String,
    /// In the engine's order; at least one.
    pub images: Vec<Image>,
    /// The prompt as the upstream rewrote it.
    pub revised_prompt: Option<String>,
    /// A JSON object: model, seeds, upstream ids.
    pub details: String,
}

/// Why a job gave no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be carried out as it is.
    #[error("{message}")]
    Invalid {
        /// The field that is wrong.
        field: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The operator has switched pictures off.
    #[error("image generation is disabled")]
    Disabled,
    /// The engine failed.
    #[error("{source}")]
    Engine {
        /// Its name.
        engine: String,
        /// How.
        source: Box<engine::Error>,
        /// What the operator can do about it.
        remedy: Option<String>,
    },
}

impl Jobs {
    /// Admits the engines and reads the settings.
    pub async fn open(config: &Config) -> Result<Self> {
        let settings = Settings::read(&config.environment).map_err(anyhow::Error::msg)?;
        if let Some(size) = &settings.size {
            parse_size(size).map_err(|why| anyhow::anyhow!("IMAGE_SIZE {why}"))?;
        }
        let egress = Egress::new()?;
        let engines = Engines::open(
            &config.engines,
            &config.data,
            config.slots,
            &config.environment,
            &egress,
        );
        Ok(Self {
            engines: engines.await?,
            egress,
            settings,
            timeout: config.job_timeout,
            ending: CancellationToken::new(),
        })
    }

    /// Makes the pictures. When the caller drops this future, the engine is cancelled and has a
    /// short while to tell its upstream.
    pub async fn generate(
        &self,
        request: JobRequest,
        control: &Control,
    ) -> Result<Finished, Error> {
        if !self.settings.enabled {
            return Err(Error::Disabled);
        }
        let component = self.component(request.engine.as_deref())?;
        check_addresses(&component)?;
        let job = self.checked(request, &component.description)?;
        let name = component.description.name.clone();
        let pictures = self.run(&component, control, job).await;
        pictures.map_err(|source| {
            let error = Error::Engine {
                remedy: remedy(&component, &source),
                engine: name,
                source: Box::new(source),
            };
            let job = &control.job;
            tracing::warn!(job, "job {job} failed: {}", error.for_operator());
            error
        })
    }

    /// Ends every job, and gives the engines a short while to tell their upstreams.
    pub async fn end(&self) {
        self.ending.cancel();
        self.engines.drain(Limits::job(self.timeout).grace).await;
    }

    async fn run(
        &self,
        component: &Component,
        control: &Control,
        job: Job,
    ) -> Result<Finished, engine::Error> {
        let limits = Limits::job(self.timeout);
        let deadline = Instant::now() + limits.wall;
        let made = tokio::select! {
            made = self.engines.generate(component, control, limits, job) => made?,
            // Dropping the call cancels the engine, which still tells its upstream.
            () = self.ending.cancelled() => return Err(engine::Error::ended()),
        };
        let images = self
            .collect(component, made.pictures.as_slice(), &limits, deadline)
            .await?;
        let Made {
            revised_prompt,
            details,
            ..
        } = made;
        Ok(Finished {
            job: control.job.clone(),
            engine: component.description.name.clone(),
            digest: component.digest.clone(),
            images,
            revised_prompt,
            details,
        })
    }

    /// The engine asked for, or the settings' one.
    fn component(&self, asked: Option<&str>) -> Result<Arc<Component>, Error> {
        let name = asked.unwrap_or(&self.settings.engine);
        if let Some(component) = self.engines.get(name) {
            return Ok(component.clone());
        }
        let file = format!("{name}.wasm");
        let refused = self
            .engines
            .refused()
            .iter()
            .find(|refused| refused.file == file);
        let admitted: Vec<_> = self
            .engines
            .admitted()
            .map(|it| it.description.name.as_str())
            .collect();
        let message = match refused {
            Some(refused) => format!("engine {name} is not there: {file} {}", refused.reason),
            None if admitted.is_empty() => {
                format!("there is no engine {name}: the folder of engines holds none")
            }
            None => format!(
                "there is no engine {name}: there are {}",
                admitted.join(", ")
            ),
        };
        Err(Error::Invalid {
            field: "engine",
            message,
        })
    }

    /// The job, with the settings' defaults filled in and every limit checked.
    fn checked(&self, request: JobRequest, engine: &Description) -> Result<Job, Error> {
        let abilities = &engine.abilities;
        let invalid = |field, message: String| Err(Error::Invalid { field, message });
        if request.prompt.trim().is_empty() {
            return invalid("prompt", "the prompt is empty".to_owned());
        }
        let negative_prompt = request
            .negative_prompt
            .filter(|text| !text.trim().is_empty());
        for (field, text) in [
            ("prompt", Some(&request.prompt)),
            ("negative_prompt", negative_prompt.as_ref()),
        ] {
            let length = text.map_or(0, String::len);
            if length > MAX_PROMPT_BYTES {
                return invalid(
                    field,
                    format!("the prompt has {length} bytes; {MAX_PROMPT_BYTES} are allowed"),
                );
            }
        }
        let missing = [
            (
                "negative_prompt",
                negative_prompt.is_some() && !abilities.negative_prompt,
            ),
            ("seed", request.seed.is_some() && !abilities.seed),
            ("steps", request.steps.is_some() && !abilities.steps),
        ];
        if let Some((field, _)) = missing.into_iter().find(|(_, missing)| *missing) {
            return invalid(
                field,
                format!("engine {} has no {field}: leave it out", engine.name),
            );
        }
        let count = request.count.unwrap_or(1);
        let max_count = abilities.max_count.min(MAX_COUNT);
        if !(1..=max_count).contains(&count) {
            return invalid(
                "n",
                format!(
                    "{count} pictures were asked for; engine {} makes 1 to {max_count}",
                    engine.name
                ),
            );
        }
        let steps = request
            .steps
            .or(self.settings.steps.filter(|_| abilities.steps));
        if steps.is_some_and(|steps| steps == 0 || steps > MAX_STEPS) {
            return invalid("steps", format!("steps must be 1 to {MAX_STEPS}"));
        }
        let model = request
            .model
            .filter(|model| !model.is_empty())
            .or_else(|| self.settings.model.clone());
        if model
            .as_ref()
            .is_some_and(|model| model.len() > MAX_MODEL_BYTES || model.contains(char::is_control))
        {
            return invalid(
                "model",
                format!(
                    "a model's name has at most {MAX_MODEL_BYTES} bytes and no control characters"
                ),
            );
        }
        let size = request
            .size
            .or_else(|| self.settings.size.clone())
            .unwrap_or_default();
        let size = match parse_size(&size) {
            Ok(size) => size,
            Err(why) => return invalid("size", format!("the size {why}")),
        };
        let parameters = Value::Object(request.parameters).to_string();
        if parameters.len() > MAX_PARAMETERS_BYTES {
            return invalid(
                "parameters",
                format!("the parameters have more than {MAX_PARAMETERS_BYTES} bytes"),
            );
        }
        Ok(Job {
            prompt: request.prompt,
            negative_prompt,
            model,
            size,
            count,
            steps,
            seed: request.seed,
            parameters,
        })
    }

    /// All pictures in memory: those at an address are fetched under the host's own guard.
    async fn collect(
        &self,
        component: &Component,
        pictures: &[Produced],
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Vec<Image>, engine::Error> {
        let granted: Vec<_> = component
            .upstreams
            .values()
            .map(|upstream| &upstream.destination)
            .collect();
        let mut images = Vec::with_capacity(pictures.len());
        for picture in pictures {
            images.push(match picture {
                Produced::Held(image) => image.clone(),
                Produced::Address(address) => {
                    let max_bytes = limits.image.max_bytes;
                    let fetched = self
                        .egress
                        .fetch(address, &granted, max_bytes, deadline)
                        .await;
                    let bytes = fetched.map_err(not_fetched)?;
                    Image::from_bytes(bytes, limits.image).map_err(engine::Error::protocol)?
                }
            });
        }
        Ok(images)
    }
}

impl Error {
    /// What a program branches on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Disabled => ErrorKind::Forbidden,
            Self::Engine { source, .. } => match source.as_ref() {
                engine::Error::Engine { error, .. } => error.kind,
                engine::Error::Busy(_) => ErrorKind::Unavailable,
                engine::Error::Deadline(_) => ErrorKind::Timeout,
                engine::Error::Limit(_) | engine::Error::Trapped(_) => ErrorKind::Upstream,
            },
        }
    }

    /// One line with everything an operator needs: hosts, ports and variables too.
    #[must_use]
    pub fn for_operator(&self) -> String {
        let Self::Engine {
            engine,
            source,
            remedy,
        } = self
        else {
            return self.to_string();
        };
        let mut line = format!("engine {engine}: {source}");
        if let engine::Error::Engine {
            failure: Some(failure),
            ..
        } = source.as_ref()
            && !line.contains(failure)
        {
            line.push_str(&format!(" ({})", engine::plain(failure, 500)));
        }
        if let Some(remedy) = remedy {
            line.push_str(&format!("; {remedy}"));
        }
        line
    }
}

/// An engine that has upstreams, but no address for any, can do nothing yet.
fn check_addresses(component: &Component) -> Result<(), Error> {
    let description = &component.description;
    let mut upstreams = description.upstreams.iter();
    let Some(first) = upstreams.next().filter(|_| component.upstreams.is_empty()) else {
        return Ok(());
    };
    let mut settings = description.settings.iter();
    let setting = settings.find(|setting| setting.key == first.base_url);
    let variable = setting.and_then(|setting| setting.generate_variables.first());
    Err(Error::Invalid {
        field: "engine",
        message: format!(
            "engine {} has no address to speak to: set {} to the address of {}",
            description.name,
            variable.unwrap_or(&first.base_url),
            description.title
        ),
    })
}

fn not_fetched(error: egress::Error) -> engine::Error {
    let (kind, message) = match &error {
        egress::Error::Denied(_) => (
            ErrorKind::Forbidden,
            "the picture's address may not be fetched",
        ),
        egress::Error::Connect(_) => (
            ErrorKind::Unavailable,
            "the picture's address cannot be fetched",
        ),
        egress::Error::Timeout => (
            ErrorKind::Timeout,
            "the picture's address did not answer in time",
        ),
        egress::Error::TooLarge(_) => (
            ErrorKind::Protocol,
            "the picture at the address is too large",
        ),
    };
    engine::Error::of(kind, message.to_owned(), Some(error.to_string()))
}

/// What the operator can do: the variables come from what the engine declares.
fn remedy(component: &Component, error: &engine::Error) -> Option<String> {
    let kind = match error {
        engine::Error::Engine { error, .. } => error.kind,
        // Whatever the engine did with its time, most often it waited.
        engine::Error::Deadline(_) => ErrorKind::Timeout,
        _ => return None,
    };
    let answered_otherwise = matches!(
        error,
        engine::Error::Engine {
            failure: Some(_),
            ..
        }
    );
    let description = &component.description;
    let variable = |wanted: &dyn Fn(&SettingKind) -> bool| {
        let mut settings = description
            .settings
            .iter()
            .filter(|setting| wanted(&setting.kind));
        settings.find_map(|setting| setting.generate_variables.first().cloned())
    };
    let base_url = || variable(&|kind| matches!(kind, SettingKind::Url));
    match kind {
        ErrorKind::Unavailable | ErrorKind::Timeout => Some(format!(
            "check that {} runs and that {} is its address",
            description.title,
            base_url()?
        )),
        ErrorKind::Unauthorized => Some(format!(
            "set {} to a key that it accepts",
            variable(&|kind| matches!(kind, SettingKind::Secret))?
        )),
        // The answer was not even what any server of that kind sends.
        ErrorKind::Protocol if answered_otherwise => Some(format!(
            "check that {} is the address of {}",
            base_url()?,
            description.title
        )),
        _ => None,
    }
}

/// `WxH`; `None` for `auto` and for nothing.
pub fn parse_size(text: &str) -> Result<Option<Size>, String> {
    if text.is_empty() || text == "auto" {
        return Ok(None);
    }
    let sides = text.split_once('x').and_then(|(width, height)| {
        let side = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u32>().ok())?
        };
        Some((side(width)?, side(height)?))
    });
    let Some((width, height)) = sides else {
        return Err(format!(
            "{:?} is not WxH such as 1024x1024, nor auto",
            engine::plain(text, 40)
        ));
    };
    let fits = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height);
    match fits && u64::from(width) * u64::from(height) <= MAX_PIXELS {
        true => Ok(Some(Size { width, height })),
        false => Err(format!(
            "{width}x{height} is not allowed: each side 1 to {MAX_SIDE}, and {MAX_PIXELS} pixels at most"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Option<(u32, u32)>>) {
        let size = parse_size(text).ok();
        let size = size.map(|size| size.map(|size| (size.width, size.height)));
        assert_eq!(size, expected, "{text:?}");
    }

    #[test]
    fn a_size_is_two_numbers_within_bounds() {
        check("512x768", Some(Some((512, 768))));
        check("auto", Some(None));
        check("", Some(None));
        check("4096x4096", Some(Some((4096, 4096))));
        for bad in [
            "0x512",
            "512x0",
            "axb",
            "512",
            "1x2x3",
            "512x512\n",
            "+5x5",
            " 5x5",
            "8193x1",
            "8192x8192",
            "99999999999x1",
            "x",
        ] {
            check(bad, None);
        }
    }
}
