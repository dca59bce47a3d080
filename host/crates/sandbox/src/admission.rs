//! Bytes to a checked component: size, kind, world, and what it says of itself.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use cap_std::fs::Dir;
use sha2::{Digest, Sha256};
use wasmtime::component::Component as Code;
use wasmtime::component::types::ComponentItem;

use super::contract::{Credential, Description, ErrorKind, ImageEnginePre, Setting, SettingKind};
use super::compile::compile;
use super::{ResolvedSettings, Component, JobContext, Limits, Problem, Sandbox, call};
use pinhole_ground::guard::Guard;
use pinhole_egress::refuse_header;
use crate::grant::{Allowed, Grant, declared};
use crate::engine_settings::EngineSettings;
use pinhole_ground::text::{hex, is_plain, plain};

/// Length of a component, in bytes. Nothing of a longer file is read.
pub const MAX_COMPONENT_BYTES: u64 = 64 << 20;
/// The contract that this host speaks.
const PACKAGE: &str = "pinhole:engine";
const VERSION: &str = "0.1.0";
const IMPORTS: &[&str] = &["types", "images", "upstream", "job", "log"];
/// Settings and upstreams that one engine may declare.
const MAX_SETTINGS: usize = 64;
const MAX_UPSTREAMS: usize = 8;
/// Methods with path prefixes of one upstream, and variables of one setting.
const MAX_ENTRIES: usize = 32;
/// Length of a name, of a title and of a longer text, in bytes.
const MAX_NAME_BYTES: usize = 40;
const MAX_TITLE_BYTES: usize = 100;
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Images that one job of any engine may ask for.
pub const MAX_COUNT: u32 = 32;

/// Admits a file of a folder: everything is checked before anybody can use it.
///
/// The error is one sentence for the operator.
pub(super) async fn admit(
    sandbox: &Arc<Sandbox>,
    folder: &Dir,
    file: &str,
) -> Result<Component, String> {
    let bytes = read(folder, file)?;
    if Guard::ComponentKind.holds() {
        check_kind(&bytes)?;
    }
    let digest = hex(&Sha256::digest(&bytes));
    let code = compile(sandbox, &digest, bytes).await?;
    let imports = check_world(sandbox, &code)?;
    let pre = sandbox
        .linker
        .instantiate_pre(&code)
        .and_then(ImageEnginePre::new)
        .map_err(|error| drifted(&error))?;
    let pre = Arc::new(pre);
    let description = call::describe(sandbox, file, &pre)
        .await
        .map_err(|error| format!("cannot describe itself: {error}"))?;
    if Guard::Description.holds() {
        check_description(&description)
            .map_err(|why| format!("describes itself wrongly: {why}"))?;
    }
    Ok(Component {
        file: file.to_owned(),
        digest,
        imports,
        declared: declared(&description),
        description,
        grant: Grant::default(),
        pre,
    })
}

/// Has the engine check settings, with nothing granted. What is wrong, with the name by which an
/// operator knows the setting.
pub(super) async fn check_settings(
    sandbox: &Arc<Sandbox>,
    component: &Component,
    settings: &EngineSettings,
) -> Option<Problem> {
    let granted_nothing = ResolvedSettings {
        redactor: Arc::new(settings.redactor()),
        settings: settings.clone(),
        ..ResolvedSettings::default()
    };
    let control = JobContext::new("admission".to_owned());
    let limits = Limits::describe();
    let checked = call::verify(sandbox, component, &granted_nothing, &control, limits).await;
    // Anything else is about the upstream, which it was not allowed to ask.
    let Err(super::Error::Engine { error, .. }) = checked else {
        return None;
    };
    let field = error.field.filter(|_| error.kind == ErrorKind::Invalid)?;
    let mut declared = component.description.settings.iter();
    let setting = declared.find(|setting| setting.key == field)?;
    let named = settings.variable(&setting.key).unwrap_or(&setting.key);
    let message = format!("{named} cannot be used: {}", error.message);
    let key = field;
    Some(Problem { key, message })
}

