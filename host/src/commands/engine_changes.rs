//! The commands that change which version of an engine serves.

use std::path::Path;

use anyhow::Context;
use http::Method;
use pinhole::app;
use pinhole::config::Config;
use pinhole::releases::{EngineStatus, Install, InstallReport, UpdateReport};
use pinhole_ground::data_dir;
use pinhole_sandbox::MAX_COMPONENT_BYTES;
use tokio::time::Instant;

use super::control_client::{CommandError, ControlClient, NOTHING};
use super::engine_control::{Change, EngineControl};
use super::engine_text::{label, serving, state};
use super::{CommandEngines, FAILED, MissingData, WRONG_USE, print_json};

/// Installs a component file, whose bytes are not in `install` yet. Returns the exit code.
pub(crate) async fn install(
    config: &Config,
    file: &Path,
    install: Install,
    as_json: bool,
) -> Result<u8, CommandError> {
    let max_bytes = MAX_COMPONENT_BYTES as usize;
    let read = data_dir::read_whole(file, max_bytes)
        .with_context(|| format!("cannot read the component {}", file.display()));
    let bytes = read.map_err(|error| CommandError {
        message: format!("{error:#}"),
        code: WRONG_USE,
    })?;
    if bytes.len() > max_bytes {
        return Err(CommandError {
            message: format!(
                "{} is longer than {MAX_COMPONENT_BYTES} bytes, which a component may have",
                file.display()
            ),
            code: FAILED,
        });
    }
    let control = EngineControl::open(config, MissingData::Create).await?;
    let report = control.install(Install { bytes, ..install }).await?;
    if as_json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    Ok(0)
}

/// Prints what became of a component, a line for each step.
fn print_report(report: &InstallReport) {
    let InstallReport {
        engine,
        version,
        steps,
        state,
        new_rights,
        ..
    } = report;
    println!("{engine} {version}");
    if state != "parked" {
        for step in steps {
            println!("  {step}");
        }
        return;
    }
    // The last step has the same in one line.
    for step in steps.iter().rev().skip(1).rev() {
        println!("  {step}");
    }
    for right in new_rights {
        println!("+ {right}");
    }
    println!("  waits for approval: review it, and accept it with `pinhole engine grant {engine}`");
}

/// Looks at the engine directory now. Prints these engines, or all that have changed. Returns the exit code.
pub(crate) async fn update(
    config: &Config,
    engines: &[String],
    as_json: bool,
) -> Result<u8, CommandError> {
    let UpdateReport {
        mut changed,
        mut rejected,
    } = look_now(config).await?;
    if !engines.is_empty() {
        changed.retain(|it| engines.contains(&it.name));
        rejected.retain(|it| {
            let name = it.file.strip_suffix(".wasm").unwrap_or(&it.file);
            engines.iter().any(|engine| engine == name)
        });
    }
    let code = if rejected.is_empty() { 0 } else { FAILED };
    if as_json {
        print_json(&UpdateReport { changed, rejected })?;
        return Ok(code);
    }
    if changed.is_empty() {
        println!("nothing has changed");
    }
    for engine in &changed {
        print_newest(engine);
    }
    for file in &rejected {
        println!("rejected: {} {}", file.file, file.reason);
    }
    Ok(code)
}

/// Looks at the engine directory now.
async fn look_now(config: &Config) -> Result<UpdateReport, CommandError> {
    if let Some(server) = ControlClient::of_running_server(config) {
        eprintln!("data directory: {}", config.data.display());
        return server
            .send(Method::POST, "/api/v1/engines/update", NOTHING)
            .await;
    }
    app::require_database(config)?;
    // Opening the engines looks at the directory.
    let before = app::open_stored_releases(config).await?.list();
    let after = CommandEngines::open(config, MissingData::Create).await?;
    Ok(UpdateReport::between(&before, after.releases.list()))
}

/// Prints the state of the newest version.
fn print_newest(engine: &EngineStatus) {
    match engine.versions.first() {
        Some(newest) => println!(
            "{}: {}: {}",
            engine.name,
            label(newest),
            state(engine, newest)
        ),
        None => println!("{}: no versions", engine.name),
    }
}

/// Changes an engine. Returns the exit code.
pub(crate) async fn change(
    config: &Config,
    engine: &str,
    change: Change,
    as_json: bool,
) -> Result<u8, CommandError> {
    let control = EngineControl::open_existing(config).await?;
    let start = Instant::now();
    let status = control.change(engine, &change).await?;
    let elapsed_ms = start.elapsed().as_millis();
    if as_json {
        print_json(&status)?;
        return Ok(0);
    }
    let version = serving(&status).map(label);
    let serves = match version {
        Some(version) => version,
        None => "no version".to_owned(),
    };
    match change {
        Change::RollBack { .. } => println!("{engine}: {serves} serves again ({elapsed_ms} ms)"),
        Change::Promote => println!("{engine}: {serves} serves, and is not watched any more"),
        Change::Abort => println!("{engine}: dropped; {serves} serves"),
        Change::Pin => println!("{engine}: pinned; {serves} serves"),
        Change::Unpin => println!("{engine}: not pinned; {serves} serves"),
        Change::Remove { is_now, .. } => {
            let jobs = if is_now { "stopped" } else { "finish" };
            println!(
                "{engine}: removed; its jobs {jobs}; its permissions, newest versions and history stay"
            );
        }
    }
    Ok(0)
}
