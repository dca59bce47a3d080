//! The settings of the engine: their declaration and their validated values.

use pinhole_sdk::{Error, Families, Setting, SettingKind, Settings};
use serde_json::{Map, Value};

use crate::method::Method;
use crate::wire::sizes;

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const ENDPOINT_METHOD: &str = "endpoint-method";
pub(crate) const PARAMS: &str = "params";
pub(crate) const ASPECT_RATIOS: &str = "aspect-ratios";
pub(crate) const IMAGE_SIZES: &str = "image-sizes";
pub(crate) const PREDICT_COUNT: &str = "predict-count";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// Open WebUI's variable for the endpoint method.
pub(crate) const ENDPOINT_METHOD_VARIABLE: &str = "IMAGES_GEMINI_ENDPOINT_METHOD";
/// Images that one predict request may ask for.
const MAX_PREDICT_COUNT: u32 = 10;
/// Fields that the engine sets to the prompt and the source images. The operator's parameters
/// must not contain them.
const RESERVED: [&str; 2] = ["contents", "instances"];

/// Source: Google's documentation. The last line applies to all Gemini image models.
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
    [connection_settings(), request_settings(), model_settings()].concat()
}

fn connection_settings() -> Vec<Setting> {
    use SettingKind::{Choice, Secret, Url};
    let methods = Method::ALL.map(|method| method.name().to_owned());
    vec![
        Setting::new(
            BASE_URL,
            Url,
            "Base URL",
            "URL with version: requests go to /models/ under it.",
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
            "Sent in the header x-goog-api-key.",
        )
        .with_variables(
            &["IMAGES_GEMINI_API_KEY", "GEMINI_API_KEY"],
            &["IMAGES_EDIT_GEMINI_API_KEY", "GEMINI_API_KEY"],
        ),
        Setting::new(
            ENDPOINT_METHOD,
            Choice(methods.to_vec()),
            "Endpoint method",
            "generateContent: Gemini's image models. streamGenerateContent: the same, for gateways \
             that only stream. predict: Imagen, on Vertex and behind gateways; edits use \
             generateContent instead.",
        )
        .with_default(Method::GenerateContent.name())
        .with_variables(&[ENDPOINT_METHOD_VARIABLE], &[]),
    ]
}

fn request_settings() -> Vec<Setting> {
    use SettingKind::{Document, Integer};
    vec![
        Setting::new(
            PARAMS,
            Document,
            "Parameters",
            "JSON object merged into every request, such as {\"safetySettings\": […]}. It overrides \
             all other values; null removes a field. Its field parameters applies only to predict, \
             the others only to other methods.",
        ),
        Setting::new(
            ASPECT_RATIOS,
            Document,
            "Aspect ratios of models",
            "One line for each model family: prefix of its models, =, ratios. The engine requests \
             the nearest ratio. The longest prefix wins; * matches all. Without a line, or empty: no ratio.",
        )
        .with_default(DEFAULT_ASPECT_RATIOS),
        Setting::new(
            IMAGE_SIZES,
            Document,
            "Image sizes of models",
            "The same with sizes, such as 512, 0.5K or 2K. Without a line, or empty: no size.",
        )
        .with_default(DEFAULT_IMAGE_SIZES),
        Setting::new(
            PREDICT_COUNT,
            Integer,
            "Images per predict request",
            "Images per predict request, 1 to 10. A job for more sends several requests.",
        )
        .with_default(4),
    ]
}

fn model_settings() -> Vec<Setting> {
    vec![
        Setting::new(
            LISTED_MODELS,
            SettingKind::Text,
            "Listed models",
            "Users can choose models whose name contains one of these comma-separated texts. Empty: \
             every model that can generate.",
        )
        .with_default("image"),
    ]
}

/// The validated settings of a job.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) method: Method,
    /// Images that one predict request may ask for, at least 1.
    pub(crate) predict_count: u32,
    /// The operator's parameters, merged into every request.
    pub(crate) params: Map<String, Value>,
    pub(crate) ratios: Families,
    pub(crate) sizes: Families,
}

