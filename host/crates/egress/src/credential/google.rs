//! Service accounts of Google: a key file, with which the host requests OAuth tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use base64_simd::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::url::parse_url;

/// Where Google gives tokens.
pub(crate) const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// Length of a scope in bytes.
const MAX_SCOPE_BYTES: usize = 1 << 10;
/// Length of a key file in bytes.
const MAX_KEY_FILE_BYTES: usize = 16 << 10;
/// How long a request for a token is valid. It is the longest time that Google accepts.
const ASSERTION_SECS: u64 = 3600;
/// What to do about an unusable key file.
const REMEDY: &str =
    "create a key of type JSON for the service account in Google Cloud and use the whole file";

/// A service account, and what its tokens are for.
pub(crate) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: KeyPair,
    /// Where it requests tokens.
    pub(crate) token_url: Url,
    pub(crate) scope: String,
}

/// The fields of a key file that are used.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

/// Refuses a text that is not a list of OAuth scopes, separated by spaces. The error does not repeat it.
pub fn check_scope(scope: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b" :/._-".contains(&byte);
    let has_length = scope.len() <= MAX_SCOPE_BYTES && !scope.trim().is_empty();
    if has_length && scope.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "a scope of Google has 1 to {MAX_SCOPE_BYTES} letters, digits, colons, slashes, dots and dashes, such as \
         https://www.googleapis.com/auth/cloud-platform"
    ))
}

/// What of a service account's key file is secret; `None` for another text. The rest of the file is public and
/// contains ordinary words.
#[must_use]
pub fn service_account_secrets(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let file: KeyFile = serde_json::from_str(text).ok()?;
    let lines = file.private_key.lines().map(str::trim);
    let key_lines = lines.filter(|line| !line.is_empty() && !line.starts_with("-----"));
    Some(
        key_lines
            .map(str::to_owned)
            .chain(file.private_key_id)
            .collect(),
    )
}

impl ServiceAccount {
    /// Parses a key file. The error does not repeat a part of it.
    pub(crate) fn parse(key_file: &str, scope: &str) -> Result<Self, String> {
        check_scope(scope)?;
        let unusable = |problem: &str| format!("the service account's key {problem}: {REMEDY}");
        if key_file.len() > MAX_KEY_FILE_BYTES {
            return Err(unusable(&format!(
                "is longer than {MAX_KEY_FILE_BYTES} bytes"
            )));
        }
        let file: KeyFile = serde_json::from_str(key_file)
            .map_err(|_| unusable("is not JSON with the fields client_email and private_key"))?;
        if file.kind.is_some_and(|kind| kind != "service_account") {
            return Err(unusable("has another type than service_account"));
        }
        if !file
            .client_email
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
        {
            return Err(unusable("has an invalid client_email"));
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| unusable("has a private_key that is not PEM"))?;
        let key = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| {
            unusable("has a private_key that is not an RSA key of 2048 bits or more")
        })?;
        let token_url = parse_url(file.token_uri.as_deref().unwrap_or(GOOGLE_TOKEN_URL))
            .map_err(|_| unusable("has an invalid token_uri"))?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            key,
            token_url,
            scope: scope.to_owned(),
        })
    }

    /// A signed request for a token (a JWT, RFC 7523), which is a secret for as long as it is valid.
    pub(crate) fn assertion(&self, time: SystemTime) -> Result<String, String> {
        let issued_secs = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key_id});
        let claims = json!({
            "iss": self.email,
            "scope": self.scope,
            "aud": self.token_url.as_str(),
            "iat": issued_secs,
            "exp": issued_secs + ASSERTION_SECS,
        });
        let encode = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode_to_string(json.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "the service account's key cannot sign".to_owned())?;
        let signature = URL_SAFE_NO_PAD.encode_to_string(signature);
        Ok(format!("{signed}.{signature}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// A key that belongs to no account.
    const KEY_FILE: &str = include_str!("../../testdata/service_account.json");
    const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

    /// The key file with one field changed or, by `null`, removed.
    fn changed(field: &str, value: Value) -> String {
        let mut file: Value = serde_json::from_str(KEY_FILE).unwrap();
        file[field] = value;
        file.to_string()
    }

    #[test]
    fn service_account_signs_the_claims_of_rfc_7523() {
        let account = ServiceAccount::parse(KEY_FILE, SCOPE).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let assertion = account.assertion(time).unwrap();
        let [header, claims, signature] = assertion.split('.').collect::<Vec<_>>()[..] else {
            panic!("{assertion}");
        };
        let decode = |text: &str| URL_SAFE_NO_PAD.decode_to_vec(text).unwrap();
        let parse = |text: &str| serde_json::from_slice::<Value>(&decode(text)).unwrap();
        assert_eq!(
            parse(header),
            json!({"alg": "RS256", "typ": "JWT", "kid": "0f6a1c9be27d4583"})
        );
        assert_eq!(
            parse(claims),
            json!({
                "iss": "images@test.iam.gserviceaccount.com",
                "scope": SCOPE,
                "aud": GOOGLE_TOKEN_URL,
                "iat": 1_700_000_000,
                "exp": 1_700_003_600,
            })
        );
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, account.key.public());
        let signed = format!("{header}.{claims}");
        public
            .verify(signed.as_bytes(), &decode(signature))
            .unwrap();
    }

    #[test]
    fn service_account_names_what_is_wrong_and_no_part_of_the_key() {
        let cut = changed(
            "private_key",
            json!("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
        );
        for (key_file, expected) in [
            (
                "sk-secret".to_owned(),
                "is not JSON with the fields client_email and private_key",
            ),
            ("{}".to_owned(), "is not JSON with the fields"),
            (
                changed("private_key", Value::Null),
                "is not JSON with the fields",
            ),
            (
                changed("type", json!("authorized_user")),
                "has another type than service_account",
            ),
            (
                changed("private_key", json!("secret")),
                "has a private_key that is not PEM",
            ),
            (cut, "has a private_key that is not an RSA key"),
            (
                changed("client_email", json!("secret x")),
                "has an invalid client_email",
            ),
            (
                changed("token_uri", json!("secret")),
                "has an invalid token_uri",
            ),
            ("x".repeat(MAX_KEY_FILE_BYTES + 1), "is longer than"),
        ] {
            let problem = ServiceAccount::parse(&key_file, SCOPE).err().unwrap();
            assert!(problem.contains(expected), "{problem}");
            assert!(problem.contains("create a key of type JSON"), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        for scope in ["", " ", "a\nb", "é", "a) from (b"] {
            assert!(ServiceAccount::parse(KEY_FILE, scope).is_err(), "{scope}");
        }
    }

    #[test]
    fn secrets_of_a_service_account_are_its_key_and_not_its_words() {
        let secrets = service_account_secrets(KEY_FILE).unwrap();
        assert!(secrets.len() > 20, "{}", secrets.len());
        assert!(secrets.contains(&"0f6a1c9be27d4583".to_owned()));
        let all = secrets.join(" ");
        for word in [
            "-----",
            "https://",
            "service_account",
            "googleapis",
            "PRIVATE",
        ] {
            assert!(!all.contains(word), "{word}");
        }
        for other in ["sk-secret", "{}", "{\"a\": 1}", ""] {
            assert_eq!(service_account_secrets(other), None, "{other}");
        }
    }
}
