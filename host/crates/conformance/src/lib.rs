//! Runs conformance cases against a component; `docs/reference/conformance-cases.md` is the description.
//!
//! A case is played with everything real: the component is admitted as a server admits it, its
//! requests leave through the egress, and the upstream is a server on loopback.
//!
//! | file | what it is |
//! |---|---|
//! | `kit/case.rs` | what a case's folder holds, checked |
//! | `kit/value.rs`, `kit/picture.rs`, `kit/recording.rs` | values, pictures and replies that a case names instead of spelling out |
//! | `kit/request.rs`, `kit/form.rs`, `kit/pattern.rs` | how what came is compared |
//! | `kit/upstream.rs`, `kit/reply.rs`, `kit/socket.rs` | the two servers, and what they answer |
//! | `kit/play.rs` | a case while it runs: what came so far, what its names stand for |
//! | `kit/run.rs`, `kit/outcome.rs` | one case from job to verdict |
//! | `kit/log.rs` | what the host logs meanwhile |

mod case;
mod form;
mod host;
mod log;
mod loopback;
mod outcome;
mod pattern;
mod test_image;
mod progress;
mod recording;
mod reply;
mod request;
mod run;
mod socket;
mod upstream;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cap_std::fs::Dir;
use futures_util::StreamExt;
use tempfile::TempDir;

use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_images::Decoder;
use pinhole_sandbox::grant::FirstUse;
use pinhole_sandbox::{Compiler, Engines, MAX_COMPONENT_BYTES, Options};

use case::Case;
use value::Files;

pub use host::{Failure, Host, JobImages, JobParameters, Task, TaskResult};
pub use log::Lines;
pub use loopback::{
    FakeResponse, LoopbackServer, RawStep, RecordedRequest, RequestHandler, WebSocket,
};

/// Cases of an engine.
const MAX_CASES: usize = 1000;
/// Cases that run side by side.
const SIDE_BY_SIDE: usize = 8;
/// Time that a case has unless told otherwise; far more than one needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Recordings that several cases share; a folder that is no case.
const RECORDINGS: &str = "recordings";

/// A component, and the cases of its engine.
pub struct Kit {
    /// The engine's name, as it describes itself.
    pub engine: String,
    /// Time that each case has.
    pub patience: Duration,
    cases: Vec<Named>,
    /// What the admitted component is compiled to, for all cases.
    data: TempDir,
    /// Holds the component alone.
    engines: TempDir,
    lines: Lines,
}

struct Named {
    name: String,
    case: Arc<Case>,
}

/// One case that was run.
#[derive(Clone, Debug)]
pub struct Played {
    /// Its folder.
    pub name: String,
    /// What it shows.
    pub about: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Requests that its upstream got.
    pub requests: usize,
    /// Bytes that entered the guest; not counted for questions.
    pub entered_bytes: Option<u64>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All was as the case says.
    Passed,
    /// A line for each thing that was not.
    Failed(Vec<String>),
    /// It did not pass, and the case says why that is known.
    Known(String),
}

impl Kit {
    /// Admits a component and reads the cases in `cases/<engine>/` whose names begin with one of
    /// these; all when there are none. `lines` hears what the host logs, if anything listens.
    ///
    /// The error says what cannot be used: the component, the folder, or a case.
    pub async fn open(
        component: &Path,
        cases: &Path,
        names: &[String],
        compiler: &Compiler,
        lines: Lines,
    ) -> Result<Self> {
        let data = tempfile::tempdir().context("cannot make a temporary folder")?;
        let engines = tempfile::tempdir().context("cannot make a temporary folder")?;
        let engine = admit(component, &data, &engines, compiler).await?;
        let all = data_dir::open(cases).with_context(|| {
            format!(
                "cannot read the folder of cases {}: name it with --cases",
                cases.display()
            )
        })?;
        let path = cases.join(&engine);
        let own = all.open_dir(&engine).with_context(|| {
            format!(
                "there are no cases of engine {engine} in {}",
                path.display()
            )
        })?;
        let cases = read(&own, &path, names)?;
        Ok(Self {
            engine,
            patience: PATIENCE,
            cases,
            data,
            engines,
            lines,
        })
    }

    /// Runs the cases, a few side by side, and tells of each in the order of their folders.
    pub async fn run<H: Host>(&self, mut tell: impl FnMut(Played)) {
        let runs = self.cases.iter().enumerate();
        let runs = runs.map(|(place, named)| async move { (place, self.play::<H>(named).await) });
        // A long case holds up what is told, and not what runs.
        let mut runs = futures_util::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE);
        let (mut ended, mut next) = (BTreeMap::new(), 0);
        while let Some((place, played)) = runs.next().await {
            ended.insert(place, played);
            while let Some(played) = ended.remove(&next) {
                tell(played);
                next += 1;
            }
        }
    }

    async fn play<H: Host>(&self, named: &Named) -> Played {
        let run = run::Run {
            engine: &self.engine,
            data: self.data.path(),
            engines: self.engines.path(),
            lines: &self.lines,
            patience: self.patience,
        };
        let ended = run.play::<H>(named.case.clone()).await;
        let verdict = match (ended.failures, &named.case.not_passing) {
            (failures, None) if failures.is_empty() => Verdict::Passed,
            (failures, None) => Verdict::Failed(failures),
            (failures, Some(_)) if failures.is_empty() => Verdict::Failed(vec![
                "/not_passing: the case passes: take the key out".to_owned(),
            ]),
            (_, Some(reason)) => Verdict::Known(reason.clone()),
        };
        Played {
            name: named.name.clone(),
            about: named.case.about.clone(),
            verdict,
            requests: ended.requests,
            entered_bytes: ended.entered_bytes,
        }
    }
}

