//! The settings of the engine: their declaration, and their values for one operation.

use pinhole_sdk::families::matches_prefix;
use pinhole_sdk::{Error, Families, Setting, SettingKind, Settings};
use serde_json::{Map, Value};

use crate::endpoint::Endpoint;
use crate::wire::{parameters, sizes};

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const API_VERSION: &str = "api-version";
pub(crate) const AUTHENTICATION: &str = "authentication";
pub(crate) const IMAGE_API: &str = "image-api";
pub(crate) const PARAMS: &str = "params";
pub(crate) const EDIT_PARAMS: &str = "edit-params";
pub(crate) const EXTRA_PARAMETERS: &str = "extra-parameters";
pub(crate) const RESPONSE_FORMAT_MODELS: &str = "response-format-models";
pub(crate) const SINGLE_IMAGE_MODELS: &str = "single-image-models";
pub(crate) const INPUT_FIDELITY_MODELS: &str = "input-fidelity-models";
pub(crate) const SIZES: &str = "sizes";
pub(crate) const MASK_STYLE: &str = "mask-style";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// Source: OpenAI's documentation of models that do not support every size.
const DEFAULT_SIZES: &str = "\
dall-e-2 = 256x256 512x512 1024x1024
dall-e-3 = 1024x1024 1792x1024 1024x1792
gpt-image-1 = 1024x1024 1536x1024 1024x1536
gpt-image-2 = any";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Generate,
    Edit,
}

/// The API of the upstream that makes images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ApiChoice {
    Images,
    ChatCompletions,
    /// The images API, or chat completions if the upstream has no such API.
    ImagesFirst,
}

/// The validated settings of one operation.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) endpoint: Endpoint,
    image_api: String,
    /// The operator's parameters, merged into every request.
    pub(crate) params: Map<String, Value>,
    pub(crate) sizes: Families,
    /// Send opaque masks that are white where the image may change.
    pub(crate) white_mask: bool,
    extra_parameters: String,
    response_format_models: String,
    single_image_models: String,
    input_fidelity_models: String,
}

impl Options {
    /// Fails with kind `invalid` and the setting's key as field if a setting cannot be used.
    pub(crate) fn from_settings(settings: &Settings, operation: Operation) -> Result<Self, Error> {
        let text = |key| settings.text(key).unwrap_or_default();
        let params_key = match operation {
            Operation::Generate => PARAMS,
            Operation::Edit => EDIT_PARAMS,
        };
        Ok(Self {
            endpoint: Endpoint::from_settings(settings),
            image_api: text(IMAGE_API),
            params: parameters::operator_parameters(settings, params_key)?,
            sizes: sizes::parse_families(&text(SIZES))?,
            white_mask: text(MASK_STYLE) == "white",
            extra_parameters: text(EXTRA_PARAMETERS),
            response_format_models: text(RESPONSE_FORMAT_MODELS),
            single_image_models: text(SINGLE_IMAGE_MODELS),
            input_fidelity_models: text(INPUT_FIDELITY_MODELS),
        })
    }

    /// The API for a model.
    ///
    /// Gateways that make images through chat completions name their models `vendor/model`, or serve Google's.
    pub(crate) fn image_api(&self, model: Option<&str>) -> ApiChoice {
        let name = model.unwrap_or_default();
        match self.image_api.as_str() {
            "images" => ApiChoice::Images,
            "chat" => ApiChoice::ChatCompletions,
            _ if self.endpoint.is_open_router => ApiChoice::ChatCompletions,
            _ if name.contains('/') || name.contains("gemini") => ApiChoice::ImagesFirst,
            _ => ApiChoice::Images,
        }
    }

    pub(crate) fn accepts_response_format(&self, model: Option<&str>) -> bool {
        matches_prefix(&self.response_format_models, model)
    }

    pub(crate) fn creates_single_image(&self, model: Option<&str>) -> bool {
        matches_prefix(&self.single_image_models, model)
    }

    pub(crate) fn accepts_input_fidelity(&self, model: Option<&str>) -> bool {
        matches_prefix(&self.input_fidelity_models, model)
    }

