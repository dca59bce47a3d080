//! Whether what somebody has shown a while ago still counts.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, hash, now};

/// A key or a session that somebody has shown, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The key's hash.
    Key(String),
    /// What a session's token says.
    Session {
        /// The session's own.
        id: String,
        /// Whose it is.
        user_id: String,
        /// The account's at its begin.
        epoch: i64,
        /// Seconds since 1970; `None` where it has no end.
        expires_at: Option<i64>,
    },
}

impl Proof {
    /// Of a key in the clear.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self::Key(hash(key))
    }
}

impl Store {
    /// Those that count no longer: they were ended or replaced, their time is over, or their user is
    /// gone or may not ask any more. One statement, of two parameters for each.
    pub async fn void(&self, proofs: &[Proof]) -> sqlx::Result<Vec<Proof>> {
        let mut asked = QueryBuilder::<Sqlite>::new(
            "SELECT 'key' AS kind, hash AS id, 0 AS epoch FROM api_keys
             JOIN users ON users.id = api_keys.user_id
             WHERE role IN ('user', 'admin') AND hash IN (''",
        );
        for proof in proofs {
            if let Proof::Key(hash) = proof {
                asked.push(", ").push_bind(hash);
            }
        }
        asked.push(
            ") UNION ALL SELECT 'account', users.id, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id
             WHERE role IN ('user', 'admin') AND users.id IN (''",
        );
        for proof in proofs {
            if let Proof::Session { user_id, .. } = proof {
                asked.push(", ").push_bind(user_id);
            }
        }
        asked.push(") UNION ALL SELECT 'ended', id, 0 FROM ended_sessions WHERE id IN (''");
        for proof in proofs {
            if let Proof::Session { id, .. } = proof {
                asked.push(", ").push_bind(id);
            }
        }
        asked.push(")");

        let (mut keys, mut epochs, mut ended) = (HashSet::new(), HashMap::new(), HashSet::new());
        for row in asked.build().fetch_all(&self.pool).await? {
            let id: String = row.try_get("id")?;
            match row.try_get("kind")? {
                "key" => drop(keys.insert(id)),
                "account" => drop(epochs.insert(id, row.try_get::<i64, _>("epoch")?)),
                _ => drop(ended.insert(id)),
            }
        }
        let now = now();
        let counts = |proof: &&Proof| match proof {
            Proof::Key(hash) => keys.contains(hash),
            Proof::Session {
                id,
                user_id,
                epoch,
                expires_at,
            } => {
                let in_time = expires_at.is_none_or(|at| at > now);
                in_time && epochs.get(user_id) == Some(epoch) && !ended.contains(id)
            }
        };
        Ok(proofs.iter().filter(|it| !counts(it)).cloned().collect())
    }
}
