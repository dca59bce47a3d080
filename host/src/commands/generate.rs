//! `pinhole generate`: one job in this process, pictures to files.

use std::future::Future;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::config::Config;
use pinhole_sandbox::{JobContext, Limits, Progress};
use pinhole_ground::data_dir;
use pinhole_images::Image;
use pinhole::jobs::{Requester, Error, JobRequest};
use serde_json::Map;
use tokio::sync::watch;

use super::serve::told_to_end;
use crate::{FAILED, Generate, WRONG_USE, open};

/// Length of a file name made from a prompt.
const MAX_STEM: usize = 40;

/// Makes the pictures and prints their paths alone. The exit code.
pub(crate) async fn generate(config: &Config, asked: Generate) -> Result<u8> {
    if let Some(out) = &asked.out
        && (out.is_dir() || out.file_name().is_none())
    {
        eprintln!(
            "pinhole: {} is no file to write to: name one with --out",
            out.display()
        );
        return Ok(WRONG_USE);
    }
    let jobs = open(config).await?;
    let control = JobContext::new(uuid::Uuid::new_v4().to_string());
    let (sources, mask) = match read_pictures(&asked) {
        Ok(pictures) => pictures,
        Err(why) => {
            eprintln!("pinhole: {why}");
            return Ok(WRONG_USE);
        }
    };
    let parameters = match asked.parameters.as_deref().map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(parameters)) => parameters,
        Some(Err(error)) => {
            eprintln!("pinhole: --parameters is no JSON object: {error}");
            return Ok(WRONG_USE);
        }
    };
    let request = JobRequest {
        prompt: asked.prompt.clone(),
        negative_prompt: asked.negative,
        engine: asked.engine,
        model: asked.model,
        size: asked.size,
        count: asked.count,
        steps: asked.steps,
        seed: asked.seed,
        parameters,
        // Who may run this program may use everything.
        asker: Requester {
            unrestricted: true,
            ..Requester::default()
        },
    };
    let bar = std::io::stderr()
        .is_terminal()
        .then(|| progress_bar(&asked.prompt));
    let drawing = bar
        .clone()
        .map(|bar| tokio::spawn(show(bar, control.progress.subscribe())));
    let making = async {
        match sources.is_empty() {
            true => jobs.generate(request, &control).await,
            false => jobs.edit(request, sources, mask, &control).await,
        }
    };
    let made = until_interrupted(&control, making).await;
    // An engine whose time was over still tells its upstream to stop.
    jobs.end().await;
    if let Some(drawing) = drawing {
        drawing.abort();
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match made {
        Ok(finished) => {
            let paths = paths(asked.out.as_deref(), &asked.prompt, &finished.images);
            for (path, image) in paths.iter().zip(&finished.images) {
                write(path, image)?;
                println!("{}", path.display());
            }
            for note in finished.notes() {
                eprintln!("pinhole: note: {note}");
            }
            Ok(0)
        }
        Err(error) => Ok(tell(&error)),
    }
}

/// Says on one line what went wrong. The exit code.
pub(crate) fn tell(error: &Error) -> u8 {
    eprintln!("pinhole: {}", error.for_operator());
    match error {
        Error::Invalid { .. } | Error::Unsupported { .. } => WRONG_USE,
        Error::Disabled(_) | Error::Engine { .. } => FAILED,
    }
}

/// The pictures to change, and the mask.
fn read_pictures(asked: &Generate) -> Result<(Vec<Image>, Option<Image>), String> {
    let limits = Limits::job(Duration::ZERO).image;
    let read = |path: &PathBuf| {
        let bytes = data_dir::read_whole(path, limits.max_bytes);
        let bytes = bytes.map_err(|error| format!("cannot read {}: {error:#}", path.display()))?;
        Image::from_upload(bytes.into(), limits)
            .map_err(|why| format!("cannot use {}: {why}", path.display()))
    };
    let sources = asked.image.iter().map(read).collect::<Result<_, _>>()?;
    Ok((sources, asked.mask.as_ref().map(read).transpose()?))
}

/// Ctrl-C or SIGTERM cancels the job, which then has a short while to tell its upstream.
async fn until_interrupted<T>(control: &JobContext, job: impl Future<Output = T>) -> T {
    let mut job = std::pin::pin!(job);
    tokio::select! {
        done = &mut job => return done,
        () = told_to_end() => control.cancel.cancel(),
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

async fn show(bar: ProgressBar, mut progress: watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        if let Some(fraction) = now.fraction {
            bar.set_position((fraction * 100.0) as u64);
        }
        let queued = match now.queue_position {
            None | Some(0) => None,
            Some(1) => Some("1 job in front".to_owned()),
            Some(jobs) => Some(format!("{jobs} jobs in front")),
        };
        bar.set_message(now.note.or(queued).unwrap_or_default());
    }
}

/// Where each picture goes. One picture goes to `out` itself, several to numbered names beside it;
/// without `out`, to a free name made from the prompt.
fn paths(out: Option<&Path>, prompt: &str, images: &[Image]) -> Vec<PathBuf> {
    let numbered = |stem: &str, extension: &str, number: usize| match images.len() {
        1 => format!("{stem}.{extension}"),
        _ => format!("{stem}-{number}.{extension}"),
    };
    let Some(out) = out else {
        let stems = (1..).map(|attempt| match attempt {
            1 => stem(prompt),
            _ => format!("{}-{attempt}", stem(prompt)),
        });
        let candidates = stems.map(|stem| {
            let names = images.iter().zip(1..);
            names
                .map(|(image, n)| PathBuf::from(numbered(&stem, image.extension(), n)))
                .collect::<Vec<_>>()
        });
        let mut free = candidates.filter(|paths| !paths.iter().any(|path| path.exists()));
        return free.next().unwrap_or_default();
    };
    if images.len() == 1 {
        return vec![out.to_owned()];
    }
    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(out.file_stem()).unwrap_or_default();
    let names = images.iter().zip(1..).map(|(image, n)| {
        let extension = text(out.extension()).unwrap_or_else(|| image.extension().to_owned());
        out.with_file_name(numbered(&stem, &extension, n))
    });
    names.collect()
}

/// A file name from the prompt's first words.
fn stem(prompt: &str) -> String {
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
        "picture".to_owned()
    } else {
        stem
    }
}

fn write(path: &Path, image: &Image) -> Result<()> {
    let named = || format!("cannot write {}", path.display());
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = data_dir::open(parent.unwrap_or(Path::new("."))).with_context(named)?;
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(named)?;
    data_dir::write_whole(&folder, name, image.bytes()).with_context(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_becomes_a_file_name() {
        for (prompt, expected) in [
            ("A red fox, at dawn!", "a-red-fox-at-dawn"),
            ("../../etc/passwd", "etc-passwd"),
            ("", "picture"),
            ("Füchse", "füchse"),
        ] {
            assert_eq!(stem(prompt), expected);
        }
        assert!(stem(&"word ".repeat(100)).len() < MAX_STEM);
    }
}
