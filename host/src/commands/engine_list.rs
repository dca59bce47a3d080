//! `pinhole engine list`: the engines, the pending ones and the rejected files.

use anyhow::Result;
use pinhole::config::Config;
use pinhole::jobs::{Binding, Jobs};
use pinhole_sandbox::contract::Upstream;
use pinhole_sandbox::engine_settings::own_variable;
use pinhole_sandbox::{Component, ResolvedSettings};

use super::open_jobs;

/// Prints all engines, with their bindings.
pub(crate) async fn list(config: &Config) -> Result<()> {
    let jobs = open_jobs(config).await?;
    let snapshot = jobs.snapshot();
    for component in jobs.engines.admitted() {
        print_engine(component);
        for binding in snapshot.bindings() {
            if binding.component.digest == component.digest {
                print_binding(binding);
            }
        }
    }
    for pending in jobs.engines.pending() {
        println!("{}: {}", pending.file, pending.reason());
    }
    for rejected in jobs.engines.rejected_files() {
        println!("rejected: {} {}", rejected.file, rejected.reason);
    }
    if has_no_files(&jobs) {
        println!("no engines in {}", config.engines.display());
    }
    Ok(())
}

fn has_no_files(jobs: &Jobs) -> bool {
    let engines = &jobs.engines;
    engines.admitted().next().is_none()
        && engines.rejected_files().is_empty()
        && engines.pending().is_empty()
}

fn print_engine(component: &Component) {
    let description = &component.description;
    println!(
        "{} {} ({}, {})",
        description.name, description.version, description.title, component.file
    );
    println!("  digest     sha256:{}", component.digest);
    if component.imports.is_empty() {
        println!("  imports    nothing");
    } else {
        println!("  imports    {}", component.imports.join(", "));
    }
    println!("  abilities  {}", abilities(component).join(", "));
    if description.upstreams.is_empty() {
        println!("  upstreams  none");
    }
    for right in &component.grant.denies {
        println!("  denied     {right}");
    }
    for right in component.grant.new_rights(&component.declared_rights) {
        println!("  ungranted  {right}");
    }
}

fn abilities(component: &Component) -> Vec<String> {
    let abilities = &component.description.abilities;
    let mut names = vec!["generate".to_owned()];
    for (name, is_supported) in [
        ("edit", abilities.edit),
        ("mask", abilities.mask),
        ("progress", abilities.progress),
        ("cancel", abilities.cancel),
        ("negative prompt", abilities.negative_prompt),
        ("seed", abilities.seed),
        ("steps", abilities.steps),
    ] {
        if is_supported {
            names.push(name.to_owned());
        }
    }
    names.push(format!("up to {} images per job", abilities.max_count));
    if abilities.edit {
        names.push(match abilities.max_sources {
            1 => "edits one image".to_owned(),
            max => format!("edits up to {max} images at once"),
        });
    }
    names
}

/// Prints the upstreams of a binding and the problems of its settings.
fn print_binding(binding: &Binding) {
    let component = &binding.component;
    if binding.name != component.description.name {
        println!("  binding    {}", binding.name);
    }
    let (generate, edit) = (
        binding.generate_settings().ok(),
        binding.edit_settings().ok(),
    );
    for upstream in &component.description.upstreams {
        let generate_origin = origin(generate, upstream).unwrap_or_else(|| {
            let variables = variables(component, &upstream.base_url);
            format!("no URL (set {variables})")
        });
        println!(
            "  upstream   {} at {generate_origin}: {}",
            upstream.name,
            upstream.requests.join(", ")
        );
        if let Some(edit_origin) = origin(edit, upstream)
            && edit_origin != generate_origin
        {
            println!(
                "  upstream   {} for editing at {edit_origin}",
                upstream.name
            );
        }
    }
    for problem in binding.problems() {
        println!("  problem    {problem}");
    }
}

/// Scheme, host and port of the upstream with these settings.
fn origin(settings: Option<&ResolvedSettings>, upstream: &Upstream) -> Option<String> {
    let granted = settings?.upstreams.get(&upstream.name)?;
    Some(granted.destination.origin())
}

/// The variables that set this key, for the operator.
fn variables(component: &Component, key: &str) -> String {
    let description = &component.description;
    let declared = description
        .settings
        .iter()
        .find(|setting| setting.key == key)
        .map(|setting| &setting.generate_variables);
    match declared {
        Some(variables) if !variables.is_empty() => variables.join(" or "),
        _ => own_variable(&description.name, key),
    }
}
