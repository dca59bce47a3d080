//! Image settings that an Open WebUI has in the same Redis: which of both has changed one.
//!
//! # How
//!
//! Redis has, for each setting, the value and the text on which both servers agreed last. If the database still has that
//! text, a different value in Redis is a change by Open WebUI, and is read. If the database has another text, or nothing was
//! agreed on, the database wins, and is written.
//!
//! # Invariant
//!
//! No secret is written: not the settings that are secrets, and no URL, document or workflow that contains one. A URL is
//! not read if its engine has a secret here: who can write into Redis must not choose the server that receives it.
//!
//! # What it does not cover
//!
//! Variables of the environment are of one program, and are not written. Settings that Open WebUI does not have, or that
//! are not about images.

use serde_json::{Value, json};
use url::Url;

use super::overlay::Overlay;
use super::secret_mask::mask;
use super::setting_key::SettingKey;
use super::stored_settings::Change;
use super::value_kind::ValueKind;
use crate::cluster::{AgreedValue, MAX_SETTING_JSON_BYTES, RedisSetting};

/// The beginnings of the paths of shared settings.
const PATHS: [&str; 3] = ["image_generation.", "images.edit.", "task.image."];
/// The member of a ComfyUI node that names an input. Its name ends like that of a secret.
const INPUT_NAME: &str = "key";
const URL_WITH_SECRET: &str =
    "is not read from Redis because its engine has a secret here: change it in this server";

/// What follows from a comparison.
pub(crate) enum SharedStep {
    Nothing,
    /// Open WebUI gets the value of the database.
    Write(AgreedValue),
    /// The database has no value: Open WebUI's is removed.
    Remove,
    /// The database gets Open WebUI's value.
    Read(Box<Change>),
    /// Open WebUI's value is invalid. The reason is a phrase that follows the setting's name.
    Refuse(String),
}

impl SettingKey {
    /// True if an Open WebUI in the same Redis can share the setting.
    pub(crate) fn is_shared(&self) -> bool {
        !self.kind.is_encrypted() && PATHS.iter().any(|path| self.path.starts_with(path))
    }

    /// Compares the database with Redis. `keys` are those of all settings.
    pub(crate) fn compare(
        &self,
        keys: &[Self],
        overlay: &Overlay,
        found: &RedisSetting,
    ) -> SharedStep {
        let stored = overlay.stored_text(self);
        if stored.is_some_and(|text| self.contains_secret(text)) {
            return SharedStep::Nothing;
        }
        let is_changed_here = stored != found.agreed.as_deref();
        match stored {
            Some(text) if is_changed_here || found.json.is_empty() => {
                SharedStep::Write(self.agreed_value(text))
            }
            None if is_changed_here => SharedStep::Remove,
            None if found.json.is_empty() => SharedStep::Nothing,
            stored => self.follow(keys, overlay, stored, &found.json),
        }
    }

    /// The step for a value that only Open WebUI may have changed.
    fn follow(
        &self,
        keys: &[Self],
        overlay: &Overlay,
        stored: Option<&str>,
        json: &[u8],
    ) -> SharedStep {
        let change = match self.parse_shared(json) {
            Ok(Some(change)) => change,
            Ok(None) => return SharedStep::Nothing,
            Err(reason) => return SharedStep::Refuse(reason),
        };
        if change.text() == stored {
            return SharedStep::Nothing;
        }
        if self.kind == ValueKind::Url && self.has_engine_secret(keys, overlay) {
            return SharedStep::Refuse(URL_WITH_SECRET.to_owned());
        }
        SharedStep::Read(Box::new(change))
    }

    /// The error is a phrase that follows the setting's name.
    fn parse_shared(&self, json: &[u8]) -> Result<Option<Change>, String> {
        if json.len() > MAX_SETTING_JSON_BYTES {
            return Err(format!(
                "has more than the {MAX_SETTING_JSON_BYTES} bytes of JSON allowed"
            ));
        }
        let value: Value = serde_json::from_slice(json).map_err(|_| "is not JSON".to_owned())?;
        Change::new(self, &value)
    }

