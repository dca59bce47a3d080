//! Defaults and constructors for what an engine declares: its description, its models and its parameters.
//!
//! ```
//! use pinhole_sdk::{Abilities, Credential, Description, Parameter, Upstream};
//!
//! let description = Description {
//!     name: "fox".into(),
//!     abilities: Abilities { seed: true, ..Abilities::default() },
//!     upstreams: vec![Upstream {
//!         name: "api".into(),
//!         base_url: "base-url".into(),
//!         credentials: vec![Credential::Bearer("api-key".into())],
//!         requests: vec!["POST /v1/images".into()],
//!         ..Upstream::default()
//!     }],
//!     parameters: vec![Parameter::number("guidance", 0.0, 20.0)],
//!     ..Description::default()
//! };
//! ```

use crate::{
    Abilities, Description, IntegerRange, Model, ModelAbilities, NumberRange, Parameter,
    ParameterKind, SecretHeader, Upstream,
};

impl Default for Description {
    /// No settings, upstreams or parameters. Name, title and version are empty: set them.
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
    /// One image per job, from a prompt only.
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

impl Default for Upstream {
    /// No credentials, requests or further hosts. The name and the base URL's setting are empty: set them.
    fn default() -> Self {
        Self {
            name: String::new(),
            base_url: String::new(),
            credentials: Vec::new(),
            requests: Vec::new(),
            hosts: Vec::new(),
            image_hosts: Vec::new(),
        }
    }
}

impl SecretHeader {
    /// The header with this name, and the secret of this setting as its value.
    ///
    /// ```
    /// use pinhole_sdk::{Credential, SecretHeader};
    ///
    /// let credential = Credential::Header(SecretHeader::new("x-api-key", "api-key"));
    /// ```
    #[must_use]
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.into(),
            prefix: None,
            secret: secret.into(),
        }
    }

    /// With a word before the secret: `authorization: Key SECRET`.
    ///
    /// ```
    /// use pinhole_sdk::SecretHeader;
    ///
    /// let header = SecretHeader::new("authorization", "api-key").with_prefix("Key");
    /// assert_eq!(header.prefix.as_deref(), Some("Key"));
    /// ```
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = Some(prefix.into());
        self
    }
}

impl Model {
    /// A model with this id and display name, and the engine's abilities.
    ///
    /// ```
    /// use pinhole_sdk::Model;
    ///
    /// let model = Model::new("flux-schnell", "FLUX schnell");
    /// assert!(model.abilities.is_none());
    /// ```
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            abilities: None,
        }
    }

    /// With abilities of its own.
    ///
    /// ```
    /// use pinhole_sdk::{Abilities, Model, ModelAbilities, Size};
    ///
    /// let small = ModelAbilities {
    ///     sizes: vec![Size::new(512, 512)],
    ///     ..Abilities::default().into()
    /// };
    /// let model = Model::new("small", "Small").with_abilities(small);
    /// ```
    #[must_use]
    pub fn with_abilities(mut self, abilities: ModelAbilities) -> Self {
        self.abilities = Some(abilities);
        self
    }
}

impl From<Abilities> for ModelAbilities {
    /// The same abilities, for any size.
    fn from(abilities: Abilities) -> Self {
        Self {
            edit: abilities.edit,
            mask: abilities.mask,
            negative_prompt: abilities.negative_prompt,
            seed: abilities.seed,
            steps: abilities.steps,
            strength: abilities.strength,
            max_count: abilities.max_count,
            max_sources: abilities.max_sources,
            sizes: Vec::new(),
            aspect_ratios: Vec::new(),
        }
    }
}

/// ```
/// use pinhole_sdk::{Parameter, ParameterKind};
///
/// let guidance = Parameter::number("guidance", 0.0, 20.0)
///     .with_title("Guidance", "How closely the image follows the prompt.")
///     .with_default("3.5");
/// assert!(matches!(guidance.kind, ParameterKind::Number(_)));
/// ```
impl Parameter {
    /// A parameter of this kind.
    ///
    /// ```
    /// use pinhole_sdk::{Parameter, ParameterKind};
    ///
    /// let tiling = Parameter::new("tiling", ParameterKind::Boolean);
    /// assert_eq!(tiling.name, "tiling");
    /// ```
    #[must_use]
    pub fn new(name: &str, kind: ParameterKind) -> Self {
        Self {
            name: name.into(),
            title: String::new(),
            description: String::new(),
            kind,
            default: None,
            unit: None,
        }
    }

    /// An integer from `min` to `max`.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let quality = Parameter::integer("quality", 1, 100);
    /// ```
    #[must_use]
    pub fn integer(name: &str, min: i64, max: i64) -> Self {
        let range = IntegerRange {
            min: Some(min),
            max: Some(max),
        };
        Self::new(name, ParameterKind::Integer(range))
    }

    /// A number from `min` to `max`.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let guidance = Parameter::number("guidance", 0.0, 20.0);
    /// ```
    #[must_use]
    pub fn number(name: &str, min: f64, max: f64) -> Self {
        let range = NumberRange {
            min: Some(min),
            max: Some(max),
        };
        Self::new(name, ParameterKind::Number(range))
    }

    /// One of these texts.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let style = Parameter::choice("style", &["vivid", "natural"]);
    /// ```
    #[must_use]
    pub fn choice(name: &str, choices: &[&str]) -> Self {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Self::new(name, ParameterKind::Choice(choices))
    }

    /// With a label and a description for a form.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let style = Parameter::choice("style", &["vivid", "natural"])
    ///     .with_title("Style", "How the image looks.");
    /// assert_eq!(style.title, "Style");
    /// ```
    #[must_use]
    pub fn with_title(mut self, title: &str, description: &str) -> Self {
        self.title = title.into();
        self.description = description.into();
        self
    }

    /// With what the engine uses without the parameter, as JSON: `3.5`, or `"vivid"` with its quotes.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let style = Parameter::choice("style", &["vivid", "natural"]).with_default("\"vivid\"");
    /// let guidance = Parameter::number("guidance", 0.0, 20.0).with_default("3.5");
    /// ```
    #[must_use]
    pub fn with_default(mut self, json: &str) -> Self {
        self.default = Some(json.into());
        self
    }

    /// With a unit for a form.
    ///
    /// ```
    /// use pinhole_sdk::Parameter;
    ///
    /// let blur = Parameter::integer("blur", 0, 64).with_unit("px");
    /// assert_eq!(blur.unit.as_deref(), Some("px"));
    /// ```
    #[must_use]
    pub fn with_unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.into());
        self
    }
}
