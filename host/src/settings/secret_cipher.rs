//! Encryption of the secrets in the database: AES-256-GCM, bound to the path of the setting.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::{Context, Result, anyhow};
use base64_simd::STANDARD;
use cap_std::fs::Dir;
use pinhole_ground::data_dir;
use pinhole_ground::environment::Environment;

/// The file with the key, in the data directory.
const KEY_FILE: &str = "settings-key";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The first byte of an encrypted secret. Another format gets another number.
const VERSION: u8 = 1;

/// Encrypts and decrypts secrets.
pub(super) struct SecretCipher(Aes256Gcm);

impl SecretCipher {
    /// Uses the key of `PINHOLE_SETTINGS_KEY`, or else the key file of the data directory, which is created
    /// if it is missing.
    pub(super) fn open(data: &Dir, environment: &Environment) -> Result<Self> {
        let key = match environment.get("PINHOLE_SETTINGS_KEY") {
            Some(text) => parse_key(text)?,
            None => data_dir::read_or_create_key(data, KEY_FILE, KEY_BYTES).context(
                "cannot use the settings key of the data directory; if you delete it, set all secrets again",
            )?,
        };
        Self::new(&key)
    }

    fn new(key: &[u8]) -> Result<Self> {
        match Aes256Gcm::new_from_slice(key) {
            Ok(cipher) => Ok(Self(cipher)),
            Err(_) => Err(anyhow!("a settings key must have {KEY_BYTES} bytes")),
        }
    }

    /// Encrypts a text for a path. The result is base64 of version, nonce and ciphertext.
    pub(super) fn encrypt(&self, path: &str, text: &str) -> Result<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)
            .context("cannot encrypt a secret: the system has no random numbers")?;
        let payload = Payload {
            msg: text.as_bytes(),
            aad: path.as_bytes(),
        };
        let ciphertext = self
            .0
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| anyhow!("cannot encrypt the setting {path}"))?;
        let bytes = [&[VERSION], nonce.as_slice(), &ciphertext].concat();
        Ok(STANDARD.encode_to_string(bytes))
    }

    /// Decrypts a text that was encrypted with this key and for this path.
    pub(super) fn decrypt(&self, path: &str, encrypted: &str) -> Option<String> {
        let bytes = STANDARD.decode_to_vec(encrypted).ok()?;
        let (nonce, ciphertext) = bytes
            .strip_prefix(&[VERSION])?
            .split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: ciphertext,
            aad: path.as_bytes(),
        };
        let text = self.0.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(text).ok()
    }
}

/// Parses a key of hexadecimal digits. The error does not repeat it.
fn parse_key(text: &str) -> Result<Vec<u8>> {
    let digits = text.trim();
    let invalid = || {
        let count = 2 * KEY_BYTES;
        anyhow!(
            "PINHOLE_SETTINGS_KEY must be {count} hexadecimal digits; create a key with `openssl rand -hex {KEY_BYTES}`"
        )
    };
    if digits.len() != 2 * KEY_BYTES || !digits.is_ascii() {
        return Err(invalid());
    }
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<_>>()
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_cipher_decrypts_with_same_key_and_path_only() {
        let cipher = SecretCipher::new(&[1; KEY_BYTES]).unwrap();
        let encrypted = cipher.encrypt("a.b", "hunter2").unwrap();
        assert_eq!(
            cipher.decrypt("a.b", &encrypted).as_deref(),
            Some("hunter2")
        );
        assert_ne!(cipher.encrypt("a.b", "hunter2").unwrap(), encrypted);
        assert_eq!(cipher.decrypt("a.c", &encrypted), None);
        let other = SecretCipher::new(&[2; KEY_BYTES]).unwrap();
        assert_eq!(other.decrypt("a.b", &encrypted), None);
        let mut bytes = STANDARD.decode_to_vec(&encrypted).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
        for index in [0, 1, NONCE_BYTES + 1, bytes.len() - 1] {
            bytes[index] ^= 1;
            let changed = STANDARD.encode_to_string(&bytes);
            assert_eq!(cipher.decrypt("a.b", &changed), None, "byte {index}");
            bytes[index] ^= 1;
        }
        for wrong in ["", "AQ==", "no base64!", "AQAAAAAAAAAAAAAAAAA="] {
            assert_eq!(cipher.decrypt("a.b", wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn secret_cipher_takes_key_of_environment_or_data_directory() {
        let directory = tempfile::tempdir().unwrap();
        let data = pinhole_ground::data_dir::open(directory.path()).unwrap();
        let open = |key: &str| {
            let pair = ("PINHOLE_SETTINGS_KEY".to_owned(), key.to_owned());
            SecretCipher::open(&data, &Environment::new([pair]))
        };
        let of_variable = open(&"0a".repeat(32)).unwrap().encrypt("a", "x").unwrap();
        assert!(
            open(&"0A".repeat(32))
                .unwrap()
                .decrypt("a", &of_variable)
                .is_some()
        );
        assert!(!data.exists(KEY_FILE));
        let own = open("").unwrap();
        assert!(own.decrypt("a", &of_variable).is_none());
        let of_file = own.encrypt("a", "x").unwrap();
        assert!(open("").unwrap().decrypt("a", &of_file).is_some());
        for wrong in ["0a", &"0g".repeat(32), &"ä".repeat(32)] {
            let error = open(wrong).err().unwrap().to_string();
            assert!(error.contains("PINHOLE_SETTINGS_KEY must be 64"), "{error}");
            assert!(!error.contains(wrong), "{error}");
        }
    }
}
