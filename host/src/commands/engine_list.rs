//! `pinhole engine list`: the engines with the versions that serve or wait, and the rejected files.

use pinhole::config::Config;
use pinhole::releases::{EngineDetails, EngineList, EngineStatus, VersionStatus};
use serde_json::{Value, json};

use super::control_client::CommandError;
use super::engine_control::{DefaultEngine, EngineControl};
use super::engine_text::{origin, print_table, serving, short, since, state};
use super::{MissingData, print_json};

/// Prints all engines. Returns the exit code.
pub(crate) async fn list(config: &Config, as_json: bool) -> Result<u8, CommandError> {
    let control = EngineControl::open(config, MissingData::Temporary).await?;
    let list = control.list().await?;
    let details = control.details_of_all(&list).await?;
    if as_json {
        let default = control.default_engine().await?;
        print_json(&to_json(&list, &details, &default))?;
        return Ok(0);
    }
    print_rows(&list);
    for engine in &details {
        if let Some(pending) = &engine.pending {
            println!("{}: {}", pending.file, pending.reason);
        }
        let serving = engine.serving.iter();
        for binding in serving.flat_map(|it| &it.bindings) {
            for problem in &binding.problems {
                println!("{}: {problem}", binding.name);
            }
        }
    }
    for file in &list.rejected {
        println!("rejected: {} {}", file.file, file.reason);
    }
    if !list.starting.is_empty() {
        println!("compiling: {}", list.starting.join(", "));
    }
    if list.engines.is_empty() && list.rejected.is_empty() && list.starting.is_empty() {
        println!("no engines in {}", config.engines.display());
    }
    Ok(0)
}

/// A row for each version that serves or waits; the newest one of an engine that has none.
fn print_rows(list: &EngineList) {
    if list.engines.is_empty() {
        return;
    }
    let head = [
        "NAME", "VERSION", "DIGEST", "STATE", "SINCE", "JOBS", "FAILED", "FROM",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for engine in &list.engines {
        let is_shown =
            |it: &&VersionStatus| matches!(it.state.as_str(), "parked" | "candidate" | "current");
        let mut shown: Vec<_> = engine.versions.iter().filter(is_shown).collect();
        if shown.is_empty() {
            shown.extend(engine.versions.first());
        }
        let mut name = engine.name.as_str();
        for version in shown {
            rows.push(row(name, engine, version));
            name = "";
        }
    }
    print_table(&rows);
}

fn row(name: &str, engine: &EngineStatus, version: &VersionStatus) -> [String; 8] {
    let is_serving = serving(engine).is_some_and(|it| it.digest == version.digest);
    let then = if is_serving {
        engine.changed_at
    } else {
        version.added_at
    };
    // Unknown without a running server.
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
    [
        name.to_owned(),
        version.version.clone(),
        short(&version.digest).to_owned(),
        state(engine, version),
        since(then),
        count(version.jobs),
        count(version.failed),
        origin(version).to_owned(),
    ]
}

/// The same with all details.
fn to_json(list: &EngineList, details: &[EngineDetails], default: &DefaultEngine) -> Value {
    let engines = details.iter().filter_map(|it| {
        let serving = it.serving.as_ref()?;
        let status = &it.engine;
        Some(json!({
            "name": status.name,
            "version": serving.version,
            "title": serving.title,
            "file": serving.file,
            "digest": format!("sha256:{}", serving.digest),
            "imports": serving.imports,
            "abilities": serving.abilities,
            "denied": serving.denied,
            "ungranted": serving.ungranted,
            "bindings": serving.bindings,
            "pinned": status.pinned,
            "strategy": status.strategy,
            "percent": status.percent,
            "changed_at": status.changed_at,
            "versions": status.versions,
        }))
    });
    let pending = details.iter().filter_map(|it| {
        let pending = it.pending.as_ref()?;
        Some(json!({
            "engine": it.engine.name,
            "version": pending.version,
            "digest": format!("sha256:{}", pending.digest),
            "file": pending.file,
            "reason": pending.reason,
        }))
    });
    let stopped = list.engines.iter().filter(|it| !it.serves);
    json!({
        "current": default.engine,
        "reason": default.reason,
        "engines": engines.collect::<Vec<_>>(),
        "stopped": stopped.collect::<Vec<_>>(),
        "pending": pending.collect::<Vec<_>>(),
        "rejected": list.rejected,
        "starting": list.starting,
    })
}
