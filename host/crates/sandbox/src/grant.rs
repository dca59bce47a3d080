//! Grants: what engines declare, what administrators allow, and the difference.
//!
//! A grant is a set of [`Right`]s for one engine. It names the digest of the component that it was given
//! to. An engine may do what it declares *and* is granted: the server compares both
//! before a component serves, a description is [restricted](Grant::restrict) to the grant before anything reads it, and each
//! request is checked against both when it is sent.

mod image_hosts;
mod request_rule;
mod right;
mod upstreams;

use std::collections::BTreeSet;

use pinhole_ground::guard::Guard;

use crate::contract::Description;
use crate::engine_settings::own_variable;

pub use image_hosts::ImageHostSetting;
pub(crate) use image_hosts::{ImageDenial, origin_source};
pub use request_rule::RequestRule;
pub use right::{Right, declared_rights};
pub use upstreams::{
    RequestDenial, RequestRules, Upstream, Upstreams, live_secrets, open_upstreams,
};

/// What an administrator allowed an engine. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// SHA-256 of the component that it was given to, in hexadecimal.
    pub digest: String,
    /// The name of the component's file.
    pub file: String,
    pub allows: BTreeSet<Right>,
    /// Requests that an administrator denied. They take precedence over `allows`.
    pub denies: BTreeSet<Right>,
}

impl Grant {
    /// Allows all rights that a component declares.
    #[must_use]
    pub fn allow_all(digest: &str, file: &str, declared_rights: BTreeSet<Right>) -> Self {
        Self {
            digest: digest.to_owned(),
            file: file.to_owned(),
            allows: declared_rights,
            denies: BTreeSet::new(),
        }
    }

    /// The declared rights that this grant neither allows nor denies.
    #[must_use]
    pub fn new_rights(&self, declared_rights: &BTreeSet<Right>) -> BTreeSet<Right> {
        let is_known = |right: &Right| {
            self.allows
                .iter()
                .chain(&self.denies)
                .any(|known| known.includes(right))
        };
        declared_rights
            .iter()
            .filter(|right| !is_known(right))
            .cloned()
            .collect()
    }

    /// Removes the variables, settings, default URLs, upstreams and image hosts that are not granted.
    /// Requests stay, because each is checked when it is sent.
    #[must_use]
    pub fn restrict(&self, mut description: Description) -> Description {
        let engine = description.name.clone();
        description.settings.retain_mut(|setting| {
            let is_granted = |name: &str| {
                let right = right::variable_right(&setting.key, &setting.kind, name);
                !self.lacks(&right)
            };
            setting.generate_variables.retain(|name| is_granted(name));
            setting.edit_variables.retain(|name| is_granted(name));
            is_granted(&own_variable(&engine, &setting.key))
        });
        description.upstreams.retain(|upstream| {
            let name = &upstream.name;
            let mut credentials = upstream.credentials.iter();
            !self.lacks(&Right::BaseUrl {
                upstream: name.clone(),
                setting: upstream.base_url.clone(),
            }) && credentials.all(|it| !self.lacks(&right::credential_right(name, it)))
        });
        for upstream in &mut description.upstreams {
            let name = &upstream.name;
            upstream.image_hosts.retain(|host| {
                right::image_host_right(name, host).is_some_and(|right| !self.lacks(&right))
            });
            upstream.hosts.retain(|host| {
                right::host_right(name, host).is_some_and(|right| !self.lacks(&right))
            });
        }
        for upstream in &description.upstreams {
            let key = &upstream.base_url;
            let default = right::default_url_right(&description.settings, &upstream.name, key);
            if default.is_none_or(|right| !self.lacks(&right)) {
                continue;
            }
            let mut settings = description.settings.iter_mut();
            if let Some(setting) = settings.find(|setting| setting.key == *key) {
                setting.default = None;
            }
        }
        description
    }

    /// True if no allowed right includes this one.
    fn lacks(&self, right: &Right) -> bool {
        let is_allowed = self.allows.iter().any(|allowed| allowed.includes(right));
        Guard::GrantNarrows.applies(!is_allowed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::{
        Abilities, AwsCredential, Credential, GoogleCredential, SecretField, SecretHeader, Setting,
        SettingKind, Upstream as DeclaredUpstream,
    };

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
            upstreams: vec![DeclaredUpstream {
                name: "api".into(),
                base_url: "url".into(),
                credentials: vec![Credential::Bearer("key".into())],
                requests: vec!["GET /a".into()],
                hosts: vec!["*.api.draw".into()],
                image_hosts: vec!["*.draw".into()],
            }],
            parameters: Vec::new(),
            other_parameters: false,
        }
    }

