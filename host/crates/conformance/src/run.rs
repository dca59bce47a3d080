//! One case, from its job to what is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;

use super::Lines;
use super::case::{Asked, Case, Picture, Question};
use super::host::{Host, JobParameters, Task};
use super::outcome::{Came, compare_reports};
use super::progress::Play;
use super::upstream::Upstream;
use pinhole_ground::environment::Environment;
use pinhole_images::Image;
use pinhole_sandbox::{JobContext, Limits, Progress};

/// Time for a request that hangs to be given up after its job.
const GIVING_UP: Duration = Duration::from_secs(20);
/// Jobs that a case's host runs at once: the one, and one that is still ending.
const SLOTS: &str = "2";
/// Endings of the names of variables that nobody may see.
const SECRET: [&str; 5] = ["KEY", "AUTH", "SECRET", "TOKEN", "PASSWORD"];
/// How the host names a question in its log.
const QUESTION: &str = "question";
/// A shorter secret stands in ordinary words.
const MIN_SECRET_BYTES: usize = 4;

/// Where cases run.
pub(crate) struct Run<'a> {
    pub(crate) engine: &'a str,
    pub(crate) data: &'a Path,
    pub(crate) engines: &'a Path,
    pub(crate) lines: &'a Lines,
    pub(crate) patience: Duration,
}

/// What came of a case.
pub(crate) struct Ended {
    /// A line for each thing that was not as the case says.
    pub(crate) failures: Vec<String>,
    pub(crate) requests: usize,
    pub(crate) entered_bytes: Option<u64>,
}

impl Run<'_> {
    /// Plays a case to its end.
    pub(crate) async fn play<H: Host>(&self, case: Arc<Case>) -> Ended {
        let upstream = match Upstream::start(case.clone()).await {
            Ok(upstream) => upstream,
            Err(error) => {
                return Ended {
                    failures: vec![format!("the upstream cannot be started: {error:#}")],
                    requests: 0,
                    entered_bytes: None,
                };
            }
        };
        let play = upstream.play.clone();
        let logged = self.lines.count();
        let control = JobContext::new(uuid::Uuid::new_v4().to_string());
        play.listen(control.progress.subscribe());
        let following = tokio::spawn(follow(control.progress.subscribe(), play.clone()));
        let came = match self.open::<H>(&case, &play).await {
            Err(error) => Some(Came::not_started(&error)),
            Ok(host) => {
                let came = self.ask(&host, &case, &play, &control).await;
                // A request of a job that has ended is given up soon.
                tokio::time::timeout(GIVING_UP, play.given_up()).await.ok();
                came
                // Connections end here, with the host that held them.
            }
        };
        following.abort();
        upstream.close().await;
        let (requests, reports, mut failures) = play.end();
        match &came {
            Some(came) => failures.extend(came.compare(&case.outcome, &play)),
            None => failures.push(format!("the job had not ended after {:?}", self.patience)),
        }
        failures.extend(compare_reports(&case.reports, &reports, &play));
        let asked_a_job = matches!(case.question(), Question::Generate(_) | Question::Edit(_));
        let job = if asked_a_job { &control.job } else { QUESTION };
        let notes = reports.into_iter().filter_map(|report| report.note);
        let seen = [
            (
                "the outcome",
                came.as_ref().map(Came::texts).unwrap_or_default(),
            ),
            ("a report", notes.collect()),
            ("a log line", self.lines.of(job, logged)),
        ];
        failures.extend(leaks(&case, &play, &seen));
        Ended {
            failures,
            requests,
            entered_bytes: asked_a_job.then(|| control.usage.entered_bytes()),
        }
    }

    /// A host with the case's variables and nothing else.
    async fn open<H: Host>(&self, case: &Case, play: &Play) -> Result<H> {
        let text = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.with_context(|| format!("{} is no text", path.display()))
        };
        let engine = self.engine.to_owned();
        let before = [
            ("PINHOLE_SLOTS", SLOTS.to_owned()),
            ("IMAGE_GENERATION_ENGINE", engine.clone()),
            ("IMAGE_EDIT_ENGINE", engine),
        ];
        let own = case.variables.iter();
        let own = own.map(|(name, value)| (name.as_str(), play.fill_text(value)));
        let after = [
            ("PINHOLE_DATA", text(self.data)?),
            ("PINHOLE_ENGINES", text(self.engines)?),
        ];
        let pairs = before.into_iter().chain(own).chain(after);
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value));
        H::open(Environment::new(pairs)).await
    }

    /// Asks the engine, and cancels the job when the case says so. `None` when it does not end.
    async fn ask<H: Host>(
        &self,
        host: &H,
        case: &Case,
        play: &Play,
        control: &JobContext,
    ) -> Option<Came> {
        let cancelling = async {
            if let Some(moment) = &case.cancel
                && play.wait(moment, "/cancel").await
            {
                control.cancel.cancel();
            }
            std::future::pending::<Came>().await
        };
        let answering = async {
            let engine = self.engine.to_owned();
            let task = match case.question() {
                Question::Generate(asked) => Task::Generate(job_parameters(asked)),
                Question::Edit(asked) => match pictures(asked, self.patience) {
                    Err(why) => return Came::not_started(&anyhow::anyhow!(why)),
                    Ok((sources, mask)) => Task::Edit {
                        job: job_parameters(asked),
                        sources,
                        mask,
                    },
                },
                Question::Models => Task::Models { engine },
                Question::Verify => Task::Verify { engine },
            };
            Came::from(host.run(task, control).await)
        };
        let both = async {
            tokio::select! {
                came = answering => came,
                came = cancelling => came,
            }
        };
        let came = tokio::time::timeout(self.patience, both).await.ok();
        if came.is_none() {
            for waiting in play.waiting() {
                play.fail(format!("{waiting}, which did not come"));
            }
            control.cancel.cancel();
        }
        came
    }
}

