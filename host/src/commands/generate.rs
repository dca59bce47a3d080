//! `pinhole generate`: one job in this process, with the images written to files.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::config::Config;
use pinhole::jobs::{
    CompletedJob, CostEntry, Error, JobPlan, JobRequest, Jobs, Operation, Requester,
};
use pinhole_ground::data_dir;
use pinhole_images::Image;
use pinhole_sandbox::{Edit, JobContext, Limits, Progress};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::serve::shutdown_signal;
use super::{CommandJobs, MissingData, WRONG_USE, print_error, write_file};

/// Length of a file name that is derived from a prompt, without extension.
const MAX_STEM: usize = 40;

#[derive(Args)]
pub(crate) struct Generate {
    /// Prompt of the image
    prompt: String,
    /// Engine to use [default: the engine of the settings]
    #[arg(long)]
    engine: Option<String>,
    #[command(flatten)]
    options: JobOptions,
    /// Output file [default: a name derived from the prompt]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object: the files, what the engine reports, and its warnings
    #[arg(long)]
    json: bool,
}

/// Options of a job, without its prompt.
#[derive(Args)]
pub(super) struct JobOptions {
    /// Image to edit; repeatable if the engine accepts several
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// PNG of the image's size, transparent in the area to edit
    #[arg(long, value_name = "FILE", requires = "image")]
    mask: Option<PathBuf>,
    /// Model of the engine
    #[arg(long)]
    model: Option<String>,
    /// What the image must not contain
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// Width and height in pixels, such as 1024x768
    #[arg(long, value_name = "WxH")]
    size: Option<String>,
    /// Number of images
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Inference steps, if the engine has them
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Engine-specific parameters, such as '{"quality": "high"}'
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,
    /// Seed; the same seed generates the same image, if the engine supports seeds
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How far an edit may differ from its first image, from 0 to 1
    #[arg(long, value_name = "X", requires = "image")]
    strength: Option<f32>,
}

/// A job, as the command line describes it.
pub(super) struct Job {
    pub(super) engine: Option<String>,
    pub(super) request: JobRequest,
    pub(super) edit: Option<Edit>,
}

/// Runs the job and prints the paths of the images. Returns the exit code.
pub(crate) async fn generate(config: &Config, arguments: Generate) -> Result<u8> {
    let Generate {
        prompt,
        engine,
        options,
        out,
        json,
    } = arguments;
    if let Some(out) = &out
        && (out.is_dir() || out.file_name().is_none())
    {
        let path = out.display();
        eprintln!("pinhole: {path} is not a file path: name a file with --out");
        return Ok(WRONG_USE);
    }
    let CommandJobs { jobs, .. } = &CommandJobs::open(config, MissingData::Create).await?;
    let job = match read_job(prompt.clone(), engine, options) {
        Ok(job) => job,
        Err(why) => {
            eprintln!("pinhole: {why}");
            return Ok(WRONG_USE);
        }
    };
    let context = JobContext::new(uuid::Uuid::new_v4().to_string());
    match run_job(jobs, job, &context).await {
        Ok(completed) => {
            let paths = output_paths(out.as_deref(), &prompt, &completed.images);
            for (path, image) in paths.iter().zip(&completed.images) {
                write_file(path, image.bytes())?;
                if !json {
                    println!("{}", path.display());
                }
            }
            if json {
                println!("{}", to_json(&completed, &paths));
            }
            for note in completed.notes() {
                eprintln!("pinhole: note: {note}");
            }
            Ok(0)
        }
        Err(error) => Ok(print_error(&error)),
    }
}

/// The job's result for programs.
fn to_json(completed: &CompletedJob, paths: &[PathBuf]) -> Value {
    json!({
        "files": paths,
        "binding": completed.binding,
        "engine": completed.engine,
        "revised_prompt": completed.revised_prompt,
        "details": completed.details,
        "seeds": completed.image_details.iter().map(|it| it.seed).collect::<Vec<_>>(),
        "usage": completed.usage,
        "cost": completed.cost.as_ref().map(CostEntry::from),
        "warnings": completed.warnings,
    })
}

/// Reads the files and parameters of the job. The error is one line.
pub(super) fn read_job(
    prompt: String,
    engine: Option<String>,
    options: JobOptions,
) -> Result<Job, String> {
    let images = options.image.iter().map(|path| read_image(path));
    let sources: Vec<Image> = images.collect::<Result<_, _>>()?;
    let mask = options.mask.as_deref().map(read_image).transpose()?;
    let edit = if sources.is_empty() {
        None
    } else {
        Some(Edit { sources, mask })
    };
    let parameters = match options.parameters {
        None => Map::new(),
        Some(json) => serde_json::from_str(&json)
            .map_err(|error| format!("--parameters is not a JSON object: {error}"))?,
    };
    Ok(Job {
        engine,
        request: JobRequest {
            prompt,
            negative_prompt: options.negative,
            model: options.model,
            size: options.size,
            count: options.count,
            steps: options.steps,
            seed: options.seed,
            strength: options.strength,
            parameters,
        },
        edit,
    })
}

fn read_image(path: &Path) -> Result<Image, String> {
    let limits = Limits::job(Duration::ZERO).image;
    let path_text = path.display();
    let bytes = data_dir::read_whole(path, limits.max_bytes)
        .map_err(|error| format!("cannot read {path_text}: {error:#}"))?;
    Image::from_upload(bytes.into(), limits)
        .map_err(|refusal| format!("cannot use {path_text}: {refusal}"))
}

