//! Everything an operator may set, and what it means once it is checked.

use pinhole_sdk::{Error, Families, Setting, SettingKind, Settings};
use serde_json::{Map, Value};

use crate::wire::sizes;

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const ENDPOINT_METHOD: &str = "endpoint-method";
pub(crate) const PARAMS: &str = "params";
pub(crate) const ASPECT_RATIOS: &str = "aspect-ratios";
pub(crate) const IMAGE_SIZES: &str = "image-sizes";
pub(crate) const PREDICT_COUNT: &str = "predict-count";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// The variable by which an operator of Open WebUI knows the endpoint method.
pub(crate) const ENDPOINT_METHOD_VARIABLE: &str = "IMAGES_GEMINI_ENDPOINT_METHOD";
/// Images that one predict request may ask for.
const MAX_PREDICT_COUNT: u32 = 10;
/// What the operator's parameters may not hold: the prompt and the pictures stand there.
const RESERVED: [&str; 2] = ["contents", "instances"];

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
            Choice(
                Method::ALL
                    .iter()
                    .map(|method| method.name().into())
                    .collect(),
            ),
            "Endpoint method",
            "generateContent is what Gemini's image models have, and streamGenerateContent the \
             same for gateways that only stream. predict is what Imagen has, which is left on \
             Vertex and behind gateways; it cannot edit, so edits take generateContent then.",
        )
        .with_default(Method::GenerateContent.name())
        .with_variables(&[ENDPOINT_METHOD_VARIABLE], &[]),
        Setting::new(
            PARAMS,
            Document,
            "Parameters",
            "A JSON object laid over every request last, for generating and editing, such as \
             {\"safetySettings\": […]}; null takes a field out. What stands under parameters goes \
             to predict requests alone, all else to the others.",
        ),
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

/// By which of its methods a model is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Method {
    /// One picture a request.
    GenerateContent,
    /// The same, in events.
    StreamGenerateContent,
    /// Some pictures a request, and no editing.
    Predict,
}

impl Method {
    pub(crate) const ALL: [Self; 3] = [
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::Predict,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GenerateContent => "generateContent",
            Self::StreamGenerateContent => "streamGenerateContent",
            Self::Predict => "predict",
        }
    }
}

/// The settings that a job needs, all of them checked.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) method: Method,
    /// For how many pictures one predict request asks at most; at least 1.
    pub(crate) predict_count: u32,
    /// Laid over every request.
    pub(crate) params: Map<String, Value>,
    pub(crate) ratios: Families,
    pub(crate) sizes: Families,
}

impl Setup {
    /// Fails with the setting as its field where one of them cannot work.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Error> {
        let families = |key| Families::parse(key, &settings.text(key).unwrap_or_default());
        let setup = Self {
            method: method(settings)?,
            predict_count: predict_count(settings)?,
            params: params(settings)?,
            ratios: families(ASPECT_RATIOS)?,
            sizes: families(IMAGE_SIZES)?,
        };
        sizes::check(&setup)?;
        Ok(setup)
    }
}

fn method(settings: &Settings) -> Result<Method, Error> {
    let Some(name) = settings.text(ENDPOINT_METHOD) else {
        return Ok(Method::GenerateContent);
    };
    let method = Method::ALL.into_iter().find(|method| method.name() == name);
    method.ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        let message = format!("setting {ENDPOINT_METHOD} is {name:?}, which is none of {names}");
        Error::invalid(ENDPOINT_METHOD, message)
    })
}

fn predict_count(settings: &Settings) -> Result<u32, Error> {
    let count = settings.integer(PREDICT_COUNT).unwrap_or(1);
    let count = u32::try_from(count).ok();
    let fits = |count: &u32| (1..=MAX_PREDICT_COUNT).contains(count);
    count.filter(fits).ok_or_else(|| {
        let message = format!("setting {PREDICT_COUNT} must be from 1 to {MAX_PREDICT_COUNT}");
        Error::invalid(PREDICT_COUNT, message)
    })
}

fn params(settings: &Settings) -> Result<Map<String, Value>, Error> {
    let params = settings.object(PARAMS)?;
    match RESERVED.iter().find(|key| params.contains_key(**key)) {
        Some(key) => Err(Error::invalid(
            PARAMS,
            format!("setting {PARAMS} may not hold {key}: the prompt and the pictures stand there"),
        )),
        None => Ok(params),
    }
}

/// For tests: the settings as the host hands them over, with these changed.
#[cfg(test)]
pub(crate) fn with(changes: &[(&str, Value)]) -> Settings {
    use pinhole_sdk::SettingValue;
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
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

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

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        assert!(Setup::read(&with(&[])).is_ok());
        for (key, value, words) in [
            ("endpoint-method", json!("draw"), "none of generateContent"),
            ("predict-count", json!(0), "from 1 to 10"),
            ("predict-count", json!(11), "from 1 to 10"),
            ("predict-count", json!(-1), "from 1 to 10"),
            ("params", json!("[1]"), "must be a JSON object"),
            ("params", json!("{"), "cannot be used"),
            (
                "params",
                json!(r#"{"contents": []}"#),
                "may not hold contents",
            ),
            (
                "params",
                json!(r#"{"instances": 1}"#),
                "may not hold instances",
            ),
            ("aspect-ratios", json!("16:9"), "has no ="),
            ("aspect-ratios", json!("* = 16x9"), "16x9"),
            ("image-sizes", json!("* = big"), "big"),
        ] {
            let error = Setup::read(&with(&[(key, value)])).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert_eq!(error.field.as_deref(), Some(key), "{}", error.message);
            assert!(error.message.contains(words), "{}", error.message);
        }
    }

    #[test]
    fn what_is_unset_is_an_ordinary_request() {
        let setup = Setup::read(&Settings::default()).unwrap();
        assert_eq!(setup.method, Method::GenerateContent);
        assert_eq!(setup.predict_count, 1);
        assert!(setup.params.is_empty());
    }
}
