//! One thing that an engine declares and an administrator grants, and all that a description
//! declares.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Allowed;
use crate::contract::{Credential, Description, Setting, SettingKind};
use crate::engine_settings::own_variable;

/// One thing that an engine declares and an administrator grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Right {
    /// To reach an upstream at the address that a setting holds.
    Address {
        /// The upstream's name.
        upstream: String,
        /// The key of the setting.
        setting: String,
    },
    /// To reach it at this address, where nobody has set one.
    Default {
        /// The upstream's name.
        upstream: String,
        /// As the engine declares it.
        url: String,
    },
    /// To have the host send a secret along.
    Credential {
        /// The upstream's name.
        upstream: String,
        /// The header and its scheme, such as `authorization: Bearer`.
        header: String,
        /// The key of the secret setting.
        setting: String,
    },
    /// To use a method on paths of an upstream.
    Request {
        /// The upstream's name.
        upstream: String,
        /// The method and the paths.
        request: Allowed,
    },
    /// To have a setting read from an environment variable, or from what is stored over it.
    Variable {
        /// The variable's name.
        name: String,
        /// The key of the setting.
        setting: String,
        /// The host keeps the value to itself; otherwise the guest sees it.
        secret: bool,
    },
}

impl Right {
    /// Does it allow all that the other allows?
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Request { upstream, request },
                Self::Request {
                    upstream: same,
                    request: narrower,
                },
            ) => upstream == same && request.includes(narrower),
            _ => self == other,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { upstream, setting } => write!(f, "{upstream} at {setting}"),
            Self::Default { upstream, url } => write!(f, "{upstream} at {url}, by default"),
            Self::Credential {
                upstream,
                header,
                setting,
            } => write!(f, "{upstream} with {header} from {setting}"),
            Self::Request { upstream, request } => write!(f, "{upstream} {request}"),
            Self::Variable {
                name,
                setting,
                secret: true,
            } => write!(f, "secret {setting} from {name}"),
            Self::Variable { name, setting, .. } => write!(f, "setting {setting} from {name}"),
        }
    }
}

/// All that a description declares. Each setting is read from its own variable too.
#[must_use]
pub fn declared(description: &Description) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for setting in &description.settings {
        let variables = setting.generate_variables.iter().cloned();
        let variables = variables.chain(setting.edit_variables.iter().cloned());
        let own = own_variable(&description.name, &setting.key);
        rights.extend(variables.chain([own]).map(|name| Right::Variable {
            name,
            setting: setting.key.clone(),
            secret: matches!(setting.kind, SettingKind::Secret),
        }));
    }
    for declared in &description.upstreams {
        let upstream = || declared.name.clone();
        rights.insert(Right::Address {
            upstream: upstream(),
            setting: declared.base_url.clone(),
        });
        let settings = &description.settings;
        rights.extend(default(settings, &declared.name, &declared.base_url));
        rights.extend(credential(&declared.name, &declared.credential));
        let requests = declared.requests.iter();
        // What cannot be parsed can be asked by nobody.
        let requests = requests.filter_map(|text| Allowed::parse(text).ok());
        rights.extend(requests.map(|request| Right::Request {
            upstream: upstream(),
            request,
        }));
    }
    rights
}

/// The address that an engine brings along for an upstream, in the setting with this key.
pub(super) fn default(settings: &[Setting], upstream: &str, key: &str) -> Option<Right> {
    let setting = settings.iter().find(|setting| setting.key == key)?;
    let json = setting.default.as_deref()?;
    Some(Right::Default {
        upstream: upstream.to_owned(),
        url: serde_json::from_str(json).unwrap_or_else(|_| json.to_owned()),
    })
}

/// What the host shall send along to an upstream, if anything.
pub(super) fn credential(upstream: &str, credential: &Credential) -> Option<Right> {
    let (header, setting) = match credential {
        Credential::None => return None,
        Credential::Bearer(key) => ("authorization: Bearer", key),
        Credential::Basic(key) => ("authorization: Basic", key),
        Credential::Header((name, key)) => (name.as_str(), key),
    };
    Some(Right::Credential {
        upstream: upstream.to_owned(),
        header: header.to_owned(),
        setting: setting.clone(),
    })
}
