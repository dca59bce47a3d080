//! Jobs: one generation or edit each, from a checked request to images in memory.
//!
//! [`JobPlan::new`] chooses a binding from one [`Snapshot`] of the settings. [`Jobs::generate`] and
//! [`Jobs::edit`] call the binding's engine, and fall back to other bindings of the same snapshot if the
//! upstream is unavailable.

mod abilities;
mod active_jobs;
mod background_job;
mod binding;
mod completed_job;
mod continuation;
mod current_snapshot;
mod defaults;
mod differences;
mod edit_check;
mod error;
mod figures;
mod host_lease;
mod image_metadata;
mod image_provenance;
mod job_check;
mod job_record;
mod job_run;
mod job_stop;
mod leased_jobs;
mod model_alias;
mod outcome;
mod outcome_log;
mod plan;
mod preview;
mod progress;
mod query;
mod request;
mod requester;
mod running_jobs;
mod size;
mod snapshot;
mod source_images;
mod stored_job;
mod taken_job;
mod unfinished_job;
mod verification;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use arc_swap::ArcSwap;
use pinhole_egress::Egress;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::metrics;
use pinhole_images::Decoder;
use pinhole_sandbox::contract::{ErrorKind, Job};
use pinhole_sandbox::{
    CallUsage, Edit, Engines, Error as EngineError, JobComponent, JobContext, JobOutput, Limits,
    ResolvedSettings, TrafficRecorder,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::settings::ConfiguredEngines;
use differences::RequestedImages;
use job_check::convert;
use query::QueryRates;
use running_jobs::{RunningJob, RunningJobs};

pub use active_jobs::{
    AcceptError, ActiveJobs, MAX_ACTIVE_JOBS, MAX_ALL_ACTIVE_JOBS, NewJob, NewJobOrigin,
};
pub use background_job::{BackgroundJob, JOB_BYTES};
pub use binding::{BINDINGS, Binding, MAX_BINDINGS};
pub use completed_job::{CompletedJob, CostEntry, ImageDetails, ImageOrigin};
pub use continuation::Continuation;
pub use edit_check::MAX_SOURCE_BYTES;
pub use error::Error;
pub use figures::{
    Counts, Figures, MAX_VERSION_BYTES, MAX_VERSIONS, MinuteFigures, RunningAttempt, Series,
    SeriesPoint, SeriesRange, UpstreamFigures, VersionFigures,
};
pub use image_metadata::ImageMetadata;
pub use image_provenance::{ImageProvenance, MAX_STORED_REQUEST_BYTES, StoredRequest};
pub use job_record::{ErrorRecord, JobRecord, MAX_RECORD_BYTES, RequestRecord};
pub use job_run::{EndedJob, Followed, JobRun};
pub use model_alias::ModelAlias;
pub use outcome::{Outcome, OutcomeClass};
pub use outcome_log::{OutcomeLog, Outcomes};
pub use plan::{JobPlan, Operation};
pub use progress::ProgressEvents;
pub use query::{MAX_QUERY_TIME, MAX_VERIFICATIONS_PER_MINUTE};
pub use request::{JobRequest, MAX_PARAMETERS_BYTES, MAX_PROMPT_BYTES, MAX_STEPS};
pub use requester::Requester;
pub use size::{MAX_PIXELS, MAX_SIDE};
pub use snapshot::{Candidate, FALLBACKS, MAX_FALLBACKS, Resolution, Snapshot};
pub use taken_job::{ContinuedJob, MAX_CRASHES, TakenJob};
pub use verification::{MAX_REPORTED_REQUESTS, SentRequest, VerifiedBinding};

/// Runs jobs.
pub struct Jobs {
    pub egress: Egress,
    /// What the jobs of each version of an engine did.
    pub figures: Figures,
    /// The outcomes of jobs for the verdict on a version.
    pub outcomes: OutcomeLog,
    decoder: Decoder,
    snapshot: ArcSwap<Snapshot>,
    /// Changes when a snapshot is published.
    published: watch::Sender<()>,
    timeout: Duration,
    query_rates: QueryRates,
    running: RunningJobs,
    shutdown: CancellationToken,
    /// Records the traffic of every job.
    recorder: OnceLock<TrafficRecorder>,
}

/// One attempt to carry out a job: with one binding, of several if the job falls back.
struct Attempt<'a> {
    snapshot: &'a Snapshot,
    binding: &'a Binding,
    context: &'a JobContext,
}

impl Jobs {
    /// Admits the components of the engine directory, with all that they declare, and reads the settings. Stores
    /// nothing but compiled code.
    pub async fn open(config: &Config, audit: AuditLog, decoder: Decoder) -> Result<Self> {
        let options = config.engine_options(audit, decoder.clone());
        let engines = Engines::open(&options, &config.engines).await?;
        Self::new(config, engines, decoder).await
    }

