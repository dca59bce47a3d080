//! Everything an operator may set.

use pinhole_sdk::{Setting, SettingKind};

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const API_VERSION: &str = "api-version";
pub(crate) const PARAMS: &str = "params";
pub(crate) const RESPONSE_FORMAT_MODELS: &str = "response-format-models";
pub(crate) const SINGLE_IMAGE_MODELS: &str = "single-image-models";
pub(crate) const SIZES: &str = "sizes";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// What OpenAI documents for the models that do not take every size.
const DEFAULT_SIZES: &str = "\
dall-e-2 = 256x256 512x512 1024x1024
dall-e-3 = 1024x1024 1792x1024 1024x1792
gpt-image-1 = 1024x1024 1536x1024 1024x1536
gpt-image-2 = any";

/// The settings, in the order of a form.
pub(crate) fn declare() -> Vec<Setting> {
    use SettingKind::{Document, Secret, Text, Url};
    vec![
        Setting::new(
            BASE_URL,
            Url,
            "Base URL",
            "Where the images API is, with its version: requests go to /images/generations under \
             it. A classic Azure address ends in /openai/deployments/ and the deployment's name.",
        )
        .with_default("https://api.openai.com/v1")
        .with_variables(
            &["IMAGES_OPENAI_API_BASE_URL"],
            &["IMAGES_EDIT_OPENAI_API_BASE_URL"],
        ),
        Setting::new(
            API_KEY,
            Secret,
            "API key",
            "Sent as a bearer token. Empty sends none, which many servers at home want.",
        )
        .with_variables(
            &["IMAGES_OPENAI_API_KEY", "OPENAI_API_KEY"],
            &["IMAGES_EDIT_OPENAI_API_KEY", "OPENAI_API_KEY"],
        ),
        Setting::new(
            API_VERSION,
            Text,
            "API version",
            "Sent as the query parameter api-version, which Azure wants. Empty sends none.",
        )
        .with_variables(
            &["IMAGES_OPENAI_API_VERSION"],
            &["IMAGES_EDIT_OPENAI_API_VERSION"],
        ),
        Setting::new(
            PARAMS,
            Document,
            "Parameters",
            "A JSON object laid over every request, so that it has the last word; null takes a \
             field out. Empty adds nothing.",
        )
        .with_variables(&["IMAGES_OPENAI_PARAMS", "IMAGES_OPENAI_API_PARAMS"], &[]),
        Setting::new(
            RESPONSE_FORMAT_MODELS,
            Text,
            "Models that take response_format",
            "Beginnings of model names, with commas between them. These models are asked for \
             bytes instead of an address; all others answer with bytes anyway, or refuse the \
             question. * is every model, empty is none.",
        )
        .with_default("dall-e-"),
        Setting::new(
            SINGLE_IMAGE_MODELS,
            Text,
            "Models that make one image a request",
            "Beginnings of model names, with commas between them. For several images these are \
             asked several times. * is every model, empty is none.",
        )
        .with_default("dall-e-3"),
        Setting::new(
            SIZES,
            Document,
            "Sizes of models",
            "One line for each family: the beginning of its models' names, =, and its sizes. The \
             size asked for becomes the family's nearest in shape. The word any stands for what \
             gpt-image-2 takes: multiples of 16, at most 3840 long, from 655360 to 8294400 \
             pixels, no longer than 3:1. The longest beginning wins, * is every model. A model \
             without a line gets the size as it was asked for.",
        )
        .with_default(DEFAULT_SIZES),
        Setting::new(
            LISTED_MODELS,
            Text,
            "Models to list",
            "Beginnings of model names, with commas between them, that a person may choose from. \
             Empty lists every model that the upstream has.",
        )
        .with_default("gpt-image-,chatgpt-image-,dall-e-"),
    ]
}

/// For tests: the settings as the host hands them over, with these changed.
#[cfg(test)]
pub(crate) fn with(changes: &[(&str, &str)]) -> pinhole_sdk::Settings {
    use pinhole_sdk::{SettingValue, Settings};
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let value = |setting: Setting| {
        let changed = changes.iter().find(|(key, _)| *key == setting.key);
        let value = changed.map_or(setting.default, |(_, text)| Some(json(text)))?;
        Some(SettingValue {
            key: setting.key,
            value,
        })
    };
    Settings::new(declare().into_iter().filter_map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_declared_once_and_each_variable_names_the_engine() {
        let settings = declare();
        for setting in &settings {
            let same = settings.iter().filter(|other| other.key == setting.key);
            assert_eq!(same.count(), 1, "{}", setting.key);
            let variables = setting.generate_variables.iter();
            for variable in variables.chain(&setting.edit_variables) {
                assert!(variable.contains("OPENAI"), "{variable}");
            }
        }
    }
}
