//! Password hashes (Argon2id), computed at low priority and few at the same time.
//!
//! Accounts that were imported from Open WebUI have bcrypt hashes until their user signs in. While there are such
//! accounts, each attempt computes both hashes, so that the time does not reveal which accounts exist.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use pinhole_ground::low_priority;
use tokio::sync::Semaphore;

use super::Error;

/// Hashes computed at the same time. Each uses 19 MiB and one core.
const MAX_HASHES: usize = 2;
/// How long a request waits before its password is hashed.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Length of a password in bytes.
pub const MIN_PASSWORD_BYTES: usize = 8;
/// Length of a password in bytes.
pub const MAX_PASSWORD_BYTES: usize = 200;

/// The hash that is verified if an account does not exist: takes as long as any other, and has no known
/// password.
const UNKNOWN_ACCOUNT_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The same for bcrypt, with the cost that Open WebUI uses.
const UNKNOWN_BCRYPT_HASH: &str = "$2b$12$.....................................................";
/// Length of a bcrypt hash in bytes.
const BCRYPT_BYTES: usize = 60;
/// The highest cost of a bcrypt hash that is verified: two to this power rounds, about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// The hash of an account whose user cannot sign in with a password until it is reset.
pub(crate) const UNUSABLE_HASH: &str = "!";

/// Whether accounts with bcrypt hashes exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BcryptAccounts {
    None,
    Exist,
}

/// The only place where passwords are hashed.
pub(super) struct PasswordHasher {
    permits: Arc<Semaphore>,
    max_wait: Duration,
}

/// Fails unless the password has an acceptable length.
pub(super) fn check_password(password: &str) -> Result<(), Error> {
    if !(MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&password.len()) {
        return Err(Error::Invalid {
            field: "password",
            message: format!(
                "a password must have {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes"
            ),
        });
    }
    Ok(())
}

/// True for a hash of Open WebUI that can be verified.
pub(crate) fn is_bcrypt(hash: &str) -> bool {
    let Some(rest) = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|prefix| hash.strip_prefix(prefix))
    else {
        return false;
    };
    let cost = rest.split('$').next().and_then(|cost| cost.parse().ok());
    hash.len() == BCRYPT_BYTES && cost.is_some_and(|cost: u32| cost <= MAX_BCRYPT_COST)
}

impl PasswordHasher {
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(MAX_HASHES)),
            max_wait: MAX_WAIT,
        }
    }

    /// The hash of a password as a PHC string.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        let hash = self
            .compute(move || hash_blocking(password.as_bytes()))
            .await?;
        hash.map_err(Error::Internal)
    }

    /// True if the hash is this password's. Takes equally long without a hash.
    pub(super) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
        bcrypt_accounts: BcryptAccounts,
    ) -> Result<bool, Error> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        self.compute(move || {
            let (bcrypt_hash, argon2_hash) = match hash {
                Some(hash) if is_bcrypt(&hash) => (Some(hash), None),
                hash => (None, hash),
            };
            let is_argon2 = verify_argon2(&password, argon2_hash.as_deref());
            let computes_both = bcrypt_accounts == BcryptAccounts::Exist || bcrypt_hash.is_some();
            let is_bcrypt = computes_both && verify_bcrypt(&password, bcrypt_hash.as_deref());
            is_argon2 || is_bcrypt
        })
        .await
    }

    /// The work retains its permit until it is done, even if the caller goes away.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let acquire = self.permits.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.max_wait, acquire).await else {
            return Err(Error::Busy);
        };
        low_priority::compute(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(|error| Error::Internal(anyhow!("cannot hash a password: {error}")))
    }
}

/// Takes equally long without a hash.
fn verify_argon2(password: &str, hash: Option<&str>) -> bool {
    let parsed = PasswordHash::new(hash.unwrap_or(UNKNOWN_ACCOUNT_HASH));
    let is_match = parsed.is_ok_and(|parsed| {
        let verified = Argon2::default().verify_password(password.as_bytes(), &parsed);
        verified.is_ok()
    });
    is_match && hash.is_some()
}

