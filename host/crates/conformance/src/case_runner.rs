//! Runs one case and collects its failures.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;

use pinhole_ground::environment::Environment;
use pinhole_images::Image;
use pinhole_sandbox::contract::ErrorKind;
use pinhole_sandbox::{JobContext, JobMemory, Limits, Progress};
use serde_json::json;

use crate::CapturedLog;
use crate::case::{Call, Case, CaseImage, JobSpec};
use crate::case_run::CaseRun;
use crate::host::{Failure, Host, JobParameters, Task, TaskResult};
use crate::outcome_match::compare_reports;
use crate::placeholders::ObjectMatch;
use crate::scripted_upstream::ScriptedUpstream;
use crate::secret_leaks::{VisibleTexts, find_leaks, visible_texts};

/// How long an open request may take to be aborted after its job.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);
/// Jobs that the host of a case runs at once: the job, and one that is still stopping.
const SLOTS: &str = "2";
/// The host logs queries such as listing models under this job name.
const QUERY_JOB: &str = "question";

/// Runs the cases of one engine.
pub(crate) struct CaseRunner<'a> {
    pub(crate) engine: &'a str,
    pub(crate) data_dir: &'a Path,
    /// Another directory for compiled code.
    pub(crate) cache: Option<&'a Path>,
    pub(crate) engines_dir: &'a Path,
    pub(crate) log: &'a CapturedLog,
    pub(crate) case_timeout: Duration,
}

/// The result of a case.
pub(crate) struct CaseResult {
    /// A line for each difference.
    pub(crate) failures: Vec<String>,
    pub(crate) requests: usize,
    /// Bytes that entered the guest; `None` for a query.
    pub(crate) entered_bytes: Option<u64>,
}

