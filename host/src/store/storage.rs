//! The space that each user occupies. Triggers of the database count it.

use pinhole_ground::guard::Guard;

use super::Store;
use super::database::{Connection, query};

/// The space that a user occupies, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageUse {
    /// All files.
    pub file_bytes: u64,
    /// All chats with their messages.
    pub chat_bytes: u64,
}

impl StorageUse {
    #[must_use]
    pub fn total(self) -> u64 {
        self.file_bytes.saturating_add(self.chat_bytes)
    }
}

/// What a user may occupy, during a transaction that may need more.
pub(super) struct Quota<'a> {
    user_id: &'a str,
    /// In bytes; `None` is unlimited.
    max: Option<u64>,
    before: u64,
}

impl<'a> Quota<'a> {
    /// Call it before the first write of the transaction.
    pub(super) async fn start(
        connection: &mut Connection,
        user_id: &'a str,
        max: Option<u64>,
    ) -> sqlx::Result<Self> {
        let before = storage_use(connection, user_id).await?.total();
        Ok(Self {
            user_id,
            max,
            before,
        })
    }

    /// True if the transaction must not be committed: the user occupies more than before, and too much.
    pub(super) async fn is_exceeded(&self, connection: &mut Connection) -> sqlx::Result<bool> {
        let Some(max) = self.max else {
            return Ok(false);
        };
        let after = storage_use(connection, self.user_id).await?.total();
        Ok(Guard::UserStorage.applies(after > self.before && after > max))
    }
}

impl Store {
    /// The space that a user occupies.
    pub async fn storage_use(&self, user_id: &str) -> sqlx::Result<StorageUse> {
        storage_use(&mut self.database.acquire().await?, user_id).await
    }
}

pub(super) async fn storage_use(
    connection: &mut Connection,
    user_id: &str,
) -> sqlx::Result<StorageUse> {
    let row = query("SELECT file_bytes, chat_bytes FROM user_storage WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(StorageUse::default());
    };
    Ok(StorageUse {
        file_bytes: row.try_get::<i64>("file_bytes")?.try_into().unwrap_or(0),
        chat_bytes: row.try_get::<i64>("chat_bytes")?.try_into().unwrap_or(0),
    })
}
