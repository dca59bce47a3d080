//! Secrets as they lie in the database: sealed with AES-256-GCM, each under the path it is for.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context, Result, anyhow};
use base64_simd::STANDARD;
use cap_std::fs::Dir;
use serde_json::Value;

use pinhole_ground::environment::Environment;
use pinhole_ground::data_dir;

/// What stands for a secret that is set, wherever settings are shown. Sent back, it means the same
/// secret.
pub const MARKER: &str = "********";

/// The file with the key, in the data folder.
const KEY_FILE: &str = "settings-key";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// What a sealed secret begins with; another form gets another number.
const VERSION: u8 = 1;
/// How the names of members end that hold secrets, as for engines' variables.
const SECRET_ENDINGS: [&str; 5] = ["key", "auth", "secret", "token", "password"];

/// Seals and opens secrets.
pub(super) struct Secrets {
    cipher: Aes256Gcm,
}

impl Secrets {
    /// With the key of `PINHOLE_SETTINGS_KEY`, or else with the data folder's, which is made where
    /// there is none yet.
    pub(super) fn open(data: &Dir, environment: &Environment) -> Result<Self> {
        let key = match environment.get("PINHOLE_SETTINGS_KEY") {
            Some(text) => key_of(text).map_err(anyhow::Error::msg)?,
            None => data_dir::read_or_create_key(data, KEY_FILE, KEY_BYTES)
                .context("cannot use the data folder's key for settings: the secrets among them are set again after it is removed")?,
        };
        Self::new(&key)
    }

    fn new(key: &[u8]) -> Result<Self> {
        let cipher = Aes256Gcm::new_from_slice(key);
        let cipher = cipher.map_err(|_| anyhow!("a key for settings has {KEY_BYTES} bytes"))?;
        Ok(Self { cipher })
    }

    /// In base64: version, nonce, and the text under them. It opens for this path alone.
    pub(super) fn seal(&self, path: &str, text: &str) -> Result<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).context("no random numbers to seal a secret")?;
        let payload = Payload {
            msg: text.as_bytes(),
            aad: path.as_bytes(),
        };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| anyhow!("the setting {path} cannot be sealed"))?;
        let whole = [&[VERSION], nonce.as_slice(), &sealed].concat();
        Ok(STANDARD.encode_to_string(whole))
    }

    /// What was sealed for this path; `None` where another key or path sealed it, or nobody did.
    pub(super) fn unseal(&self, path: &str, sealed: &str) -> Option<String> {
        let whole = STANDARD.decode_to_vec(sealed).ok()?;
        let rest = whole.strip_prefix(&[VERSION])?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: path.as_bytes(),
        };
        let text = self.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(text).ok()
    }
}

/// The value without the secrets inside, which [`MARKER`] stands for: those under these names, and
/// under names that end as secrets' do.
pub(super) fn masked(mut value: Value, names: &[String]) -> Value {
    mask(&mut value, false, names);
    value
}

/// The value with the secrets that its markers stand for: those at the same places of `current`. A
/// marker that stands for nothing becomes empty.
pub(super) fn unmasked(mut value: Value, current: &Value) -> Value {
    fill(&mut value, Some(current));
    value
}

fn fill(value: &mut Value, current: Option<&Value>) {
    match value {
        Value::String(text) if text == MARKER => {
            let kept = current.and_then(Value::as_str).unwrap_or_default();
            kept.clone_into(text);
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill(item, current.and_then(|current| current.get(index)));
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                fill(member, current.and_then(|current| current.get(name)));
            }
        }
        _ => {}
    }
}

fn mask(value: &mut Value, secret: bool, names: &[String]) {
    match value {
        Value::String(text) if secret && !text.is_empty() => MARKER.clone_into(text),
        Value::Number(_) if secret => *value = Value::from(MARKER),
        Value::Array(items) => {
            for item in items {
                mask(item, secret, names);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                mask(member, secret || is_secret(name, names), names);
            }
        }
        _ => {}
    }
}

