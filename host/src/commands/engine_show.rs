//! `pinhole engine show` and `pinhole engine history`: one engine in detail.

use pinhole::config::Config;
use pinhole::releases::{BindingDetails, EngineDetails, ServingComponent};
use pinhole_ground::text::utc_time;

use super::control_client::CommandError;
use super::engine_control::EngineControl;
use super::engine_text::{label, origin, print_table, short, since, state};
use super::{MissingData, print_json};

/// Prints an engine. Returns the exit code.
pub(crate) async fn show(config: &Config, engine: &str, as_json: bool) -> Result<u8, CommandError> {
    let control = EngineControl::open(config, MissingData::Temporary).await?;
    let details = control.details(engine).await?;
    if as_json {
        print_json(&details)?;
        return Ok(0);
    }
    let EngineDetails {
        engine: status,
        serving,
        pending,
        hosts,
        ..
    } = &details;
    match serving {
        Some(serving) => print_serving(&status.name, serving),
        None => println!("{}: no version serves", status.name),
    }
    if status.pinned {
        println!("  pinned     new files are ignored: run `pinhole engine unpin {engine}`");
    }
    for version in &status.versions {
        println!(
            "  version    {}: {}, installed {} ago from {}",
            label(version).trim_start_matches("version "),
            state(status, version),
            since(version.added_at),
            origin(version)
        );
        if !version.reason.is_empty() {
            println!("             {}", version.reason);
        }
    }
    for host in hosts {
        let has = match (&host.problem, host.is_loaded) {
            (Some(problem), _) => format!("cannot load the newest version, which {problem}"),
            (None, true) => "has the newest version".to_owned(),
            (None, false) => "loads the newest version".to_owned(),
        };
        let (name, version) = (&host.name, &host.program_version);
        println!("  host       {name} (pinhole {version}) {has}");
    }
    if let Some(pending) = pending {
        println!("{}: {}", pending.file, pending.reason);
    }
    Ok(0)
}

fn print_serving(name: &str, serving: &ServingComponent) {
    println!(
        "{name} {} ({}, {})",
        serving.version, serving.title, serving.file
    );
    println!("  digest     sha256:{}", serving.digest);
    if serving.imports.is_empty() {
        println!("  imports    nothing");
    } else {
        println!("  imports    {}", serving.imports.join(", "));
    }
    println!("  abilities  {}", serving.abilities.join(", "));
    let has_upstreams = serving.bindings.iter().any(|it| !it.upstreams.is_empty());
    if !has_upstreams {
        println!("  upstreams  none");
    }
    for right in &serving.denied {
        println!("  denied     {right}");
    }
    for right in &serving.ungranted {
        println!("  ungranted  {right}");
    }
    for binding in &serving.bindings {
        print_binding(name, binding);
    }
}

/// Prints the upstreams of a binding and the problems of its settings.
fn print_binding(engine: &str, binding: &BindingDetails) {
    if binding.name != engine {
        println!("  binding    {}", binding.name);
    }
    for upstream in &binding.upstreams {
        let generate_url = match &upstream.base_url {
            Some(url) => url.clone(),
            None => format!("no URL (set {})", upstream.variables),
        };
        println!(
            "  upstream   {} at {generate_url}: {}",
            upstream.name,
            upstream.requests.join(", ")
        );
        if let Some(edit_url) = &upstream.edit_base_url
            && *edit_url != generate_url
        {
            println!("  upstream   {} for editing at {edit_url}", upstream.name);
        }
    }
    for problem in &binding.problems {
        println!("  problem    {problem}");
    }
}

/// Prints what happened to an engine. Returns the exit code.
pub(crate) async fn history(
    config: &Config,
    engine: &str,
    as_json: bool,
) -> Result<u8, CommandError> {
    let control = EngineControl::open(config, MissingData::Temporary).await?;
    let entries = control.history(engine).await?;
    if as_json {
        print_json(&entries)?;
        return Ok(0);
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let by = match entry.by.as_str() {
                "" => "the server",
                name => name,
            };
            [
                utc_time(entry.at),
                entry.what.clone(),
                short(&entry.digest).to_owned(),
                by.to_owned(),
                entry.why.clone(),
            ]
        })
        .collect();
    print_table(&rows);
    Ok(0)
}
