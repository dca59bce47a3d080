//! What an engine declared, what an administrator granted, and the difference.
//!
//! A grant is a list of [`Right`]s for one engine, bound to the digest of the component that it was
//! given to. What the engine may do is what it declares *and* is granted.

mod stored;
mod request_rule;
mod right;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use pinhole_ground::guard::Guard;
use pinhole_egress::{Credential, Destination, Egress, Place, Tls};
use crate::contract::{self, Description, SettingKind};
use crate::engine_settings::{EngineSettings, own_variable};

pub use stored::Grants;
pub use request_rule::Allowed;
pub use right::{Right, declared};

/// What an administrator granted an engine. Empty means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// SHA-256 of the component that it was given to, in hexadecimal.
    pub digest: String,
    /// The component's file in the folder of engines.
    pub file: String,
    /// What the engine may do, where it declares it.
    pub allows: BTreeSet<Right>,
    /// What an administrator took away: requests that stay refused, whatever else is allowed.
    pub denies: BTreeSet<Right>,
}

/// What becomes of an engine whose name has no grant yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstUse {
    /// It is granted what it declares: an administrator put its file there.
    #[default]
    Declared,
    /// It waits until an administrator grants it.
    Explicit,
}

/// The upstreams that one engine may reach, by the name it gave them. Empty means none.
pub type Upstreams = BTreeMap<String, Upstream>;

/// One upstream: where it is, and what may be asked of it.
#[derive(Debug)]
pub struct Upstream {
    /// Where, with credential and connections.
    pub destination: Destination,
    rules: Rules,
}

/// What may be asked of an upstream.
#[derive(Clone, Debug, Default)]
struct Rules {
    declared: Vec<Allowed>,
    allowed: Vec<Allowed>,
    denied: Vec<Allowed>,
}

/// May a request be sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is declared and granted.
    Allowed,
    /// This is declared, but not granted.
    NotGranted(&'a Allowed),
    /// The engine does not declare it.
    NotDeclared,
}

impl Grant {
    /// All that a component declares.
    #[must_use]
    pub fn all(digest: &str, file: &str, declared: BTreeSet<Right>) -> Self {
        Self {
            digest: digest.to_owned(),
            file: file.to_owned(),
            allows: declared,
            denies: BTreeSet::new(),
        }
    }

    /// What of this was neither allowed nor taken away: what an administrator has not seen yet.
    #[must_use]
    pub fn unseen(&self, declared: &BTreeSet<Right>) -> BTreeSet<Right> {
        let seen = |right: &&Right| {
            let mut known = self.allows.iter().chain(&self.denies);
            known.any(|known| known.includes(right))
        };
        declared
            .iter()
            .filter(|right| !seen(right))
            .cloned()
            .collect()
    }

    /// The description without the variables, settings and upstreams that are not granted. Requests
    /// stay: each is judged when it is made.
    #[must_use]
    pub fn narrow(&self, mut description: Description) -> Description {
        if !Guard::GrantNarrows.holds() {
            return description;
        }
        let engine = description.name.clone();
        description.settings.retain_mut(|setting| {
            let granted = |name: &str| {
                self.allows.contains(&Right::Variable {
                    name: name.to_owned(),
                    setting: setting.key.clone(),
                    secret: matches!(setting.kind, SettingKind::Secret),
                })
            };
            setting.generate_variables.retain(|name| granted(name));
            setting.edit_variables.retain(|name| granted(name));
            granted(&own_variable(&engine, &setting.key))
        });
        description.upstreams.retain(|declared| {
            let address = Right::Address {
                upstream: declared.name.clone(),
                setting: declared.base_url.clone(),
            };
            let credential = right::credential(&declared.name, &declared.credential);
            self.allows.contains(&address)
                && credential.is_none_or(|right| self.allows.contains(&right))
        });
        for upstream in &description.upstreams {
            let default = right::default(&description.settings, &upstream.name, &upstream.base_url);
            if default.is_some_and(|right| !self.allows.contains(&right)) {
                let mut settings = description.settings.iter_mut();
                if let Some(setting) = settings.find(|it| it.key == upstream.base_url) {
                    setting.default = None;
                }
            }
        }
        description
    }
}

