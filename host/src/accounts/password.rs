//! Passwords as Argon2id hashes, computed beside the server's own work and few at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use super::Error;

/// Hashes computed at once; each takes 19 MiB and a core.
const MAX_HASHES: usize = 2;
/// How long somebody waits for their turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Length of a password, in bytes.
const MIN_PASSWORD_BYTES: usize = 8;
const MAX_PASSWORD_BYTES: usize = 200;

/// What is checked where there is no account: takes as long as any other, and no password is known
/// that it would be of.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The only place where passwords are hashed.
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
    max_wait: Duration,
}

/// Is it one that an account may have?
pub(super) fn check(password: &str) -> Result<(), Error> {
    match (MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&password.len()) {
        true => Ok(()),
        false => Err(Error::Invalid {
            field: "password",
            message: format!(
                "a password must have {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes"
            ),
        }),
    }
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_HASHES)),
            max_wait: MAX_WAIT,
        }
    }

    /// As it is kept.
    pub(super) async fn hash(&self, password: String) -> Result<String, Error> {
        let hashed = self.compute(move || hash(password.as_bytes())).await?;
        hashed.map_err(Error::Ours)
    }

    /// Is this the password of that hash? Without a hash it is none, and that takes as long.
    pub(super) async fn matches(
        &self,
        password: String,
        kept: Option<String>,
    ) -> Result<bool, Error> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        self.compute(move || {
            let known = kept.is_some();
            let kept = PasswordHash::new(kept.as_deref().unwrap_or(NOBODYS));
            let same = kept.is_ok_and(|kept| {
                let verified = Argon2::default().verify_password(password.as_bytes(), &kept);
                verified.is_ok()
            });
            same && known
        })
        .await
    }

    /// The turn is held until the work is done, also where nobody waits for it any more.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(self.max_wait, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::Ours(anyhow!("a password was not hashed: {error}")))
    }
}

fn hash(password: &[u8]) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password);
    let hash = hash.map_err(|error| anyhow!("a password cannot be hashed: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_of_a_hash_matches_it() {
        let passwords = Passwords::new();
        let kept = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        let again = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(kept, again);
        let matches = async |password: &str, kept: Option<&str>| {
            let kept = kept.map(str::to_owned);
            passwords.matches(password.to_owned(), kept).await.unwrap()
        };
        assert!(matches("correct horse", Some(&kept)).await);
        assert!(!matches("Correct horse", Some(&kept)).await);
        assert!(!matches("correct horse", None).await);
        assert!(!matches("correct horse", Some("no hash")).await);
        // What is checked for nobody costs the same.
        let nobodys = PasswordHash::new(NOBODYS).unwrap();
        let kept = PasswordHash::new(&kept).unwrap();
        assert_eq!(nobodys.algorithm, kept.algorithm);
        assert_eq!(nobodys.version, kept.version);
        assert_eq!(nobodys.params, kept.params);
        let lengths = |hash: &PasswordHash| {
            let output = hash.hash.as_ref().unwrap().as_bytes().len();
            (hash.salt.as_ref().unwrap().len(), output)
        };
        assert_eq!(
            lengths(&nobodys),
            lengths(&PasswordHash::new(&again).unwrap())
        );
    }

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_told() {
        let passwords = Passwords {
            turns: Arc::new(Semaphore::new(0)),
            max_wait: Duration::ZERO,
        };
        let waited = passwords.hash("correct horse".to_owned()).await;
        assert!(matches!(waited, Err(Error::Busy)), "{waited:?}");
    }
}
