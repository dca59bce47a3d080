//! Everything an operator may set, and what the engine reads of it.

use pinhole_sdk::families::begins;
use pinhole_sdk::{Error, Families, Setting, SettingKind, Settings};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::wire;

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_KEY: &str = "api-key";
pub(crate) const API_VERSION: &str = "api-version";
pub(crate) const AUTHENTICATION: &str = "authentication";
pub(crate) const PARAMS: &str = "params";
pub(crate) const EDIT_PARAMS: &str = "edit-params";
pub(crate) const EXTRA_PARAMETERS: &str = "extra-parameters";
pub(crate) const RESPONSE_FORMAT_MODELS: &str = "response-format-models";
pub(crate) const SINGLE_IMAGE_MODELS: &str = "single-image-models";
pub(crate) const INPUT_FIDELITY_MODELS: &str = "input-fidelity-models";
pub(crate) const SIZES: &str = "sizes";
pub(crate) const MASK_STYLE: &str = "mask-style";
pub(crate) const LISTED_MODELS: &str = "listed-models";

/// What OpenAI documents for the models that do not take every size.
const DEFAULT_SIZES: &str = "\
dall-e-2 = 256x256 512x512 1024x1024
dall-e-3 = 1024x1024 1792x1024 1024x1792
gpt-image-1 = 1024x1024 1536x1024 1024x1536
gpt-image-2 = any";

/// What is asked of the upstream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Generate,
    Edit,
}

/// The settings of one operation, read and checked.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) address: Address,
    /// Laid over every request.
    pub(crate) params: Map<String, Value>,
    pub(crate) sizes: Families,
    /// The mask is sent opaque, white where the picture may change.
    pub(crate) white_mask: bool,
    extra_parameters: String,
    response_format_models: String,
    single_image_models: String,
    input_fidelity_models: String,
}

impl Options {
    /// Fails with kind `invalid` and the setting as its field where one cannot be used.
    pub(crate) fn read(settings: &Settings, operation: Operation) -> Result<Self, Error> {
        let text = |key| settings.text(key).unwrap_or_default();
        let params = match operation {
            Operation::Generate => PARAMS,
            Operation::Edit => EDIT_PARAMS,
        };
        Ok(Self {
            address: Address::read(settings),
            params: wire::parameters::fixed(settings, params)?,
            sizes: wire::sizes::parse(&text(SIZES))?,
            white_mask: text(MASK_STYLE) == "white",
            extra_parameters: text(EXTRA_PARAMETERS),
            response_format_models: text(RESPONSE_FORMAT_MODELS),
            single_image_models: text(SINGLE_IMAGE_MODELS),
            input_fidelity_models: text(INPUT_FIDELITY_MODELS),
        })
    }

    pub(crate) fn takes_response_format(&self, model: Option<&str>) -> bool {
        begins(&self.response_format_models, model)
    }

    pub(crate) fn makes_one_image(&self, model: Option<&str>) -> bool {
        begins(&self.single_image_models, model)
    }

    pub(crate) fn takes_input_fidelity(&self, model: Option<&str>) -> bool {
        begins(&self.input_fidelity_models, model)
    }

    /// May a job bring this parameter, although OpenAI does not know it?
    pub(crate) fn takes_extra(&self, parameter: &str) -> bool {
        let mut names = self.extra_parameters.split(',').map(str::trim);
        names.any(|name| name == parameter)
    }
}

/// Checks all settings, those for generating and those for editing.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    Options::read(settings, Operation::Generate)?;
    Options::read(settings, Operation::Edit)?;
    Ok(())
}

/// The settings, in the order of a form.
pub(crate) fn declare() -> Vec<Setting> {
    use SettingKind::{Choice, Document, Secret, Text, Url};
    vec![
        Setting::new(
            BASE_URL,
            Url,
            "Base URL",
            "Where the images API is, with its version: requests go to /images/generations and \
             /images/edits under it. An address without a path gets /v1 in front of them. A \
             classic Azure address ends in /openai/deployments/ and the deployment's name, a newer \
             one in /openai/v1.",
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
            "Sent as the setting authentication says. Empty sends none, which many servers at home \
             want.",
        )
        .with_variables(
            &["IMAGES_OPENAI_API_KEY", "OPENAI_API_KEY"],
            &["IMAGES_EDIT_OPENAI_API_KEY", "OPENAI_API_KEY"],
        ),
        Setting::new(
            AUTHENTICATION,
            Choice(["auto", "bearer", "api-key"].map(str::to_owned).to_vec()),
            "Authentication",
            "How the key is sent: bearer is the header authorization, api-key is Azure's header of \
             that name. auto takes api-key where the base URL's host ends in .azure.com or its \
             path holds /openai/deployments/, and bearer everywhere else.",
        )
        .with_default("auto"),
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
            "A JSON object laid over every request for a new image, so that it has the last word; \
             null takes a field out. With \"stream\": true and \"partial_images\": 2 the upstream \
             shows drafts while it works. Empty adds nothing.",
        )
        .with_variables(&["IMAGES_OPENAI_PARAMS", "IMAGES_OPENAI_API_PARAMS"], &[]),
        Setting::new(
            EDIT_PARAMS,
            Document,
            "Parameters for editing",
            "The same for requests that change images. Each becomes a text field of the form. \
             Empty adds nothing.",
        )
        .with_variables(&[], &["IMAGES_EDIT_OPENAI_PARAMS"]),
        Setting::new(
            EXTRA_PARAMETERS,
            Text,
            "Further parameters of jobs",
            "Names, with commas between them, of parameters that a job may bring besides OpenAI's \
             own: those that another server knows, such as cfg_scale. Empty allows none.",
        ),
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
            INPUT_FIDELITY_MODELS,
            Text,
            "Models that take input_fidelity",
            "Beginnings of model names, with commas between them. From a job for any other model \
             this parameter is left out, and the result says so. * is every model, empty is none.",
        )
        .with_default("gpt-image-1"),
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
            MASK_STYLE,
            Choice(["alpha", "white"].map(str::to_owned).to_vec()),
            "Style of masks",
            "What the upstream reads a mask by: alpha is OpenAI's, transparent where the image may \
             change; white is that of stable-diffusion.cpp, an opaque mask that is white there.",
        )
        .with_default("alpha"),
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
pub(crate) fn with(changes: &[(&str, &str)]) -> Settings {
    use pinhole_sdk::SettingValue;
    let json = |text: &str| Value::from(text).to_string();
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

    #[test]
    fn a_broken_setting_fails_only_what_it_is_for() {
        let read = |changes: &[_], operation| {
            let read = Options::read(&with(changes), operation);
            read.err().and_then(|error| error.field)
        };
        let check = |changes: &[_]| check(&with(changes)).err().and_then(|error| error.field);
        assert_eq!(check(&[]), None);
        for (key, broken_for, fine_for) in [
            (PARAMS, Operation::Generate, Operation::Edit),
            (EDIT_PARAMS, Operation::Edit, Operation::Generate),
        ] {
            let changes = [(key, "[1]")];
            assert_eq!(check(&changes).as_deref(), Some(key));
            assert_eq!(read(&changes, broken_for).as_deref(), Some(key));
            assert_eq!(read(&changes, fine_for), None);
        }
        let sizes = [(SIZES, "x = 8")];
        assert_eq!(check(&sizes).as_deref(), Some(SIZES));
    }
}