    /// Reads the settings for these engines.
    pub async fn new(config: &Config, engines: Engines, decoder: Decoder) -> Result<Self> {
        let environment = &config.environment;
        let egress = Egress::new(&config.nat64, config.silence)?;
        let previous = config.previous_engine.clone();
        let configured = ConfiguredEngines::find(&engines, environment, previous);
        let snapshot = Snapshot::new(environment, configured, engines, &egress, None)
            .await
            .map_err(anyhow::Error::msg)?;
        Ok(Self {
            egress,
            figures: Figures::default(),
            outcomes: OutcomeLog::default(),
            decoder,
            snapshot: ArcSwap::from_pointee(snapshot),
            published: watch::Sender::default(),
            timeout: config.job_timeout,
            query_rates: QueryRates::default(),
            running: RunningJobs::default(),
            shutdown: CancellationToken::new(),
            recorder: OnceLock::new(),
        })
    }

    /// Decodes images, within the limits of the process.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Records the traffic of every later job, for the author of an engine. Only the first call has an effect.
    pub fn record_traffic(&self, recorder: TrafficRecorder) {
        self.recorder.set(recorder).ok();
    }

    /// Generates images from a prompt.
    ///
    /// If the caller drops this future, the engine is cancelled and has a short time to ask its upstream
    /// to stop.
    pub async fn generate(
        &self,
        plan: &JobPlan,
        request: JobRequest,
        context: &JobContext,
    ) -> Result<CompletedJob, Error> {
        self.run(plan, request, None, context).await
    }

    /// Edits images. Can be cancelled like [`Self::generate`].
    pub async fn edit(
        &self,
        plan: &JobPlan,
        request: JobRequest,
        edit: Edit,
        context: &JobContext,
    ) -> Result<CompletedJob, Error> {
        let edit = self.prepare_sources(plan, edit).await?;
        self.run(plan, request, Some(edit), context).await
    }

    /// Tries the plan's binding, then the fallbacks while an upstream is unavailable or busy and cannot
    /// have started the job. The sources of an edit are [prepared](Self::prepare_sources).
    pub async fn run(
        &self,
        plan: &JobPlan,
        request: JobRequest,
        edit: Option<Edit>,
        context: &JobContext,
    ) -> Result<CompletedJob, Error> {
        let context = &JobContext {
            user: plan.requester.user.clone(),
            // Cancelled with the caller's, and if the engine is removed.
            cancel: context.cancel.child_token(),
            recorder: context.recorder.as_ref().or(self.recorder.get()).cloned(),
            ..context.clone()
        };
        let request = plan.resolve_model(request);
        let job = &context.job;
        let attempt = |binding| {
            let attempt = Attempt {
                snapshot: &plan.snapshot,
                binding,
                context,
            };
            self.attempt(attempt, request.clone(), edit.clone())
        };
        let mut result = attempt(&*plan.binding).await;
        if let Err(error) = &result
            && error.outcome().class().is_fault_of_engine()
            && !context.usage.may_be_charged()
            && let Some(stable) = plan.snapshot.stable_version(&plan.binding)
        {
            let name = &plan.binding.name;
            tracing::warn!(
                job,
                "job {job} is tried again with the version of engine {name} before"
            );
            change_component(context, stable).await;
            result = attempt(stable).await;
        }
        let mut failure = match result {
            Err(error) if plan.may_fall_back(&error) => error,
            final_result => return final_result,
        };
        let first_engine = plan.binding.engine();
        for binding in plan.fallbacks() {
            if !request.is_portable() && binding.engine() != first_engine {
                continue;
            }
            tracing::warn!(job, "job {job} falls back to engine {}", binding.name);
            change_component(context, binding).await;
            let fallback_result = attempt(binding).await.map(|mut completed| {
                let (name, first) = (&binding.name, &plan.binding.name);
                let warning =
                    format!("made by engine {name}, because engine {first} is unavailable or busy");
                completed.warnings.push(warning);
                completed
            });
            match fallback_result {
                // This engine lacks an ability that the job needs.
                Err(Error::Invalid { .. } | Error::Unsupported { .. }) => {}
                Err(error) if plan.may_fall_back(&error) => failure = error,
                final_result => return final_result,
            }
        }
        Err(failure)
    }

