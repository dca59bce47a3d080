//! One generation or edit: request checked, engine called, pictures in memory.

mod binding;
mod snapshot;
mod error;
mod request;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use crate::config::Config;
use pinhole_egress::{self as egress, Egress, Tls};
use pinhole_sandbox::contract::{ErrorKind, Job, Model};
use pinhole_sandbox::{self as engine, ResolvedSettings, JobContext, Edit, Engines, Limits, JobOutput, ProducedImage};
use pinhole_sandbox::grant;
use pinhole_images::{DecodeFor, Decoder, Image, Metadata};
use pinhole_ground::metrics;
use pinhole_sandbox::engine_settings::EngineSettings;
use pinhole_ground::environment::Environment;
use pinhole_ground::text::plain;

use error::{check_addresses, failed};
use request::check_edit;

pub use binding::{BINDINGS, Binding};
pub use snapshot::{Requester, Snapshot};
pub use error::Error;
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
    audit: AuditLog,
    decoder: Decoder,
    current: ArcSwap<Snapshot>,
    timeout: Duration,
    ending: CancellationToken,
}

/// What a job gave.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The job's name in logs.
    pub job: String,
    /// The binding that was used.
    pub binding: String,
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

impl Jobs {
    /// Admits the engines and reads the settings.
    pub async fn open(config: &Config, audit: AuditLog, decoder: Decoder) -> Result<Self> {
        let options = config.engine_options(audit.clone(), decoder.clone());
        let engines = Engines::open(&options).await?;
        let egress = Egress::new(&config.nat64, config.silence)?;
        let current = Snapshot::new(&config.environment, &engines, &egress, None).await;
        let current = current.map_err(anyhow::Error::msg)?;
        Ok(Self {
            engines,
            egress,
            audit,
            decoder,
            current: ArcSwap::from_pointee(current),
            timeout: config.job_timeout,
            ending: CancellationToken::new(),
        })
    }

    /// What the settings are now. Whoever needs several of them asks once.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Checks what other settings would make of the engines; nothing changes yet.
    ///
    /// The error says for the operator what is wrong that was not wrong before.
    pub async fn prepare(&self, environment: &Environment) -> Result<Arc<Snapshot>, String> {
        let before = self.current();
        let next = Snapshot::new(environment, &self.engines, &self.egress, Some(&before)).await?;
        let known = before.problems();
        for (name, problems) in next.problems() {
            let known = known.get(&name);
            let is_new = |problem: &String| !known.is_some_and(|known| known.contains(problem));
            if let Some(problem) = problems.into_iter().find(is_new) {
                return Err(problem);
            }
        }
        next.check_names(&before)?;
        Ok(Arc::new(next))
    }

    /// Makes what was prepared current. Jobs that run go on as they began.
    pub fn publish(&self, next: Arc<Snapshot>) {
        self.current.store(next);
    }

    /// The binding that a request would be carried out with.
    pub fn choose(
        &self,
        named: Option<&str>,
        asker: &Requester,
        edits: bool,
    ) -> Result<Arc<Binding>, Error> {
        let current = self.current();
        let default = match edits {
            true => &current.settings.edit.engine,
            false => &current.settings.engine,
        };
        current.choose(named, asker, default).cloned()
    }

    /// Makes pictures from a prompt. When the caller drops this future, the engine is cancelled and
    /// has a short while to tell its upstream.
    pub async fn generate(
        &self,
        request: JobRequest,
        control: &JobContext,
    ) -> Result<Finished, Error> {
        let current = self.current();
        if !current.settings.enabled {
            return Err(Error::Disabled("image generation is disabled"));
        }
        let default = &current.settings.engine;
        self.carry_out(&current, default, request, None, control)
            .await
    }

    /// Changes pictures, as [`Self::generate`] makes them.
    pub async fn edit(
        &self,
        request: JobRequest,
        sources: Vec<Image>,
        mask: Option<Image>,
        control: &JobContext,
    ) -> Result<Finished, Error> {
        let current = self.current();
        let settings = &current.settings.edit;
        if !settings.enabled {
            return Err(Error::Disabled("image editing is disabled"));
        }
        let mask = mask.map(private);
        let sources = upright(&self.decoder, sources.into_iter().map(private).collect()).await?;
        let edit = Some(Edit { sources, mask });
        self.carry_out(&current, &settings.engine, request, edit, control)
            .await
    }

