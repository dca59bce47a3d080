//! `pinhole engine test`: the conformance cases of an engine, against any component.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole::jobs::{Error, Finished, JobRequest, Jobs};
use pinhole_conformance::{
    Failure, Host, JobImages, JobParameters, Kit, Lines, Task, TaskResult, Verdict,
};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::{Error as EngineError, JobContext};
use tokio::time::Instant;

use crate::{FAILED, WRONG_USE};

/// Where the cases are when nothing is said.
const CASES: &str = "tests/cases";

/// What `pinhole engine test` is told.
#[derive(Args)]
pub(crate) struct EngineTest {
    /// The component's file
    component: PathBuf,
    /// The folder of cases, with a folder for each engine [default: tests/cases]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Only cases whose folder begins so; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    case: Vec<String>,
}

/// Runs the cases and prints a line for each. The exit code.
pub(crate) async fn test(config: &Config, asked: EngineTest, lines: Lines) -> Result<u8> {
    let cases = asked.cases.as_deref().unwrap_or(Path::new(CASES));
    let kit = match Kit::open(
        &asked.component,
        cases,
        &asked.case,
        &config.compiler,
        lines,
    )
    .await
    {
        Ok(kit) => kit,
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
    kit.run::<Server>(|played| {
        let line = match &played.verdict {
            Verdict::Passed if dim => format!("{played}  \x1b[2m{}\x1b[0m", played.cost()),
            Verdict::Passed => format!("{played}  {}", played.cost()),
            _ => played.to_string(),
        };
        match played.verdict {
            Verdict::Passed => passed += 1,
            Verdict::Failed(_) => failed += 1,
            Verdict::Known(_) => known += 1,
        }
        if written.is_ok() {
            written = writeln!(out, "{line}");
        }
    })
    .await;
    written?;
    let mut summary = format!("{passed} passed, {failed} failed");
    if known > 0 {
        summary.push_str(&format!(", {known} known not to pass"));
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
        let jobs = &self.0;
        let result = match task {
            Task::Generate(job) => jobs.generate(request(job), context).await.map(images),
            Task::Edit { job, sources, mask } => jobs
                .edit(request(job), sources, mask, context)
                .await
                .map(images),
            Task::Models { engine } => jobs
                .models(Some(&engine), None)
                .await
                .map(TaskResult::Models),
            Task::Verify { engine } => {
                jobs.verify(Some(&engine)).await.map(|()| TaskResult::Verified)
            }
        };
        result.unwrap_or_else(|error| TaskResult::Failed(failure(&error)))
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
        ..JobRequest::default()
    }
}

fn images(finished: Finished) -> TaskResult {
    TaskResult::Images(JobImages {
        images: finished.images,
        revised_prompt: finished.revised_prompt,
        details: finished.details,
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
