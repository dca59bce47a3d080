//! An engine that tries what WASI has for the network.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::arena::Arena;
use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{ResolvedSettings, JobContext, Limits};
use pinhole_ground::data_dir as folder;

/// The engine that tries it, and tells in its picture's details what came of each attempt.
const ENGINE: &str = "wasip2";
/// Time for its job: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn sockets(arena: &Arena) -> Result<()> {
    let (engines, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let bytes = arena.component(ENGINE)?;
    folder::open(engines.path())?.write("wasip2.wasm", bytes)?;
    let opened = arena.open_engines(engines.path(), data.path()).await?;
    let component = opened.get(ENGINE).context("the engine is not admitted")?;
    let job = Job {
        prompt: "look around".to_owned(),
        negative_prompt: None,
        model: None,
        size: None,
        count: 1,
        steps: None,
        seed: None,
        parameters: "{}".to_owned(),
    };
    let (bound, control) = (ResolvedSettings::default(), JobContext::new("adversary".to_owned()));
    let limits = Limits::job(PATIENCE);
    let call = opened.call(component, &bound, &control, limits);
    let output = call.generate(job).await?;
    let found: Value = serde_json::from_str(&output.details)?;
    for attempt in ["connect", "listen", "lookup"] {
        let refused = found.pointer(&format!("/{attempt}/error"));
        ensure!(
            refused.is_some_and(Value::is_string),
            "{attempt} was not refused: {found}"
        );
    }
    Ok(())
}
