//! Users who authenticate to begin a session.

use uuid::Uuid;

use super::{Accounts, Error, KEY_PREFIX, MAX_KEY_BYTES, SessionToken};
use crate::store::{Account, KeyUser, Session, SessionClient, SessionOrigin, User, now};

/// A user who has just authenticated.
pub struct Login {
    pub user: User,
    /// Empty if the user has no account.
    pub email: String,
    origin: SessionOrigin,
    /// When the session ends at the latest, in seconds since 1970.
    latest_end: Option<i64>,
}

impl From<Account> for Login {
    fn from(account: Account) -> Self {
        Self {
            user: account.user,
            email: account.email,
            origin: SessionOrigin::Password {
                epoch: account.epoch,
            },
            latest_end: None,
        }
    }
}

impl Accounts {
    /// The user of an API key. A session with it ends with the key.
    pub async fn sign_in_with_key(&self, key: &str) -> Result<Login, Error> {
        let key = key.trim();
        if !key.starts_with(KEY_PREFIX) || key.len() > MAX_KEY_BYTES {
            return Err(Error::UnknownKey);
        }
        let found = self.store.key_user(key).await?;
        let KeyUser {
            user,
            key_id,
            expires_at,
        } = found.ok_or(Error::UnknownKey)?;
        let account = self.store.account(&user.id).await?;
        Ok(Login {
            user,
            email: account.map_or_else(String::new, |account| account.email),
            origin: SessionOrigin::Key { id: key_id },
            latest_end: expires_at,
        })
    }

    /// Starts a session. Without its row, as on a full disk, it works: its user sees it later.
    pub async fn start_session(&self, login: &Login, client: &SessionClient) -> SessionToken {
        let now = now();
        let duration_secs = self.rules().session_secs;
        let end = duration_secs.map(|secs| now.saturating_add(secs));
        let ends = end.into_iter().chain(login.latest_end);
        let session = Session {
            id: Uuid::new_v4().to_string(),
            user_id: login.user.id.clone(),
            origin: login.origin.clone(),
            created_at: now,
            expires_at: ends.min(),
        };
        if let Err(error) = self.store.add_session(&session, client).await {
            tracing::warn!("cannot list a session that began: {error}");
        }
        self.sessions.sign(&session)
    }
}
