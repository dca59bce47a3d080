//! Sessions: JSON Web Tokens that this server signs with HS256.
//!
//! There is one algorithm and one key. A token with another header is invalid.

use anyhow::Result;
use base64_simd::URL_SAFE_NO_PAD;
use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use pinhole_ground::data_dir;
use pinhole_ground::guard::{Guard, Refusal};

use crate::store::{Session, SessionOrigin};

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// Length of a token in bytes. Longer ones are invalid.
const MAX_TOKEN_BYTES: usize = 1000;
const KEY_FILE: &str = "session-key";
const KEY_BYTES: usize = 32;
/// Length of `WEBUI_SECRET_KEY` in bytes. A client that guesses it can sign sessions of any user.
///
/// Source: Open WebUI `start.sh` generates 12 random bytes in base64.
const MIN_SECRET_BYTES: usize = 16;

/// The claims of a token. `id` is the user's, as in Open WebUI.
#[derive(Serialize, Deserialize)]
struct Claims {
    id: String,
    jti: String,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// 0 if the session began with a key.
    epoch: i64,
    /// The id of the API key with which the session began.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A new session for a client.
pub struct SessionToken {
    /// The credential that the client sends.
    pub token: String,
    /// Seconds since 1970. `None` if the session does not expire.
    pub expires_at: Option<i64>,
}

/// Signs and verifies tokens.
pub(super) struct SessionSigner {
    key: Vec<u8>,
}

impl SessionSigner {
    pub(super) fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// Signs a session.
    pub(super) fn sign(&self, session: &Session) -> SessionToken {
        let (epoch, key) = match &session.origin {
            SessionOrigin::Password { epoch } => (*epoch, None),
            SessionOrigin::Key { id } => (0, Some(id.clone())),
        };
        let claims = Claims {
            id: session.user_id.clone(),
            jti: session.id.clone(),
            iat: session.created_at,
            exp: session.expires_at,
            epoch,
            key,
        };
        // Cannot fail: strings and numbers only.
        let claims_json = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode_to_string(claims_json));
        let mac = self.mac(&signed).finalize().into_bytes();
        SessionToken {
            token: format!("{signed}.{}", URL_SAFE_NO_PAD.encode_to_string(mac)),
            expires_at: session.expires_at,
        }
    }

    /// The session of a token, unless it has expired or another key signed it.
    pub(super) fn verify(&self, token: &str, now: i64) -> Option<Session> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, mac) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let mac_bytes = URL_SAFE_NO_PAD.decode_to_vec(mac).ok()?;
        self.mac(signed).verify_slice(&mac_bytes).ok()?;
        let json = URL_SAFE_NO_PAD.decode_to_vec(payload).ok()?;
        let claims: Claims = serde_json::from_slice(&json).ok()?;
        let is_expired = claims.exp.is_some_and(|exp| exp <= now);
        if header != HEADER || is_expired {
            return None;
        }
        Some(Session {
            id: claims.jti,
            user_id: claims.id,
            origin: match claims.key {
                Some(id) => SessionOrigin::Key { id },
                None => SessionOrigin::Password {
                    epoch: claims.epoch,
                },
            },
            created_at: claims.iat,
            expires_at: claims.exp,
        })
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("key of any length");
        mac.update(signed.as_bytes());
        mac
    }
}

/// The key of `WEBUI_SECRET_KEY`. The error does not repeat it.
pub(super) fn parse_secret(secret: &str) -> Result<Vec<u8>, Refusal> {
    let length = secret.len();
    Guard::SessionSecret.refuse_if(length < MIN_SECRET_BYTES, || {
        format!(
            "WEBUI_SECRET_KEY has {length} bytes: it must have at least {MIN_SECRET_BYTES}; create one \
             with `openssl rand -base64 32`"
        )
    })?;
    Ok(secret.as_bytes().to_vec())
}

/// The key in the data directory, created if it is missing.
pub(super) fn read_or_create_key(data: &Dir) -> Result<Vec<u8>> {
    data_dir::read_or_create_key(data, KEY_FILE, KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> SessionSigner {
        SessionSigner::new(b"a key".to_vec())
    }

    fn session(expires_at: Option<i64>) -> Session {
        Session {
            id: "1".to_owned(),
            user_id: "ada".to_owned(),
            origin: SessionOrigin::Password { epoch: 3 },
            created_at: 1000,
            expires_at,
        }
    }

    #[test]
    fn session_signer_verifies_a_token_until_it_expires() {
        let limited = session(Some(1060));
        let SessionToken { token, expires_at } = signer().sign(&limited);
        assert_eq!(expires_at, Some(1060));
        assert_eq!(signer().verify(&token, 1059), Some(limited));
        assert_eq!(signer().verify(&token, 1060), None);
        let unlimited = signer().sign(&session(None));
        assert_eq!(unlimited.expires_at, None);
        assert!(signer().verify(&unlimited.token, i64::MAX).is_some());
        let of_key = Session {
            origin: SessionOrigin::Key {
                id: "abc".to_owned(),
            },
            ..session(None)
        };
        let signed = signer().sign(&of_key);
        assert_eq!(signer().verify(&signed.token, 0), Some(of_key));
    }

    #[test]
    fn session_signer_refuses_foreign_and_modified_tokens() {
        let SessionToken { token, .. } = signer().sign(&session(None));
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(
            URL_SAFE_NO_PAD.decode_to_vec(parts[0]).unwrap(),
            br#"{"alg":"HS256","typ":"JWT"}"#
        );
        let foreign = SessionSigner::new(b"another".to_vec()).sign(&session(None));
        let none = URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"none","typ":"JWT"}"#);
        let claims =
            URL_SAFE_NO_PAD.encode_to_string(r#"{"id":"eve","jti":"1","iat":0,"epoch":0}"#);
        for invalid in [
            String::new(),
            "..".to_owned(),
            "ä.ö.ü".to_owned(),
            foreign.token,
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES)),
        ] {
            assert_eq!(signer().verify(&invalid, 0), None, "{invalid}");
        }
    }
}
