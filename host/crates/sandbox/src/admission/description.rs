//! Validation of the description that a component returns.

mod upstream;

use std::collections::BTreeSet;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::{is_plain, plain};

use crate::contract::{
    Description, IntegerRange, NumberRange, Parameter, ParameterKind, Setting, SettingKind,
};
use crate::engine_settings::{RESERVED_KEYS, check_value, own_variable};
use crate::parameters::check_parameter_value;
use upstream::check_upstream;

/// Settings that an engine may declare.
const MAX_SETTINGS: usize = 64;
/// Parameters that an engine may declare.
const MAX_PARAMETERS: usize = 64;
/// Fields of a job, which are no parameters.
const JOB_FIELDS: &[&str] = &[
    "prompt",
    "negative-prompt",
    "negative_prompt",
    "model",
    "size",
    "n",
    "count",
    "steps",
    "seed",
    "strength",
    "image",
    "mask",
    "stream",
];
/// Upstreams that an engine may declare.
const MAX_UPSTREAMS: usize = 8;
/// Requests and image hosts of an upstream, choices of a setting, and variables of a setting.
const MAX_ENTRIES: usize = 32;
/// Length of a name in bytes.
const MAX_NAME_BYTES: usize = 40;
/// Length of a title in bytes.
const MAX_TITLE_BYTES: usize = 100;
/// Length of a setting's description in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2 << 10;
/// Images that one job of any engine may request.
pub const MAX_COUNT: u32 = 32;
/// Variables with such a suffix hold secrets.
const SECRET_SUFFIXES: &[&str] = &["KEY", "AUTH", "SECRET", "TOKEN", "PASSWORD"];

/// Refuses a description that exceeds a limit, is not printable, or refers to something that it does not
/// declare. The reason names the field.
pub fn check_description(description: &Description) -> Result<(), Refusal> {
    check_name("its name", &description.name)?;
    check_text("its title", &description.title, MAX_TITLE_BYTES)?;
    check_text("its version", &description.version, MAX_NAME_BYTES)?;
    let max_count = description.abilities.max_count;
    require((1..=MAX_COUNT).contains(&max_count), || {
        format!("its max-count is {max_count}, not 1 to {MAX_COUNT}")
    })?;
    let settings = description.settings.len();
    require(settings <= MAX_SETTINGS, || {
        format!("it has {settings} settings; {MAX_SETTINGS} are allowed")
    })?;
    let upstreams = description.upstreams.len();
    require(upstreams <= MAX_UPSTREAMS, || {
        format!("it has {upstreams} upstreams; {MAX_UPSTREAMS} are allowed")
    })?;
    let mut keys = BTreeSet::new();
    for setting in &description.settings {
        check_setting(&description.name, setting)
            .and_then(|()| require(keys.insert(&setting.key), || "is declared twice".to_owned()))
            .map_err(|refusal| {
                let key = plain(&setting.key, MAX_NAME_BYTES);
                refusal.map_reason(|reason| format!("setting {key}: {reason}"))
            })?;
    }
    let parameters = description.parameters.len();
    require(parameters <= MAX_PARAMETERS, || {
        format!("it has {parameters} parameters; {MAX_PARAMETERS} are allowed")
    })?;
    let mut parameter_names = BTreeSet::new();
    for parameter in &description.parameters {
        let is_new = parameter_names.insert(&parameter.name);
        check_parameter(parameter)
            .and_then(|()| require(is_new, || "is declared twice".to_owned()))
            .map_err(|refusal| {
                let name = plain(&parameter.name, MAX_NAME_BYTES);
                refusal.map_reason(|reason| format!("parameter {name}: {reason}"))
            })?;
    }
    let mut names = BTreeSet::new();
    for upstream in &description.upstreams {
        check_name("the name of an upstream", &upstream.name)?;
        check_upstream(&description.settings, upstream)
            .and_then(|()| {
                require(names.insert(&upstream.name), || {
                    "is declared twice".to_owned()
                })
            })
            .map_err(|refusal| {
                refusal.map_reason(|reason| format!("upstream {}: {reason}", upstream.name))
            })?;
    }
    Ok(())
}