impl CaseRunner<'_> {
    pub(crate) async fn run<H: Host>(&self, case: Arc<Case>) -> CaseResult {
        let upstream = match ScriptedUpstream::start(case.clone()).await {
            Ok(upstream) => upstream,
            Err(error) => {
                return CaseResult {
                    failures: vec![format!("cannot start the fake upstream: {error:#}")],
                    requests: 0,
                    entered_bytes: None,
                };
            }
        };
        let run = upstream.run.clone();
        let skipped_lines = self.log.count();
        let context = JobContext {
            memory: JobMemory::after(case.remembered.as_deref()),
            ..JobContext::new(uuid::Uuid::new_v4().to_string())
        };
        let result = self.run_on_host::<H>(&case, &run, &context).await;
        // The host is gone, and its connections with it.
        upstream.close().await;
        let record = run.take_record();
        let mut failures = record.failures;
        match &result {
            Some(result) => failures.extend(case.outcome.compare(result, &run)),
            None => failures.push(format!(
                "the job did not end within {:?}",
                self.case_timeout
            )),
        }
        if let Some(pattern) = &case.outcome.remembered {
            let stored = context.memory.latest();
            let stored = json!(stored.as_deref());
            let found = run.compare(pattern, &stored, ObjectMatch::Exact);
            failures.extend(found.iter().map(|it| format!("/outcome/remembered: {it}")));
        }
        failures.extend(compare_reports(&case.reports, &record.reports, &run));
        let is_job = matches!(case.call(), Call::Generate(_) | Call::Edit(_));
        let job = if is_job { &context.job } else { QUERY_JOB };
        let notes = record.reports.into_iter().filter_map(|report| report.note);
        let visible = [
            VisibleTexts {
                place: "the outcome",
                texts: result.as_ref().map(visible_texts).unwrap_or_default(),
            },
            VisibleTexts {
                place: "a report",
                texts: notes.collect(),
            },
            VisibleTexts {
                place: "a log line",
                texts: self.log.lines_of_job(job, skipped_lines),
            },
        ];
        failures.extend(find_leaks(&case, &visible, |text| run.fill_text(text)));
        CaseResult {
            failures,
            requests: record.requests,
            entered_bytes: is_job.then(|| context.usage.entered_bytes()),
        }
    }

    /// Opens a host, makes the call, and closes the host. `None` if the call does not end in time.
    async fn run_on_host<H: Host>(
        &self,
        case: &Case,
        run: &Arc<CaseRun>,
        context: &JobContext,
    ) -> Option<TaskResult> {
        run.set_progress(context.progress.subscribe());
        let recording = tokio::spawn(record_reports(context.progress.subscribe(), run.clone()));
        let result = match self.open_host::<H>(case, run).await {
            Err(error) => Some(invalid_call(&error)),
            Ok(host) => {
                let result = self.call_engine(&host, case, run, context).await;
                // An ended job aborts its requests soon.
                tokio::time::timeout(ABORT_TIMEOUT, run.wait_for_open_requests())
                    .await
                    .ok();
                result
            }
        };
        recording.abort();
        result
    }

    /// A host with exactly the variables of the case.
    async fn open_host<H: Host>(&self, case: &Case, run: &CaseRun) -> Result<H> {
        let path_text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.with_context(|| format!("the path {} is not UTF-8", path.display()))
        };
        let engine = self.engine.to_owned();
        let defaults = [
            ("PINHOLE_SLOTS", SLOTS.to_owned()),
            ("IMAGE_GENERATION_ENGINE", engine.clone()),
            ("IMAGE_EDIT_ENGINE", engine),
        ];
        let own = case
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), run.fill_text(value)));
        let cache = self.cache.unwrap_or(self.data_dir);
        let fixed = [
            ("PINHOLE_DATA", path_text(self.data_dir)?),
            ("PINHOLE_CACHE", path_text(cache)?),
            ("PINHOLE_ENGINES", path_text(self.engines_dir)?),
        ];
        let variables = defaults.into_iter().chain(own).chain(fixed);
        let pairs = variables.map(|(name, value)| (name.to_owned(), value));
        H::open(Environment::new(pairs)).await
    }

    /// Makes the call, and cancels the job when the case says so. `None` if it does not end in time.
    async fn call_engine<H: Host>(
        &self,
        host: &H,
        case: &Case,
        run: &CaseRun,
        context: &JobContext,
    ) -> Option<TaskResult> {
        let cancel = async {
            if let Some(moment) = &case.cancel
                && run.wait_for(moment, "/cancel").await
            {
                context.cancel.cancel();
                run.record_cancellation();
            }
            std::future::pending::<TaskResult>().await
        };
        let call = async {
            match self.task(case) {
                Ok(task) => host.run(task, context).await,
                Err(error) => invalid_call(&error),
            }
        };
        let call_or_cancel = async {
            tokio::select! {
                result = call => result,
                result = cancel => result,
            }
        };
        let result = tokio::time::timeout(self.case_timeout, call_or_cancel).await;
        if result.is_err() {
            for wait in run.waits() {
                run.add_failure(format!("{wait}, which did not happen"));
            }
            context.cancel.cancel();
        }
        result.ok()
    }

    fn task(&self, case: &Case) -> Result<Task> {
        let engine = self.engine.to_owned();
        Ok(match case.call() {
            Call::Generate(job) => Task::Generate(job_parameters(job)),
            Call::Edit(job) => {
                let limits = Limits::job(self.case_timeout).image;
                let check = |image: &CaseImage| {
                    Image::from_bytes(image.bytes.clone(), limits)
                        .map_err(|error| anyhow!("{error}"))
                };
                Task::Edit {
                    job: job_parameters(job),
                    sources: job.sources.iter().map(check).collect::<Result<_>>()?,
                    mask: job.mask.as_ref().map(check).transpose()?,
                }
            }
            Call::Models => Task::Models { engine },
            Call::Verify => Task::Verify { engine },
        })
    }
}

/// The result of a call that the host cannot make.
fn invalid_call(error: &anyhow::Error) -> TaskResult {
    let message = format!("{error:#}");
    TaskResult::Failed(Failure {
        kind: ErrorKind::Invalid.name(),
        operator_message: message.clone(),
        message,
        code: None,
        field: None,
        retry_after_ms: None,
    })
}

fn job_parameters(job: &JobSpec) -> JobParameters {
    JobParameters {
        prompt: job.prompt.clone(),
        negative_prompt: job.negative_prompt.clone(),
        model: job.model.clone(),
        size: job.size.clone(),
        count: job.count,
        steps: job.steps,
        seed: job.seed,
        strength: job.strength,
        parameters: job.parameters.clone(),
    }
}

/// Records each report when it is made.
async fn record_reports(mut progress: watch::Receiver<Progress>, run: Arc<CaseRun>) {
    while progress.changed().await.is_ok() {
        run.record_progress();
    }
}