    async fn attempt(
        &self,
        attempt: Attempt<'_>,
        request: JobRequest,
        edit: Option<Edit>,
    ) -> Result<CompletedJob, Error> {
        let binding = attempt.binding;
        let engine = &binding.component.description;
        let (settings, job) = convert(binding, request, edit.as_ref())?;
        let provenance = ImageProvenance::new(&job, edit.as_ref());
        let usage = Arc::<CallUsage>::default();
        let digest = &binding.component.digest;
        let counted = self.figures.start(&engine.name, digest, usage.clone());
        let running = self.running.start(&engine.name);
        let call = std::pin::pin!(self.call_engine(&attempt, settings, job, edit, &usage));
        let mut result = run_until_stopped(call, attempt.context, &running)
            .await
            .map_err(|source| {
                let error = Error::engine(&binding.name, &binding.component, settings, source)
                    .after(&attempt.context.usage);
                let name = &attempt.context.job;
                tracing::warn!(job = name, "job {name} failed: {}", error.for_operator());
                error
            });
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.kind().name(),
        };
        let end = result.as_ref().map_or_else(Error::outcome, |_| Outcome::Ok);
        let took = counted.finish(end);
        self.outcomes.record(digest, end.class(), usage.cpu_time());
        let release = attempt.snapshot.release_of(binding);
        metrics::count_job(&binding.name, release, outcome, took);
        if let Ok(completed) = &mut result {
            completed.provenance = ImageProvenance {
                duration: took,
                ..provenance
            };
            if let Some(cost) = &completed.cost {
                metrics::count_cost(&binding.name, cost.amount, &cost.unit);
            }
            let flagged = completed.image_details.iter().filter(|it| it.flagged);
            metrics::count_flagged(&binding.name, flagged.count());
        }
        result
    }

    async fn call_engine(
        &self,
        attempt: &Attempt<'_>,
        settings: &ResolvedSettings,
        job: Job,
        edit: Option<Edit>,
        usage: &Arc<CallUsage>,
    ) -> Result<CompletedJob, EngineError> {
        let (binding, context) = (attempt.binding, attempt.context);
        let limits = Limits {
            metadata: attempt.snapshot.settings.metadata,
            ..Limits::job(self.timeout)
        };
        let component = &binding.component;
        let requested = RequestedImages::new(&job);
        let call = attempt
            .snapshot
            .engines
            .call(component, settings, context, limits)
            .in_group(binding.concurrency.jobs())
            .keeping_place(binding.concurrency.keeps_place())
            .counting_in(usage);
        let result = async {
            match edit {
                None => call.generate(job).await,
                Some(edit) => call.edit(job, edit).await,
            }
        };
        let JobOutput {
            images: made_images,
            revised_prompt,
            details,
            usage: used,
            cost,
            mut warnings,
        } = tokio::select! {
            // A job that waits must not begin in the place of one that was just stopped.
            biased;
            // Dropping the call cancels the engine, which can still ask its upstream to stop.
            () = self.shutdown.cancelled() => return Err(EngineError::ShuttingDown),
            output = result => output?,
        };
        let engine_warnings = warnings.len();
        let (images, image_details): (Vec<_>, Vec<_>) = made_images
            .into_iter()
            .map(|made| {
                let image_details = ImageDetails {
                    seed: made.seed,
                    flagged: made.flagged,
                    details: parse_object(&made.details),
                };
                (made.image, image_details)
            })
            .unzip();
        requested.add_differences(&images, &mut warnings);
        for warning in &warnings {
            let name = &context.job;
            tracing::info!(job = name, "job {name}: {warning}");
        }
        Ok(CompletedJob {
            job: context.job.clone(),
            binding: binding.name.clone(),
            engine: binding.engine().to_owned(),
            engine_version: component.description.version.clone(),
            digest: component.digest.clone(),
            images,
            image_details,
            revised_prompt,
            details: serde_json::from_str(&details).unwrap_or_default(),
            usage: used
                .map(|json| parse_object(&json))
                .filter(|it| !it.is_null()),
            cost,
            warnings,
            engine_warnings,
            provenance: ImageProvenance::default(),
        })
    }

    /// Waits until [`Self::shut_down`] stops every job.
    pub async fn stopped(&self) {
        self.shutdown.cancelled().await;
    }

    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Stops the jobs of an engine, which has a short time to ask its upstream to stop. Returns when they have ended.
    pub async fn stop_engine(&self, engine: &str) {
        self.running.stop(engine).await;
    }

    /// Stops every job, and gives the engines a short time to ask their upstreams to stop.
    pub async fn shut_down(&self) {
        self.shutdown.cancel();
        let engines = self.snapshot().engines.clone();
        engines.drain(Limits::job(self.timeout).grace).await;
    }
}

/// Another binding carries out a job, because the one before ordered nothing.
async fn change_component(context: &JobContext, binding: &Binding) {
    if let Some(journal) = &context.journal {
        let component = JobComponent {
            binding: binding.name.clone(),
            engine: binding.engine().to_owned(),
            version: binding.component.description.version.clone(),
            digest: binding.component.digest.clone(),
        };
        journal.change_component(component).await;
    }
}

/// A JSON object; null for an empty one, and for other text.
fn parse_object(json: &str) -> Value {
    match serde_json::from_str(json) {
        Ok(Value::Object(fields)) if !fields.is_empty() => Value::Object(fields),
        _ => Value::Null,
    }
}

/// Cancels a call when the jobs of its engine are stopped. The call then ends within its grace.
async fn run_until_stopped<T>(
    mut call: Pin<&mut impl Future<Output = Result<T, EngineError>>>,
    context: &JobContext,
    running: &RunningJob,
) -> Result<T, EngineError> {
    tokio::select! {
        result = &mut call => result,
        () = running.stop.cancelled() => {
            context.cancel.cancel();
            call.await.map_err(|_| {
                let message = "the engine was removed while the job ran: use another engine";
                EngineError::engine(ErrorKind::Cancelled, message.to_owned())
            })
        }
    }
}
