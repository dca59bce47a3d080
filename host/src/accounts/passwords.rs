//! Password hashes (Argon2id), computed at low priority and few at the same time.

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
    ) -> Result<bool, Error> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        self.compute(move || {
            let is_known = hash.is_some();
            let is_match = PasswordHash::new(hash.as_deref().unwrap_or(UNKNOWN_ACCOUNT_HASH))
                .is_ok_and(|hash| {
                    Argon2::default()
                        .verify_password(password.as_bytes(), &hash)
                        .is_ok()
                });
            is_match && is_known
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
            passwords.verify(password.to_owned(), hash).await.unwrap()
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
    async fn password_hasher_is_busy_after_its_maximum_wait() {
        let passwords = PasswordHasher {
            permits: Arc::new(Semaphore::new(0)),
            max_wait: Duration::ZERO,
        };
        let hash = passwords.hash("correct horse".to_owned()).await;
        assert!(matches!(hash, Err(Error::Busy)), "{hash:?}");
    }
}
