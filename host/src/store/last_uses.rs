//! When API keys, sessions and users were last used.
//!
//! A request reads the user of its credential from a cache, whose entries live for seconds. Only a request whose user is
//! not in the cache adds a note here, so most requests do no more work. The notes are stored once a minute, and before
//! a list shows them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::database::{Connection, query};
use super::sessions::{Session, store_session_use};
use super::{Store, now};

/// Keys, sessions and users of which a use waits to be stored. Further ones are noted at a later use.
const MAX_NOTES: usize = 1_000;

/// Uses that are not stored yet, in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct LastUses(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// By the hash of the key.
    keys: HashMap<String, i64>,
    sessions: HashMap<Session, i64>,
    users: HashMap<String, i64>,
}

impl LastUses {
    pub(super) fn add_key(&self, hash: &str, user_id: &str) {
        let mut notes = self.lock();
        note(&mut notes.keys, hash.to_owned());
        note(&mut notes.users, user_id.to_owned());
    }

    pub(super) fn add_session(&self, session: &Session) {
        let mut notes = self.lock();
        note(&mut notes.sessions, session.clone());
        note(&mut notes.users, session.user_id.clone());
    }

    fn take(&self) -> Notes {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note<K: Eq + std::hash::Hash>(notes: &mut HashMap<K, i64>, key: K) {
    if notes.len() < MAX_NOTES || notes.contains_key(&key) {
        notes.insert(key, now());
    }
}

/// The notes in one order, so that servers that store the same ones do not wait for each other.
fn sorted<K>(notes: &HashMap<K, i64>, id: impl Fn(&K) -> &String) -> Vec<(&K, &i64)> {
    let mut sorted: Vec<_> = notes.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| id(a).cmp(id(b)));
    sorted
}

impl Notes {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.sessions.is_empty() && self.users.is_empty()
    }

    async fn store(&self, connection: &mut Connection) -> sqlx::Result<()> {
        for (hash, used_at) in sorted(&self.keys, |hash| hash) {
            query(
                "INSERT INTO key_uses (hash, last_used_at)
                 SELECT hash, $2 FROM api_keys WHERE hash = $1
                 ON CONFLICT (hash) DO UPDATE SET last_used_at = excluded.last_used_at",
            )
            .bind(hash)
            .bind(*used_at)
            .execute(&mut *connection)
            .await?;
        }
        for (user_id, used_at) in sorted(&self.users, |user_id| user_id) {
            query(
                "INSERT INTO user_uses (user_id, last_used_at)
                 SELECT id, $2 FROM users WHERE id = $1
                 ON CONFLICT (user_id) DO UPDATE SET last_used_at = excluded.last_used_at",
            )
            .bind(user_id)
            .bind(*used_at)
            .execute(&mut *connection)
            .await?;
        }
        for (session, used_at) in sorted(&self.sessions, |session| &session.id) {
            store_session_use(connection, session, *used_at).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Stores the uses since the last call. If the database cannot be written, they are lost: the next use of the same
    /// credential is noted again.
    pub async fn store_last_uses(&self) {
        let notes = self.last_uses.take();
        if notes.is_empty() {
            return;
        }
        let stored = async {
            let mut transaction = self.begin().await?;
            notes.store(&mut transaction).await?;
            transaction.commit().await
        };
        if let Err(error) = stored.await {
            tracing::debug!("cannot store when credentials were last used: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_limited_and_known_credentials_are_noted_again() {
        let uses = LastUses::default();
        for number in 0..=MAX_NOTES {
            uses.add_key(&number.to_string(), "ada");
        }
        let notes = uses.take();
        assert_eq!((notes.keys.len(), notes.users.len()), (MAX_NOTES, 1));
        assert!(uses.take().is_empty());
    }
}
