//! Secrets in values that the API returns: a marker replaces them.

use serde_json::Value;

/// Replaces a secret in a response. In a request it means that the secret stays unchanged.
pub const MARKER: &str = "********";

/// Endings of the names of members that are secrets.
const SECRET_ENDINGS: [&str; 5] = ["key", "auth", "secret", "token", "password"];

/// Replaces secrets by [`MARKER`]: the values of these members, and of members whose names end like those
/// of secrets.
pub(super) fn mask(mut value: Value, secret_members: &[String]) -> Value {
    mask_in(&mut value, false, secret_members);
    value
}

/// Replaces each [`MARKER`] by the value at the same position of `current`, or by an empty string.
pub(super) fn unmask(mut value: Value, current: &Value) -> Value {
    unmask_in(&mut value, Some(current));
    value
}

fn mask_in(value: &mut Value, is_secret: bool, secret_members: &[String]) {
    match value {
        Value::String(text) if is_secret && !text.is_empty() => MARKER.clone_into(text),
        Value::Number(_) if is_secret => *value = Value::from(MARKER),
        Value::Array(items) => {
            for item in items {
                mask_in(item, is_secret, secret_members);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let is_secret = is_secret || is_secret_member(name, secret_members);
                mask_in(member, is_secret, secret_members);
            }
        }
        _ => {}
    }
}

fn is_secret_member(name: &str, secret_members: &[String]) -> bool {
    let lower = name.to_lowercase();
    SECRET_ENDINGS.iter().any(|ending| lower.ends_with(ending))
        || secret_members.iter().any(|member| member == name)
}

fn unmask_in(value: &mut Value, current: Option<&Value>) {
    match value {
        Value::String(text) if text == MARKER => {
            let secret = current.and_then(Value::as_str).unwrap_or_default();
            secret.clone_into(text);
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                unmask_in(item, current.and_then(|current| current.get(index)));
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                unmask_in(member, current.and_then(|current| current.get(name)));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mask_replaces_secrets_and_unmask_restores_them() {
        let value = json!({
            "fast": {"engine": "openai", "API_KEY": "k1", "api-auth": "", "pass": "k4", "list": [{"token": "k2"}]},
            "slow": {"password": ["k3", 7], "keyboard": "de"},
        });
        let masked = json!({
            "fast": {"engine": "openai", "API_KEY": MARKER, "api-auth": "", "pass": MARKER, "list": [{"token": MARKER}]},
            "slow": {"password": [MARKER, MARKER], "keyboard": "de"},
        });
        assert_eq!(mask(value.clone(), &["pass".to_owned()]), masked);
        let mut back = unmask(masked.clone(), &value);
        // A number is not restored: no secret is a number.
        back["slow"]["password"][1] = json!(7);
        assert_eq!(back, value);
        let moved = json!({"other": masked["fast"]});
        assert_eq!(unmask(moved, &value)["other"]["API_KEY"], "");
    }
}
