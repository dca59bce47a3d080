//! Rights: what an engine declares and an administrator grants.

use std::collections::BTreeSet;
use std::fmt;

use pinhole_egress::ImageHost;
use serde::{Deserialize, Serialize};

use super::RequestRule;
use crate::contract::{Credential, Description, SecretHeader, Setting, SettingKind};
use crate::engine_settings::own_variable;

/// One right of an engine. The serialized form is that of grant files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Right {
    /// To send requests to an upstream at the URL in a setting.
    #[serde(rename = "address")]
    BaseUrl {
        /// The upstream's name, here and below.
        upstream: String,
        /// The setting's key, here and below.
        setting: String,
    },
    /// To send requests to an upstream at this URL while no administrator has set another.
    #[serde(rename = "default")]
    DefaultUrl { upstream: String, url: String },
    /// To let the host send a secret to an upstream.
    Credential {
        upstream: String,
        /// What is sent: a header and its scheme, such as `authorization: Bearer`, or another form.
        header: String,
        /// Several keys with commas, if it uses several settings.
        setting: String,
    },
    /// To send some requests to an upstream.
    Request {
        upstream: String,
        request: RequestRule,
    },
    /// To send requests to this host too, at URLs that an upstream's responses name.
    Host { upstream: String, host: ImageHost },
    /// To fetch images that an upstream's responses name by URL, from these hosts.
    ImageHost { upstream: String, host: ImageHost },
    /// To have a setting set by an environment variable, or by the stored value that overrides it.
    Variable {
        /// The variable's name.
        name: String,
        setting: String,
        /// True if the host never passes the value to the engine.
        secret: bool,
    },
}

impl Right {
    /// True if it allows everything that the other right allows.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Request { upstream, request },
                Self::Request {
                    upstream: other_upstream,
                    request: other_request,
                },
            ) => upstream == other_upstream && request.includes(other_request),
            (
                Self::ImageHost { upstream, host },
                Self::ImageHost {
                    upstream: other_upstream,
                    host: other_host,
                },
            ) => upstream == other_upstream && host.includes(other_host),
            (
                Self::Host { upstream, host },
                Self::Host {
                    upstream: other_upstream,
                    host: other_host,
                },
            ) => upstream == other_upstream && host.includes(other_host),
            _ => self == other,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseUrl { upstream, setting } => write!(f, "{upstream} at {setting}"),
            Self::DefaultUrl { upstream, url } => write!(f, "{upstream} at {url}, by default"),
            Self::Credential {
                upstream,
                header,
                setting,
            } => write!(f, "{upstream} with {header} from {setting}"),
            Self::Request { upstream, request } => write!(f, "{upstream} {request}"),
            Self::ImageHost {
                upstream,
                host: ImageHost::Any,
            } => write!(f, "{upstream} images from any public host"),
            Self::Host { upstream, host } => write!(f, "{upstream} also at {host}"),
            Self::ImageHost { upstream, host } => write!(f, "{upstream} images from {host}"),
            Self::Variable {
                name,
                setting,
                secret: true,
            } => write!(f, "secret {setting} from {name}"),
            Self::Variable { name, setting, .. } => write!(f, "setting {setting} from {name}"),
        }
    }
}

/// All rights that a description declares. Each setting can also be set by its
/// [own variable](own_variable).
#[must_use]
pub fn declared_rights(description: &Description) -> BTreeSet<Right> {
    let settings = &description.settings;
    let mut rights = BTreeSet::new();
    for setting in settings {
        let own = own_variable(&description.name, &setting.key);
        let names = setting
            .generate_variables
            .iter()
            .chain(&setting.edit_variables)
            .chain([&own]);
        rights.extend(names.map(|name| variable_right(&setting.key, &setting.kind, name)));
    }
    for upstream in &description.upstreams {
        let name = &upstream.name;
        rights.insert(Right::BaseUrl {
            upstream: name.clone(),
            setting: upstream.base_url.clone(),
        });
        rights.extend(default_url_right(settings, name, &upstream.base_url));
        let credentials = upstream.credentials.iter();
        rights.extend(credentials.map(|it| credential_right(name, it)));
        let hosts = upstream.hosts.iter();
        rights.extend(hosts.filter_map(|host| host_right(name, host)));
        // An invalid rule is not a right, so it covers no request.
        let rules = upstream
            .requests
            .iter()
            .filter_map(|request| RequestRule::parse(request).ok());
        rights.extend(rules.map(|request| Right::Request {
            upstream: name.clone(),
            request,
        }));
        let image_hosts = upstream
            .image_hosts
            .iter()
            .filter_map(|host| image_host_right(name, host));
        rights.extend(image_hosts);
    }
    rights
}

/// The right to set the setting with this key by this variable.
pub(super) fn variable_right(key: &str, kind: &SettingKind, name: &str) -> Right {
    Right::Variable {
        name: name.to_owned(),
        setting: key.to_owned(),
        secret: matches!(kind, SettingKind::Secret),
    }
}

/// The right to use the default of the setting with this key as an upstream's URL, if it has a default.
pub(super) fn default_url_right(settings: &[Setting], upstream: &str, key: &str) -> Option<Right> {
    let setting = settings.iter().find(|setting| setting.key == key)?;
    let json = setting.default.as_deref()?;
    Some(Right::DefaultUrl {
        upstream: upstream.to_owned(),
        url: serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
    })
}

/// The right to fetch images from this host; `None` if it is invalid, so that it covers none.
pub(super) fn image_host_right(upstream: &str, host: &str) -> Option<Right> {
    Some(Right::ImageHost {
        upstream: upstream.to_owned(),
        host: ImageHost::parse(host).ok()?,
    })
}

/// The right to send requests to this host too; `None` if it is invalid, so that it covers none.
pub(super) fn host_right(upstream: &str, host: &str) -> Option<Right> {
    Some(Right::Host {
        upstream: upstream.to_owned(),
        host: ImageHost::parse(host).ok()?,
    })
}

/// The right to let the host send a secret to an upstream.
pub(super) fn credential_right(upstream: &str, credential: &Credential) -> Right {
    let header = match credential {
        Credential::Bearer(_) => "authorization: Bearer".to_owned(),
        Credential::Basic(_) => "authorization: Basic".to_owned(),
        Credential::Header(SecretHeader { name, prefix, .. }) => match prefix {
            Some(prefix) => format!("{name}: {prefix}"),
            None => name.clone(),
        },
        Credential::Query(field) => format!("query parameter {}", field.name),
        Credential::Body(field) => format!("body field {}", field.name),
        Credential::Aws(aws) => format!("an AWS signature ({})", aws.service),
        Credential::Google(google) => format!("a Google token ({})", google.scope),
    };
    Right::Credential {
        upstream: upstream.to_owned(),
        header,
        setting: credential.setting_keys().join(", "),
    }
}