    /// Whether a job may set this parameter although OpenAI does not define it.
    pub(crate) fn allows_extra_parameter(&self, parameter: &str) -> bool {
        let mut names = self.extra_parameters.split(',').map(str::trim);
        names.any(|name| name == parameter)
    }
}

/// Validates the settings of both operations.
pub(crate) fn validate(settings: &Settings) -> Result<(), Error> {
    Options::from_settings(settings, Operation::Generate)?;
    Options::from_settings(settings, Operation::Edit)?;
    Ok(())
}

/// The settings, in the order of a form.
pub(crate) fn declare() -> Vec<Setting> {
    [
        connection_settings(),
        parameter_settings(),
        model_settings(),
    ]
    .concat()
}

fn connection_settings() -> Vec<Setting> {
    use SettingKind::{Choice, Secret, Text, Url};
    vec![
        Setting::new(
            BASE_URL,
            Url,
            "Base URL",
            "URL with version: requests go to /images/ or /chat/completions under it. Without a path, the engine adds \
             /v1. On Azure it ends in /openai/deployments/NAME or /openai/v1.",
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
            "Sent as Authentication defines. Without one, requests have no key.",
        )
        .with_variables(
            &["IMAGES_OPENAI_API_KEY", "OPENAI_API_KEY"],
            &["IMAGES_EDIT_OPENAI_API_KEY", "OPENAI_API_KEY"],
        ),
        Setting::new(
            AUTHENTICATION,
            Choice(["auto", "bearer", "api-key"].map(str::to_owned).to_vec()),
            "Authentication",
            "bearer: header authorization. api-key: Azure's header of that name. auto: api-key if \
             the host ends in .azure.com or the path contains /openai/deployments/, else bearer.",
        )
        .with_default("auto"),
        Setting::new(
            API_VERSION,
            Text,
            "API version",
            "Query parameter api-version, which Azure requires.",
        )
        .with_variables(
            &["IMAGES_OPENAI_API_VERSION"],
            &["IMAGES_EDIT_OPENAI_API_VERSION"],
        ),
        Setting::new(
            IMAGE_API,
            Choice(["auto", "images", "chat"].map(str::to_owned).to_vec()),
            "API for images",
            "images: OpenAI's images API. chat: chat completions with modalities, as OpenRouter has \
             them. auto: chat if the host is openrouter.ai; elsewhere images, and chat if the upstream \
             has no images API and the model is called vendor/model or gemini.",
        )
        .with_default("auto"),
    ]
}

fn parameter_settings() -> Vec<Setting> {
    use SettingKind::{Document, Text};
    vec![
        Setting::new(
            PARAMS,
            Document,
            "Parameters",
            "JSON object merged into every generation request. It overrides all other values; null \
             removes a field. {\"stream\": true, \"partial_images\": 2} requests drafts.",
        )
        .with_variables(&["IMAGES_OPENAI_PARAMS", "IMAGES_OPENAI_API_PARAMS"], &[]),
        Setting::new(
            EDIT_PARAMS,
            Document,
            "Parameters for editing",
            "The same for edits. Each parameter becomes a text field of the form.",
        )
        .with_variables(&[], &["IMAGES_EDIT_OPENAI_PARAMS"]),
        Setting::new(
            EXTRA_PARAMETERS,
            Text,
            "Additional job parameters",
            "Comma-separated parameters that a job may set in addition to OpenAI's, such as \
             cfg_scale.",
        ),
    ]
}