impl Played {
    /// What it cost: `2 requests, 1204 bytes entered the guest`.
    #[must_use]
    pub fn cost(&self) -> String {
        let requests = match self.requests {
            1 => "1 request".to_owned(),
            more => format!("{more} requests"),
        };
        match self.entered_bytes {
            Some(bytes) => format!("{requests}, {bytes} bytes entered the guest"),
            None => requests,
        }
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.verdict {
            Verdict::Passed => write!(f, "ok      {}", self.name),
            Verdict::Known(reason) => write!(f, "known   {}: {reason}", self.name),
            Verdict::Failed(failures) => {
                write!(f, "FAILED  {}", self.name)?;
                failures
                    .iter()
                    .try_for_each(|line| write!(f, "\n    {line}"))
            }
        }
    }
}

/// Puts the component alone into the folder of engines, compiled in the data folder: its name.
async fn admit(
    component: &Path,
    data: &TempDir,
    engines: &TempDir,
    compiler: &Compiler,
) -> Result<String> {
    let shown = component.display();
    let unreadable = || format!("cannot read component {shown}");
    let parent = component
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let from = data_dir::open(parent.unwrap_or(Path::new("."))).with_context(unreadable)?;
    let file = component.file_name().with_context(unreadable)?;
    let length = from.metadata(file).with_context(unreadable)?.len();
    if length > MAX_COMPONENT_BYTES {
        bail!("component {shown} has {length} bytes; {MAX_COMPONENT_BYTES} are allowed");
    }
    let bytes = from.read(file).with_context(unreadable)?;
    let folder = data_dir::open(engines.path())?;
    let first = "component.wasm";
    folder.write(first, &bytes)?;
    let options = Options {
        data: data.path().to_owned(),
        engines: engines.path().to_owned(),
        slots: 1,
        slots_per_user: 1,
        compiler: compiler.clone(),
        first_use: FirstUse::Declared,
        audit: AuditLog::default(),
        decoder: Decoder::default(),
    };
    let opened = Engines::open(&options).await?;
    if let Some(refused) = opened.rejected_files().first() {
        bail!("component {shown} is not admitted: it {}", refused.reason);
    }
    let admitted = opened.admitted().next().with_context(unreadable)?;
    let name = admitted.description.name.clone();
    // The host speaks of an engine that it does not admit by its file.
    folder.rename(first, &folder, format!("{name}.wasm"))?;
    Ok(name)
}

/// Reads all cases, so that nothing is run where one cannot be read.
fn read(own: &Dir, path: &Path, names: &[String]) -> Result<Vec<Named>> {
    let unreadable = || format!("cannot read the folder of cases {}", path.display());
    let mut folders = Vec::new();
    for entry in own.entries().with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if !entry.file_type().with_context(unreadable)?.is_dir() {
            continue;
        }
        let name = entry.file_name();
        let name = name.to_str().with_context(unreadable)?.to_owned();
        let wanted = names.is_empty() || names.iter().any(|begin| name.starts_with(begin));
        if wanted && name != RECORDINGS {
            folders.push(name);
        }
    }
    match folders.len() {
        0 if names.is_empty() => bail!("there are no cases in {}", path.display()),
        0 => bail!(
            "no case in {} begins with {}",
            path.display(),
            names.join(" or ")
        ),
        many if many > MAX_CASES => bail!("{} has more than {MAX_CASES} cases", path.display()),
        _ => {}
    }
    folders.sort_by_key(|name| in_order(name));
    let cases = folders.into_iter().map(|name| {
        let place: PathBuf = path.join(&name);
        let case = own.open_dir(&name).and_then(|case| {
            let engine = own.try_clone()?;
            Ok(Files { case, engine })
        });
        let case = case.with_context(|| format!("cannot read case {}", place.display()))?;
        let case = Case::read(&case)
            .map_err(|why| anyhow::anyhow!("cannot read case {}: {why}", place.display()))?;
        let case = Arc::new(case);
        Ok(Named { name, case })
    });
    cases.collect()
}

/// `O2` comes before `O10`.
fn in_order(name: &str) -> (String, u64, String) {
    let digits = name
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(name.len());
    let (letters, rest) = name.split_at_checked(digits).unwrap_or((name, ""));
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (
        letters.to_owned(),
        number.parse().unwrap_or(0),
        rest.to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_come_in_the_order_of_their_numbers() {
        let mut names = ["O10-x", "C2-x", "O2-x", "other", "C11b-x", "C11a-x"];
        names.sort_by_key(|name| in_order(name));
        assert_eq!(
            names,
            ["C2-x", "C11a-x", "C11b-x", "O2-x", "O10-x", "other"]
        );
    }
}
