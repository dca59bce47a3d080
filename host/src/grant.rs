//! What an engine declared, joined with what the administrator's settings allow.

use std::collections::BTreeMap;

use http::Method;

use crate::egress::{Credential, Destination, Egress};
use crate::engine::bindings::{self, Description};
use crate::settings::EngineSettings;

/// The upstreams that one engine may reach, by the name it gave them. Empty means none.
pub type Upstreams = BTreeMap<String, Upstream>;

/// One upstream: where it is, and what may be asked of it.
#[derive(Debug)]
pub struct Upstream {
    /// Where, with credential and connections.
    pub destination: Destination,
    requests: Vec<Allowed>,
}

/// A method, and a prefix of the paths it may be used on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    method: Method,
    prefix: String,
}

/// Opens the declared upstreams whose base URL is set.
///
/// Private addresses are permitted only where the administrator named the base URL: a default
/// that the engine brought along reaches nothing but the public internet.
pub fn upstreams(
    description: &Description,
    settings: &EngineSettings,
    egress: &Egress,
) -> Result<Upstreams, String> {
    let mut open = Upstreams::new();
    for declared in &description.upstreams {
        let Some((base, named)) = settings.url(&declared.base_url) else {
            continue;
        };
        let credential = credential(description, &declared.credential, settings)?;
        let destination = egress
            .destination(&base, named, credential)
            .map_err(|error| {
                format!("{}: {error}", setting_name(description, &declared.base_url))
            })?;
        let requests = declared.requests.iter().map(|text| Allowed::parse(text));
        let upstream = Upstream {
            destination,
            requests: requests.collect::<Result<_, _>>()?,
        };
        open.insert(declared.name.clone(), upstream);
    }
    Ok(open)
}

/// A setting as an operator knows it: `setting base-url (COMFYUI_BASE_URL)`.
fn setting_name(description: &Description, key: &str) -> String {
    let mut settings = description.settings.iter();
    let setting = settings.find(|setting| setting.key == key);
    match setting.map(|setting| setting.generate_variables.join(" or ")) {
        Some(variables) if !variables.is_empty() => format!("setting {key} ({variables})"),
        _ => format!("setting {key}"),
    }
}

/// Nothing is sent while the secret is unset.
fn credential(
    description: &Description,
    declared: &bindings::Credential,
    settings: &EngineSettings,
) -> Result<Credential, String> {
    let with = |key: &str, build: &dyn Fn(&str) -> Result<Credential, String>| {
        let built = settings.secret(key).map(build).transpose();
        let built = built.map_err(|why| format!("{}: {why}", setting_name(description, key)));
        built.map(Option::unwrap_or_default)
    };
    match declared {
        bindings::Credential::None => Ok(Credential::default()),
        bindings::Credential::Bearer(key) => with(key, &Credential::bearer),
        bindings::Credential::Basic(key) => with(key, &Credential::basic),
        bindings::Credential::Header((name, key)) => {
            with(key, &|secret| Credential::header(name, secret))
        }
    }
}

impl Upstream {
    /// May this be asked? `path` may carry a query.
    #[must_use]
    pub fn allows(&self, method: &Method, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or_default();
        let covers = |allowed: &Allowed| allowed.method == *method && allowed.covers(path);
        self.requests.iter().any(covers)
    }
}

impl Allowed {
    /// From text such as `POST /images/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a method and a path prefix such as \"POST /images/\"");
        let (method, prefix) = text.split_once(' ').ok_or_else(wrong)?;
        let standard = matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE");
        let plain = prefix.starts_with('/')
            && !prefix.contains("//")
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        match (method.parse(), standard && plain) {
            (Ok(method), true) => Ok(Self {
                method,
                prefix: prefix.to_owned(),
            }),
            _ => Err(wrong()),
        }
    }

    /// A prefix covers itself and what follows it after a `/`.
    fn covers(&self, path: &str) -> bool {
        match path.strip_prefix(&self.prefix) {
            Some(rest) => rest.is_empty() || self.prefix.ends_with('/') || rest.starts_with('/'),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, path: &str, expected: bool) {
        let allowed = Allowed::parse(&format!("GET {prefix}")).unwrap();
        assert_eq!(allowed.covers(path), expected, "{prefix} {path}");
    }

    #[test]
    fn a_prefix_ends_at_a_step() {
        check("/models", "/models", true);
        check("/models", "/models/x", true);
        check("/models", "/models-private", false);
        check("/models/", "/models/x:generate", true);
        check("/models/", "/models", false);
        check("/", "/anything", true);
    }

    #[test]
    fn a_request_rule_is_a_method_and_a_path() {
        for bad in [
            "",
            "GET",
            "GET x",
            "get /x",
            "CONNECT /",
            "GET //x",
            "GET /%2e",
            "GET /a b",
        ] {
            assert!(Allowed::parse(bad).is_err(), "{bad}");
        }
    }
}
