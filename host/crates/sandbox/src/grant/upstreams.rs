//! The upstreams of an engine: their destinations, and the requests that may be sent.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use pinhole_egress::{BaseUrl, Destination, Egress, ImageHost, LiveSecrets, Tls, Url};
use pinhole_ground::guard::{Guard, Refusal};

use super::{Grant, RequestRule, Right};
use crate::contract::{self, Description};
use crate::engine_settings::{CREDENTIAL_KEY, EngineSettings, HEADERS_KEY, setting_label};

/// The upstreams that one engine may use, by the names that it declares. The default has no upstream.
pub type Upstreams = BTreeMap<String, Upstream>;

/// One upstream of an engine.
#[derive(Debug)]
pub struct Upstream {
    pub destination: Destination,
    pub rules: RequestRules,
    /// Hosts other than its own to which requests may be sent, at URLs that responses name: declared and
    /// granted.
    pub hosts: Vec<ImageHost>,
    /// Hosts other than its own from which images may be fetched: declared and granted.
    pub image_hosts: Vec<ImageHost>,
}

/// The rules that decide which requests may be sent to an upstream.
#[derive(Clone, Debug, Default)]
pub struct RequestRules {
    /// What the engine declares.
    pub declared: Vec<RequestRule>,
    /// What the grant allows.
    pub allowed: Vec<RequestRule>,
    /// What the grant denies. It takes precedence.
    pub denied: Vec<RequestRule>,
}

/// The secrets that the credentials of upstreams derive while the server runs, for redaction.
pub fn live_secrets(upstreams: &Upstreams) -> impl Iterator<Item = LiveSecrets> {
    let secrets = upstreams.values().map(|it| it.destination.live_secrets());
    secrets.flatten().cloned()
}

/// Why a request must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDenial<'a> {
    /// The engine declares this rule, which covers the request, but the grant does not allow it.
    NotGranted(&'a RequestRule),
    /// The engine does not declare the request, so it cannot be granted.
    NotDeclared,
}

impl RequestRules {
    /// Checks a request. `path` may have a query.
    pub fn check(&self, method: &Method, path: &str) -> Result<(), RequestDenial<'_>> {
        match self.find_denial(method, path) {
            Some(denial) if Guard::GrantedRequests.applies(true) => Err(denial),
            _ => Ok(()),
        }
    }

    pub(super) fn find_denial(&self, method: &Method, path: &str) -> Option<RequestDenial<'_>> {
        let path = path.split('?').next().unwrap_or_default();
        let covers = |rule: &&RequestRule| rule.covers(method, path);
        let Some(declared) = self.declared.iter().find(covers) else {
            return Some(RequestDenial::NotDeclared);
        };
        if let Some(denied) = self.denied.iter().find(covers) {
            return Some(RequestDenial::NotGranted(denied));
        }
        if self.allowed.iter().any(|rule| rule.covers(method, path)) {
            return None;
        }
        Some(RequestDenial::NotGranted(declared))
    }
}

/// Opens the declared upstreams whose base URL is set, with the requests that the grant allows.
///
/// A base URL may have a private IP address only if an administrator set it. An engine's default reaches
/// the public internet only.
pub fn open_upstreams(
    description: &Description,
    grant: &Grant,
    settings: &EngineSettings,
    egress: &Egress,
    tls: &Tls,
) -> Result<Upstreams, Refusal> {
    let mut upstreams = Upstreams::new();
    for declared in &description.upstreams {
        let Some(url) = settings.url(&declared.base_url) else {
            continue;
        };
        let base_url = BaseUrl {
            url: &url.url,
            allows_private: url.is_set,
            setting: &settings.setting_name(description, &declared.base_url),
        };
        let credential = settings.upstream_credential(description, declared)?;
        let destination = egress
            .destination(base_url, credential, tls)
            .map_err(|refusal| {
                let setting = setting_label(description, &declared.base_url);
                let remedy = user_in_url_remedy(description, declared, settings);
                refusal.map_reason(|reason| format!("{setting}: {reason}{remedy}"))
            })?;
        let declared_rules = declared
            .requests
            .iter()
            .map(|request| RequestRule::parse(request))
            .collect::<Result<_, _>>()?;
        let rules = RequestRules {
            declared: declared_rules,
            allowed: rules_for(&grant.allows, &declared.name),
            denied: rules_for(&grant.denies, &declared.name),
        };
        let hosts = declared
            .hosts
            .iter()
            .map(|host| ImageHost::parse(host))
            .collect::<Result<_, _>>()?;
        let image_hosts = declared
            .image_hosts
            .iter()
            .map(|host| ImageHost::parse(host))
            .collect::<Result<_, _>>()?;
        let upstream = Upstream {
            destination,
            rules,
            hosts,
            image_hosts,
        };
        upstreams.insert(declared.name.clone(), upstream);
    }
    Ok(upstreams)
}

/// Where an operator can put the user and password of a base URL; empty if the URL has none.
fn user_in_url_remedy(
    description: &Description,
    declared: &contract::Upstream,
    settings: &EngineSettings,
) -> String {
    let url = settings.url(&declared.base_url);
    let url = url.and_then(|it| Url::parse(&it.url).ok());
    if url.is_none_or(|url| url.username().is_empty() && url.password().is_none()) {
        return String::new();
    }
    let name = |key| settings.setting_name(description, key);
    match declared.credentials.first() {
        None => {
            let headers = name(HEADERS_KEY);
            format!(": remove them and put a header into {headers}")
        }
        Some(contract::Credential::Basic(key)) => {
            format!(": remove them and set {} to user:password", name(key))
        }
        Some(other) => format!(
            ": remove them, set {} to user:password and {} to basic",
            name(other.secret_key()),
            name(CREDENTIAL_KEY)
        ),
    }
}

/// The rights that are requests to this upstream.
fn rules_for(rights: &BTreeSet<Right>, name: &str) -> Vec<RequestRule> {
    let rule = |right: &Right| match right {
        Right::Request { upstream, request } if upstream == name => Some(request.clone()),
        _ => None,
    };
    rights.iter().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules([declared, allowed, denied]: [&[&str]; 3]) -> RequestRules {
        let list = |texts: &[&str]| {
            texts
                .iter()
                .map(|it| RequestRule::parse(it).unwrap())
                .collect()
        };
        RequestRules {
            declared: list(declared),
            allowed: list(allowed),
            denied: list(denied),
        }
    }

    #[test]
    fn request_rules_require_declaration_and_grant_without_denial() {
        let rules = rules([
            &["GET /a", "POST /a/", "GET /b/", "GET /c"],
            &["GET /a", "GET /b/x", "GET /c", "GET /d", "POST /a/"],
            &["GET /a/secret", "POST /a/"],
        ]);
        let check = |method: Method, path, expected: &str| {
            let result = match rules.check(&method, path) {
                Ok(()) => "yes".to_owned(),
                Err(RequestDenial::NotGranted(missing)) => missing.to_string(),
                Err(RequestDenial::NotDeclared) => "no".to_owned(),
            };
            assert_eq!(result, expected, "{method} {path}");
        };
        check(Method::GET, "/a/b", "yes");
        check(Method::GET, "/a/secret/x", "GET /a/secret");
        check(Method::POST, "/a/b", "POST /a/");
        check(Method::GET, "/b/x/y", "yes");
        check(Method::GET, "/b/y", "GET /b/");
        check(Method::GET, "/d", "no");
        check(Method::PUT, "/a", "no");
    }
}
