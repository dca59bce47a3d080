//! One call of an engine: a fresh instance, one export, and the limits of both.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::call_usage::CallUsage;
use crate::component::Component;
use crate::contract::{Description, Explanation, Job, Model, Verification};
use crate::cpu_meter::{CpuMeter, LastComputing};
use crate::error::Error;
use crate::guest_log::EngineLog;
use crate::instance::{Edit, Instance, Pre};
use crate::job_context::JobContext;
use crate::limits::Limits;
use crate::orphan_request::Place;
use crate::output::JobOutput;
use crate::resolved_settings::ResolvedSettings;
use crate::running_call::GuestWork;
use crate::sandbox::Sandbox;
use crate::state::{CallSetup, State};
use crate::supervisor::Supervisor;
use pinhole_ground::audit::Event;
use pinhole_ground::fair_queue::JobGroup;
use pinhole_ground::metrics;

/// A call of an engine. Waits while all slots are in use.
///
/// If the caller drops the future of a method, the engine is cancelled and has a short time to ask its upstream
/// to stop.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub(crate) sandbox: &'a Arc<Sandbox>,
    pub(crate) component: &'a Component,
    pub(crate) settings: &'a ResolvedSettings,
    pub(crate) context: &'a JobContext,
    pub(crate) group: Option<JobGroup<'a>>,
    pub(crate) keeps_place: bool,
    pub(crate) limits: Limits,
    pub(crate) usage: Option<&'a Arc<CallUsage>>,
}

impl<'a> Call<'a> {
    /// Limits how many calls of a group run at the same time. Further ones wait without a slot.
    #[must_use]
    pub fn in_group(self, group: JobGroup<'a>) -> Self {
        Self {
            group: Some(group),
            ..self
        }
    }

    /// If the job is cancelled, its place stays occupied until the upstream has responded.
    #[must_use]
    pub fn keeping_place(self, keeps_place: bool) -> Self {
        Self {
            keeps_place,
            ..self
        }
    }

    /// Counts there what the call uses. Use each [`CallUsage`] for one call.
    #[must_use]
    pub fn counting_in(self, usage: &'a Arc<CallUsage>) -> Self {
        Self {
            usage: Some(usage),
            ..self
        }
    }

    /// Generates images from a prompt.
    pub async fn generate(self, job: Job) -> Result<JobOutput, Error> {
        let max_images = self.max_images(&job);
        self.count_job(&job);
        self.run(move |instance| instance.generate(job, max_images))
            .await
    }

    /// Edits images.
    pub async fn edit(self, job: Job, edit: Edit) -> Result<JobOutput, Error> {
        let max_images = self.max_images(&job);
        self.count_job(&job);
        self.run(move |instance| instance.edit(job, edit, max_images))
            .await
    }

    /// The models that the engine's upstream offers.
    pub async fn models(self) -> Result<Vec<Model>, Error> {
        self.run(Instance::models).await
    }

    /// Checks the settings and, if upstreams are granted, whether they are reachable and accept the
    /// credentials.
    pub async fn verify(self) -> Result<Verification, Error> {
        self.run(Instance::verify).await
    }

    /// What the settings mean, if the engine explains them. It may ask its upstream.
    pub async fn explain(self) -> Result<Explanation, Error> {
        if !self.component.explains_settings() {
            return Ok(Explanation::default());
        }
        self.run(Instance::explain).await
    }

    /// Calls one export of a fresh instance.
    async fn run<T, F>(
        self,
        export: impl FnOnce(Instance) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (name, context) = (&self.component.description.name, self.context);
        let place = Place::default();
        let call_usage = self.usage.cloned().unwrap_or_default();
        let work = self.work(export, &place, &call_usage);
        // Also if the caller drops this future.
        let _counted = CountedCall {
            engine: name,
            meter: work.meter.clone(),
            usage: call_usage,
        };
        let result = Supervisor::new(self.sandbox, context, self.group, &self.limits)
            .run(work, place)
            .await;
        if let Err(error) = &result {
            self.sandbox.record_failure(name, context, error);
        }
        result
    }