/// The bytes of a component's file; nothing else of it is ever read.
pub(super) fn read(folder: &Dir, file: &str) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: opening a pipe would wait for whoever writes to it.
    let metadata = folder.metadata(file).map_err(unreadable)?;
    if !metadata.is_file() && Guard::RegularFile.holds() {
        return Err("is not a file".to_owned());
    }
    let source = folder.open(file).map_err(unreadable)?;
    let length = metadata.len();
    let most = match Guard::ComponentBytes.holds() {
        true => MAX_COMPONENT_BYTES,
        false => u64::MAX,
    };
    let mut bytes = Vec::new();
    if length <= most {
        // One byte more than allowed shows a file that has grown since.
        let mut source = source.take(most.saturating_add(1));
        source.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    let length = length.max(bytes.len() as u64);
    match length > most {
        true => Err(format!(
            "has {length} bytes; a component may have {MAX_COMPONENT_BYTES} at most"
        )),
        false => Ok(bytes),
    }
}

/// Says plainly what a file is that is no component.
pub(super) fn check_kind(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "is a core module, not a component: encode it with wit-component, as `cargo xtask engines` does".to_owned(),
        ),
        [0, b'a', b's', b'm', ..] => Err("is WebAssembly of a version this host does not know".to_owned()),
        [] => Err("is empty".to_owned()),
        _ => Err("is not WebAssembly".to_owned()),
    }
}

/// Compares what the component imports and exports with the world, by name. The names it imports.
pub(super) fn check_world(sandbox: &Sandbox, code: &Code) -> Result<Vec<String>, String> {
    let component = code.component_type();
    let mut imports = Vec::new();
    for (name, _) in component.imports(&sandbox.engine) {
        let known = IMPORTS
            .iter()
            .any(|part| name == format!("{PACKAGE}/{part}@{VERSION}"));
        if !known && !is_wasi(name) && Guard::World.holds() {
            return Err(foreign(name));
        }
        imports.push(name.to_owned());
    }
    let wanted = format!("{PACKAGE}/engine@{VERSION}");
    let exports: Vec<_> = component.exports(&sandbox.engine).collect();
    let found = exports.iter().any(|(name, item)| {
        *name == wanted && matches!(item.ty, ComponentItem::ComponentInstance(_))
    });
    if found {
        return Ok(imports);
    }
    let other = exports.iter().map(|(name, _)| *name);
    match other
        .clone()
        .find(|name| name.starts_with(&format!("{PACKAGE}/engine")))
    {
        Some(name) => Err(format!(
            "exports {name}, but this host speaks {wanted}: build it against this release's wit/engine.wit"
        )),
        None => Err(format!(
            "does not export {wanted}, so it is written for another world{}",
            exports.first().map_or(String::new(), |(name, _)| format!(
                " (it exports {})",
                plain(name, 100)
            ))
        )),
    }
}

fn is_wasi(name: &str) -> bool {
    let Some((interface, version)) = name
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split_once('@'))
    else {
        return false;
    };
    let package = interface.split('/').next().unwrap_or_default();
    let granted = ["cli", "clocks", "filesystem", "io", "random", "sockets"].contains(&package);
    granted && version.starts_with("0.2.")
}

fn foreign(name: &str) -> String {
    let name = plain(name, 200);
    match name.split(['/', '@']).next() {
        Some(PACKAGE) => format!(
            "imports {name}, but this host speaks {PACKAGE}@{VERSION}: build it against this release's wit/engine.wit"
        ),
        Some("wasi:http") => format!(
            "imports {name}, which no engine may have: send requests with {PACKAGE}/upstream@{VERSION}"
        ),
        _ => format!(
            "imports {name}, which no engine may have: an engine imports {PACKAGE} and, empty, WASI 0.2"
        ),
    }
}

/// The names agree, so a function or a type differs.
fn drifted(error: &wasmtime::Error) -> String {
    let detail: Vec<String> = error.chain().map(ToString::to_string).collect();
    let detail = plain(&detail.join(": "), 300);
    format!(
        "differs from {PACKAGE}@{VERSION} of this host, so build it against this release's wit/engine.wit ({detail})"
    )
}

