//! An engine that uses the network functions of WASI.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{JobContext, Limits, ResolvedSettings};
use serde_json::Value;

use crate::target::{AttackTarget, EngineSetup};

/// An engine that returns the result of each attempt in the details of its image.
const ENGINE: &str = "wasip2";
/// How long its job may take; far more than it needs.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn sockets(target: &AttackTarget) -> Result<()> {
    let (engines, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    data_dir::open(engines.path())?.write("wasip2.wasm", target.component(ENGINE)?)?;
    let setup = EngineSetup {
        engines: engines.path(),
        data: data.path(),
        compiler: target.compiler(),
        audit: AuditLog::default(),
    };
    let opened = target.open_engines(setup).await?;
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
    let settings = ResolvedSettings::default();
    let context = JobContext::new("adversary".to_owned());
    let limits = Limits::job(JOB_TIMEOUT);
    let output = opened
        .call(component, &settings, &context, limits)
        .generate(job)
        .await?;
    let results: Value = serde_json::from_str(&output.details)?;
    for attempt in ["connect", "listen", "lookup"] {
        let error = results.pointer(&format!("/{attempt}/error"));
        ensure!(
            error.is_some_and(Value::is_string),
            "{attempt} is not refused: {results}"
        );
    }
    Ok(())
}
