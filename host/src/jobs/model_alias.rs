//! Model aliases: names that clients know, for models of this server's bindings.

use std::collections::BTreeMap;

use pinhole_ground::environment::Environment;
use pinhole_ground::text::is_plain;
use pinhole_sandbox::MAX_MODEL_BYTES;

/// The variable with the aliases.
pub(super) const ALIASES: &str = "PINHOLE_MODEL_ALIASES";
/// Aliases of one server.
const MAX_ALIASES: usize = 200;

/// What an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAlias {
    /// The binding that runs the job.
    pub binding: String,
    /// The model that the job uses. `None` is the default of the binding.
    pub model: Option<String>,
}

impl ModelAlias {
    /// Parses `BINDING` or `MODEL@BINDING`. A model's name may contain `@`.
    fn parse(text: &str) -> Option<Self> {
        let (model, binding) = match text.rsplit_once('@') {
            Some((model, binding)) => (Some(model), binding),
            None => (None, text),
        };
        if binding.is_empty() || model.is_some_and(str::is_empty) {
            return None;
        }
        Some(Self {
            binding: binding.to_owned(),
            model: model.map(str::to_owned),
        })
    }
}

/// Parses the aliases by name. An error is a sentence for the operator.
pub(super) fn parse_aliases(
    environment: &Environment,
) -> Result<BTreeMap<String, ModelAlias>, String> {
    let Some(text) = environment.get(ALIASES) else {
        return Ok(BTreeMap::new());
    };
    let entries: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| {
        format!(
            "{ALIASES} must be a JSON object such as {{\"gpt-image-1\": \"flux-dev@comfyui\", \"dall-e-3\": \"openai\"}}: {error}"
        )
    })?;
    if entries.len() > MAX_ALIASES {
        return Err(format!("{ALIASES} has more than {MAX_ALIASES} names"));
    }
    let is_name = |name: &str| !name.is_empty() && is_plain(name, MAX_MODEL_BYTES);
    let mut aliases = BTreeMap::new();
    for (name, target) in entries {
        if !is_name(&name) || !is_name(&target) {
            return Err(format!(
                "{ALIASES} contains a name that is empty, has more than {MAX_MODEL_BYTES} bytes or invisible characters"
            ));
        }
        let Some(alias) = ModelAlias::parse(&target) else {
            return Err(format!(
                "{ALIASES} has {target:?} for {name:?}: it must be BINDING or MODEL@BINDING"
            ));
        };
        aliases.insert(name, alias);
    }
    Ok(aliases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BTreeMap<String, ModelAlias>, String> {
        parse_aliases(&Environment::new([(ALIASES.to_owned(), text.to_owned())]))
    }

    #[test]
    fn alias_names_a_binding_and_optionally_a_model() {
        assert!(parse("").unwrap().is_empty());
        for (target, binding, model) in [
            ("sketch", "sketch", None),
            ("flux-dev@comfyui", "comfyui", Some("flux-dev")),
            (
                "@cf/flux-1-schnell@cloud",
                "cloud",
                Some("@cf/flux-1-schnell"),
            ),
        ] {
            let aliases = parse(&serde_json::json!({"gpt-image-1": target}).to_string()).unwrap();
            let expected = ModelAlias {
                binding: binding.to_owned(),
                model: model.map(str::to_owned),
            };
            assert_eq!(aliases.get("gpt-image-1"), Some(&expected), "{target}");
        }
    }

    #[test]
    fn invalid_aliases_are_named() {
        for text in [
            "sketch",
            "[1]",
            r#"{"a": 1}"#,
            r#"{"a": ""}"#,
            r#"{"a": "@sketch"}"#,
            r#"{"a": "flux@"}"#,
            r#"{"": "sketch"}"#,
            r#"{"a\u200b": "sketch"}"#,
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(ALIASES), "{error}");
        }
    }
}