/// Checks what an engine says of itself. The error names the field.
pub(super) fn check_description(description: &Description) -> Result<(), String> {
    let Description {
        name,
        title,
        version,
        abilities,
        settings,
        upstreams,
    } = description;
    check_name("its name", name)?;
    check_text("its title", title, MAX_TITLE_BYTES)?;
    check_text("its version", version, MAX_NAME_BYTES)?;
    if !(1..=MAX_COUNT).contains(&abilities.max_count) {
        return Err(format!(
            "describes max-count {}, not 1 to {MAX_COUNT}",
            abilities.max_count
        ));
    }
    if settings.len() > MAX_SETTINGS || upstreams.len() > MAX_UPSTREAMS {
        return Err(format!(
            "describes {} settings and {} upstreams; {MAX_SETTINGS} and {MAX_UPSTREAMS} are allowed",
            settings.len(),
            upstreams.len()
        ));
    }
    let mut keys = BTreeSet::new();
    for setting in settings {
        check_setting(name, setting)
            .map_err(|why| format!("setting {}: {why}", plain(&setting.key, MAX_NAME_BYTES)))?;
        if !keys.insert(&setting.key) {
            return Err(format!("describes setting {} twice", setting.key));
        }
    }
    let kind = |key: &str| {
        settings
            .iter()
            .find(|setting| setting.key == key)
            .map(|setting| &setting.kind)
    };
    let mut names = BTreeSet::new();
    for upstream in upstreams {
        check_name("an upstream's name", &upstream.name)?;
        let of = |what: String| format!("upstream {}: {what}", upstream.name);
        if !names.insert(&upstream.name) {
            return Err(of("described twice".to_owned()));
        }
        if !matches!(kind(&upstream.base_url), Some(SettingKind::Url)) {
            return Err(of(format!(
                "its base URL {:?} is no setting of kind url",
                upstream.base_url
            )));
        }
        let secret = match &upstream.credential {
            Credential::None => None,
            Credential::Bearer(key) | Credential::Basic(key) => Some(key),
            Credential::Header((header, key)) => {
                let header = http::HeaderName::try_from(header.as_str());
                let own = header
                    .as_ref()
                    .is_ok_and(|name| name != "authorization" && refuse_header(name));
                if header.is_err() || own {
                    return Err(of("its credential's header cannot be sent".to_owned()));
                }
                Some(key)
            }
        };
        if secret.is_some_and(|key| !matches!(kind(key), Some(SettingKind::Secret))) {
            return Err(of("its credential is no setting of kind secret".to_owned()));
        }
        if upstream.requests.is_empty() || upstream.requests.len() > MAX_ENTRIES {
            return Err(of(format!(
                "describes {} requests, not 1 to {MAX_ENTRIES}",
                upstream.requests.len()
            )));
        }
        for request in &upstream.requests {
            check_text("a request", request, MAX_TITLE_BYTES).map_err(of)?;
            Allowed::parse(request).map_err(of)?;
        }
    }
    Ok(())
}

fn check_setting(engine: &str, setting: &Setting) -> Result<(), String> {
    check_name("its key", &setting.key)?;
    check_text("its title", &setting.title, MAX_TITLE_BYTES)?;
    check_text("its description", &setting.description, 2 << 10)?;
    if let Some(default) = &setting.default {
        if matches!(setting.kind, SettingKind::Secret) {
            return Err("a secret has no default".to_owned());
        }
        let value = serde_json::from_str(default)
            .map_err(|_| "its default is not JSON text".to_owned())
            .and_then(|value| match (fits(&setting.kind, &value), &setting.kind) {
                // It is shown to whoever grants it, so it has to be what it looks like.
                (Ok(()), SettingKind::Url) if !is_plain_url(&value) => {
                    Err("must be a URL without spaces".to_owned())
                }
                (fits, _) => fits,
            });
        value.map_err(|why| format!("its default: {why}"))?;
    }
    if let SettingKind::Choice(choices) = &setting.kind
        && (choices.is_empty() || choices.len() > MAX_ENTRIES)
    {
        return Err(format!(
            "it has {} choices, not 1 to {MAX_ENTRIES}",
            choices.len()
        ));
    }
    let variables = [&setting.generate_variables, &setting.edit_variables];
    let mark = engine.to_ascii_uppercase().replace('-', "_");
    for variable in variables.into_iter().flatten() {
        let standard = variable.len() <= 2 * MAX_NAME_BYTES
            && variable
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        // Otherwise any component could read any variable of the process.
        let own = format!("_{variable}_").contains(&format!("_{mark}_"));
        if (!standard || !own) && Guard::OwnVariables.holds() {
            return Err(format!(
                "variable {:?} does not carry the engine's name {mark}",
                plain(variable, 100)
            ));
        }
        let hidden = ["KEY", "AUTH", "SECRET", "TOKEN", "PASSWORD"]
            .iter()
            .any(|end| variable.ends_with(end));
        let seen = !matches!(setting.kind, SettingKind::Secret);
        if hidden && seen && Guard::HiddenVariables.holds() {
            return Err(format!(
                "variable {variable} holds a secret, so the setting must be of kind secret"
            ));
        }
    }
    match variables.iter().any(|list| list.len() > MAX_ENTRIES) {
        true => Err(format!("it has more than {MAX_ENTRIES} variables")),
        false => Ok(()),
    }
}

