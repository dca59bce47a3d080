//! A component and the cases of its engine.

mod component;
mod directory;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::Instant;

use pinhole_ground::data_dir;
use pinhole_sandbox::Compiler;

use crate::case::Case;
use crate::case_runner::CaseRunner;
use crate::host::Host;
use crate::{CapturedLog, CaseReport, Verdict};

/// Cases that run at the same time.
const CONCURRENT_CASES: usize = 8;
/// How long a case may take by default; far more than one needs.
const CASE_TIMEOUT: Duration = Duration::from_secs(30);

/// A component, and the cases of its engine.
pub struct ConformanceSuite {
    /// The engine's name, from its description.
    pub engine: String,
    /// How long each case may take.
    pub case_timeout: Duration,
    cases: Vec<NamedCase>,
    /// Contains the compiled component, for all cases, unless there is a cache.
    data_dir: TempDir,
    cache: Option<PathBuf>,
    /// Contains only the component.
    engines_dir: TempDir,
    log: CapturedLog,
}

struct NamedCase {
    /// The name of its directory.
    name: String,
    /// The error says why the case cannot be read.
    case: Result<Arc<Case>, String>,
}

impl ConformanceSuite {
    /// Admits a component, and reads the cases in `cases_dir/<engine>/` whose names start with one of these
    /// prefixes. Without prefixes, it reads all cases.
    ///
    /// `log` is searched for secrets; its layer must be installed. `cache` is a directory for compiled code. The
    /// error names the invalid component or directory. A case that cannot be read fails when it runs.
    pub async fn open(
        component: &Path,
        cases_dir: &Path,
        prefixes: &[String],
        cache: Option<PathBuf>,
        compiler: &Compiler,
        log: CapturedLog,
    ) -> Result<Self> {
        let data_dir = create_temporary_directory()?;
        let engines_dir = create_temporary_directory()?;
        let code = cache.as_deref();
        let engine = component::install(component, &data_dir, &engines_dir, code, compiler).await?;
        let root = data_dir::open(cases_dir).with_context(|| {
            let shown = cases_dir.display();
            format!("cannot read the directory of cases {shown} (set another with --cases)")
        })?;
        let path = cases_dir.join(&engine);
        let directory = root.open_dir(&engine).with_context(|| {
            let shown = path.display();
            format!("there are no cases of engine {engine} in {shown}")
        })?;
        let cases = directory::read_cases(&directory, &path, prefixes)?;
        Ok(Self {
            engine,
            case_timeout: CASE_TIMEOUT,
            cases,
            data_dir,
            cache,
            engines_dir,
            log,
        })
    }

    /// Runs the cases, some of them concurrently. Reports are in the order of the cases.
    pub async fn run<H: Host>(&self, mut on_report: impl FnMut(CaseReport)) {
        let runs = self
            .cases
            .iter()
            .enumerate()
            .map(|(index, case)| async move { (index, self.run_case::<H>(case).await) });
        // A long case delays the reports of later cases, but not the cases.
        let mut finished = futures_util::stream::iter(runs).buffer_unordered(CONCURRENT_CASES);
        let (mut reports, mut next) = (BTreeMap::new(), 0);
        while let Some((index, report)) = finished.next().await {
            reports.insert(index, report);
            while let Some(ready) = reports.remove(&next) {
                on_report(ready);
                next += 1;
            }
        }
    }

    async fn run_case<H: Host>(&self, named: &NamedCase) -> CaseReport {
        let case = match &named.case {
            Ok(case) => case,
            Err(reason) => {
                return CaseReport {
                    name: named.name.clone(),
                    about: String::new(),
                    verdict: Verdict::Failed(vec![format!("cannot read the case: {reason}")]),
                    duration: Duration::ZERO,
                    requests: 0,
                    entered_bytes: None,
                };
            }
        };
        let runner = CaseRunner {
            engine: &self.engine,
            data_dir: self.data_dir.path(),
            cache: self.cache.as_deref(),
            engines_dir: self.engines_dir.path(),
            log: &self.log,
            case_timeout: self.case_timeout,
        };
        let start = Instant::now();
        let result = runner.run::<H>(case.clone()).await;
        let duration = start.elapsed();
        let has_passed = result.failures.is_empty();
        let verdict = match &case.not_passing {
            None if has_passed => Verdict::Passed,
            None => Verdict::Failed(result.failures),
            Some(_) if has_passed => Verdict::Failed(vec![
                "/not_passing: the case passes; remove this key".to_owned(),
            ]),
            Some(reason) => Verdict::KnownFailure(reason.clone()),
        };
        CaseReport {
            name: named.name.clone(),
            about: case.about.clone(),
            verdict,
            duration,
            requests: result.requests,
            entered_bytes: result.entered_bytes,
        }
    }
}

fn create_temporary_directory() -> Result<TempDir> {
    tempfile::tempdir().context("cannot create a temporary directory")
}
