//! Validation of the description that a component returns.

use std::collections::BTreeSet;

use pinhole_egress::ImageHost;
use pinhole_egress::headers::is_reserved;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::{is_plain, plain};

use crate::contract::{Credential, Description, Setting, SettingKind, Upstream};
use crate::engine_settings::{RESERVED_KEYS, check_value, own_variable};
use crate::grant::RequestRule;

/// Settings that an engine may declare.
const MAX_SETTINGS: usize = 64;
/// Upstreams that an engine may declare.
const MAX_UPSTREAMS: usize = 8;
/// Requests and image hosts of an upstream, choices of a setting, and variables of a setting.
const MAX_ENTRIES: usize = 32;
/// Length of a name in bytes.
const MAX_NAME_BYTES: usize = 40;
/// Length of an image host in bytes: `*.` and a host name.
const MAX_HOST_BYTES: usize = 255;
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

fn check_upstream(settings: &[Setting], upstream: &Upstream) -> Result<(), Refusal> {
    let kind_of = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key)?;
        Some(&setting.kind)
    };
    let base_url = &upstream.base_url;
    require(matches!(kind_of(base_url), Some(SettingKind::Url)), || {
        format!("its base URL {base_url:?} is not a setting of kind url")
    })?;
    if let Credential::Header((header, _)) = &upstream.credential {
        let can_send = http::HeaderName::try_from(header.as_str())
            .is_ok_and(|name| name == "authorization" || !is_reserved(&name));
        require(can_send, || {
            "its credential uses a header that cannot be sent".to_owned()
        })?;
    }
    if let Some(key) = upstream.credential.secret_key() {
        require(matches!(kind_of(key), Some(SettingKind::Secret)), || {
            "its credential is not a setting of kind secret".to_owned()
        })?;
    }
    let count = upstream.requests.len();
    require((1..=MAX_ENTRIES).contains(&count), || {
        format!("it has {count} requests, not 1 to {MAX_ENTRIES}")
    })?;
    for request in &upstream.requests {
        check_text("a request", request, MAX_TITLE_BYTES)?;
        let problem = RequestRule::parse(request).err();
        require(problem.is_none(), || problem.unwrap_or_default())?;
    }
    let hosts = upstream.also.len();
    require(hosts <= MAX_ENTRIES, || {
        format!("it has {hosts} image hosts; {MAX_ENTRIES} are allowed")
    })?;
    for host in &upstream.also {
        check_text("an image host", host, MAX_HOST_BYTES)?;
        let problem = ImageHost::parse(host).err();
        require(problem.is_none(), || problem.unwrap_or_default())?;
    }
    Ok(())
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
    use crate::contract::Abilities;

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
                credential: Credential::Bearer("api-key".into()),
                requests: vec!["POST /x".into()],
                also: vec!["*.example.com".into()],
            }],
        }
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
        check(|d| d.upstreams[0].also = vec!["*".into()], "");
        for host in [
            "10.0.0.1",
            "cdn.example.com:8443",
            "CDN.example.com",
            "https://cdn",
        ] {
            check(
                |d| d.upstreams[0].also = vec![host.into()],
                "not a lower-case host name",
            );
        }
        check(
            |d| d.upstreams[0].also = vec!["a\u{1b}".into()],
            "an image host has unprintable",
        );
        check(
            |d| d.upstreams[0].also = vec!["*".into(); 33],
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
            |d| d.upstreams[0].credential = Credential::Bearer("base-url".into()),
            "kind secret",
        );
        check(
            |d| d.upstreams[0].credential = Credential::Header(("cookie".into(), "api-key".into())),
            "header",
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
