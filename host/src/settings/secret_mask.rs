//! Secrets in values that the API returns: a marker replaces them.

use serde_json::Value;

use super::setting_key::SecretMembers;

/// Replaces a secret in a response. In a request it means that the secret stays unchanged.
pub const MARKER: &str = "********";

/// Endings of the names of members that are secrets.
const SECRET_ENDINGS: [&str; 5] = ["key", "auth", "secret", "token", "password"];

/// Members whose values are all secrets: the headers of a binding.
const SECRET_OBJECTS: [&str; 2] = ["headers", "edit_headers"];

/// Replaces secrets by [`MARKER`]: the values of these members, and of members whose names end like those
/// of secrets.
pub(super) fn mask(mut value: Value, secret_members: &SecretMembers) -> Value {
    match secret_members {
        SecretMembers::All => mask_in(&mut value, true, &[]),
        SecretMembers::Named(names) => mask_in(&mut value, false, names),
    }
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
        || SECRET_OBJECTS.contains(&name)
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
            "slow": {"password": ["k3", 7], "keyboard": "de", "headers": {"X-A": "k5"}},
        });
        let masked = json!({
            "fast": {"engine": "openai", "API_KEY": MARKER, "api-auth": "", "pass": MARKER, "list": [{"token": MARKER}]},
            "slow": {"password": [MARKER, MARKER], "keyboard": "de", "headers": {"X-A": MARKER}},
        });
        let named = SecretMembers::Named(vec!["pass".to_owned()]);
        assert_eq!(mask(value.clone(), &named), masked);
        let all = mask(json!({"X-A": "k", "n": 7}), &SecretMembers::All);
        assert_eq!(all, json!({"X-A": MARKER, "n": MARKER}));
        let mut back = unmask(masked.clone(), &value);
        // A number is not restored: no secret is a number.
        back["slow"]["password"][1] = json!(7);
        assert_eq!(back, value);
        let moved = json!({"other": masked["fast"]});
        assert_eq!(unmask(moved, &value)["other"]["API_KEY"], "");
    }
}
