//! Rechecks API keys and sessions that were valid before.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Row, Sqlite};

use super::api_keys::hash_key;
use super::{Store, now};

/// Identifies an API key or a session without containing its secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CredentialId {
    /// The hash of an API key.
    ApiKey(String),
    /// The claims of a session's token.
    Session {
        id: String,
        user_id: String,
        /// The account's epoch when the session began.
        epoch: i64,
        /// Seconds since 1970. `None` if the session does not expire.
        expires_at: Option<i64>,
    },
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
    /// The epoch of each user's account.
    epochs: HashMap<String, i64>,
    revoked_sessions: HashSet<String>,
}

impl Store {
    /// The credentials that are no longer valid: revoked, replaced, expired, or of a user who was
    /// removed or has lost the right to use the server.
    ///
    /// Runs one statement with two parameters for each credential.
    pub async fn invalid_credentials(
        &self,
        credentials: &[CredentialId],
    ) -> sqlx::Result<Vec<CredentialId>> {
        let rows = self.validity_rows(credentials).await?;
        let now = now();
        Ok(credentials
            .iter()
            .filter(|credential| !rows.contain(credential, now))
            .cloned()
            .collect())
    }

    async fn validity_rows(&self, credentials: &[CredentialId]) -> sqlx::Result<ValidityRows> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT 'key' AS kind, hash AS id, 0 AS epoch FROM api_keys
             JOIN users ON users.id = api_keys.user_id
             WHERE role IN ('user', 'admin') AND hash IN (''",
        );
        for credential in credentials {
            if let CredentialId::ApiKey(hash) = credential {
                query.push(", ").push_bind(hash);
            }
        }
        query.push(
            ") UNION ALL SELECT 'account', users.id, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id
             WHERE role IN ('user', 'admin') AND users.id IN (''",
        );
        for credential in credentials {
            if let CredentialId::Session { user_id, .. } = credential {
                query.push(", ").push_bind(user_id);
            }
        }
        query.push(") UNION ALL SELECT 'ended', id, 0 FROM ended_sessions WHERE id IN (''");
        for credential in credentials {
            if let CredentialId::Session { id, .. } = credential {
                query.push(", ").push_bind(id);
            }
        }
        query.push(")");

        let mut rows = ValidityRows::default();
        for row in query.build().fetch_all(&self.pool).await? {
            let id: String = row.try_get("id")?;
            match row.try_get("kind")? {
                "key" => drop(rows.keys.insert(id)),
                "account" => drop(rows.epochs.insert(id, row.try_get("epoch")?)),
                _ => drop(rows.revoked_sessions.insert(id)),
            }
        }
        Ok(rows)
    }
}

impl ValidityRows {
    /// True if the credential is valid at this time.
    fn contain(&self, credential: &CredentialId, now: i64) -> bool {
        match credential {
            CredentialId::ApiKey(hash) => self.keys.contains(hash),
            CredentialId::Session {
                id,
                user_id,
                epoch,
                expires_at,
            } => {
                expires_at.is_none_or(|at| at > now)
                    && self.epochs.get(user_id) == Some(epoch)
                    && !self.revoked_sessions.contains(id)
            }
        }
    }
}
