//! `pinhole engine test`: runs the conformance cases of an engine against a component.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole::jobs::{CompletedJob, Error, JobPlan, JobRequest, Jobs, Operation, Requester};
use pinhole_conformance::{
    CapturedLog, ConformanceSuite, Failure, Host, JobImages, JobParameters, Task, TaskResult,
    Verdict,
};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::{Edit, Error as EngineError, JobContext};
use tokio::time::Instant;

use super::{FAILED, WRONG_USE};

/// The default directory of cases.
const CASES: &str = "tests/cases";

#[derive(Args)]
pub(crate) struct EngineTest {
    /// Component file
    component: PathBuf,
    /// Directory of cases, with a subdirectory for each engine [default: tests/cases]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Run only cases whose name starts with PREFIX (repeatable)
    #[arg(long = "case", value_name = "PREFIX")]
    case: Vec<String>,
}

/// Runs the cases and prints a line for each. Returns the exit code.
pub(crate) async fn test(config: &Config, arguments: EngineTest, log: CapturedLog) -> Result<u8> {
    let cases = arguments.cases.as_deref().unwrap_or(Path::new(CASES));
    let suite = match ConformanceSuite::open(
        &arguments.component,
        cases,
        &arguments.case,
        &config.compiler,
        log,
    )
    .await
    {
        Ok(suite) => suite,
        Err(error) => {
            eprintln!("pinhole: {error:#}");
            return Ok(WRONG_USE);
        }
    };
    let mut out = std::io::stdout();
    let dim = out.is_terminal() && config.environment.get("NO_COLOR").is_none();
    let started = Instant::now();
    let (mut passed, mut failed, mut known) = (0, 0, 0);
    let mut written = Ok(());
    suite
        .run::<Server>(|report| {
            let line = match &report.verdict {
                Verdict::Passed if dim => format!("{report}  \x1b[2m{}\x1b[0m", report.cost()),
                Verdict::Passed => format!("{report}  {}", report.cost()),
                _ => report.to_string(),
            };
            match report.verdict {
                Verdict::Passed => passed += 1,
                Verdict::Failed(_) => failed += 1,
                Verdict::KnownFailure(_) => known += 1,
            }
            if written.is_ok() {
                written = writeln!(out, "{line}");
            }
        })
        .await;
    written?;
    let mut summary = format!("{passed} passed, {failed} failed");
    if known > 0 {
        summary.push_str(&format!(", {known} known to fail"));
    }
    writeln!(out, "{summary} in {:.1} s", started.elapsed().as_secs_f32())?;
    Ok(if failed == 0 { 0 } else { FAILED })
}

/// The jobs of a server, for the case runner.
struct Server(Jobs);

impl Host for Server {
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

impl Server {
    async fn run_task(&self, task: Task, context: &JobContext) -> Result<TaskResult, Error> {
        let jobs = &self.0;
        let snapshot = jobs.snapshot();
        Ok(match task {
            Task::Generate(job) => {
                let plan = self.plan(Operation::Generate)?;
                images(jobs.generate(&plan, request(job), context).await?)
            }
            Task::Edit { job, sources, mask } => {
                let plan = self.plan(Operation::Edit)?;
                let edit = Edit { sources, mask };
                images(jobs.edit(&plan, request(job), edit, context).await?)
            }
            Task::Models { engine } => {
                let binding = snapshot.operator_binding(Some(&engine))?;
                TaskResult::Models(jobs.models(binding, None).await?)
            }
            Task::Verify { engine } => {
                let binding = snapshot.operator_binding(Some(&engine))?;
                jobs.verify(binding).await?;
                TaskResult::Verified
            }
        })
    }

    fn plan(&self, operation: Operation) -> Result<JobPlan, Error> {
        JobPlan::new(self.0.snapshot(), operation, None, Requester::default())
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
        parameters: job.parameters,
    }
}

fn images(completed: CompletedJob) -> TaskResult {
    TaskResult::Images(JobImages {
        images: completed.images,
        revised_prompt: completed.revised_prompt,
        details: completed.details.to_string(),
    })
}

fn failure(error: &Error) -> Failure {
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
            failure.field = Some((*field).to_owned());
        }
        Error::Engine { source, .. } => {
            if let EngineError::Engine { error, .. } = source.as_ref() {
                failure.code.clone_from(&error.code);
                failure.field.clone_from(&error.field);
                failure.retry_after_ms = error.retry_after_ms;
            }
        }
        Error::Disabled(_) => {}
    }
    failure
}