    /// The work of this call: a fresh instance, and one export of it.
    fn work<T, F>(
        &self,
        export: impl FnOnce(Instance) -> F + Send + 'static,
        place: &Place,
        call_usage: &Arc<CallUsage>,
    ) -> GuestWork<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (name, context) = (&self.component.description.name, self.context);
        let values = self.settings.settings.values();
        let value_bytes = values.iter().map(|it| it.key.len() + it.value.len()).sum();
        context.usage.count_entered(value_bytes);
        let (mut state, driver) = State::new(CallSetup {
            upstreams: self.settings.upstreams.clone(),
            image_hosts: self.settings.image_hosts.clone(),
            redactor: self.settings.redactor.clone(),
            call_usage: call_usage.clone(),
            last_computing: self.component.last_computing.clone(),
            ..self
                .sandbox
                .call_setup(name, context, self.limits, self.component.log.clone())
        });
        state.place = self.keeps_place.then(|| place.clone());
        let meter = state.cpu_meter();
        let pre = self.component.pre.clone();
        let state = Box::new(state);
        let call = async move { export(Instance::new(&pre, state, values).await?).await };
        GuestWork {
            future: driver.drive(meter.clone(), Box::pin(call)).boxed(),
            meter,
        }
    }

    /// More images than the job requests if the operator's parameters ask for them.
    fn max_images(&self, job: &Job) -> usize {
        self.component
            .description
            .abilities
            .max_count
            .max(job.count) as usize
    }

    fn count_job(&self, job: &Job) {
        let texts = [&job.negative_prompt, &job.model];
        let optional_bytes: usize = texts.into_iter().flatten().map(String::len).sum();
        let bytes = job.prompt.len() + job.parameters.len() + optional_bytes;
        self.context.usage.count_entered(bytes);
    }
}

/// Counts what a call has used when it ends.
struct CountedCall<'a> {
    engine: &'a str,
    meter: CpuMeter,
    usage: Arc<CallUsage>,
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        let Self {
            engine,
            meter,
            usage,
        } = self;
        usage.add_cpu_time(meter.used());
        metrics::count_guest_time(engine, meter.used());
        for row in usage.traffic() {
            let traffic = metrics::Traffic {
                requests: row.requests,
                failed_requests: row.failed_requests,
                sent_bytes: row.sent_bytes,
                received_bytes: row.received_bytes,
            };
            metrics::count_traffic(engine, &traffic);
        }
    }
}

/// Calls `describe` of a component that is not admitted yet, without upstreams and settings.
pub async fn describe(
    sandbox: &Arc<Sandbox>,
    file: &str,
    pre: &Arc<Pre>,
) -> Result<Description, Error> {
    let limits = Limits::describe();
    let context = JobContext::new("admission".to_owned());
    let (state, driver) = State::new(sandbox.call_setup(file, &context, limits, Arc::default()));
    let (meter, pre) = (state.cpu_meter(), pre.clone());
    let call = async move {
        Instance::new(&pre, Box::new(state), Vec::new())
            .await?
            .describe()
            .await
    };
    let work = GuestWork {
        future: driver.drive(meter.clone(), Box::pin(call)).boxed(),
        meter,
    };
    let result = Supervisor::new(sandbox, &context, None, &limits)
        .run(work, Place::default())
        .await;
    if let Err(error) = &result {
        sandbox.record_failure(file, &context, error);
    }
    result
}

/// Calls `describe` in the caller's own task, without a slot. For benchmarks of an instance.
pub(crate) async fn describe_in_place(
    sandbox: &Sandbox,
    component: &Component,
) -> Result<Description, Error> {
    let context = JobContext::new("benchmark".to_owned());
    let setup = sandbox.call_setup(
        &component.file,
        &context,
        Limits::describe(),
        component.log.clone(),
    );
    let (state, driver) = State::new(setup);
    let meter = state.cpu_meter();
    let call = async {
        Instance::new(&component.pre, Box::new(state), Vec::new())
            .await?
            .describe()
            .await
    };
    driver.drive(meter, Box::pin(call)).await
}

impl Sandbox {
    /// The setup of a call without upstreams and secrets.
    fn call_setup<'a>(
        &self,
        engine: &'a str,
        context: &JobContext,
        limits: Limits,
        engine_log: Arc<EngineLog>,
    ) -> CallSetup<'a> {
        CallSetup {
            engine,
            context: context.clone(),
            upstreams: Arc::default(),
            image_hosts: Arc::default(),
            redactor: Arc::default(),
            limits,
            audit: self.audit.clone(),
            engine_log,
            call_usage: Arc::default(),
            decoder: self.decoder.clone(),
            last_computing: LastComputing::unknown(),
            epochs: self.epochs.clone(),
        }
    }

    /// Records a call that was stopped, or could not start.
    fn record_failure(&self, engine: &str, context: &JobContext, error: &Error) {
        let Some(kind) = error.refusal_kind() else {
            return;
        };
        self.audit.record(&Event {
            kind,
            guard: error.guard(),
            actor: context.actor(),
            engine,
            job: &context.job,
            message: &format!("engine {engine}: {error}"),
        });
    }
}