    /// Has a binding do it or, where its upstream is out of reach or busy and cannot have begun, the
    /// first other that can.
    async fn carry_out(
        &self,
        current: &Snapshot,
        default: &str,
        request: JobRequest,
        edit: Option<Edit>,
        control: &JobContext,
    ) -> Result<Finished, Error> {
        let control = &JobContext {
            user: request.asker.user.clone(),
            ..control.clone()
        };
        let _asked = self.audit.attribute(&control.job, control.user.as_deref().unwrap_or_default());
        let named = request.engine.as_deref();
        let first = current.choose(named, &request.asker, default)?;
        let goes_on = |error: &Error| {
            named.is_none() && error.leaves_to_another() && !control.usage.may_be_charged()
        };
        let attempt = |binding| self.attempt(binding, request.clone(), edit.clone(), control);
        let mut failure = match attempt(first).await {
            Err(error) if goes_on(&error) => error,
            ended => return ended,
        };
        for binding in current.fallbacks(first, &request.asker) {
            if !request.suits(binding, first) {
                continue;
            }
            let job = &control.job;
            tracing::warn!(job, "job {job} falls back on engine {}", binding.name);
            match attempt(binding).await {
                // It has not these abilities.
                Err(Error::Invalid { .. } | Error::Unsupported { .. }) => {}
                Err(error) if goes_on(&error) => failure = error,
                ended => return ended,
            }
        }
        Err(failure)
    }

    async fn attempt(
        &self,
        binding: &Binding,
        request: JobRequest,
        edit: Option<Edit>,
        control: &JobContext,
    ) -> Result<Finished, Error> {
        let engine = &binding.component.description;
        let (bound, defaults) = match &edit {
            None => (binding.generating()?, &binding.generating_defaults),
            Some(edit) => {
                check_edit(edit, engine)?;
                (binding.editing()?, &binding.editing_defaults)
            }
        };
        check_addresses(binding, bound)?;
        let job = request.checked(defaults, engine)?;
        let made = self.run(binding, bound, control, job, edit).await;
        let made = made.map_err(|source| {
            let (job, error) = (&control.job, failed(binding, bound, source));
            tracing::warn!(job, "job {job} failed: {}", error.for_operator());
            error
        });
        let outcome = made
            .as_ref()
            .map_or_else(|error| error.kind().name(), |_| "ok");
        metrics::count_job(&binding.name, outcome);
        made
    }

    async fn run(
        &self,
        binding: &Binding,
        bound: &ResolvedSettings,
        control: &JobContext,
        job: Job,
        edit: Option<Edit>,
    ) -> Result<Finished, engine::Error> {
        let limits = Limits {
            metadata: self.current().settings.metadata,
            ..Limits::job(self.timeout)
        };
        let deadline = Instant::now() + limits.wall;
        let component = &binding.component;
        let call = self.engines.call(component, bound, control, limits);
        let output = async {
            match edit {
                None => call.generate(job).await,
                Some(edit) => call.edit(job, edit).await,
            }
        };
        let output = tokio::select! {
            output = output => output?,
            // Dropping the call cancels the engine, which still tells its upstream.
            () = self.ending.cancelled() => return Err(engine::Error::ShuttingDown),
        };
        let images = self
            .collect((binding, bound, control), &output.images, &limits, deadline)
            .await?;
        let JobOutput {
            revised_prompt,
            details,
            ..
        } = output;
        Ok(Finished {
            job: control.job.clone(),
            binding: binding.name.clone(),
            engine: component.description.name.clone(),
            digest: component.digest.clone(),
            images,
            revised_prompt,
            details,
        })
    }

    /// The models of a binding's upstream, or of the one that generates.
    ///
    /// `user` is whoever asks: a slot of their share is taken.
    pub async fn models(
        &self,
        engine: Option<&str>,
        user: Option<&str>,
    ) -> Result<Vec<Model>, Error> {
        let binding = self.asked(engine)?;
        let bound = binding.generating()?;
        check_addresses(&binding, bound)?;
        let (mut control, limits) = self.question();
        control.user = user.map(str::to_owned);
        let engines = &self.engines;
        let call = engines.call(&binding.component, bound, &control, limits);
        let models = call.models().await;
        models.map_err(|error| failed(&binding, bound, error))
    }

    /// Asks a binding, or the one that generates, whether its settings can work, its upstream is
    /// there and accepts the credentials: for generating, and for editing where that is another.
    pub async fn verify(&self, engine: Option<&str>) -> Result<(), Error> {
        let binding = self.asked(engine)?;
        let (generating, editing) = (binding.generating()?, binding.editing()?);
        check_addresses(&binding, generating)?;
        for bound in [generating, editing] {
            if let Some(problem) = &bound.problem {
                return Err(failed(&binding, bound, problem.clone().into()));
            }
        }
        self.verify_bound(&binding, generating).await?;
        let description = &binding.component.description;
        match editing
            .settings
            .has_same_connections(&generating.settings, description)
        {
            true => Ok(()),
            false => self.verify_bound(&binding, editing).await,
        }
    }

    /// Asks the same of a binding at another address, with the key that belongs to it, if any. What
    /// is set stays as it is.
    pub async fn verify_at(&self, engine: &str, url: &str, key: Option<&str>) -> Result<(), Error> {
        let binding = self.asked(Some(engine))?;
        let description = &binding.component.description;
        // Certificates of the binding's own are for its own place alone.
        let tls = Tls::default();
        let bind = |settings: &EngineSettings| {
            let settings = settings.with_connection(description, url, key)?;
            let grant = &binding.component.grant;
            let upstreams =
                grant::open_upstreams(description, grant, &settings, &self.egress, &tls)
                    .map_err(|refusal| refusal.to_string())?;
            Ok(ResolvedSettings {
                redactor: Arc::new(settings.redactor()),
                settings,
                upstreams: Arc::new(upstreams),
                problem: None,
            })
        };
        let settings = binding.generating().map(|bound| bound.settings.clone());
        let bound = bind(&settings.unwrap_or_default()).map_err(|message| Error::Invalid {
            field: "url",
            message,
        })?;
        self.verify_bound(&binding, &bound).await
    }