fn model_settings() -> Vec<Setting> {
    use SettingKind::{Choice, Document, Text};
    vec![
        Setting::new(
            RESPONSE_FORMAT_MODELS,
            Text,
            "Models that accept response_format",
            "Comma-separated prefixes of models that are asked for bytes instead of a URL. * \
             matches all. Empty: none.",
        )
        .with_default("dall-e-"),
        Setting::new(
            SINGLE_IMAGE_MODELS,
            Text,
            "Models that create one image per request",
            "Comma-separated prefixes of models that create one image per request. * matches all. \
             Empty: none.",
        )
        .with_default("dall-e-3"),
        Setting::new(
            INPUT_FIDELITY_MODELS,
            Text,
            "Models that accept input_fidelity",
            "Comma-separated prefixes of models that accept input_fidelity. For others the engine \
             omits it and adds a note. * matches all. Empty: none.",
        )
        .with_default("gpt-image-1"),
        Setting::new(
            SIZES,
            Document,
            "Image sizes of models",
            "One line for each model family: prefix of its models, =, sizes. The engine requests \
             the size with the nearest aspect ratio. any: multiples of 16, sides up to 3840, 655360 \
             to 8294400 pixels, ratios up to 3:1. The longest prefix wins; * matches all. Without a \
             line, or empty: the requested size.",
        )
        .with_default(DEFAULT_SIZES),
        Setting::new(
            MASK_STYLE,
            Choice(["alpha", "white"].map(str::to_owned).to_vec()),
            "Mask style",
            "alpha: the mask is transparent where the image may change. white: it is opaque, and \
             white there, as for stable-diffusion.cpp.",
        )
        .with_default("alpha"),
        Setting::new(
            LISTED_MODELS,
            Text,
            "Listed models",
            "Comma-separated prefixes of the models that users can choose. * matches all. Empty: those that make \
             images, by OpenAI's names on its own host, and elsewhere as far as the upstream tells.",
        ),
    ]
}

/// The default settings with some changes.
#[cfg(test)]
pub(crate) fn settings_with(changes: &[(&str, &str)]) -> Settings {
    pinhole_sdk::testing::settings(declare(), changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declare_uses_unique_keys_and_variables_of_engine() {
        let settings = declare();
        for setting in &settings {
            let same_key = settings.iter().filter(|other| other.key == setting.key);
            assert_eq!(same_key.count(), 1, "{}", setting.key);
            let variables = setting.generate_variables.iter();
            for variable in variables.chain(&setting.edit_variables) {
                assert!(variable.contains("OPENAI"), "{variable}");
            }
        }
    }

    #[test]
    fn invalid_parameters_fail_only_their_operation() {
        let options_error = |changes: &[_], operation| {
            let options = Options::from_settings(&settings_with(changes), operation);
            options.err().and_then(|error| error.field)
        };
        let validation_error = |changes: &[_]| {
            let result = validate(&settings_with(changes));
            result.err().and_then(|error| error.field)
        };
        assert_eq!(validation_error(&[]), None);
        for (key, failing, working) in [
            (PARAMS, Operation::Generate, Operation::Edit),
            (EDIT_PARAMS, Operation::Edit, Operation::Generate),
        ] {
            let changes = [(key, "[1]")];
            assert_eq!(validation_error(&changes).as_deref(), Some(key));
            assert_eq!(options_error(&changes, failing).as_deref(), Some(key));
            assert_eq!(options_error(&changes, working), None);
        }
        let sizes = [(SIZES, "x = 8")];
        assert_eq!(validation_error(&sizes).as_deref(), Some(SIZES));
    }

    #[test]
    fn image_api_depends_on_setting_host_and_model() {
        use ApiChoice::{ChatCompletions, Images, ImagesFirst};
        let check = |url: &str, choice: &str, model: &str, expected: ApiChoice| {
            let settings = settings_with(&[(BASE_URL, url), (IMAGE_API, choice)]);
            let options = Options::from_settings(&settings, Operation::Generate).unwrap();
            assert_eq!(
                options.image_api(Some(model)),
                expected,
                "{url} {choice} {model}"
            );
        };
        let router = "https://openrouter.ai/api/v1";
        check(router, "auto", "openai/gpt-image-1", ChatCompletions);
        check(router, "images", "openai/gpt-image-1", Images);
        let gateway = "http://127.0.0.1:4000/v1";
        check(gateway, "auto", "google/x", ImagesFirst);
        check(gateway, "auto", "gemini-2.5-flash-image", ImagesFirst);
        check(gateway, "auto", "gpt-image-2", Images);
        check(gateway, "chat", "gpt-image-2", ChatCompletions);
        check("https://openrouter.ai.evil.example/v1", "auto", "m", Images);
    }
}