    /// A stored text as Open WebUI writes it.
    fn agreed_value(&self, text: &str) -> AgreedValue {
        let value = match (self.kind, self.kind.parse(text)) {
            (ValueKind::Object, Value::Null) => json!({}),
            (ValueKind::List, Value::Null) => json!([]),
            (_, value) => value,
        };
        AgreedValue {
            json: value.to_string(),
            text: text.to_owned(),
        }
    }

    /// True if a text contains a secret, or may contain one.
    fn contains_secret(&self, text: &str) -> bool {
        let is_masked = |value: Value| mask(value.clone(), &self.secret_members) != value;
        match self.kind {
            ValueKind::Url => !text.is_empty() && !is_public_url(text),
            ValueKind::List => is_masked(without_input_names(self.kind.parse(text))),
            // A text can be a workflow.
            _ => is_masked(serde_json::from_str(text).unwrap_or_default()),
        }
    }

    /// True if a secret would be sent to the URL of this setting.
    fn has_engine_secret(&self, keys: &[Self], overlay: &Overlay) -> bool {
        let engine = engine_in_path(&self.path);
        let is_of_engine = |key: &&Self| {
            let field = key.form_field.engine.as_ref();
            engine.is_some()
                && (engine_in_path(&key.path) == engine
                    || field.map(|it| it.engine.as_str()) == engine)
        };
        let is_set = |key: &Self| {
            let text = overlay.text(key).or_else(|| overlay.shared_text(key));
            text.is_some_and(|it| !it.is_empty())
        };
        let secrets = keys.iter().filter(|key| key.kind.is_encrypted());
        secrets.filter(is_of_engine).any(is_set)
    }
}

/// The engine in a path of Open WebUI, such as `images.edit.openai.api_key`.
fn engine_in_path(path: &str) -> Option<&str> {
    let rest = PATHS.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    Some(rest.split_once('.')?.0)
}

/// True for a URL without user, password and query.
fn is_public_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

