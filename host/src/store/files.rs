//! Files. Their bytes are in a directory.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::gallery::{GalleryFields, search_text};
use super::message_files::add_message_files;
use super::messages::add_message;
use super::{Store, now};

/// A stored file without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// A UUID.
    pub id: String,
    /// The owner.
    pub user_id: String,
    /// With extension.
    pub name: String,
    /// Detected from the bytes.
    pub media_type: String,
    pub size_bytes: i64,
    /// SHA-256 of the bytes, in hexadecimal. Empty in rows from before it was stored.
    pub hash: String,
    /// JSON: the job, engine, chat and message of a generated image, or an uploader's metadata.
    pub meta: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// A file to insert.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub row: FileRow,
    pub gallery: GalleryFields,
    /// The file as an entry of a message.
    pub entry: Value,
}

/// A message of a stored chat.
#[derive(Clone, Copy, Debug)]
pub struct MessageLink<'a> {
    pub chat_id: &'a str,
    pub message_id: &'a str,
}

impl Store {
    /// Adds files, all or none, and optionally links them to a message of a chat of their owner.
    ///
    /// The message is added if it is missing, and becomes the current message. If the owner has no such
    /// chat, the files are added without a link.
    pub async fn insert_files(
        &self,
        files: &[NewFile],
        link: Option<MessageLink<'_>>,
    ) -> sqlx::Result<()> {
        let Some(first) = files.first() else {
            return Ok(());
        };
        let Some(MessageLink {
            chat_id,
            message_id,
        }) = link
        else {
            let mut statement = self.begin_statement().await?;
            insert_rows(&mut statement, files).await?;
            return statement.commit().await;
        };
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1 AND user_id = $4",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(now())
        .bind(&first.row.user_id)
        .execute(&mut *transaction)
        .await?;
        insert_rows(&mut transaction, files).await?;
        if done.rows_affected() > 0 {
            add_message(&mut transaction, chat_id, message_id).await?;
            add_message_files(&mut transaction, chat_id, message_id, files).await?;
        }
        transaction.commit().await
    }

    /// Removes the row of a file.
    pub async fn delete_file(&self, id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        sqlx::query("DELETE FROM files WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// A file of any user, unless its owner deleted it.
    pub async fn file(&self, id: &str) -> sqlx::Result<Option<FileRow>> {
        let row = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(file_from_row).transpose()
    }

    /// A page of the files of an owner, or of all users, newest first. Without those that were deleted.
    pub async fn files(
        &self,
        user_id: Option<&str>,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<Vec<FileRow>> {
        let rows = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE deleted_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR user_id = $1)
             ORDER BY created_at DESC, id LIMIT $2 OFFSET $3",
        )
        .bind(user_id)
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(file_from_row).collect()
    }

    /// Ids of files of an owner, also of those that can be restored.
    pub async fn file_ids_of(&self, user_id: &str, limit: u32) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar("SELECT id FROM files WHERE user_id = $1 LIMIT $2")
            .bind(user_id)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
    }

    /// The number of files that were created before a time.
    pub async fn count_files_before(&self, created_at: i64) -> sqlx::Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM files WHERE created_at < $1")
            .bind(created_at)
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Ids of files that were created before a time, oldest first.
    pub async fn file_ids_before(&self, created_at: i64, limit: u32) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT id FROM files WHERE created_at < $1 ORDER BY created_at LIMIT $2",
        )
        .bind(created_at)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
    }

    /// Those of the ids that have a row. Accepts a few hundred, the parameters of one statement.
    pub async fn existing_file_ids(&self, ids: &HashSet<String>) -> sqlx::Result<HashSet<String>> {
        let mut query = QueryBuilder::new("SELECT id FROM files WHERE id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id);
        }
        query.push(")");
        let rows = query.build_query_scalar().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().collect())
    }
}

async fn insert_rows(connection: &mut SqliteConnection, files: &[NewFile]) -> sqlx::Result<()> {
    let mut query = QueryBuilder::new(
        "INSERT INTO files (id, user_id, name, media_type, size_bytes, hash, meta, created_at,
             width, height, is_generated, binding, engine, model, chat_id, search_text) ",
    );
    query.push_values(files, |mut values, file| {
        let NewFile { row, gallery, .. } = file;
        values
            .push_bind(&row.id)
            .push_bind(&row.user_id)
            .push_bind(&row.name)
            .push_bind(&row.media_type)
            .push_bind(row.size_bytes)
            .push_bind(&row.hash)
            .push_bind(&row.meta)
            .push_bind(row.created_at)
            .push_bind(Some(i64::from(gallery.width)).filter(|width| *width > 0))
            .push_bind(Some(i64::from(gallery.height)).filter(|height| *height > 0))
            .push_bind(i64::from(gallery.is_generated))
            .push_bind(&gallery.binding)
            .push_bind(&gallery.engine)
            .push_bind(&gallery.model)
            .push_bind(&gallery.chat_id)
            .push_bind(search_text(&row.name, &gallery.prompt));
    });
    query.build().execute(connection).await.map(|_| ())
}

pub(super) fn file_from_row(row: &SqliteRow) -> sqlx::Result<FileRow> {
    Ok(FileRow {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        name: row.try_get("name")?,
        media_type: row.try_get("media_type")?,
        size_bytes: row.try_get("size_bytes")?,
        hash: row.try_get("hash")?,
        meta: row.try_get("meta")?,
        created_at: row.try_get("created_at")?,
    })
}