/// Takes equally long without a hash.
fn verify_bcrypt(password: &str, hash: Option<&str>) -> bool {
    let is_match = bcrypt::verify(password, hash.unwrap_or(UNKNOWN_BCRYPT_HASH));
    is_match.unwrap_or(false) && hash.is_some()
}

fn hash_blocking(password: &[u8]) -> anyhow::Result<String> {
    let hash = Argon2::default()
        .hash_password(password)
        .map_err(|error| anyhow!("cannot hash a password: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn password_hasher_verifies_only_the_password_of_a_hash() {
        let passwords = PasswordHasher::new();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(stored, again);
        let verify = async |password: &str, hash: Option<&str>| {
            let hash = hash.map(str::to_owned);
            let verified = passwords.verify(password.to_owned(), hash, BcryptAccounts::None);
            verified.await.unwrap()
        };
        assert!(verify("correct horse", Some(&stored)).await);
        assert!(!verify("Correct horse", Some(&stored)).await);
        assert!(!verify("correct horse", None).await);
        assert!(!verify("correct horse", Some("no hash")).await);
        // Verifying an unknown account costs the same.
        let unknown = PasswordHash::new(UNKNOWN_ACCOUNT_HASH).unwrap();
        let known = PasswordHash::new(&stored).unwrap();
        assert_eq!(unknown.algorithm, known.algorithm);
        assert_eq!(unknown.version, known.version);
        assert_eq!(unknown.params, known.params);
        let lengths = |hash: &PasswordHash| {
            let output = hash.hash.as_ref().unwrap().as_bytes().len();
            (hash.salt.as_ref().unwrap().len(), output)
        };
        assert_eq!(
            lengths(&unknown),
            lengths(&PasswordHash::new(&again).unwrap())
        );
    }

    #[tokio::test]
    async fn password_hasher_verifies_hashes_of_open_webui() {
        // Made by the Python package bcrypt 5.0.0, as Open WebUI does.
        let stored = "$2b$04$lm3ulKqhzQA.wCe.OtmZmuoB5vFDCvKGWCnIPVDt1UaRYRGsHjuTO";
        assert!(is_bcrypt(stored));
        let passwords = PasswordHasher::new();
        for bcrypt_accounts in [BcryptAccounts::None, BcryptAccounts::Exist] {
            for (password, hash, expected) in [
                ("correct horse", Some(stored), true),
                ("Correct horse", Some(stored), false),
                ("correct horse", None, false),
                ("correct horse", Some(UNUSABLE_HASH), false),
                ("", Some(UNKNOWN_BCRYPT_HASH), false),
            ] {
                let hash = hash.map(str::to_owned);
                let verified = passwords.verify(password.to_owned(), hash, bcrypt_accounts);
                assert_eq!(verified.await.unwrap(), expected, "{password}");
            }
        }
    }

    #[test]
    fn bcrypt_hash_with_other_form_or_high_cost_is_refused() {
        let rest = "A".repeat(53);
        assert!(is_bcrypt(&format!("$2y$14${rest}")));
        for refused in [
            "",
            "!",
            "$2b$12$",
            &format!("$2b$15${rest}"),
            &format!("$2b$31${rest}"),
            &format!("$2b$1x${rest}"),
            &format!("$2c$12${rest}"),
            &format!("$2b$12${rest}A"),
        ] {
            assert!(!is_bcrypt(refused), "{refused}");
        }
        // The unknown account's hash is one that can be verified, so that it takes its time.
        assert!(bcrypt::verify("x", UNKNOWN_BCRYPT_HASH).is_ok());
    }

    #[tokio::test]
    async fn password_hasher_is_busy_after_its_maximum_wait() {
        let passwords = PasswordHasher {
            permits: Arc::new(Semaphore::new(0)),
            max_wait: Duration::ZERO,
        };
        let hash = passwords.hash("correct horse".to_owned()).await;
        assert!(matches!(hash, Err(Error::Busy)), "{hash:?}");
    }
}
