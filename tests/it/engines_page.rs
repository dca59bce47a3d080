//! `docs/reference/engines.md`, written from the descriptions of the shipped engines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use pinhole::config::Config;
use pinhole::jobs::Jobs;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::Component;
use pinhole_sandbox::contract::{
    Credential, Description, ParameterKind, Setting, SettingKind, Upstream,
};
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

fn credentials(upstream: &Upstream) -> String {
    let described: Vec<String> = upstream.credentials.iter().map(credential).collect();
    if described.is_empty() {
        return "no credential".to_owned();
    }
    described.join(" and ")
}

fn credential(credential: &Credential) -> String {
    match credential {
        Credential::Bearer(key) => format!("`authorization: Bearer` from `{key}`"),
        Credential::Basic(key) => format!("`authorization: Basic` from `{key}`"),
        Credential::Header(header) => format!("`{}` from `{}`", header.name, header.secret),
        other => panic!("no engine that ships has this credential: {other:?}"),
    }
}

/// The type of a parameter, for a person.
fn parameter_type(kind: &ParameterKind) -> String {
    let range = |name: &str, min: Option<String>, max: Option<String>| match (min, max) {
        (Some(min), Some(max)) => format!("{name} from {min} to {max}"),
        (Some(min), None) => format!("{name} of at least {min}"),
        _ => name.to_owned(),
    };
    let text = |number: &dyn ToString| number.to_string();
    match kind {
        ParameterKind::Text => "text".to_owned(),
        ParameterKind::Boolean => "true or false".to_owned(),
        ParameterKind::Choice(choices) => format!("one of {}", code(choices)),
        // The greatest integer is no limit.
        ParameterKind::Integer(it) => {
            let max = it.max.filter(|max| *max < i64::MAX);
            range(
                "an integer",
                it.min.as_ref().map(|min| text(min)),
                max.as_ref().map(|max| text(max)),
            )
        }
        ParameterKind::Number(it) => range(
            "a number",
            it.min.as_ref().map(|min| text(min)),
            it.max.as_ref().map(|max| text(max)),
        ),
    }
}

/// A list of the parameters, and whether others are accepted.
fn parameters(description: &Description) -> String {
    let mut text = String::new();
    if !description.parameters.is_empty() {
        text.push_str("\nParameters of a request:\n\n");
    }
    for parameter in &description.parameters {
        let kind = parameter_type(&parameter.kind);
        writeln!(
            text,
            "- `{}` ({kind}): {}",
            parameter.name, parameter.description
        )
        .unwrap();
    }
    if description.other_parameters {
        text.push_str("\nIt checks other parameters itself.\n");
    }
    text
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
            credentials(upstream),
            paths_by_method(&upstream.requests)
        )
        .unwrap();
    }
    if description.settings.is_empty() {
        text.push_str("No upstream, no settings.\n");
        text.push_str(&parameters(description));
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
    text.push_str(&parameters(description));
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