/// A line for each secret that stands in a text that somebody could see.
fn leaks(case: &Case, play: &Play, seen: &[(&str, Vec<String>)]) -> Vec<String> {
    let mut leaks = Vec::new();
    for (name, value) in &case.variables {
        if !SECRET.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        let secrets = spellings(&play.fill_text(value));
        for (place, texts) in seen {
            let leaked = |text: &&String| secrets.iter().any(|secret| text.contains(secret));
            if let Some(text) = texts.iter().find(leaked) {
                leaks.push(format!(
                    "/variables/{name}: its value stands in {place}: {text}"
                ));
            }
        }
    }
    leaks
}

/// How a secret may be written: itself, in base64, and what follows a user's name.
fn spellings(secret: &str) -> Vec<String> {
    let after_colon = secret.split_once(':').map(|(_, after)| after.to_owned());
    let base64 = base64_simd::STANDARD.encode_to_string(secret);
    let base64 = base64.trim_end_matches('=').to_owned();
    let all = [Some(secret.to_owned()), Some(base64), after_colon];
    all.into_iter()
        .flatten()
        .filter(|secret| secret.len() >= MIN_SECRET_BYTES)
        .collect()
}

fn job_parameters(asked: &Asked) -> JobParameters {
    JobParameters {
        prompt: asked.prompt.clone(),
        negative_prompt: asked.negative_prompt.clone(),
        model: asked.model.clone(),
        size: asked.size.clone(),
        count: asked.count,
        steps: asked.steps,
        seed: asked.seed,
        parameters: asked.parameters.clone(),
    }
}

/// The source pictures and the mask, as a server takes them in.
fn pictures(asked: &Asked, patience: Duration) -> Result<(Vec<Image>, Option<Image>), String> {
    let limits = Limits::job(patience).image;
    let image = |picture: &Picture| {
        Image::from_bytes(picture.bytes.clone(), limits).map_err(|refusal| refusal.reason)
    };
    let sources = asked.sources.iter().map(image).collect::<Result<_, _>>()?;
    Ok((sources, asked.mask.as_ref().map(image).transpose()?))
}

/// Looks at every report as soon as it is there.
async fn follow(mut progress: watch::Receiver<Progress>, play: Arc<Play>) {
    while progress.changed().await.is_ok() {
        play.look();
    }
}
