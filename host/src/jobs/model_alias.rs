//! Model aliases: names that clients know, for models of this server's bindings.

use std::collections::BTreeMap;

use pinhole_ground::environment::Environment;
use pinhole_ground::text::{is_plain, plain};
use pinhole_sandbox::MAX_MODEL_BYTES;
use serde_json::Value;

/// The variable with the aliases.
pub(super) const ALIASES: &str = "PINHOLE_MODEL_ALIASES";
/// Aliases of one server.
const MAX_ALIASES: usize = 200;
/// Length of a quoted name or value in a message, in bytes.
const MAX_SHOWN_BYTES: usize = 100;

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
    let entries: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|error| {
        format!(
            "{ALIASES} must be a JSON object such as {{\"gpt-image-1\": \"flux-dev@comfyui\", \"dall-e-3\": \"openai\"}}: {error}"
        )
    })?;
    if entries.len() > MAX_ALIASES {
        return Err(format!("{ALIASES} has more than {MAX_ALIASES} names"));
    }
    let parse_entry = |(name, target): (String, Value)| {
        if !is_name(&name) {
            let shown = plain(&name, MAX_SHOWN_BYTES);
            return Err(format!(
                "{ALIASES} has the name {shown:?}: it must have 1 to {MAX_MODEL_BYTES} bytes and no invisible characters"
            ));
        }
        let alias = target
            .as_str()
            .filter(|it| is_name(it))
            .and_then(ModelAlias::parse);
        let alias = alias.ok_or_else(|| {
            let shown = plain(&target.to_string(), MAX_SHOWN_BYTES);
            format!("{ALIASES} has {shown} for {name:?}: it must be BINDING or MODEL@BINDING")
        })?;
        Ok((name, alias))
    };
    entries.into_iter().map(parse_entry).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && is_plain(name, MAX_MODEL_BYTES)
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
        for (text, part) in [
            ("sketch", "a JSON object"),
            ("[1]", "a JSON object"),
            (r#"{"dall-e-3": 1}"#, r#"has 1 for "dall-e-3""#),
            (r#"{"dall-e-3": {"a": 1}}"#, r#"has {"a":1} for "dall-e-3""#),
            (r#"{"dall-e-3": ""}"#, r#"has "" for "dall-e-3""#),
            (
                r#"{"a": "sketch", "dall-e-3": "@sketch"}"#,
                r#"has "@sketch" for "dall-e-3""#,
            ),
            (r#"{"dall-e-3": "flux@"}"#, r#"has "flux@" for "dall-e-3""#),
            (r#"{"": "sketch"}"#, r#"has the name """#),
            (r#"{"dall-e-3\u200b": "sketch"}"#, "dall-e-3"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(ALIASES) && error.contains(part), "{error}");
        }
    }
}
