//! `docs/engines.md`, written from what the engines say of themselves.

use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::engine::Component;
use pinhole::engine::bindings::{Credential, Description, Setting, SettingKind};
use pinhole::jobs::Jobs;
use pinhole::settings::{only_edits, own_variable};
use pinhole_tests::environment;

const HEAD: &str = "\
# The engines that ship

Written by a test from what each engine says of itself (`describe`); `pinhole engine list` shows the same of a running
installation.

Every setting is an environment variable. The variables for generating are tried in their order, then the setting's own
(`PINHOLE_…`), then its default. An edit takes the variables for editing first; where none of them is set, the value for
generating holds. But once an address or a key is set for editing, everything that has variables for editing is taken from
them, or is its default. Secrets stay with the host, which adds them to requests.
";

/// In one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', "<br>")
}

fn code(texts: &[String]) -> String {
    let texts: Vec<String> = texts
        .iter()
        .map(|text| format!("`{}`", cell(text)))
        .collect();
    texts.join(", ")
}

fn kind(kind: &SettingKind) -> String {
    match kind {
        SettingKind::Text => "text".to_owned(),
        SettingKind::Document => "document".to_owned(),
        SettingKind::Url => "URL".to_owned(),
        SettingKind::Integer => "whole number".to_owned(),
        SettingKind::Boolean => "true or false".to_owned(),
        SettingKind::Choice(choices) => format!("one of {}", code(choices)),
        SettingKind::Secret => "secret".to_owned(),
    }
}

fn default(setting: &Setting) -> String {
    let Some(json) = &setting.default else {
        return String::new();
    };
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.clone());
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match lines.len() {
        0 => "empty".to_owned(),
        1..=8 => lines
            .iter()
            .map(|line| code(std::slice::from_ref(line)))
            .collect::<Vec<_>>()
            .join("<br>"),
        lines => format!("{lines} lines"),
    }
}

fn abilities(description: &Description) -> String {
    let it = &description.abilities;
    let mut able = vec![format!("Makes 1 to {} pictures a job", it.max_count)];
    if it.edit {
        able.push(match it.max_sources {
            1 => "changes a picture".to_owned(),
            most => format!("changes 1 to {most} pictures at once"),
        });
    }
    let named = [
        (it.mask, "masks"),
        (it.negative_prompt, "negative prompt"),
        (it.seed, "seed"),
        (it.steps, "steps"),
        (it.progress, "tells progress"),
        (it.cancel, "tells its upstream to stop"),
    ];
    able.extend(
        named
            .iter()
            .filter(|(able, _)| *able)
            .map(|(_, name)| (*name).to_owned()),
    );
    able.join("; ")
}

fn credential(credential: &Credential) -> String {
    match credential {
        Credential::None => "no credential".to_owned(),
        Credential::Bearer(key) => format!("`authorization: Bearer` from `{key}`"),
        Credential::Basic(key) => format!("`authorization: Basic` from `{key}`"),
        Credential::Header((name, key)) => format!("`{name}` from `{key}`"),
    }
}

fn section(component: &Component) -> String {
    let description = &component.description;
    let mut text = format!(
        "\n## `{}`: {}\n\n{}.\n",
        description.name,
        description.title,
        abilities(description)
    );
    let imports: Vec<String> = component
        .imports
        .iter()
        .map(|name| {
            name.trim_start_matches("pinhole:engine/")
                .split('@')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    writeln!(
        text,
        "Imports {}.",
        if imports.is_empty() {
            "nothing".to_owned()
        } else {
            code(&imports)
        }
    )
    .unwrap();
    for upstream in &description.upstreams {
        writeln!(
            text,
            "\nUpstream `{}` at `{}`, with {}: {}.",
            upstream.name,
            upstream.base_url,
            credential(&upstream.credential),
            code(&upstream.requests)
        )
        .unwrap();
    }
    if description.settings.is_empty() {
        text.push_str("No upstreams and no settings: it draws by itself.\n");
        return text;
    }
    text.push_str(
        "\n| setting | what it holds | default | generating | editing |\n|---|---|---|---|---|\n",
    );
    for setting in &description.settings {
        let mut generating = setting.generate_variables.clone();
        let mut editing = setting.edit_variables.clone();
        let side = if only_edits(setting) {
            &mut editing
        } else {
            &mut generating
        };
        side.push(own_variable(&description.name, &setting.key));
        writeln!(
            text,
            "| `{}` | {}: {} | {} | {} | {} |",
            setting.key,
            kind(&setting.kind),
            cell(&setting.description),
            default(setting),
            code(&generating),
            code(&editing),
        )
        .unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_engines_is_what_they_say() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let jobs = Jobs::open(&config).await.unwrap();
    assert!(
        jobs.engines.refused().is_empty(),
        "{:?}",
        jobs.engines.refused()
    );
    let sections = jobs.engines.admitted().map(|component| section(component));
    let page = HEAD.to_owned() + &sections.collect::<String>();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/engines.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!("docs/engines.md was not what the engines say: it is written anew, commit it");
    }
}
