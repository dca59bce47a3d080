//! `pinhole engine list`: the engines, the pending ones and the rejected files.

use anyhow::Result;
use pinhole::config::Config;
use pinhole::jobs::{Binding, Jobs};
use pinhole_sandbox::contract::Upstream;
use pinhole_sandbox::engine_settings::own_variable;
use pinhole_sandbox::{Component, Engines, ResolvedSettings};
use serde_json::{Value, json};

use super::{CommandJobs, MissingData, print_json};

/// Prints all engines, with their bindings.
pub(crate) async fn list(config: &Config, as_json: bool) -> Result<()> {
    let CommandJobs { jobs, .. } = &CommandJobs::open(config, MissingData::Temporary).await?;
    if as_json {
        return print_json(&to_json(jobs));
    }
    let snapshot = jobs.snapshot();
    for component in snapshot.engines.admitted() {
        print_engine(component);
        for binding in snapshot.bindings() {
            if binding.component.digest == component.digest {
                print_binding(binding);
            }
        }
    }
    for pending in &snapshot.engines.pending {
        println!("{}: {}", pending.file, pending.reason());
    }
    for rejected in &snapshot.engines.rejected {
        println!("rejected: {} {}", rejected.file, rejected.reason);
    }
    if has_no_files(&snapshot.engines) {
        println!("no engines in {}", config.engines.display());
    }
    Ok(())
}

/// The same as one JSON document.
fn to_json(jobs: &Jobs) -> Value {
    let snapshot = jobs.snapshot();
    let engines = snapshot.engines.admitted().map(|component| {
        let description = &component.description;
        let bindings = snapshot.bindings();
        let bindings = bindings.filter(|it| it.component.digest == component.digest);
        let denied = component.grant.denies.iter().map(ToString::to_string);
        let new_rights = component.grant.new_rights(&component.declared_rights);
        json!({
            "name": description.name,
            "version": description.version,
            "title": description.title,
            "file": component.file,
            "digest": format!("sha256:{}", component.digest),
            "imports": component.imports,
            "abilities": abilities(component),
            "denied": denied.collect::<Vec<_>>(),
            "ungranted": new_rights.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "bindings": bindings.map(|it| binding_to_json(it)).collect::<Vec<_>>(),
        })
    });
    let pending = snapshot.engines.pending.iter();
    let rejected = snapshot.engines.rejected.iter();
    json!({
        "current": snapshot.settings.engine,
        "reason": snapshot.settings.engine_reason.to_string(),
        "engines": engines.collect::<Vec<_>>(),
        "pending": pending
            .map(|it| json!({"engine": it.engine, "file": it.file, "reason": it.reason()}))
            .collect::<Vec<_>>(),
        "rejected": rejected
            .map(|it| json!({"file": it.file, "reason": it.reason}))
            .collect::<Vec<_>>(),
    })
}

fn binding_to_json(binding: &Binding) -> Value {
    let (generate, edit) = (
        binding.generate_settings().ok(),
        binding.edit_settings().ok(),
    );
    let upstreams = binding.component.description.upstreams.iter();
    let upstreams = upstreams.map(|upstream| {
        json!({
            "name": upstream.name,
            "base_url": base_url(generate, upstream),
            "edit_base_url": base_url(edit, upstream),
            "requests": upstream.requests,
        })
    });
    json!({
        "name": binding.name,
        "upstreams": upstreams.collect::<Vec<_>>(),
        "problems": binding.problems(),
    })
}

fn has_no_files(engines: &Engines) -> bool {
    engines.admitted().next().is_none() && engines.rejected.is_empty() && engines.pending.is_empty()
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
        let generate_url = base_url(generate, upstream).unwrap_or_else(|| {
            let variables = variables(component, &upstream.base_url);
            format!("no URL (set {variables})")
        });
        println!(
            "  upstream   {} at {generate_url}: {}",
            upstream.name,
            upstream.requests.join(", ")
        );
        if let Some(edit_url) = base_url(edit, upstream)
            && edit_url != generate_url
        {
            println!("  upstream   {} for editing at {edit_url}", upstream.name);
        }
    }
    for problem in binding.problems() {
        println!("  problem    {problem}");
    }
}

/// The base URL of the upstream with these settings.
fn base_url(settings: Option<&ResolvedSettings>, upstream: &Upstream) -> Option<String> {
    let granted = settings?.upstreams.get(&upstream.name)?;
    Some(granted.destination.base_url().to_owned())
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