fn without_input_names(mut nodes: Value) -> Value {
    for node in nodes.as_array_mut().into_iter().flatten() {
        if let Value::Object(members) = node {
            members.remove(INPUT_NAME);
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use pinhole_ground::environment::Environment;

    use super::*;
    use crate::settings::setting_keys;

    /// The step for a setting as a line.
    fn step(
        name: &str,
        stored: Option<&str>,
        json: &str,
        agreed: Option<&str>,
        environment: &[(&str, &str)],
    ) -> String {
        let keys = setting_keys([]);
        let key = keys.iter().find(|it| it.name == name).unwrap();
        let pairs = environment.iter();
        let pairs = pairs.map(|(variable, value)| ((*variable).to_owned(), (*value).to_owned()));
        let overlay = Overlay::of_environment(&Environment::new(pairs));
        let overlay = match stored {
            Some(text) => overlay.with_stored_text(key, text),
            None => overlay,
        };
        let found = RedisSetting {
            json: json.into(),
            agreed: agreed.map(str::to_owned),
        };
        match key.compare(&keys, &overlay, &found) {
            SharedStep::Nothing => "nothing".to_owned(),
            SharedStep::Write(value) => format!("write {}", value.json),
            SharedStep::Remove => "remove".to_owned(),
            SharedStep::Read(change) => format!("read {}", change.text().unwrap()),
            SharedStep::Refuse(reason) => format!("refuse: {reason}"),
        }
    }

    #[test]
    fn shared_settings_are_open_webuis_image_settings_without_secrets() {
        let keys = setting_keys([]);
        let shared: Vec<&str> = keys
            .iter()
            .filter(|key| key.is_shared())
            .map(|key| key.name.as_str())
            .collect();
        assert_eq!(shared.len(), 27, "{shared:?}");
        for name in ["IMAGE_SIZE", "COMFYUI_WORKFLOW_NODES", "IMAGE_EDIT_ENGINE"] {
            assert!(shared.contains(&name), "{name}");
        }
        for name in shared {
            assert!(!name.contains("KEY") && !name.contains("AUTH"), "{name}");
            assert!(!name.starts_with("PINHOLE_"), "{name}");
        }
    }

    #[test]
    fn change_of_one_side_reaches_the_other_and_the_database_wins() {
        for (stored, json, agreed, expected) in [
            (None, "", None, "nothing"),
            (None, r#""a""#, None, "read a"),
            (Some("a"), "", None, r#"write "a""#),
            (Some("a"), r#""a""#, Some("a"), "nothing"),
            (Some("a"), r#""b""#, Some("a"), "read b"),
            (Some("b"), r#""a""#, Some("a"), r#"write "b""#),
            // Both have changed, or it is not known who has.
            (Some("b"), r#""c""#, Some("a"), r#"write "b""#),
            (Some("b"), r#""c""#, None, r#"write "b""#),
            (Some("a"), r#""a""#, None, r#"write "a""#),
            // Redis has lost its data.
            (Some("a"), "", Some("a"), r#"write "a""#),
            (None, r#""a""#, Some("a"), "remove"),
            (None, r#""b""#, Some("a"), "remove"),
            (None, "", Some("a"), "remove"),
            (Some("a"), "5", Some("a"), "refuse: must be a string"),
            (Some("a"), "{", Some("a"), "refuse: is not JSON"),
            (Some("b"), "{", Some("a"), r#"write "b""#),
        ] {
            let actual = step("IMAGE_SIZE", stored, json, agreed, &[]);
            assert_eq!(actual, expected, "{stored:?} {json} {agreed:?}");
        }
        let long = format!("\"{}\"", "x".repeat(MAX_SETTING_JSON_BYTES));
        assert!(step("IMAGE_SIZE", None, &long, None, &[]).starts_with("refuse: has more"));
    }

    #[test]
    fn values_are_written_as_open_webui_writes_them() {
        for (name, text, expected) in [
            ("ENABLE_IMAGE_EDIT", "true", "write true"),
            ("IMAGE_STEPS", "20", "write 20"),
            ("IMAGE_STEPS", "", "write null"),
            ("IMAGES_OPENAI_API_PARAMS", "", "write {}"),
            ("IMAGES_OPENAI_API_PARAMS", r#"{"n":1}"#, r#"write {"n":1}"#),
            ("COMFYUI_WORKFLOW_NODES", "", "write []"),
            (
                "COMFYUI_WORKFLOW_NODES",
                r#"[{"key":"text","type":"prompt"}]"#,
                r#"write [{"key":"text","type":"prompt"}]"#,
            ),
            ("COMFYUI_WORKFLOW", "{}", r#"write "{}""#),
            (
                "COMFYUI_BASE_URL",
                "http://gpu:8188",
                r#"write "http://gpu:8188""#,
            ),
            ("COMFYUI_BASE_URL", "", r#"write """#),
        ] {
            assert_eq!(step(name, Some(text), "", None, &[]), expected, "{name}");
        }
    }

    #[test]
    fn values_with_secrets_are_not_written() {
        for (name, text) in [
            ("COMFYUI_BASE_URL", "http://user:secret@gpu:8188"),
            ("COMFYUI_BASE_URL", "http://secret@gpu:8188"),
            ("COMFYUI_BASE_URL", "user:secret@gpu:8188"),
            ("COMFYUI_BASE_URL", "https://gpu/?key=secret"),
            ("IMAGES_OPENAI_API_PARAMS", r#"{"a":{"api_key":"secret"}}"#),
            ("COMFYUI_WORKFLOW", r#"{"1":{"inputs":{"token":"secret"}}}"#),
            ("COMFYUI_WORKFLOW_NODES", r#"[{"password":"secret"}]"#),
        ] {
            assert_eq!(step(name, Some(text), "", None, &[]), "nothing", "{text}");
        }
    }

    #[test]
    fn url_of_an_engine_with_a_secret_is_not_read() {
        let read = |name, variables: &[_]| step(name, None, r#""http://b""#, None, variables);
        let key = [("IMAGES_OPENAI_API_KEY", "k")];
        let refused = format!("refuse: {URL_WITH_SECRET}");
        assert_eq!(read("IMAGES_OPENAI_API_BASE_URL", &[]), "read http://b");
        assert_eq!(read("IMAGES_OPENAI_API_BASE_URL", &key), refused);
        assert_eq!(read("IMAGES_EDIT_OPENAI_API_BASE_URL", &key), refused);
        assert_eq!(read("COMFYUI_BASE_URL", &key), "read http://b");
    }
}
