//! Rechecks API keys and sessions that were valid before.

use std::collections::{HashMap, HashSet};

use super::api_keys::{KEY_ID_LETTERS, hash_key};
use super::database::query;
use super::{Session, SessionOrigin, Store, now};

/// Identifies an API key or a session without containing its secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialId {
    /// The hash of an API key.
    ApiKey(String),
    Session(Session),
}

impl CredentialId {
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self::ApiKey(hash_key(key))
    }
}

/// The rows that decide whether credentials are valid.
#[derive(Default)]
struct ValidityRows {
    keys: HashSet<String>,
    /// The ids of the keys of each user.
    key_ids: HashSet<(String, String)>,
    /// The epoch of each user's account.
    epochs: HashMap<String, i64>,
    revoked_sessions: HashSet<String>,
}

impl Store {
    /// The credentials that are no longer valid: revoked, replaced, expired, or of a user who was
    /// removed or has lost the right to use the server.
    ///
    /// Runs one statement with at most three parameters for each credential.
    pub async fn invalid_credentials(
        &self,
        credentials: &[CredentialId],
    ) -> sqlx::Result<Vec<CredentialId>> {
        let now = now();
        let rows = self.validity_rows(credentials, now).await?;
        Ok(credentials
            .iter()
            .filter(|credential| !rows.contain(credential, now))
            .cloned()
            .collect())
    }

    async fn validity_rows(
        &self,
        credentials: &[CredentialId],
        now: i64,
    ) -> sqlx::Result<ValidityRows> {
        let keys = credentials
            .iter()
            .filter_map(|credential| match credential {
                CredentialId::ApiKey(hash) => Some(hash),
                CredentialId::Session(_) => None,
            });
        let key_sessions =
            sessions(credentials).filter(|it| matches!(it.origin, SessionOrigin::Key { .. }));
        // The empty text is no id: without it, a list could be empty, which is no SQL.
        let select = query(
            "SELECT 'key' AS kind, hash AS id, user_id, CAST(0 AS BIGINT) AS epoch FROM api_keys
             JOIN users ON users.id = api_keys.user_id
             WHERE role IN ('user', 'admin') AND (expires_at IS NULL OR expires_at > $1)
                 AND (hash IN (",
        )
        .bind(now)
        .push_list(keys.map(String::as_str).chain([""]))
        .push(") OR user_id IN (")
        .push_list(
            key_sessions
                .map(|session| session.user_id.as_str())
                .chain([""]),
        )
        .push(
            ")) UNION ALL SELECT 'account', users.id, '', epoch FROM users
             JOIN accounts ON accounts.user_id = users.id
             WHERE role IN ('user', 'admin') AND users.id IN (",
        )
        .push_list(
            sessions(credentials)
                .map(|session| session.user_id.as_str())
                .chain([""]),
        )
        .push(") UNION ALL SELECT 'ended', id, '', 0 FROM ended_sessions WHERE id IN (")
        .push_list(
            sessions(credentials)
                .map(|session| session.id.as_str())
                .chain([""]),
        )
        .push(")");

        let mut rows = ValidityRows::default();
        for row in select.fetch_all(&self.database).await? {
            let id: String = row.try_get("id")?;
            match row.try_get::<String>("kind")?.as_str() {
                "key" => rows.add_key(row.try_get("user_id")?, id),
                "account" => drop(rows.epochs.insert(id, row.try_get("epoch")?)),
                _ => drop(rows.revoked_sessions.insert(id)),
            }
        }
        Ok(rows)
    }
}

fn sessions(credentials: &[CredentialId]) -> impl Iterator<Item = &Session> {
    credentials
        .iter()
        .filter_map(|credential| match credential {
            CredentialId::Session(session) => Some(session),
            CredentialId::ApiKey(_) => None,
        })
}

impl ValidityRows {
    fn add_key(&mut self, user_id: String, hash: String) {
        let id = hash.chars().take(KEY_ID_LETTERS as usize).collect();
        self.key_ids.insert((user_id, id));
        self.keys.insert(hash);
    }

    /// True if the credential is valid at this time.
    fn contain(&self, credential: &CredentialId, now: i64) -> bool {
        let session = match credential {
            CredentialId::ApiKey(hash) => return self.keys.contains(hash),
            CredentialId::Session(session) => session,
        };
        let has_origin = match &session.origin {
            SessionOrigin::Password { epoch } => self.epochs.get(&session.user_id) == Some(epoch),
            SessionOrigin::Key { id } => {
                let key = (session.user_id.clone(), id.clone());
                self.key_ids.contains(&key)
            }
        };
        has_origin
            && session.expires_at.is_none_or(|at| at > now)
            && !self.revoked_sessions.contains(&session.id)
    }
}