fn is_plain_url(value: &serde_json::Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.is_empty() || text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Is this JSON value one of the kind?
pub(crate) fn fits(kind: &SettingKind, value: &serde_json::Value) -> Result<(), String> {
    let text = value.as_str();
    let (good, wanted) = match kind {
        SettingKind::Text => (
            text.is_some_and(|text| text.len() <= 2 << 10 && !text.contains(char::is_control)),
            "one line of text".to_owned(),
        ),
        SettingKind::Secret => (
            text.is_some_and(|text| text.len() <= 16 << 10),
            "a secret".to_owned(),
        ),
        SettingKind::Document => (
            text.is_some_and(|text| text.len() <= MAX_TEXT_BYTES * 16),
            format!("text of at most {} bytes", MAX_TEXT_BYTES * 16),
        ),
        SettingKind::Url => (
            text.is_some_and(|text| text.len() <= 2 << 10),
            "a URL".to_owned(),
        ),
        SettingKind::Integer => (value.is_i64(), "a whole number".to_owned()),
        SettingKind::Boolean => (value.is_boolean(), "true or false".to_owned()),
        SettingKind::Choice(choices) => (
            text.is_some_and(|text| choices.iter().any(|choice| choice == text)),
            format!("one of {}", choices.join(", ")),
        ),
    };
    match good {
        true => Ok(()),
        false => Err(format!("must be {wanted}")),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let good = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    match good {
        true => Ok(()),
        false => Err(format!(
            "{what} is {:?}: lower case, digits and dashes, {MAX_NAME_BYTES} at most",
            plain(name, MAX_NAME_BYTES)
        )),
    }
}

fn check_text(what: &str, text: &str, max: usize) -> Result<(), String> {
    match text.len() <= max && text.split('\n').all(|line| is_plain(line, max)) {
        true => Ok(()),
        false => Err(format!(
            "{what} has characters that nobody sees or more than {max} bytes"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::Abilities;
    use super::super::contract::exports::pinhole::engine::engine::Upstream;
    use super::*;

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
            }],
        }
    }

    fn check(change: impl FnOnce(&mut Description), expected: &str) {
        let mut description = description();
        change(&mut description);
        let said = check_description(&description).err().unwrap_or_default();
        assert!(
            said.contains(expected) && said.is_empty() == expected.is_empty(),
            "{said:?} {expected:?}"
        );
    }

    #[test]
    fn a_description_is_checked_field_by_field() {
        check(|_| (), "");
        check(|d| d.name = "My".into(), "its name is");
        check(|d| d.title = "x".repeat(101), "its title");
        check(|d| d.abilities.max_count = 0, "max-count 0");
        check(|d| d.settings[1].key = "base-url".into(), "twice");
        check(|d| d.settings[0].default = Some("{".into()), "not JSON");
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
            "no default",
        );
        check(
            |d| d.settings[0].generate_variables = vec!["HOME".into()],
            "does not carry the engine's name",
        );
        check(
            |d| d.settings[0].edit_variables = vec!["MY_ENGINE_KEY".into()],
            "must be of kind secret",
        );
        check(
            |d| d.upstreams[0].base_url = "api-key".into(),
            "no setting of kind url",
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
            "described twice",
        );
    }

    #[test]
    fn a_file_that_is_no_component_is_named_for_what_it_is() {
        assert!(
            check_kind(b"\0asm\x01\0\0\0")
                .unwrap_err()
                .contains("core module")
        );
        assert!(check_kind(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(
            check_kind(b"(component)")
                .unwrap_err()
                .contains("not WebAssembly")
        );
        assert!(check_kind(b"").unwrap_err().contains("empty"));
    }

    #[test]
    fn only_the_world_and_empty_wasi_may_be_imported() {
        assert!(is_wasi("wasi:cli/environment@0.2.6"));
        assert!(!is_wasi("wasi:cli/environment@0.3.0"));
        assert!(!is_wasi("wasi:http/outgoing-handler@0.2.0"));
        assert!(foreign("wasi:http/types@0.2.0").contains("send requests with"));
        assert!(foreign("pinhole:engine/job@0.9.0").contains("this release's"));
    }
}
