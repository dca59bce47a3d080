//! The operator's settings, and the validation of them that needs no web UI.

use pinhole_sdk::{Error, Setting, SettingKind, Settings};
use serde_json::Value;

use crate::body::Body;

pub(crate) const BASE_URL: &str = "base-url";
pub(crate) const API_AUTH: &str = "api-auth";
/// Parameters of every txt2img request.
pub(crate) const PARAMS: &str = "params";
/// Parameters of every img2img request.
pub(crate) const EDIT_PARAMS: &str = "edit-params";

/// The host reads it: how many jobs it sends at the same time.
const CONCURRENCY: &str = "concurrency";

pub(crate) fn declare() -> Vec<Setting> {
    vec![
        Setting::new(
            BASE_URL,
            SettingKind::Url,
            "Base URL",
            "URL of the web UI, such as http://127.0.0.1:7860. Start it with --api.",
        )
        .with_variables(
            &["AUTOMATIC1111_BASE_URL"],
            &["IMAGES_EDIT_AUTOMATIC1111_BASE_URL"],
        ),
        Setting::new(
            API_AUTH,
            SettingKind::Secret,
            "API credentials",
            "The web UI's option --api-auth, as user:password.",
        )
        .with_variables(
            &["AUTOMATIC1111_API_AUTH"],
            &["IMAGES_EDIT_AUTOMATIC1111_API_AUTH"],
        ),
        Setting::new(
            PARAMS,
            SettingKind::Document,
            "Parameters",
            "JSON object of txt2img parameters, such as {\"cfg_scale\": 7}. They override those of \
             a job; null removes one.",
        )
        .with_variables(&["AUTOMATIC1111_PARAMS"], &[]),
        Setting::new(
            EDIT_PARAMS,
            SettingKind::Document,
            "Edit parameters",
            "The same for img2img, such as {\"denoising_strength\": 0.6}. Edits ignore the txt2img \
             parameters.",
        )
        .with_variables(&[], &["IMAGES_EDIT_AUTOMATIC1111_PARAMS"]),
        Setting::new(
            CONCURRENCY,
            SettingKind::Integer,
            "Jobs at the same time",
            "Jobs that are sent at the same time; further ones wait. The web UI makes one image after the other, \
             and does not stop for a job that only waits.",
        )
        .with_default(1),
    ]
}

/// The operator's parameters in the setting `key`.
///
/// Fails with the key as its field if no job can succeed with them.
pub(crate) fn operator_parameters(settings: &Settings, key: &str) -> Result<Body, Error> {
    let parameters = settings.object(key)?;
    let invalid = |why: &str| Err(Error::invalid(key, format!("setting {key}: {why}")));
    if parameters.get("send_images") == Some(&Value::Bool(false)) {
        return invalid("send_images must not be false, or the web UI returns no image");
    }
    match parameters.get("override_settings") {
        None | Some(Value::Null | Value::Object(_)) => Ok(parameters),
        Some(_) => invalid("override_settings must be a JSON object"),
    }
}

pub(crate) fn validate(settings: &Settings) -> Result<(), Error> {
    operator_parameters(settings, PARAMS)?;
    operator_parameters(settings, EDIT_PARAMS).map(drop)
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::testing;

    use super::*;

    #[test]
    fn validate_refuses_unusable_parameters_by_setting() {
        for key in [PARAMS, EDIT_PARAMS] {
            for text in [
                "7",
                "{",
                r#"{"send_images": false}"#,
                r#"{"override_settings": "fox"}"#,
            ] {
                let error = validate(&testing::settings(declare(), &[(key, text)])).unwrap_err();
                assert_eq!(error.field.as_deref(), Some(key), "{text}");
            }
            for text in ["", r#"{"override_settings": {}, "send_images": true}"#] {
                validate(&testing::settings(declare(), &[(key, text)])).unwrap();
            }
        }
    }

    #[test]
    fn operator_parameters_ignore_broken_edit_setting() {
        let broken = testing::settings(declare(), &[(EDIT_PARAMS, "{")]);
        assert!(operator_parameters(&broken, PARAMS).unwrap().is_empty());
    }
}
