//! Sessions: which are valid, which are open, and their end.
//!
//! A session is valid without a row of its own: a token has the signature of the server, and is not among the sessions
//! that ended. The rows are what users see of their sessions. A session without one, such as of an earlier version of
//! the server, gets it when it is used.

use super::api_keys::KEY_ID_LETTERS;
use super::database::{Connection, Row, query};
use super::identity_cache::CredentialUser;
use super::users::user_from_row;
use super::{CredentialId, Store, now};

/// Open sessions of one user. Beyond that, the oldest end.
pub const MAX_SESSIONS: u32 = 100;

/// The expiry of a session that does not expire, among those that ended.
const NEVER: i64 = i64::MAX;

/// What the token of a session says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// A UUID.
    pub id: String,
    pub user_id: String,
    pub origin: SessionOrigin,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970. `None` if the session does not expire.
    pub expires_at: Option<i64>,
}

/// How a session began, which it depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionOrigin {
    Password {
        /// The account's epoch at that time.
        epoch: i64,
    },
    Key {
        id: String,
    },
}

impl Session {
    fn key_id(&self) -> &str {
        match &self.origin {
            SessionOrigin::Password { .. } => "",
            SessionOrigin::Key { id } => id,
        }
    }
}

/// The client that began a session.
#[derive(Clone, Debug, Default)]
pub struct SessionClient {
    /// May be empty.
    pub user_agent: String,
    /// May be empty.
    pub ip: String,
}

/// A session as its user sees it.
#[derive(Clone, Debug)]
pub struct OpenSession {
    pub id: String,
    /// Seconds since 1970, like the following times.
    pub created_at: i64,
    pub last_used_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub client: SessionClient,
}

impl Store {
    /// The user of a session. `None` if the session ended, the password has changed since, or the key was revoked. Its
    /// expiry is not checked.
    pub async fn user_by_session(&self, session: &Session) -> sqlx::Result<Option<CredentialUser>> {
        let read = async || {
            let found = match &session.origin {
                SessionOrigin::Password { epoch } => self.user_by_epoch(session, *epoch).await?,
                SessionOrigin::Key { id } => self.user_by_key_id(session, id).await?,
            };
            if found.is_some() {
                self.last_uses.add_session(session);
            }
            Ok(found)
        };
        let credential = CredentialId::Session(session.clone());
        self.cached_user(credential, read).await
    }

    async fn user_by_epoch(
        &self,
        session: &Session,
        epoch: i64,
    ) -> sqlx::Result<Option<CredentialUser>> {
        let row = query(
            "SELECT users.id, name, role FROM users
             JOIN accounts ON accounts.user_id = users.id
             WHERE users.id = $1 AND epoch = $2
                 AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE ended_sessions.id = $3)",
        )
        .bind(&session.user_id)
        .bind(epoch)
        .bind(&session.id)
        .fetch_optional(&self.database)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(CredentialUser {
            user: user_from_row(&row)?,
            key_expires_at: None,
        }))
    }

    async fn user_by_key_id(
        &self,
        session: &Session,
        key_id: &str,
    ) -> sqlx::Result<Option<CredentialUser>> {
        let row = query(
            "SELECT users.id, users.name, users.role, api_keys.expires_at FROM api_keys
             JOIN users ON users.id = api_keys.user_id
             WHERE api_keys.user_id = $1 AND substr(api_keys.hash, 1, CAST($4 AS INTEGER)) = $2
                 AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE ended_sessions.id = $3)",
        )
        .bind(&session.user_id)
        .bind(key_id)
        .bind(&session.id)
        .bind(KEY_ID_LETTERS)
        .fetch_optional(&self.database)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(CredentialUser {
            user: user_from_row(&row)?,
            key_expires_at: row.try_get("expires_at")?,
        }))
    }

    /// Adds the row of a session that begins. Removes rows that have expired, and ends the user's oldest sessions beyond
    /// [`MAX_SESSIONS`].
    pub async fn add_session(&self, session: &Session, client: &SessionClient) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        query("DELETE FROM sessions WHERE expires_at < $1")
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        query(
            "INSERT INTO sessions (id, user_id, key_id, created_at, expires_at, user_agent, ip)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&session.id)
        .bind(&session.user_id)
        .bind(session.key_id())
        .bind(session.created_at)
        .bind(session.expires_at)
        .bind(&client.user_agent)
        .bind(&client.ip)
        .execute(&mut *transaction)
        .await?;
        let oldest: Vec<String> = query(
            "SELECT id FROM sessions WHERE user_id = $1
             ORDER BY COALESCE(last_used_at, created_at) DESC, id LIMIT 100 OFFSET $2",
        )
        .bind(&session.user_id)
        .bind(i64::from(MAX_SESSIONS))
        .fetch_values(&mut *transaction)
        .await?;
        for id in &oldest {
            end_session(&mut transaction, &session.user_id, id).await?;
        }
        transaction.commit().await
    }

    /// The open sessions of a user, the newest first.
    pub async fn sessions(&self, user_id: &str) -> sqlx::Result<Vec<OpenSession>> {
        let rows = query(
            "SELECT id, created_at, last_used_at, expires_at, user_agent, ip FROM sessions
             WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY created_at DESC, id LIMIT $3",
        )
        .bind(user_id)
        .bind(now())
        .bind(i64::from(MAX_SESSIONS))
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(open_session_from_row).collect()
    }

    /// Ends one open session of a user. Returns false if the user has no such session.
    pub async fn end_session(&self, user_id: &str, session_id: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin_removal().await?;
        let is_ended = end_session(&mut transaction, user_id, session_id).await?;
        transaction.commit().await?;
        Ok(is_ended)
    }

    /// Ends all open sessions of a user, except this one. Returns their number.
    pub async fn end_sessions(&self, user_id: &str, except: Option<&str>) -> sqlx::Result<u64> {
        let mut transaction = self.begin_removal().await?;
        let ids: Vec<String> =
            query("SELECT id FROM sessions WHERE user_id = $1 AND ($2 IS NULL OR id <> $2)")
                .bind(user_id)
                .bind(except)
                .fetch_values(&mut *transaction)
                .await?;
        let mut ended = 0;
        for id in &ids {
            ended += u64::from(end_session(&mut transaction, user_id, id).await?);
        }
        transaction.commit().await?;
        Ok(ended)
    }

    /// Revokes a session. Deletes records of revoked sessions that have expired since.
    pub async fn revoke_session(&self, session_id: &str, expires_at: i64) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        query("DELETE FROM ended_sessions WHERE expires_at < $1")
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        record_end(&mut transaction, session_id, expires_at).await?;
        transaction.commit().await
    }
}