fn is_secret(name: &str, names: &[String]) -> bool {
    let lower = name.to_lowercase();
    let ends = SECRET_ENDINGS.iter().any(|ending| lower.ends_with(ending));
    ends || names.iter().any(|known| known == name)
}

/// From hexadecimal digits.
fn key_of(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.trim();
    let wrong = || {
        let digits = 2 * KEY_BYTES;
        format!(
            "PINHOLE_SETTINGS_KEY must be {digits} hexadecimal digits: `openssl rand -hex {KEY_BYTES}` makes some"
        )
    };
    if digits.len() != 2 * KEY_BYTES || !digits.is_ascii() {
        return Err(wrong());
    }
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_and_for_its_path_alone() {
        let secrets = Secrets::new(&[1; KEY_BYTES]).unwrap();
        let sealed = secrets.seal("a.b", "hunter2").unwrap();
        assert_eq!(secrets.unseal("a.b", &sealed).as_deref(), Some("hunter2"));
        assert_ne!(secrets.seal("a.b", "hunter2").unwrap(), sealed);
        assert_eq!(secrets.unseal("a.c", &sealed), None);
        let others = Secrets::new(&[2; KEY_BYTES]).unwrap();
        assert_eq!(others.unseal("a.b", &sealed), None);
        let mut bytes = STANDARD.decode_to_vec(&sealed).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        for place in [0, 1, NONCE_BYTES + 1, bytes.len() - 1] {
            bytes[place] ^= 1;
            let changed = STANDARD.encode_to_string(&bytes);
            assert_eq!(secrets.unseal("a.b", &changed), None, "byte {place}");
            bytes[place] ^= 1;
        }
        for wrong in ["", "AQ==", "no base64!", "AQAAAAAAAAAAAAAAAAA="] {
            assert_eq!(secrets.unseal("a.b", wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_key_is_the_environments_or_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let data = pinhole_ground::data_dir::open(folder.path()).unwrap();
        let open = |key: &str| {
            let pair = ("PINHOLE_SETTINGS_KEY".to_owned(), key.to_owned());
            Secrets::open(&data, &Environment::new([pair]))
        };
        let sealed = open(&"0a".repeat(32)).unwrap().seal("a", "x").unwrap();
        assert!(
            open(&"0A".repeat(32))
                .unwrap()
                .unseal("a", &sealed)
                .is_some()
        );
        assert!(!data.exists(KEY_FILE));
        let own = open("").unwrap();
        assert!(own.unseal("a", &sealed).is_none());
        let sealed = own.seal("a", "x").unwrap();
        assert!(open("").unwrap().unseal("a", &sealed).is_some());
        for wrong in ["0a", &"0g".repeat(32), &"ä".repeat(32)] {
            let error = open(wrong).err().unwrap().to_string();
            assert!(error.contains("PINHOLE_SETTINGS_KEY must be 64"), "{error}");
            assert!(!error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn secrets_inside_are_masked_and_come_back() {
        let value = json!({
            "fast": {"engine": "openai", "API_KEY": "k1", "api-auth": "", "pass": "k4", "list": [{"token": "k2"}]},
            "slow": {"password": ["k3", 7], "keyboard": "de"},
        });
        let shown = json!({
            "fast": {"engine": "openai", "API_KEY": MARKER, "api-auth": "", "pass": MARKER, "list": [{"token": MARKER}]},
            "slow": {"password": [MARKER, MARKER], "keyboard": "de"},
        });
        assert_eq!(masked(value.clone(), &["pass".to_owned()]), shown);
        let mut back = unmasked(shown.clone(), &value);
        // A number that was masked has become nothing: no secret is a number.
        back["slow"]["password"][1] = json!(7);
        assert_eq!(back, value);
        let moved = json!({"other": shown["fast"]});
        assert_eq!(unmasked(moved, &value)["other"]["API_KEY"], "");
    }
}
