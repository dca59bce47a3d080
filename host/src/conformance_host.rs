//! The server as the conformance case runner uses it: without its web layer.

use anyhow::Result;
use pinhole_conformance::{Failure, Host, JobImages, JobParameters, Task, TaskResult};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::{Edit, Error as EngineError, JobContext};

use crate::config::Config;
use crate::jobs::{CompletedJob, Error, JobPlan, JobRequest, Jobs, Operation, Requester};

/// The jobs of a server.
pub struct ConformanceHost(Jobs);

impl Host for ConformanceHost {
    async fn open(environment: Environment) -> Result<Self> {
        let config = Config::new(environment)?;
        let jobs = Jobs::open(&config, AuditLog::default(), Decoder::default()).await?;
        Ok(Self(jobs))
    }

    async fn run(&self, task: Task, context: &JobContext) -> TaskResult {
        self.run_task(task, context)
            .await
            .unwrap_or_else(|error| TaskResult::Failed(failure(&error)))
    }
}

impl ConformanceHost {
    async fn run_task(&self, task: Task, context: &JobContext) -> Result<TaskResult, Error> {
        let jobs = &self.0;
        let snapshot = jobs.snapshot();
        Ok(match task {
            Task::Generate(job) => {
                let plan = self.plan(Operation::Generate, &job)?;
                images(jobs.generate(&plan, request(job), context).await?)
            }
            Task::Edit { job, sources, mask } => {
                let plan = self.plan(Operation::Edit, &job)?;
                let edit = Edit { sources, mask };
                images(jobs.edit(&plan, request(job), edit, context).await?)
            }
            Task::Models { engine } => {
                let binding = snapshot.operator_binding(Some(&engine))?;
                TaskResult::Models(jobs.models(binding).await?)
            }
            Task::Verify { engine } => {
                let binding = snapshot.operator_binding(Some(&engine))?;
                TaskResult::Verified(jobs.verify(binding).await?)
            }
        })
    }

    fn plan(&self, operation: Operation, job: &JobParameters) -> Result<JobPlan, Error> {
        let (model, requester) = (job.model.as_deref(), Requester::default());
        JobPlan::new(self.0.snapshot(), operation, None, model, requester)
    }
}

fn request(job: JobParameters) -> JobRequest {
    JobRequest {
        prompt: job.prompt,
        negative_prompt: job.negative_prompt,
        model: job.model,
        size: job.size,
        count: job.count,
        steps: job.steps,
        seed: job.seed,
        strength: job.strength,
        parameters: job.parameters,
    }
}

fn images(completed: CompletedJob) -> TaskResult {
    TaskResult::Images(job_images(completed))
}

/// The result of a job, as a case compares it.
#[must_use]
pub fn job_images(completed: CompletedJob) -> JobImages {
    JobImages {
        images: completed.images,
        revised_prompt: completed.revised_prompt,
        details: completed.details,
        seeds: completed.image_details.iter().map(|it| it.seed).collect(),
        usage: completed.usage,
        cost: completed.cost.map(|cost| (cost.amount, cost.unit)),
        warnings: completed.warnings,
        engine_warnings: completed.engine_warnings,
    }
}

/// The error of a job, as a case compares it.
pub fn failure(error: &Error) -> Failure {
    let mut failure = Failure {
        kind: error.kind().name(),
        message: error.to_string(),
        code: None,
        field: None,
        retry_after_ms: None,
        operator_message: error.for_operator(),
    };
    match error {
        Error::Invalid { field, .. } | Error::Unsupported { field, .. } => {
            failure.field = Some(field.clone().into_owned());
        }
        Error::Engine { source, .. } => {
            if let EngineError::Engine {
                error: returned, ..
            } = source.as_ref()
            {
                failure.code.clone_from(&returned.code);
                failure.field.clone_from(&returned.field);
                failure.retry_after_ms = returned.retry_after_ms;
            }
        }
        Error::Disabled(_)
        | Error::Starting
        | Error::QueueFull(_)
        | Error::RateLimited { .. }
        | Error::MemoryFull(_) => {}
    }
    failure
}
