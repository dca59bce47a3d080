//! `docs/reference/engines.md`, written from the descriptions of the shipped engines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::Component;
use pinhole_sandbox::contract::{Credential, Description, Setting, SettingKind};
use pinhole_tests::environment;

const HEAD: &str = "\
# Engines

A test writes this page from the engines' descriptions.

A setting is read from the environment variables in parentheses, in order, then from `PINHOLE_<ENGINE>_<SETTING>`, such as
`PINHOLE_OPENAI_BASE_URL`, then it has its default. An edit reads the variables for edits first, and if none is set, the value for
generation. But if a URL or a key is set for edits, no setting that has variables for edits uses the value for generation: a key
is never sent to the wrong server. Engines never receive secrets. `GET /api/v1/settings` returns all values.
";

fn code(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    texts.join(", ")
}

/// ` Default: …`, with the first line of a document, or nothing without a default.
fn default(setting: &Setting) -> String {
    let Some(json) = &setting.default else {
        return String::new();
    };
    let text = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.clone());
    let Some(first) = text.lines().next() else {
        return String::new();
    };
    match text.lines().count() {
        1 => format!(" Default: `{first}`."),
        lines => format!(" Default: {lines} lines, such as `{first}`."),
    }
}

fn abilities(description: &Description) -> String {
    let it = &description.abilities;
    let mut able = vec![format!("1 to {} images per job", it.max_count)];
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
        (it.cancel, "cancellation"),
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

/// Requests such as `POST /queue`, as a list of paths for each method.
fn paths_by_method(requests: &[String]) -> String {
    let mut methods: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for request in requests {
        let (method, path) = request.split_once(' ').unwrap();
        methods.entry(method).or_default().push(path.to_owned());
    }
    let lists = methods.iter();
    let lists: Vec<String> = lists
        .map(|(method, paths)| format!("{method} {}", code(paths)))
        .collect();
    lists.join("; ")
}

/// The choices and the declared variables of a setting, in parentheses.
fn choices_and_variables(setting: &Setting) -> String {
    let mut lists = Vec::new();
    if let SettingKind::Choice(choices) = &setting.kind {
        lists.push(format!("one of {}", code(choices)));
    }
    if !setting.generate_variables.is_empty() {
        lists.push(code(&setting.generate_variables));
    }
    if !setting.edit_variables.is_empty() {
        lists.push(format!("edits: {}", code(&setting.edit_variables)));
    }
    if lists.is_empty() {
        return String::new();
    }
    format!(" ({})", lists.join("; "))
}

fn section(component: &Component) -> String {
    let description = &component.description;
    let mut text = format!(
        "\n## `{}`: {}\n\n{}.\n",
        description.name,
        description.title,
        abilities(description)
    );
    for upstream in &description.upstreams {
        writeln!(
            text,
            "\nUpstream `{}` at `{}`, with {}: {}.",
            upstream.name,
            upstream.base_url,
            credential(&upstream.credential),
            paths_by_method(&upstream.requests)
        )
        .unwrap();
    }
    if description.settings.is_empty() {
        text.push_str("No upstream, no settings.\n");
        return text;
    }
    text.push('\n');
    for setting in &description.settings {
        writeln!(
            text,
            "- `{}`{}: {}{}",
            setting.key,
            choices_and_variables(setting),
            setting.description,
            default(setting),
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
        jobs.snapshot().engines.rejected.is_empty(),
        "{:?}",
        jobs.snapshot().engines.rejected
    );
    let snapshot = jobs.snapshot();
    let sections = snapshot
        .engines
        .admitted()
        .map(|component| section(component));
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
