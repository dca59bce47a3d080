//! What an operator may set, and what of it can be checked without the web UI.

use pinhole_sdk::{Error, Setting, SettingKind, Settings};
use serde_json::Value;

use crate::body::Body;

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_AUTH: &str = "api-auth";
/// Parameters of every txt2img request.
pub(crate) const PARAMS: &str = "params";
/// Parameters of every img2img request.
pub(crate) const EDIT_PARAMS: &str = "edit-params";

pub(crate) fn declare() -> Vec<Setting> {
    vec![
        Setting::new(
            BASE_URL,
            SettingKind::Url,
            "Base URL",
            "Where the web UI runs, such as http://127.0.0.1:7860. Start it with --api.",
        )
        .with_variables(
            &["AUTOMATIC1111_BASE_URL"],
            &["IMAGES_EDIT_AUTOMATIC1111_BASE_URL"],
        ),
        Setting::new(
            API_AUTH,
            SettingKind::Secret,
            "API credentials",
            "What the web UI was given with --api-auth, as user:password. Empty when it was given nothing.",
        )
        .with_variables(
            &["AUTOMATIC1111_API_AUTH"],
            &["IMAGES_EDIT_AUTOMATIC1111_API_AUTH"],
        ),
        Setting::new(
            PARAMS,
            SettingKind::Document,
            "Parameters",
            "A JSON object of txt2img parameters, such as {\"cfg_scale\": 7, \"sampler_name\": \"Euler a\"}. \
             They are laid over those of a job, and null takes one out. Empty adds none.",
        )
        .with_variables(&["AUTOMATIC1111_PARAMS"], &[]),
        Setting::new(
            EDIT_PARAMS,
            SettingKind::Document,
            "Parameters of edits",
            "The same for img2img, such as {\"denoising_strength\": 0.6}. Edits do not take the other \
             parameters.",
        )
        .with_variables(&[], &["IMAGES_EDIT_AUTOMATIC1111_PARAMS"]),
    ]
}

/// The operator's parameters under this key.
///
/// Fails with the key as its field where a job could not work with them.
pub(crate) fn parameters(settings: &Settings, key: &str) -> Result<Body, Error> {
    let parameters = settings.object(key)?;
    let wrong = |what: &str| Err(Error::invalid(key, format!("setting {key}: {what}")));
    if parameters.get("send_images") == Some(&Value::Bool(false)) {
        return wrong("send_images must not be false, or no image would come back");
    }
    match parameters.get("override_settings") {
        None | Some(Value::Null | Value::Object(_)) => Ok(parameters),
        Some(_) => wrong("override_settings must be a JSON object"),
    }
}

/// Checks all settings.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    parameters(settings, PARAMS)?;
    parameters(settings, EDIT_PARAMS).map(drop)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::SettingValue;
    use serde_json::json;

    use super::*;

    fn settings(key: &str, text: &str) -> Settings {
        Settings::new(vec![SettingValue {
            key: key.into(),
            value: json!(text).to_string(),
        }])
    }

    #[test]
    fn parameters_that_cannot_work_are_refused_by_their_setting() {
        for key in [PARAMS, EDIT_PARAMS] {
            for text in [
                "7",
                "{",
                r#"{"send_images": false}"#,
                r#"{"override_settings": "fox"}"#,
            ] {
                let error = check(&settings(key, text)).unwrap_err();
                assert_eq!(error.field.as_deref(), Some(key), "{text}");
            }
            for text in ["", r#"{"override_settings": {}, "send_images": true}"#] {
                check(&settings(key, text)).unwrap();
            }
        }
    }

    #[test]
    fn a_broken_setting_of_edits_does_not_touch_generating() {
        let broken = settings(EDIT_PARAMS, "{");
        assert!(parameters(&broken, PARAMS).unwrap().is_empty());
    }
}