impl Options {
    /// Fails with kind `invalid` and the setting's key as field if a setting cannot be used.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, Error> {
        let families = |key| Families::parse(key, &settings.text(key).unwrap_or_default());
        let options = Self {
            method: parse_method(settings)?,
            predict_count: parse_predict_count(settings)?,
            params: parse_params(settings)?,
            ratios: families(ASPECT_RATIOS)?,
            sizes: families(IMAGE_SIZES)?,
        };
        sizes::validate_families(&options)?;
        Ok(options)
    }
}

fn parse_method(settings: &Settings) -> Result<Method, Error> {
    let Some(name) = settings.text(ENDPOINT_METHOD) else {
        return Ok(Method::GenerateContent);
    };
    let method = Method::ALL.into_iter().find(|method| method.name() == name);
    method.ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        let message = format!("setting {ENDPOINT_METHOD} is {name:?}, but must be one of {names}");
        Error::invalid(ENDPOINT_METHOD, message)
    })
}

fn parse_predict_count(settings: &Settings) -> Result<u32, Error> {
    let count = settings.integer(PREDICT_COUNT).unwrap_or(1);
    match u32::try_from(count) {
        Ok(count @ 1..=MAX_PREDICT_COUNT) => Ok(count),
        _ => Err(Error::invalid(
            PREDICT_COUNT,
            format!("setting {PREDICT_COUNT} must be from 1 to {MAX_PREDICT_COUNT}"),
        )),
    }
}

fn parse_params(settings: &Settings) -> Result<Map<String, Value>, Error> {
    let params = settings.object(PARAMS)?;
    if let Some(key) = RESERVED.iter().find(|key| params.contains_key(**key)) {
        let message = format!(
            "setting {PARAMS} must not contain {key}: the engine sets it to the prompt and the \
             images"
        );
        return Err(Error::invalid(PARAMS, message));
    }
    Ok(params)
}

/// The default settings with some changes.
#[cfg(test)]
pub(crate) fn settings_with(changes: &[(&str, Value)]) -> Settings {
    pinhole_sdk::testing::settings(declare(), changes)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    #[test]
    fn declare_uses_unique_keys_and_variables_of_engine() {
        let settings = declare();
        for setting in &settings {
            let same_key = settings.iter().filter(|other| other.key == setting.key);
            assert_eq!(same_key.count(), 1, "{}", setting.key);
            let variables = setting.generate_variables.iter();
            for variable in variables.chain(&setting.edit_variables) {
                assert!(variable.contains("GEMINI"), "{variable}");
            }
        }
    }

    #[test]
    fn options_name_invalid_setting() {
        assert!(Options::from_settings(&settings_with(&[])).is_ok());
        for (key, value, message) in [
            (
                "endpoint-method",
                json!("draw"),
                "must be one of generateContent",
            ),
            ("predict-count", json!(0), "from 1 to 10"),
            ("predict-count", json!(11), "from 1 to 10"),
            ("predict-count", json!(-1), "from 1 to 10"),
            ("params", json!("[1]"), "must be a JSON object"),
            ("params", json!("{"), "cannot be used"),
            (
                "params",
                json!(r#"{"contents": []}"#),
                "must not contain contents",
            ),
            (
                "params",
                json!(r#"{"instances": 1}"#),
                "must not contain instances",
            ),
            ("aspect-ratios", json!("16:9"), "has no ="),
            ("aspect-ratios", json!("* = 16x9"), "16x9"),
            ("image-sizes", json!("* = big"), "big"),
        ] {
            let error = Options::from_settings(&settings_with(&[(key, value)])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert_eq!(error.field.as_deref(), Some(key), "{}", error.message);
            assert!(error.message.contains(message), "{}", error.message);
        }
    }

    #[test]
    fn options_of_unset_settings_use_generate_content() {
        let options = Options::from_settings(&Settings::default()).unwrap();
        assert_eq!(options.method, Method::GenerateContent);
        assert_eq!(options.predict_count, 1);
        assert!(options.params.is_empty());
    }
}