/// Ends an open session. Returns false if the user has no such session.
async fn end_session(
    connection: &mut Connection,
    user_id: &str,
    session_id: &str,
) -> sqlx::Result<bool> {
    let row = query("SELECT expires_at FROM sessions WHERE id = $1 AND user_id = $2")
        .bind(session_id)
        .bind(user_id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    record_end(connection, session_id, expires_at.unwrap_or(NEVER)).await?;
    Ok(true)
}

async fn record_end(
    connection: &mut Connection,
    session_id: &str,
    expires_at: i64,
) -> sqlx::Result<()> {
    query("INSERT INTO ended_sessions (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(session_id)
        .bind(expires_at)
        .execute(&mut *connection)
        .await?;
    query("DELETE FROM sessions WHERE id = $1")
        .bind(session_id)
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Stores that a session was used at this time, unless it has ended. Adds its row if it has none.
pub(super) async fn store_session_use(
    connection: &mut Connection,
    session: &Session,
    used_at: i64,
) -> sqlx::Result<()> {
    let epoch = match session.origin {
        SessionOrigin::Password { epoch } => Some(epoch),
        SessionOrigin::Key { .. } => None,
    };
    query(
        "INSERT INTO sessions
             (id, user_id, key_id, created_at, expires_at, last_used_at, user_agent, ip)
         SELECT $1, users.id, $3, $4, $5, $6, '', '' FROM users
         LEFT JOIN accounts ON accounts.user_id = users.id
         WHERE users.id = $2
             AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE ended_sessions.id = $1)
             AND (accounts.epoch = $7 OR EXISTS (SELECT 1 FROM api_keys
                 WHERE api_keys.user_id = users.id AND substr(api_keys.hash, 1, CAST($8 AS INTEGER)) = $3))
         ON CONFLICT (id) DO UPDATE SET last_used_at = excluded.last_used_at",
    )
    .bind(&session.id)
    .bind(&session.user_id)
    .bind(session.key_id())
    .bind(session.created_at)
    .bind(session.expires_at)
    .bind(used_at)
    .bind(epoch)
    .bind(KEY_ID_LETTERS)
    .execute(connection)
    .await?;
    Ok(())
}

fn open_session_from_row(row: &Row) -> sqlx::Result<OpenSession> {
    Ok(OpenSession {
        id: row.try_get("id")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        expires_at: row.try_get("expires_at")?,
        client: SessionClient {
            user_agent: row.try_get("user_agent")?,
            ip: row.try_get("ip")?,
        },
    })
}
