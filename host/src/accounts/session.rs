//! Sessions: JSON Web Tokens that this server signs (HS256) and nobody else.
//!
//! There is one header, one algorithm and one key, so a token's own header decides nothing.

use anyhow::Result;
use base64_simd::URL_SAFE_NO_PAD;
use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use pinhole_ground::data_dir;

/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// Longer tokens are nobody's.
const MAX_TOKEN_BYTES: usize = 1000;
const KEY_FILE: &str = "session-key";
const KEY_BYTES: usize = 32;

/// What a token says. `id` is the user's, as Open WebUI has it.
#[derive(Serialize, Deserialize)]
struct Claims {
    id: String,
    jti: String,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    epoch: i64,
}

/// A session that was begun here and whose time is not over. It may have been ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// A UUID.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// The account's at its begin.
    pub epoch: i64,
    /// Seconds since 1970; `None` where it has no end.
    pub expires_at: Option<i64>,
}

/// Signs and reads tokens.
pub(super) struct Sessions {
    key: Vec<u8>,
}

impl Sessions {
    /// With the key that signs.
    pub(super) fn new(key: Vec<u8>) -> Self {
        Self { key }
    }

    /// A new token, and when it is over: after so many seconds, or never.
    pub(super) fn begin(
        &self,
        user_id: &str,
        epoch: i64,
        now: i64,
        secs: Option<i64>,
    ) -> (String, Option<i64>) {
        let expires_at = secs.map(|secs| now.saturating_add(secs));
        let claims = Claims {
            id: user_id.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            iat: now,
            exp: expires_at,
            epoch,
        };
        // Texts and numbers alone: it cannot fail.
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode_to_string(claims));
        let mac = self.mac(&signed).finalize().into_bytes();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode_to_string(mac));
        (token, expires_at)
    }

    /// The session of a token that this key signed, unless its time is over.
    pub(super) fn read(&self, token: &str, now: i64) -> Option<Session> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, mac) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode_to_vec(mac).ok()?;
        self.mac(signed).verify_slice(&mac).ok()?;
        let claims = URL_SAFE_NO_PAD.decode_to_vec(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let over = claims.exp.is_some_and(|exp| exp <= now);
        (header == HEADER && !over).then_some(Session {
            id: claims.jti,
            user_id: claims.id,
            epoch: claims.epoch,
            expires_at: claims.exp,
        })
    }

    fn mac(&self, signed: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length");
        mac.update(signed.as_bytes());
        mac
    }
}

/// The data folder's key, made where there is none yet.
pub(super) fn key_in(data: &Dir) -> Result<Vec<u8>> {
    data_dir::read_or_create_key(data, KEY_FILE, KEY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(b"a key".to_vec())
    }

    #[test]
    fn a_token_is_read_until_its_time_is_over() {
        let (token, expires_at) = sessions().begin("ada", 3, 1000, Some(60));
        assert_eq!(expires_at, Some(1060));
        let session = sessions().read(&token, 1059).unwrap();
        assert_eq!((session.user_id.as_str(), session.epoch), ("ada", 3));
        assert_eq!(session.expires_at, Some(1060));
        assert_eq!(sessions().read(&token, 1060), None);
        let (token, expires_at) = sessions().begin("ada", 3, 1000, None);
        assert_eq!(expires_at, None);
        assert!(sessions().read(&token, i64::MAX).is_some());
    }

    #[test]
    fn what_another_signed_or_changed_is_no_session() {
        let (token, _) = sessions().begin("ada", 0, 0, None);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(
            URL_SAFE_NO_PAD.decode_to_vec(parts[0]).unwrap(),
            br#"{"alg":"HS256","typ":"JWT"}"#
        );
        let (others, _) = Sessions::new(b"another".to_vec()).begin("ada", 0, 0, None);
        let none = URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = r#"{"id":"eve","jti":"1","iat":0,"epoch":0}"#;
        let claims = URL_SAFE_NO_PAD.encode_to_string(claims);
        for wrong in [
            String::new(),
            "..".to_owned(),
            "ä.ö.ü".to_owned(),
            others,
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{claims}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{token}{}", "A".repeat(MAX_TOKEN_BYTES)),
        ] {
            assert_eq!(sessions().read(&wrong, 0), None, "{wrong}");
        }
    }
}