/// Refuses the description unless the condition holds.
fn require(condition: bool, reason: impl FnOnce() -> String) -> Result<(), Refusal> {
    Guard::Description.refuse_if(!condition, reason)
}

fn check_setting(engine: &str, setting: &Setting) -> Result<(), Refusal> {
    check_name("its key", &setting.key)?;
    let key = setting.key.as_str();
    require(!RESERVED_KEYS.contains(&key), || {
        format!("the key {key} is reserved for a setting of the server")
    })?;
    check_text("its title", &setting.title, MAX_TITLE_BYTES)?;
    check_text(
        "its description",
        &setting.description,
        MAX_DESCRIPTION_BYTES,
    )?;
    if let Some(default) = &setting.default {
        let problem = find_default_problem(&setting.kind, default);
        require(problem.is_none(), || problem.unwrap_or_default())?;
    }
    if let SettingKind::Choice(choices) = &setting.kind {
        let count = choices.len();
        require((1..=MAX_ENTRIES).contains(&count), || {
            format!("it has {count} choices, not 1 to {MAX_ENTRIES}")
        })?;
    }
    for variables in [&setting.generate_variables, &setting.edit_variables] {
        let count = variables.len();
        require(count <= MAX_ENTRIES, || {
            format!("it has {count} variables; {MAX_ENTRIES} are allowed")
        })?;
        for variable in variables {
            check_variable(engine, &setting.kind, variable)?;
        }
    }
    Ok(())
}

