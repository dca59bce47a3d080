//! The WIT contract (`wit/engine.wit`) as Rust types, which `bindgen!` generates.
//!
//! This module sits at the bottom of the crate, so that settings, grants and admission
//! can name the contract's types without depending on each other.

mod upstream_error;

/// The package and version of the contract that this host implements.
pub const PACKAGE: &str = "pinhole:engine";
pub const VERSION: &str = "0.2.0";

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "image-engine-with-explain",
    imports: { default: async | trappable },
    exports: { default: async },
    trappable_error_type: {
        "pinhole:engine/upstream.error" => crate::contract::UpstreamError,
    },
    with: {
        "pinhole:engine/images.image": crate::resources::ImageResource,
        "pinhole:engine/upstream.document": crate::resources::DocumentResource,
        "pinhole:engine/upstream.response": crate::resources::ResponseResource,
        "pinhole:engine/upstream.pending": crate::resources::PendingResource,
        "pinhole:engine/upstream.message": crate::resources::MessageResource,
        "pinhole:engine/upstream.socket": crate::resources::SocketResource,
    },
});

pub use exports::pinhole::engine::engine::{
    Abilities, AwsCredential, Cost, Credential, Description, GoogleCredential, IntegerRange,
    MadeImage, NumberRange, Output, Parameter, ParameterKind, SecretField, SecretHeader, Setting,
    SettingKind, Upstream, Verification,
};
pub use exports::pinhole::engine::explain::{Explanation, Placement};
pub use pinhole::engine::types::{
    Error as EngineError, ErrorKind, Job, Model, ModelAbilities, SettingValue, Size,
};
pub use upstream_error::UpstreamError;

impl ErrorKind {
    const ALL: [Self; 14] = [
        Self::Invalid,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Quota,
        Self::RateLimited,
        Self::Blocked,
        Self::NotFound,
        Self::OutOfMemory,
        Self::Unavailable,
        Self::Timeout,
        Self::Cancelled,
        Self::Unsupported,
        Self::Upstream,
        Self::Protocol,
    ];

    /// The kind with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The case's name in `wit/engine.wit`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::RateLimited => "rate-limited",
            Self::Blocked => "blocked",
            Self::NotFound => "not-found",
            Self::OutOfMemory => "out-of-memory",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unsupported => "unsupported",
            Self::Upstream => "upstream",
            Self::Protocol => "protocol",
        }
    }
}

impl Credential {
    /// The key of the setting that holds the secret.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        match self {
            Self::Bearer(key) | Self::Basic(key) => key,
            Self::Header(SecretHeader { secret, .. })
            | Self::Query(SecretField { secret, .. })
            | Self::Body(SecretField { secret, .. }) => secret,
            Self::Aws(AwsCredential {
                secret_access_key, ..
            }) => secret_access_key,
            Self::Google(GoogleCredential {
                service_account, ..
            }) => service_account,
        }
    }
}

impl Credential {
    /// The keys of all settings that it needs or uses.
    pub fn setting_keys(&self) -> Vec<&str> {
        match self {
            Self::Aws(aws) => [
                Some(&aws.access_key_id),
                Some(&aws.secret_access_key),
                aws.session_token.as_ref(),
                Some(&aws.region),
            ]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect(),
            other => vec![other.secret_key()],
        }
    }
}

impl Upstream {
    /// The key of the setting that holds its first secret, which the operator can send in another form.
    #[must_use]
    pub fn secret_key(&self) -> Option<&str> {
        self.credentials.first().map(Credential::secret_key)
    }
}

impl Default for Explanation {
    /// Nothing to explain.
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl Default for Verification {
    /// Nothing to report.
    fn default() -> Self {
        Self {
            server: None,
            problems: Vec::new(),
        }
    }
}

impl Default for Description {
    /// No name, settings, upstreams or parameters.
    fn default() -> Self {
        Self {
            name: String::new(),
            title: String::new(),
            version: String::new(),
            abilities: Abilities::default(),
            settings: Vec::new(),
            upstreams: Vec::new(),
            parameters: Vec::new(),
            other_parameters: false,
        }
    }
}

impl Default for Abilities {
    /// One image per job, from a prompt; no other ability.
    fn default() -> Self {
        Self {
            edit: false,
            mask: false,
            progress: false,
            cancel: false,
            negative_prompt: false,
            seed: false,
            steps: false,
            strength: false,
            max_count: 1,
            max_sources: 0,
        }
    }
}