/// Runs the job with a progress bar. Ctrl-C and SIGTERM cancel it.
pub(super) async fn run_job(
    jobs: &Jobs,
    job: Job,
    context: &JobContext,
) -> Result<CompletedJob, Error> {
    let bar = if std::io::stderr().is_terminal() {
        Some(progress_bar(&job.request.prompt))
    } else {
        None
    };
    let reports = context.progress.subscribe();
    let reporter = bar
        .clone()
        .map(|bar| tokio::spawn(show_progress(bar, reports)));
    let result = until_interrupted(context, execute(jobs, job, context)).await;
    // An engine that was stopped still asks its upstream to stop.
    jobs.shut_down().await;
    if let Some(reporter) = reporter {
        reporter.abort();
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    result
}

async fn execute(jobs: &Jobs, job: Job, context: &JobContext) -> Result<CompletedJob, Error> {
    let operation = match job.edit {
        None => Operation::Generate,
        Some(_) => Operation::Edit,
    };
    // A user of this program may use every engine.
    let requester = Requester::operator();
    let (engine, model) = (job.engine.as_deref(), job.request.model.as_deref());
    let plan = JobPlan::new(jobs.snapshot(), operation, engine, model, requester)?;
    let result = match job.edit {
        None => jobs.generate(&plan, job.request, context).await,
        Some(edit) => jobs.edit(&plan, job.request, edit, context).await,
    };
    let is_stopped = |error: &Error| error.kind().name() == "cancelled";
    if result.as_ref().is_err_and(is_stopped)
        && context.usage.may_be_charged()
        && !plan.stops_upstream()
    {
        eprintln!("pinhole: note: the upstream may still finish the image, and charge for it");
    }
    result
}

/// Cancels the job on Ctrl-C or SIGTERM, and waits until it returns.
async fn until_interrupted<T>(context: &JobContext, job: impl Future<Output = T>) -> T {
    let mut job = std::pin::pin!(job);
    tokio::select! {
        result = &mut job => return result,
        () = shutdown_signal() => context.cancel.cancel(),
    }
    job.await
}

fn progress_bar(prompt: &str) -> ProgressBar {
    let bar = ProgressBar::new(100);
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {percent:>3}% {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(prompt.chars().take(30).collect::<String>());
    bar
}

async fn show_progress(bar: ProgressBar, mut reports: watch::Receiver<Progress>) {
    while reports.changed().await.is_ok() {
        let progress = reports.borrow_and_update().clone();
        if let Some(fraction) = progress.fraction {
            bar.set_position((fraction * 100.0) as u64);
        }
        let queue = match progress.queue_position {
            None | Some(0) => None,
            Some(1) => Some("1 job ahead".to_owned()),
            Some(jobs) => Some(format!("{jobs} jobs ahead")),
        };
        bar.set_message(progress.note.or(queue).unwrap_or_default());
    }
}

/// The file of each image. A single image goes to `out`, several go to numbered names next to it. Without
/// `out`, the names are derived from the prompt, and no file of these names exists.
fn output_paths(out: Option<&Path>, prompt: &str, images: &[Image]) -> Vec<PathBuf> {
    let Some(out) = out else {
        let first_stem = file_stem(prompt);
        let stems = (1..).map(|attempt| match attempt {
            1 => first_stem.clone(),
            _ => format!("{first_stem}-{attempt}"),
        });
        return stems
            .map(|stem| numbered_paths(Path::new(&stem), &stem, None, images))
            .find(|paths| !paths.iter().any(|path| path.exists()))
            .unwrap_or_default();
    };
    if images.len() == 1 {
        return vec![out.to_owned()];
    }
    let to_text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = to_text(out.file_stem()).unwrap_or_default();
    let extension = to_text(out.extension());
    numbered_paths(out, &stem, extension.as_deref(), images)
}

/// A path next to `out` for each image: with a number, unless there is only one image, and with the image's
/// own extension by default.
fn numbered_paths(
    out: &Path,
    stem: &str,
    extension: Option<&str>,
    images: &[Image],
) -> Vec<PathBuf> {
    let name = |number: usize, image: &Image| {
        let extension = extension.unwrap_or(image.extension());
        match images.len() {
            1 => format!("{stem}.{extension}"),
            _ => format!("{stem}-{number}.{extension}"),
        }
    };
    images
        .iter()
        .zip(1..)
        .map(|(image, number)| out.with_file_name(name(number, image)))
        .collect()
}

/// A file name of the first words of the prompt.
pub(super) fn file_stem(prompt: &str) -> String {
    let mut stem = String::new();
    for word in prompt
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if stem.len() + word.len() >= MAX_STEM {
            break;
        }
        if !stem.is_empty() {
            stem.push('-');
        }
        stem.push_str(&word.to_lowercase());
    }
    if stem.is_empty() {
        return "image".to_owned();
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_stem_is_made_of_first_words_of_prompt() {
        for (prompt, expected) in [
            ("A red fox, at dawn!", "a-red-fox-at-dawn"),
            ("../../etc/passwd", "etc-passwd"),
            ("", "image"),
            ("Füchse", "füchse"),
        ] {
            assert_eq!(file_stem(prompt), expected);
        }
        assert!(file_stem(&"word ".repeat(100)).len() < MAX_STEM);
    }
}