/// Opens the declared upstreams whose base URL is set, with what the grant allows of them.
///
/// Private addresses are permitted only where the administrator named the base URL: a default
/// that the engine brought along reaches nothing but the public internet.
pub fn upstreams(
    description: &Description,
    grant: &Grant,
    settings: &EngineSettings,
    (egress, tls): (&Egress, &Tls),
) -> Result<Upstreams, String> {
    let mut open = Upstreams::new();
    for declared in &description.upstreams {
        let Some((base, named)) = settings.url(&declared.base_url) else {
            continue;
        };
        let credential = credential(description, &declared.credential, settings)?;
        let setting = variable(description, settings, &declared.base_url);
        let place = Place {
            base: &base,
            named,
            setting: &setting,
        };
        let destination = egress
            .destination(place, credential, tls)
            .map_err(|error| {
                format!("{}: {error}", setting_name(description, &declared.base_url))
            })?;
        let requests = declared.requests.iter().map(|text| Allowed::parse(text));
        let upstream = Upstream {
            destination,
            rules: Rules {
                declared: requests.collect::<Result<_, _>>()?,
                allowed: requests_in(&grant.allows, &declared.name),
                denied: requests_in(&grant.denies, &declared.name),
            },
        };
        open.insert(declared.name.clone(), upstream);
    }
    Ok(open)
}

/// The variable that sets this key, or would set it.
fn variable(description: &Description, settings: &EngineSettings, key: &str) -> String {
    let mut declared = description.settings.iter();
    let declared = declared.find(|setting| setting.key == key);
    let first = declared.and_then(|setting| setting.generate_variables.first());
    match settings.variable(key).or(first.map(String::as_str)) {
        Some(variable) => variable.to_owned(),
        None => own_variable(&description.name, key),
    }
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
    declared: &contract::Credential,
    settings: &EngineSettings,
) -> Result<Credential, String> {
    let with = |key: &str, build: &dyn Fn(&str) -> Result<Credential, String>| {
        let built = settings.secret(key).map(build).transpose();
        let built = built.map_err(|why| format!("{}: {why}", setting_name(description, key)));
        built.map(Option::unwrap_or_default)
    };
    match declared {
        contract::Credential::None => Ok(Credential::default()),
        contract::Credential::Bearer(key) => with(key, &Credential::bearer),
        contract::Credential::Basic(key) => with(key, &Credential::basic),
        contract::Credential::Header((name, key)) => {
            with(key, &|secret| Credential::header(name, secret))
        }
    }
}

/// Those of the rights that are requests to this upstream.
fn requests_in(rights: &BTreeSet<Right>, name: &str) -> Vec<Allowed> {
    let requests = rights.iter().filter_map(|right| match right {
        Right::Request { upstream, request } if upstream == name => Some(request.clone()),
        _ => None,
    });
    requests.collect()
}

impl Upstream {
    /// May this be asked? `path` may carry a query.
    #[must_use]
    pub fn verdict(&self, method: &Method, path: &str) -> Verdict<'_> {
        let path = path.split('?').next().unwrap_or_default();
        self.rules.verdict(method, path)
    }
}