    async fn verify_bound(&self, binding: &Binding, bound: &ResolvedSettings) -> Result<(), Error> {
        let (control, limits) = self.question();
        let engines = &self.engines;
        let call = engines.call(&binding.component, bound, &control, limits);
        call.verify()
            .await
            .map_err(|error| failed(binding, bound, error))
    }

    /// For what only an operator asks, or what tells nothing of who may use what.
    fn asked(&self, engine: Option<&str>) -> Result<Arc<Binding>, Error> {
        let current = self.current();
        let operator = Requester {
            unrestricted: true,
            ..Requester::default()
        };
        let name = engine.unwrap_or(&current.settings.engine);
        current.choose(Some(name), &operator, name).cloned()
    }

    /// A call that makes no picture.
    fn question(&self) -> (JobContext, Limits) {
        let limits = Limits::job(self.timeout.min(MAX_QUESTION));
        (JobContext::new("question".to_owned()), limits)
    }

    /// Ends every job, and gives the engines a short while to tell their upstreams.
    pub async fn end(&self) {
        self.ending.cancel();
        self.engines.drain(Limits::job(self.timeout).grace).await;
    }

    /// The pictures in memory: those at an address are fetched under the host's own guard. One that
    /// cannot be fetched is left out where others came.
    async fn collect(
        &self,
        (binding, bound, control): (&Binding, &ResolvedSettings, &JobContext),
        pictures: &[ProducedImage],
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Vec<Image>, engine::Error> {
        let upstreams = bound.upstreams.values();
        let granted: Vec<_> = upstreams.map(|upstream| &upstream.destination).collect();
        let fetch = async |address: &str| {
            let max_bytes = limits.image.max_bytes;
            let fetched = self.egress.fetch(address, &granted, max_bytes, deadline);
            let bytes = fetched.await.map_err(|error| {
                if let Some(kind) = error.refusal_kind() {
                    let what = format!(
                        "a picture of engine {} at an address: {error}",
                        binding.name
                    );
                    self.audit.record(&Event {
                        kind,
                        guard: None,
                        engine: &binding.name,
                        job: &control.job,
                        message: &what,
                    });
                }
                not_fetched(error)
            })?;
            let image = Image::from_bytes(bytes, limits.image).map_err(|why| {
                let what = format!("a picture of engine {} at an address: {why}", binding.name);
                self.audit.record(&Event {
                    kind: RefusalKind::Picture,
                    guard: None,
                    engine: &binding.name,
                    job: &control.job,
                    message: &what,
                });
                engine::Error::protocol(why)
            })?;
            let is_secret = |bytes: &[u8]| bound.redactor.finds(bytes);
            Ok(image.with_metadata(limits.metadata, is_secret))
        };
        let (mut images, mut first_error) = (Vec::with_capacity(pictures.len()), None);
        for picture in pictures {
            let image = match picture {
                ProducedImage::Image(image) => Ok(image.clone()),
                ProducedImage::Url(address) => fetch(address).await,
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
            .map(|text| plain(text, MAX_NOTE_BYTES))
            .take(MAX_NOTES)
            .collect()
    }
}

/// A picture that somebody brought along, without what their camera noted, such as where it was:
/// whatever the settings keep of pictures that are made, that is nothing for an upstream.
fn private(image: Image) -> Image {
    image.with_metadata(Metadata::Essential, |_| false)
}

/// The pictures as they are seen: the mask is for that, and few upstreams heed the note of a camera.
async fn upright(decoder: &Decoder, sources: Vec<Image>) -> Result<Vec<Image>, Error> {
    if !sources.iter().any(Image::is_turned) {
        return Ok(sources);
    }
    let limits = Limits::job(Duration::ZERO).image;
    let io = Handle::current();
    let turned = decoder.run(DecodeFor::Person, &io, move || {
        let upright = sources.iter().map(|source| source.upright(limits));
        upright.collect()
    });
    turned.await.map_err(|message| Error::Invalid {
        field: "image",
        message,
    })
}

fn not_fetched(error: egress::Error) -> engine::Error {
    let (kind, message) = match &error {
        egress::Error::Denied(_) => (
            ErrorKind::Forbidden,
            "the picture's address may not be fetched",
        ),
        // Not the upstream's own address, so nothing that an operator could correct.
        egress::Error::Connect(_) | egress::Error::Broken(_) => (
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
        egress::Error::Unusable(_) => (
            ErrorKind::Protocol,
            "what is at the picture's address cannot be used",
        ),
    };
    engine::Error::engine(kind, message.to_owned(), Some(error.to_string()))
}