    /// Asserts the new rights of a description after this change.
    fn check(change: impl FnOnce(&mut Description), expected: &[&str]) {
        let grant = Grant::allow_all("", "", declared_rights(&description()));
        let mut changed = description();
        change(&mut changed);
        let new_rights = grant.new_rights(&declared_rights(&changed));
        let lines: Vec<_> = new_rights.iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn new_rights_contain_everything_that_a_changed_description_adds() {
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
            |d| d.upstreams[0].image_hosts = vec!["cdn.draw".into()],
            &[],
        );
        check(
            |d| d.upstreams[0].image_hosts.push("cdn.example".into()),
            &["api images from cdn.example"],
        );
        check(
            |d| d.upstreams[0].image_hosts = vec!["*".into()],
            &["api images from any public host"],
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
                d.upstreams[0].credentials = vec![Credential::Header(SecretHeader {
                    name: "x-key".into(),
                    prefix: Some("Key".into()),
                    secret: "key".into(),
                })];
            },
            &["api with x-key: Key from key"],
        );
        check(
            |d| {
                d.upstreams[0].credentials = vec![
                    Credential::Aws(AwsCredential {
                        access_key_id: "note".into(),
                        secret_access_key: "key".into(),
                        session_token: None,
                        region: "note".into(),
                        service: "bedrock".into(),
                    }),
                    Credential::Google(GoogleCredential {
                        service_account: "key".into(),
                        scope: "https://scope".into(),
                    }),
                ];
            },
            &[
                "api with a Google token (https://scope) from key",
                "api with an AWS signature (bedrock) from note, key, note",
            ],
        );
        check(
            |d| {
                let field = |name: &str| SecretField {
                    name: name.into(),
                    secret: "key".into(),
                };
                d.upstreams[0]
                    .credentials
                    .push(Credential::Query(field("q")));
                d.upstreams[0]
                    .credentials
                    .push(Credential::Body(field("/a")));
            },
            &[
                "api with body field /a from key",
                "api with query parameter q from key",
            ],
        );
        check(
            |d| d.upstreams[0].hosts.push("*.eu.example".into()),
            &["api also at *.eu.example"],
        );
        check(
            |d| d.upstreams[0].name = "other".into(),
            &[
                "other at url",
                "other at https://draw, by default",
                "other with authorization: Bearer from key",
                "other GET /a",
                "other also at *.api.draw",
                "other images from *.draw",
            ],
        );
    }

    #[test]
    fn right_of_an_earlier_contract_is_that_of_the_same_header() {
        for (header, credential) in [
            ("authorization: Bearer", Credential::Bearer("key".into())),
            ("authorization: Basic", Credential::Basic("key".into())),
            (
                "x-key",
                Credential::Header(SecretHeader {
                    name: "x-key".into(),
                    prefix: None,
                    secret: "key".into(),
                }),
            ),
        ] {
            let stored = json!({
                "credential": {"upstream": "api", "header": header, "setting": "key"}
            });
            let parsed: Right = serde_json::from_value(stored).unwrap();
            assert_eq!(parsed, right::credential_right("api", &credential));
        }
    }

    #[test]
    fn new_rights_omit_denied_requests() {
        let mut grant = Grant::allow_all("", "", declared_rights(&description()));
        let request = Right::Request {
            upstream: "api".into(),
            request: RequestRule::parse("GET /a").unwrap(),
        };
        assert!(grant.allows.remove(&request));
        assert_eq!(
            grant.new_rights(&declared_rights(&description())),
            [request.clone()].into()
        );
        grant.denies.insert(request);
        assert!(
            grant
                .new_rights(&declared_rights(&description()))
                .is_empty()
        );
    }

    #[test]
    fn restrict_removes_everything_that_is_not_granted() {
        let all = declared_rights(&description());
        let restricted = |is_allowed: &dyn Fn(&Right) -> bool| {
            let mut grant = Grant::allow_all("", "", all.clone());
            grant.allows.retain(is_allowed);
            grant.restrict(description())
        };
        let whole = restricted(&|_| true);
        assert_eq!((whole.settings.len(), whole.upstreams.len()), (3, 1));
        assert_eq!(declared_rights(&whole), all);

        let nothing = Grant::default().restrict(description());
        assert!(nothing.settings.is_empty() && nothing.upstreams.is_empty());

        let keyless = restricted(&|right| !matches!(right, Right::Credential { .. }));
        assert!(keyless.upstreams.is_empty());
        let nowhere = restricted(&|right| !matches!(right, Right::BaseUrl { .. }));
        assert!(nowhere.upstreams.is_empty());
        let unset = restricted(&|right| !matches!(right, Right::DefaultUrl { .. }));
        assert_eq!(unset.settings[0].default, None);
        let imageless = restricted(&|right| !matches!(right, Right::ImageHost { .. }));
        assert!(imageless.upstreams[0].image_hosts.is_empty());
        let unread = restricted(&|right| right.to_string() != "setting note from DRAW_NOTE");
        assert!(unread.settings[2].generate_variables.is_empty());
        let plain = restricted(&|right| !right.to_string().starts_with("secret key from PINHOLE"));
        assert_eq!(plain.settings.len(), 2);
    }
}