impl Rules {
    /// Declared, allowed, and not denied: that stays so where something wider is allowed.
    fn verdict(&self, method: &Method, path: &str) -> Verdict<'_> {
        let covers = |it: &&Allowed| it.covers(method, path);
        let declared = self.declared.iter().find(covers);
        let denied = self.denied.iter().find(covers);
        let allowed = self.allowed.iter().find(covers);
        match (declared, denied, allowed) {
            _ if !Guard::GrantedRequests.holds() => Verdict::Allowed,
            (None, ..) => Verdict::NotDeclared,
            (_, Some(denied), _) => Verdict::NotGranted(denied),
            (Some(declared), _, None) => Verdict::NotGranted(declared),
            (Some(_), None, Some(_)) => Verdict::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::exports::pinhole::engine::engine::Upstream as Described;
    use crate::contract::{Abilities, Setting};

    fn rules([declared, allowed, denied]: [&[&str]; 3]) -> Rules {
        let list = |texts: &[&str]| texts.iter().map(|it| Allowed::parse(it).unwrap()).collect();
        Rules {
            declared: list(declared),
            allowed: list(allowed),
            denied: list(denied),
        }
    }

    #[test]
    fn what_is_declared_allowed_and_not_denied_may_be_asked() {
        let rules = rules([
            &["GET /a", "POST /a/", "GET /b/", "GET /c"],
            &["GET /a", "GET /b/x", "GET /c", "GET /d", "POST /a/"],
            &["GET /a/secret", "POST /a/"],
        ]);
        let check = |method: Method, path, expected: &str| {
            let said = match rules.verdict(&method, path) {
                Verdict::Allowed => "yes".to_owned(),
                Verdict::NotGranted(missing) => missing.to_string(),
                Verdict::NotDeclared => "no".to_owned(),
            };
            assert_eq!(said, expected, "{method} {path}");
        };
        check(Method::GET, "/a/b", "yes");
        check(Method::GET, "/a/secret/x", "GET /a/secret");
        check(Method::POST, "/a/b", "POST /a/");
        check(Method::GET, "/b/x/y", "yes");
        check(Method::GET, "/b/y", "GET /b/");
        check(Method::GET, "/d", "no");
        check(Method::PUT, "/a", "no");
    }

    fn description() -> Description {
        let setting = |key: &str, kind, default: Option<&str>| Setting {
            key: key.into(),
            title: String::new(),
            description: String::new(),
            kind,
            default: default.map(|text| format!("{text:?}")),
            generate_variables: vec![format!("DRAW_{}", key.to_uppercase())],
            edit_variables: vec![],
        };
        Description {
            name: "draw".into(),
            title: "Draw".into(),
            version: "1".into(),
            abilities: Abilities::default(),
            settings: vec![
                setting("url", SettingKind::Url, Some("https://draw")),
                setting("key", SettingKind::Secret, None),
                setting("note", SettingKind::Text, None),
            ],
            upstreams: vec![Described {
                name: "api".into(),
                base_url: "url".into(),
                credential: contract::Credential::Bearer("key".into()),
                requests: vec!["GET /a".into()],
            }],
        }
    }

    /// After this change the description declares these lines more.
    fn check(change: impl FnOnce(&mut Description), expected: &[&str]) {
        let grant = Grant::all("", "", declared(&description()));
        let mut changed = description();
        change(&mut changed);
        let more = grant.unseen(&declared(&changed));
        let lines: Vec<_> = more.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn whatever_is_declared_more_is_seen() {
        check(|_| (), &[]);
        check(|d| d.title = "Other".into(), &[]);
        check(|d| d.settings.truncate(2), &[]);
        check(|d| d.upstreams.clear(), &[]);
        check(|d| d.settings[0].default = None, &[]);
        check(|d| d.upstreams[0].requests = vec!["GET /a/b".into()], &[]);
        check(
            |d| d.upstreams[0].requests = vec!["GET /".into()],
            &["api GET /"],
        );
        check(
            |d| d.upstreams[0].requests.push("POST /a".into()),
            &["api POST /a"],
        );
        check(
            |d| d.settings[0].default = Some("\"https://evil\"".into()),
            &["api at https://evil, by default"],
        );
        check(
            |d| d.settings[2].generate_variables = vec!["DRAW_KEY".into()],
            &["setting note from DRAW_KEY"],
        );
        check(
            |d| d.settings[1].kind = SettingKind::Text,
            &[
                "setting key from DRAW_KEY",
                "setting key from PINHOLE_DRAW_KEY",
            ],
        );
        check(
            |d| {
                d.upstreams[0].credential =
                    contract::Credential::Header(("x-key".into(), "key".into()));
            },
            &["api with x-key from key"],
        );
        check(
            |d| d.upstreams[0].name = "other".into(),
            &[
                "other at url",
                "other at https://draw, by default",
                "other with authorization: Bearer from key",
                "other GET /a",
            ],
        );
    }

    #[test]
    fn what_was_taken_away_is_not_asked_for_again() {
        let mut grant = Grant::all("", "", declared(&description()));
        let request = Right::Request {
            upstream: "api".into(),
            request: Allowed::parse("GET /a").unwrap(),
        };
        assert!(grant.allows.remove(&request));
        assert_eq!(
            grant.unseen(&declared(&description())),
            [request.clone()].into()
        );
        grant.denies.insert(request);
        assert!(grant.unseen(&declared(&description())).is_empty());
    }

    #[test]
    fn a_description_is_narrowed_to_what_is_granted() {
        let all = declared(&description());
        let narrowed = |keep: &dyn Fn(&Right) -> bool| {
            let mut grant = Grant::all("", "", all.clone());
            grant.allows.retain(keep);
            grant.narrow(description())
        };
        let whole = narrowed(&|_| true);
        assert_eq!((whole.settings.len(), whole.upstreams.len()), (3, 1));
        assert_eq!(declared(&whole), all);

        let nothing = Grant::default().narrow(description());
        assert!(nothing.settings.is_empty() && nothing.upstreams.is_empty());

        let keyless = narrowed(&|right| !matches!(right, Right::Credential { .. }));
        assert!(keyless.upstreams.is_empty());
        let nowhere = narrowed(&|right| !matches!(right, Right::Address { .. }));
        assert!(nowhere.upstreams.is_empty());
        let unset = narrowed(&|right| !matches!(right, Right::Default { .. }));
        assert_eq!(unset.settings[0].default, None);
        let unread = narrowed(&|right| right.to_string() != "setting note from DRAW_NOTE");
        assert!(unread.settings[2].generate_variables.is_empty());
        let plain = narrowed(&|right| !right.to_string().starts_with("secret key from PINHOLE"));
        assert_eq!(plain.settings.len(), 2);
    }
}
