//! One generation or edit: request checked, engine called, pictures in memory.

mod request;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::egress::{self, Egress};
use crate::engine::bindings::{ErrorKind, Job, Model, SettingKind};
use crate::engine::{self, Bound, Component, Control, Edit, Engines, Limits, Made, Produced};
use crate::grant;
use crate::images::Image;
use crate::settings::{EngineSettings, Settings, own_variable};

use request::{Defaults, check_edit, parse_size};

pub use request::{
    JobRequest, MAX_PIXELS, MAX_PROMPT_BYTES, MAX_SIDE, MAX_SOURCE_BYTES, MAX_STEPS,
};

/// Notes of one job that are shown.
const MAX_NOTES: usize = 10;
/// Length of one note, in bytes.
const MAX_NOTE_BYTES: usize = 300;
/// Time that a question which makes no picture may take.
const MAX_QUESTION: Duration = Duration::from_secs(60);

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
    /// The engine cannot do that at all.
    #[error("{message}")]
    Unsupported {
        /// The field that asks for it.
        field: &'static str,
        /// What it cannot do, and what to do instead.
        message: String,
    },
    /// The operator has switched this off.
    #[error("{0}")]
    Disabled(&'static str),
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
        let sizes = [
            ("IMAGE_SIZE", &settings.size),
            ("IMAGE_EDIT_SIZE", &settings.edit.size),
        ];
        for (variable, size) in sizes {
            parse_size(size.as_deref().unwrap_or_default())
                .map_err(|why| anyhow::anyhow!("{variable} {why}"))?;
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

    /// Makes pictures from a prompt. When the caller drops this future, the engine is cancelled and
    /// has a short while to tell its upstream.
    pub async fn generate(
        &self,
        request: JobRequest,
        control: &Control,
    ) -> Result<Finished, Error> {
        if !self.settings.enabled {
            return Err(Error::Disabled("image generation is disabled"));
        }
        let name = request.engine.as_deref().unwrap_or(&self.settings.engine);
        let component = self.component(name)?;
        check_addresses(&component, &component.generating)?;
        let defaults = Defaults {
            model: self.settings.model.clone(),
            size: self.settings.size.clone(),
            steps: self.settings.steps,
        };
        let job = request.checked(&defaults, &component.description)?;
        let bound = &component.generating;
        self.make(&component, bound, control, job, None).await
    }

    /// Changes pictures, as [`Self::generate`] makes them.
    pub async fn edit(
        &self,
        request: JobRequest,
        sources: Vec<Image>,
        mask: Option<Image>,
        control: &Control,
    ) -> Result<Finished, Error> {
        let settings = &self.settings.edit;
        if !settings.enabled {
            return Err(Error::Disabled("image editing is disabled"));
        }
        let name = request.engine.as_deref().unwrap_or(&settings.engine);
        let component = self.component(name)?;
        let sources = upright(sources).await?;
        let edit = Edit { sources, mask };
        check_edit(&edit, &component.description)?;
        let bound = component.editing();
        let bound = bound.map_err(|error| failed(&component, &component.generating, error))?;
        check_addresses(&component, bound)?;
        let defaults = Defaults {
            model: settings.model.clone(),
            size: settings.size.clone(),
            steps: None,
        };
        let job = request.checked(&defaults, &component.description)?;
        self.make(&component, bound, control, job, Some(edit)).await
    }

    /// The models of an engine, or of the one that generates.
    pub async fn models(&self, engine: Option<&str>) -> Result<Vec<Model>, Error> {
        let (component, control) = self.question(engine)?;
        let limits = Limits::job(self.timeout.min(MAX_QUESTION));
        let models = self.engines.models(&component, &control, limits).await;
        models.map_err(|error| failed(&component, &component.generating, error))
    }

    /// Asks an engine, or the one that generates, whether its settings can work, its upstream is
    /// there and accepts the credentials.
    pub async fn verify(&self, engine: Option<&str>) -> Result<(), Error> {
        let (component, control) = self.question(engine)?;
        let limits = Limits::job(self.timeout.min(MAX_QUESTION));
        let verified = self.engines.verify(&component, &control, limits).await;
        verified.map_err(|error| failed(&component, &component.generating, error))
    }

    /// Asks the same of an engine at another address, with the key that belongs to it, if any. What is
    /// set stays as it is.
    pub async fn verify_at(&self, engine: &str, url: &str, key: Option<&str>) -> Result<(), Error> {
        let component = self.component(engine)?;
        let settings = component
            .generating
            .settings
            .at(&component.description, url, key);
        let bound = settings.and_then(|settings| self.bind(&component, settings));
        let bound = bound.map_err(|message| Error::Invalid {
            field: "url",
            message,
        })?;
        let (control, limits) = (question(), Limits::job(self.timeout.min(MAX_QUESTION)));
        let engines = &self.engines;
        let verified = engines.verify_bound(&component, &bound, &control, limits);
        verified
            .await
            .map_err(|error| failed(&component, &bound, error))
    }

    fn bind(&self, component: &Component, settings: EngineSettings) -> Result<Bound, String> {
        let upstreams = grant::upstreams(&component.description, &settings, &self.egress)?;
        Ok(Bound {
            settings,
            upstreams: Arc::new(upstreams),
            problem: None,
        })
    }

    fn question(&self, engine: Option<&str>) -> Result<(Arc<Component>, Control), Error> {
        let component = self.component(engine.unwrap_or(&self.settings.engine))?;
        check_addresses(&component, &component.generating)?;
        Ok((component, question()))
    }

    async fn make(
        &self,
        component: &Component,
        bound: &Bound,
        control: &Control,
        job: Job,
        edit: Option<Edit>,
    ) -> Result<Finished, Error> {
        let made = self.run(component, bound, control, job, edit).await;
        made.map_err(|source| {
            let (job, error) = (&control.job, failed(component, bound, source));
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
        bound: &Bound,
        control: &Control,
        job: Job,
        edit: Option<Edit>,
    ) -> Result<Finished, engine::Error> {
        let limits = Limits::job(self.timeout);
        let deadline = Instant::now() + limits.wall;
        let made = tokio::select! {
            made = self.engines.make(component, control, limits, job, edit) => made?,
            // Dropping the call cancels the engine, which still tells its upstream.
            () = self.ending.cancelled() => return Err(engine::Error::Ending),
        };
        let images = self
            .collect(bound, made.pictures.as_slice(), &limits, deadline)
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

    fn component(&self, name: &str) -> Result<Arc<Component>, Error> {
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

    /// The pictures in memory: those at an address are fetched under the host's own guard. One that
    /// cannot be fetched is left out where others came.
    async fn collect(
        &self,
        bound: &Bound,
        pictures: &[Produced],
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Vec<Image>, engine::Error> {
        let upstreams = bound.upstreams.values();
        let granted: Vec<_> = upstreams.map(|upstream| &upstream.destination).collect();
        let fetch = async |address: &str| {
            let max_bytes = limits.image.max_bytes;
            let fetched = self.egress.fetch(address, &granted, max_bytes, deadline);
            let bytes = fetched.await.map_err(not_fetched)?;
            Image::from_bytes(bytes, limits.image).map_err(engine::Error::protocol)
        };
        let (mut images, mut first_error) = (Vec::with_capacity(pictures.len()), None);
        for picture in pictures {
            let image = match picture {
                Produced::Held(image) => Ok(image.clone()),
                Produced::Address(address) => fetch(address).await,
            };
            match image {
                Ok(image) => images.push(image),
                Err(error) => {
                    tracing::warn!("a picture is left out: {error}");
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if images.is_empty() => Err(error),
            _ => Ok(images),
        }
    }
}

impl Finished {
    /// What a person should know of pictures that are other than what was asked for: the texts that
    /// the engine lists under `notes` in its details.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let details: Value = serde_json::from_str(&self.details).unwrap_or_default();
        let notes = details.get("notes").and_then(Value::as_array);
        let texts = notes.into_iter().flatten().filter_map(Value::as_str);
        texts
            .map(|text| engine::plain(text, MAX_NOTE_BYTES))
            .take(MAX_NOTES)
            .collect()
    }
}

impl Error {
    /// What a program branches on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Disabled(_) => ErrorKind::Forbidden,
            Self::Engine { source, .. } => match source.as_ref() {
                engine::Error::Engine { error, .. } => error.kind,
                engine::Error::Busy(_) | engine::Error::Ending => ErrorKind::Unavailable,
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
            && self.kind() != ErrorKind::Cancelled
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

/// A call that makes no picture.
fn question() -> Control {
    Control::new("question".to_owned())
}

/// The pictures as they are seen: the mask is for that, and few upstreams heed the note of a camera.
async fn upright(sources: Vec<Image>) -> Result<Vec<Image>, Error> {
    if !sources.iter().any(Image::is_turned) {
        return Ok(sources);
    }
    let limits = Limits::job(Duration::ZERO).image;
    let turning = tokio::task::spawn_blocking(move || {
        let upright = sources.iter().map(|source| source.upright(limits));
        upright.collect::<Result<_, _>>()
    });
    let turned = turning.await.unwrap_or_else(|crash| Err(crash.to_string()));
    turned.map_err(|message| Error::Invalid {
        field: "image",
        message,
    })
}

/// An engine's failure, with what the operator can do about it.
fn failed(component: &Component, bound: &Bound, source: engine::Error) -> Error {
    Error::Engine {
        remedy: remedy(component, bound, &source),
        engine: component.description.name.clone(),
        source: Box::new(source),
    }
}

/// An engine that has upstreams, but no address for any, can do nothing yet.
fn check_addresses(component: &Component, bound: &Bound) -> Result<(), Error> {
    let description = &component.description;
    let mut upstreams = description.upstreams.iter();
    let Some(first) = upstreams.next().filter(|_| bound.upstreams.is_empty()) else {
        return Ok(());
    };
    let mut settings = description.settings.iter();
    let setting = settings.find(|setting| setting.key == first.base_url);
    let variable = setting.and_then(|setting| setting.generate_variables.first());
    let own = own_variable(&description.name, &first.base_url);
    Err(Error::Invalid {
        field: "engine",
        message: format!(
            "engine {} has no address to speak to: set {} to the address of {}",
            description.name,
            variable.unwrap_or(&own),
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
        // Not the upstream's own address, so nothing that an operator could correct.
        egress::Error::Connect(_) => (
            ErrorKind::Upstream,
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
fn remedy(component: &Component, bound: &Bound, error: &engine::Error) -> Option<String> {
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
    // The variable that set it, or the first that could.
    let variable = |wanted: &dyn Fn(&SettingKind) -> bool| {
        let mut settings = description
            .settings
            .iter()
            .filter(|setting| wanted(&setting.kind));
        settings.find_map(|setting| {
            let set = bound.settings.variable(&setting.key);
            let first = setting.generate_variables.first().map(String::as_str);
            set.or(first).map(str::to_owned)
        })
    };
    let base_url = || variable(&|kind| matches!(kind, SettingKind::Url));
    let address = || {
        let title = &description.title;
        Some(format!(
            "check that {title} runs and that {} is its address",
            base_url()?
        ))
    };
    match kind {
        ErrorKind::Timeout if matches!(error, engine::Error::Deadline(_)) => Some(format!(
            "{}, or set PINHOLE_JOB_TIMEOUT_SECS to more",
            address()?
        )),
        ErrorKind::Unavailable | ErrorKind::Timeout => address(),
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
