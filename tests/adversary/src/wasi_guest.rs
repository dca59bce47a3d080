//! The engine `wasip2`, which uses WASI as guests with a standard library do.

use std::time::Duration;

use anyhow::{Context, Result};
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_sandbox::contract::Job;
use pinhole_sandbox::{JobContext, Limits, ResolvedSettings};

use crate::target::{AttackTarget, EngineSetup};

const ENGINE: &str = "wasip2";
/// How long a job may take; far more than it needs.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a job with each prompt, one after the other. Returns the details of their images.
pub(crate) async fn generate(
    target: &AttackTarget,
    audit: &AuditLog,
    prompts: &[String],
) -> Result<Vec<String>> {
    let (engines, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
    data_dir::open(engines.path())?.write("wasip2.wasm", target.component(ENGINE)?)?;
    let setup = EngineSetup {
        engines: engines.path(),
        data: data.path(),
        compiler: target.compiler(),
        audit: audit.clone(),
    };
    let opened = target.open_engines(setup).await?;
    let component = opened.get(ENGINE).context("the engine is not admitted")?;
    let settings = ResolvedSettings::default();
    let context = JobContext::new("adversary".to_owned());
    let mut details = Vec::new();
    for prompt in prompts {
        let job = Job {
            prompt: prompt.clone(),
            negative_prompt: None,
            model: None,
            size: None,
            count: 1,
            steps: None,
            seed: None,
            strength: None,
            parameters: "{}".to_owned(),
        };
        let output = opened
            .call(component, &settings, &context, Limits::job(JOB_TIMEOUT))
            .generate(job)
            .await?;
        details.push(output.details);
    }
    Ok(details)
}
