//! `docs/reference/engines.md`, written from the descriptions of the shipped engines.

use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::Component;
use pinhole_sandbox::contract::{Credential, Description, Setting, SettingKind};
use pinhole_sandbox::engine_settings::{is_edit_only, own_variable};
use pinhole_tests::environment;

const HEAD: &str = "\
# Engines

A test writes this page from the descriptions of the shipped engines. `pinhole engine list` shows the same for an installation.

Every setting is an environment variable. A job reads the variables for generation in order, then the setting's own
(`PINHOLE_…`), then the default. An edit reads the variables for edits first, and if none is set, the value for generation. But if
a URL or a key is set for edits, every setting that has variables for edits comes only from them or the default, so that a key is never sent to
the wrong server. Secrets stay in the host, which adds them to requests.
";

/// Escapes a text for a cell of a table.
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
        SettingKind::Integer => "integer".to_owned(),
        SettingKind::Boolean => "boolean".to_owned(),
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
    let mut able = vec![format!("Makes 1 to {} images per job", it.max_count)];
    if it.edit {
        able.push(match it.max_sources {
            1 => "edits with one source".to_owned(),
            most => format!("edits with 1 to {most} sources"),
        });
    }
    let named = [
        (it.mask, "masks"),
        (it.negative_prompt, "negative prompt"),
        (it.seed, "seed"),
        (it.steps, "steps"),
        (it.progress, "progress"),
        (it.cancel, "cancellation at the upstream"),
    ];
    able.extend(
        named
            .iter()
            .filter(|(supported, _)| *supported)
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
        text.push_str("It has no upstream and no settings.\n");
        return text;
    }
    text.push_str(
        "\n| setting | meaning | default | generation | edits |\n|---|---|---|---|---|\n",
    );
    for setting in &description.settings {
        let mut generating = setting.generate_variables.clone();
        let mut editing = setting.edit_variables.clone();
        let side = if is_edit_only(setting) {
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
async fn engines_page_is_current() {
    let data = tempfile::tempdir().unwrap();
    let config = Config::new(environment(&data, &[])).unwrap();
    let jobs = Jobs::open(&config, AuditLog::default(), Decoder::default())
        .await
        .unwrap();
    assert!(
        jobs.engines.rejected_files().is_empty(),
        "{:?}",
        jobs.engines.rejected_files()
    );
    let sections = jobs.engines.admitted().map(|component| section(component));
    let page = HEAD.to_owned() + &sections.collect::<String>();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/engines.md");
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    if present != page {
        std::fs::write(&path, page).unwrap();
        panic!(
            "docs/reference/engines.md was out of date and has been rewritten: review and commit it"
        );
    }
}
