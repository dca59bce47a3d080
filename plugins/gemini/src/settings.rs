//! Everything an operator may set.

use pinhole_sdk::{Setting, SettingKind};

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const ENDPOINT_METHOD: &str = "endpoint-method";
pub(crate) const ASPECT_RATIOS: &str = "aspect-ratios";
pub(crate) const IMAGE_SIZES: &str = "image-sizes";
pub(crate) const PREDICT_COUNT: &str = "predict-count";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// What Google documents; the last line is what all image models of Gemini have.
const DEFAULT_ASPECT_RATIOS: &str = "\
imagen- = 1:1 3:4 4:3 9:16 16:9
gemini-3.1-flash-image = 1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 21:9 1:4 4:1 1:8 8:1
* = 1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 21:9";

const DEFAULT_IMAGE_SIZES: &str = "\
imagen-4 = 1K 2K
gemini-3.1-flash-image = 512 1K 2K 4K
gemini-3-pro-image = 1K 2K 4K";

/// The settings, in the order of a form.
pub(crate) fn declare() -> Vec<Setting> {
    use SettingKind::{Choice, Document, Integer, Secret, Text, Url};
    vec![
        Setting::new(
            BASE_URL,
            Url,
            "Base URL",
            "Where the API is, with its version: requests go to /models/ under it.",
        )
        .with_default("https://generativelanguage.googleapis.com/v1beta")
        .with_variables(
            &["IMAGES_GEMINI_API_BASE_URL", "GEMINI_API_BASE_URL"],
            &["IMAGES_EDIT_GEMINI_API_BASE_URL", "GEMINI_API_BASE_URL"],
        ),
        Setting::new(
            API_KEY,
            Secret,
            "API key",
            "Sent in the header x-goog-api-key, never in an address. Empty sends none.",
        )
        .with_variables(
            &["IMAGES_GEMINI_API_KEY", "GEMINI_API_KEY"],
            &["IMAGES_EDIT_GEMINI_API_KEY", "GEMINI_API_KEY"],
        ),
        Setting::new(
            ENDPOINT_METHOD,
            Choice(vec!["generateContent".into(), "predict".into()]),
            "Endpoint method",
            "generateContent is what Gemini's image models have. predict is what Imagen has, \
             which is left on Vertex and behind gateways.",
        )
        .with_default("generateContent")
        .with_variables(&["IMAGES_GEMINI_ENDPOINT_METHOD"], &[]),
        Setting::new(
            ASPECT_RATIOS,
            Document,
            "Aspect ratios of models",
            "One line for each family: the beginning of its models' names, =, and its ratios. The \
             size asked for becomes the nearest of them. The longest beginning wins, * is every \
             model. A model without a line is asked for no ratio.",
        )
        .with_default(DEFAULT_ASPECT_RATIOS),
        Setting::new(
            IMAGE_SIZES,
            Document,
            "Image sizes of models",
            "One line for each family: the beginning of its models' names, =, and its sizes as \
             the API spells them, such as 512, 0.5K or 2K. The longest beginning wins, * is every \
             model. A model without a line is asked for no size.",
        )
        .with_default(DEFAULT_IMAGE_SIZES),
        Setting::new(
            PREDICT_COUNT,
            Integer,
            "Images a predict request",
            "How many images one predict request may ask for, from 1 to 10. More images are \
             several requests.",
        )
        .with_default(4),
        Setting::new(
            LISTED_MODELS,
            Text,
            "Models to list",
            "Words with commas between them: a model that a person may choose has one of them in \
             its name. Empty lists every model that can generate.",
        )
        .with_default("image"),
    ]
}

/// For tests: the settings as the host hands them over, with these changed.
#[cfg(test)]
pub(crate) fn with(changes: &[(&str, serde_json::Value)]) -> pinhole_sdk::Settings {
    use pinhole_sdk::{SettingValue, Settings};
    let value = |setting: Setting| {
        let changed = changes.iter().find(|(key, _)| *key == setting.key);
        let value = changed.map_or(setting.default, |(_, value)| Some(value.to_string()))?;
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
                assert!(variable.contains("GEMINI"), "{variable}");
            }
        }
    }
}