/// What is wrong with a setting's default, which is JSON.
fn find_default_problem(kind: &SettingKind, default: &str) -> Option<String> {
    if matches!(kind, SettingKind::Secret) {
        return Some("a secret must not have a default".to_owned());
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(default) else {
        return Some("its default is not JSON".to_owned());
    };
    let problem = match check_value(kind, &value) {
        Err(problem) => problem,
        // An administrator who grants it must see the URL that is used.
        Ok(()) if matches!(kind, SettingKind::Url) && !is_printable_ascii(&value) => {
            "must be a URL without spaces".to_owned()
        }
        Ok(()) => return None,
    };
    Some(format!("its default {problem}"))
}

fn is_printable_ascii(value: &serde_json::Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Refuses a variable that is not the engine's own, or that reveals a secret to the engine.
fn check_variable(engine: &str, kind: &SettingKind, variable: &str) -> Result<(), Refusal> {
    let mark = engine.to_ascii_uppercase().replace('-', "_");
    let mut reserved = RESERVED_KEYS.iter().map(|key| own_variable(engine, key));
    require(!reserved.any(|it| it == variable), || {
        format!("variable {variable} is reserved for a setting of the server")
    })?;
    let is_standard = variable.len() <= 2 * MAX_NAME_BYTES
        && variable
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    let is_own = format!("_{variable}_").contains(&format!("_{mark}_"));
    // Otherwise a component could read any variable of the process.
    Guard::OwnVariables.refuse_if(!is_standard || !is_own, || {
        let variable = plain(variable, 100);
        format!("variable {variable:?} does not contain the engine's name {mark}")
    })?;
    let holds_secret = SECRET_SUFFIXES
        .iter()
        .any(|suffix| variable.ends_with(suffix));
    let is_readable = !matches!(kind, SettingKind::Secret);
    Guard::HiddenVariables.refuse_if(holds_secret && is_readable, || {
        format!("variable {variable} holds a secret, so the setting must be of kind secret")
    })
}

fn check_parameter(parameter: &Parameter) -> Result<(), Refusal> {
    let name = &parameter.name;
    let is_valid = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    require(is_valid, || {
        format!("its name must have 1 to {MAX_NAME_BYTES} letters, digits, dashes and underscores")
    })?;
    require(!JOB_FIELDS.contains(&name.as_str()), || {
        "every job has a field of this name".to_owned()
    })?;
    check_text("its title", &parameter.title, MAX_TITLE_BYTES)?;
    check_text(
        "its description",
        &parameter.description,
        MAX_DESCRIPTION_BYTES,
    )?;
    let unit = parameter.unit.as_deref().unwrap_or_default();
    check_text("its unit", unit, MAX_NAME_BYTES)?;
    let problem = match &parameter.kind {
        ParameterKind::Integer(IntegerRange {
            min: Some(min),
            max: Some(max),
        }) if min > max => Some(format!("its min {min} is greater than its max {max}")),
        ParameterKind::Number(NumberRange { min, max })
            if [min, max].into_iter().flatten().any(|it| !it.is_finite()) =>
        {
            Some("its min or max is no number".to_owned())
        }
        ParameterKind::Number(NumberRange {
            min: Some(min),
            max: Some(max),
        }) if min > max => Some(format!("its min {min} is greater than its max {max}")),
        ParameterKind::Choice(choices) if !(1..=MAX_ENTRIES).contains(&choices.len()) => Some(
            format!("it has {} choices, not 1 to {MAX_ENTRIES}", choices.len()),
        ),
        _ => None,
    };
    require(problem.is_none(), || problem.unwrap_or_default())?;
    if let ParameterKind::Choice(choices) = &parameter.kind {
        for choice in choices {
            check_text("a choice", choice, MAX_TITLE_BYTES)?;
        }
    }
    let Some(default) = &parameter.default else {
        return Ok(());
    };
    check_text("its default", default, MAX_DESCRIPTION_BYTES)?;
    let default_problem = match serde_json::from_str(default) {
        Ok(value) => check_parameter_value(parameter, &value).err(),
        Err(_) => Some("is not JSON".to_owned()),
    };
    require(default_problem.is_none(), || {
        format!("its default {}", default_problem.unwrap_or_default())
    })
}

/// Refuses a name that an engine cannot have.
pub fn check_engine_name(name: &str) -> Result<(), Refusal> {
    check_name("the engine's name", name)
}

fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let is_valid = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    require(is_valid, || {
        let name = plain(name, MAX_NAME_BYTES);
        format!(
            "{field} is {name:?}; it must begin with a lower-case letter and have at most {MAX_NAME_BYTES} lower-case letters, digits and dashes"
        )
    })
}

fn check_text(field: &str, text: &str, max_bytes: usize) -> Result<(), Refusal> {
    let is_valid =
        text.len() <= max_bytes && text.split('\n').all(|line| is_plain(line, max_bytes));
    require(is_valid, || {
        format!("{field} has unprintable characters or more than {max_bytes} bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Abilities, Credential, SecretHeader, Upstream};

    fn description() -> Description {
        let setting = |key: &str, kind| Setting {
            key: key.into(),
            title: String::new(),
            description: String::new(),
            kind,
            default: None,
            generate_variables: vec![format!(
                "MY_ENGINE_{}",
                key.to_uppercase().replace('-', "_")
            )],
            edit_variables: vec![],
        };
        Description {
            name: "my-engine".into(),
            title: "Mine".into(),
            version: "1.0".into(),
            abilities: Abilities::default(),
            settings: vec![
                setting("base-url", SettingKind::Url),
                setting("api-key", SettingKind::Secret),
            ],
            upstreams: vec![Upstream {
                name: "api".into(),
                base_url: "base-url".into(),
                credentials: vec![Credential::Bearer("api-key".into())],
                requests: vec!["POST /x".into()],
                hosts: vec!["eu.example.com".into()],
                image_hosts: vec!["*.example.com".into()],
            }],
            parameters: vec![Parameter {
                name: "guidance".into(),
                title: "Guidance".into(),
                description: String::new(),
                kind: ParameterKind::Number(NumberRange {
                    min: Some(0.0),
                    max: Some(20.0),
                }),
                default: Some("3.5".into()),
                unit: None,
            }],
            other_parameters: false,
        }
    }

    fn header(name: &str, prefix: Option<&str>) -> Credential {
        Credential::Header(SecretHeader {
            name: name.into(),
            prefix: prefix.map(str::to_owned),
            secret: "api-key".into(),
        })
    }

    fn check(change: impl FnOnce(&mut Description), expected: &str) {
        let mut description = description();
        change(&mut description);
        let reason = match check_description(&description) {
            Ok(()) => String::new(),
            Err(refusal) => refusal.reason,
        };
        assert!(
            reason.contains(expected) && reason.is_empty() == expected.is_empty(),
            "{reason:?} {expected:?}"
        );
    }

    #[test]
    fn check_description_refuses_each_invalid_field() {
        check(|_| (), "");
        check(|d| d.name = "My".into(), "its name is");
        check(|d| d.title = "x".repeat(101), "its title");
        check(|d| d.abilities.max_count = 0, "max-count is 0");
        check(|d| d.settings[1].key = "base-url".into(), "twice");
        check(|d| d.settings[0].default = Some("{".into()), "not JSON");
        check(|d| d.settings[0].key = "image-hosts".into(), "is reserved");
        check(
            |d| d.settings[0].edit_variables = vec!["PINHOLE_MY_ENGINE_IMAGE_HOSTS".into()],
            "is reserved",
        );
        check(|d| d.upstreams[0].image_hosts = vec!["*".into()], "");
        for host in [
            "10.0.0.1",
            "cdn.example.com:8443",
            "CDN.example.com",
            "https://cdn",
        ] {
            check(
                |d| d.upstreams[0].image_hosts = vec![host.into()],
                "not a lower-case host name",
            );
        }
        check(
            |d| d.upstreams[0].image_hosts = vec!["a\u{1b}".into()],
            "its image host has unprintable",
        );
        check(
            |d| d.upstreams[0].image_hosts = vec!["*".into(); 33],
            "it has 33 image hosts",
        );
        check(
            |d| d.settings[0].default = Some("1".into()),
            "must be a URL",
        );
        check(
            |d| d.settings[0].default = Some("\"https://a https://b\"".into()),
            "without spaces",
        );
        check(
            |d| d.settings[1].default = Some("\"k\"".into()),
            "must not have a default",
        );
        check(
            |d| d.settings[0].generate_variables = vec!["HOME".into()],
            "does not contain the engine's name",
        );
        check(
            |d| d.settings[0].edit_variables = vec!["MY_ENGINE_KEY".into()],
            "must be of kind secret",
        );
        check(
            |d| d.upstreams[0].base_url = "api-key".into(),
            "not a setting of kind url",
        );
        check(
            |d| d.upstreams[0].credentials = vec![Credential::Bearer("base-url".into())],
            "kind secret",
        );
        check(
            |d| d.upstreams[0].credentials = vec![header("cookie", None)],
            "header",
        );
        check(
            |d| d.upstreams[0].credentials = vec![header("x-key", Some("two words"))],
            "a prefix that is not one word",
        );
        let bearer = Credential::Bearer("api-key".into());
        check(
            |d| d.upstreams[0].credentials = vec![bearer; 5],
            "it has 5 credentials; 4 are allowed",
        );
        check(|d| d.upstreams[0].hosts = vec!["*".into()], "any host");
        check(
            |d| d.parameters[0].name = "seed".into(),
            "parameter seed: every job has a field",
        );
        check(
            |d| d.parameters.push(d.parameters[0].clone()),
            "parameter guidance: is declared twice",
        );
        check(
            |d| d.parameters[0].default = Some("21".into()),
            "its default must be a number from 0 to 20",
        );
        let range = |min, max| ParameterKind::Integer(IntegerRange { min, max });
        check(
            |d| d.parameters[0].kind = range(Some(3), Some(2)),
            "its min 3 is greater than its max 2",
        );
        check(
            |d| d.parameters[0].kind = ParameterKind::Choice(Vec::new()),
            "it has 0 choices",
        );
        check(
            |d| d.upstreams[0].requests = vec!["GET //".into()],
            "path prefix",
        );
        check(
            |d| d.upstreams.push(d.upstreams[0].clone()),
            "declared twice",
        );
    }
}
