//! The component that serves the users of an engine, with its bindings.

use std::collections::BTreeSet;

use pinhole_sandbox::contract::Upstream;
use pinhole_sandbox::engine_settings::own_variable;
use pinhole_sandbox::grant::Right;
use pinhole_sandbox::{Component, ResolvedSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::jobs::{Binding, Snapshot};

/// The component that serves the users of an engine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ServingComponent {
    pub version: String,
    pub title: String,
    /// Its file in the engine directory, or the engine's name and the beginning of the digest if it was uploaded.
    pub file: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// What it can do, for a person.
    pub abilities: Vec<String>,
    /// Requests that an administrator denied.
    pub denied: Vec<String>,
    /// Rights that it declares and that are not granted.
    pub ungranted: Vec<String>,
    pub bindings: Vec<BindingDetails>,
}

/// A configuration of an engine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BindingDetails {
    pub name: String,
    pub upstreams: Vec<UpstreamDetails>,
    /// What its settings do not allow, as one sentence each.
    pub problems: Vec<String>,
}

/// An upstream of a binding.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpstreamDetails {
    pub name: String,
    /// `null` if no setting has it.
    #[schema(required = true)]
    pub base_url: Option<String>,
    #[schema(required = true)]
    pub edit_base_url: Option<String>,
    /// The environment variables that set the URL, for a person.
    pub variables: String,
    /// Methods and paths that the engine may request.
    pub requests: Vec<String>,
}

impl ServingComponent {
    /// A component with the bindings of this snapshot.
    #[must_use]
    pub fn new(component: &Component, snapshot: &Snapshot) -> Self {
        let description = &component.description;
        let new_rights = component.grant.new_rights(&component.declared_rights);
        let bindings = snapshot.versions_of(&description.name, &component.digest);
        Self {
            version: description.version.clone(),
            title: description.title.clone(),
            file: component.file.clone(),
            digest: component.digest.clone(),
            imports: component.imports.clone(),
            abilities: abilities(component),
            denied: texts(&component.grant.denies),
            ungranted: texts(&new_rights),
            bindings: bindings.map(|it| BindingDetails::new(it)).collect(),
        }
    }
}

impl BindingDetails {
    fn new(binding: &Binding) -> Self {
        let (generate, edit) = (
            binding.generate_settings().ok(),
            binding.edit_settings().ok(),
        );
        let component = &binding.component;
        let upstreams = component.description.upstreams.iter();
        let upstreams = upstreams.map(|upstream| UpstreamDetails {
            name: upstream.name.clone(),
            base_url: base_url(generate, upstream),
            edit_base_url: base_url(edit, upstream),
            variables: variables(component, &upstream.base_url),
            requests: upstream.requests.clone(),
        });
        Self {
            name: binding.name.clone(),
            upstreams: upstreams.collect(),
            problems: binding.problems(),
        }
    }
}

fn texts(rights: &BTreeSet<Right>) -> Vec<String> {
    rights.iter().map(ToString::to_string).collect()
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
