//! The conformance cases of a release: `PINHOLE_ENGINE_CASES/<engine>/`. A process of its own runs them.

use std::process::Stdio;
use std::time::Duration;

use pinhole_ground::data_dir;
use pinhole_ground::text::plain;
use pinhole_sandbox::Component;
use tokio::process::Command;

use super::super::component_bytes;
use super::super::publisher::Publisher;

/// Time for all cases of an engine.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Length of the line that names a failed case, in bytes.
const MAX_LINE_BYTES: usize = 300;

/// Runs the cases, if there are any. Returns a note.
pub(super) async fn run(
    publisher: &Publisher,
    component: &Component,
    engine: &str,
) -> Result<Option<String>, String> {
    let config = &publisher.config;
    let Some(cases) = &config.engine_cases else {
        return Ok(None);
    };
    if data_dir::open(&cases.join(engine)).is_err() {
        return Ok(None);
    }
    let file = component_bytes::path(&config.data, &component.digest);
    let run = Command::new(&config.compiler.program)
        .args(["engine", "test"])
        .arg(&file)
        .arg("--cases")
        .arg(cases)
        .arg("--data")
        .arg(&config.data)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(MAX_TIME, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("cannot be tested with its cases: {error}")),
        Err(_) => {
            let secs = MAX_TIME.as_secs();
            return Err(format!("needs more than {secs} s for its cases"));
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    if output.status.success() {
        return Ok(Some(format!("cases: {}", plain(last, MAX_LINE_BYTES))));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let is_failure = |line: &&str| line.starts_with("FAIL");
    let failure = text.lines().find(is_failure).or(errors.lines().next());
    let failure = plain(failure.unwrap_or(last), MAX_LINE_BYTES);
    Err(format!("fails its cases in {}: {failure}", cases.display()))
}
