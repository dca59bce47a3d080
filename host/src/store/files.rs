//! Files. Their bytes are in a directory.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::database::{Connection, Parameter, Row, query};
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
        if files.is_empty() {
            return Ok(());
        }
        if link.is_none() {
            let mut statement = self.begin_statement().await?;
            insert_rows(&mut statement, files).await?;
            return statement.commit().await;
        }
        let mut transaction = self.begin().await?;
        insert_linked(&mut transaction, files, link).await?;
        transaction.commit().await
    }

    /// Removes the row of a file.
    pub async fn delete_file(&self, id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        query("DELETE FROM files WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// A file of any user, unless its owner deleted it.
    pub async fn file(&self, id: &str) -> sqlx::Result<Option<FileRow>> {
        let row = query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE id = $1 AND deleted_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&self.database)
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
        let rows = query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE deleted_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR user_id = $1)
             ORDER BY created_at DESC, id LIMIT $2 OFFSET $3",
        )
        .bind(user_id)
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(file_from_row).collect()
    }

    /// Ids of files of an owner, also of those that can be restored.
    pub async fn file_ids_of(&self, user_id: &str, limit: u32) -> sqlx::Result<Vec<String>> {
        query("SELECT id FROM files WHERE user_id = $1 LIMIT $2")
            .bind(user_id)
            .bind(i64::from(limit))
            .fetch_values(&self.database)
            .await
    }

    /// The number of files that were created before a time.
    pub async fn count_files_before(&self, created_at: i64) -> sqlx::Result<u64> {
        let count: i64 = query("SELECT COUNT(*) FROM files WHERE created_at < $1")
            .bind(created_at)
            .fetch_value(&self.database)
            .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Ids of files that were created before a time, oldest first.
    pub async fn file_ids_before(&self, created_at: i64, limit: u32) -> sqlx::Result<Vec<String>> {
        query("SELECT id FROM files WHERE created_at < $1 ORDER BY created_at LIMIT $2")
            .bind(created_at)
            .bind(i64::from(limit))
            .fetch_values(&self.database)
            .await
    }

    /// Those of the ids that have a row. Accepts a few hundred, the parameters of one statement.
    pub async fn existing_file_ids(&self, ids: &HashSet<String>) -> sqlx::Result<HashSet<String>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let existing = query("SELECT id FROM files WHERE id IN (")
            .push_list(ids)
            .push(")")
            .fetch_values(&self.database)
            .await?;
        Ok(existing.into_iter().collect())
    }
}

/// Adds files, and links them to a message of a chat of their owner, if there is one.
pub(super) async fn insert_linked(
    connection: &mut Connection,
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
        return insert_rows(connection, files).await;
    };
    let changed =
        query("UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1 AND user_id = $4")
            .bind(chat_id)
            .bind(message_id)
            .bind(now())
            .bind(&first.row.user_id)
            .execute(&mut *connection)
            .await?;
    insert_rows(&mut *connection, files).await?;
    if changed > 0 {
        add_message(&mut *connection, chat_id, message_id).await?;
        add_message_files(&mut *connection, chat_id, message_id, files).await?;
    }
    Ok(())
}

async fn insert_rows(connection: &mut Connection, files: &[NewFile]) -> sqlx::Result<()> {
    let insert = query(
        "INSERT INTO files (id, user_id, name, media_type, size_bytes, hash, meta, created_at,
             width, height, is_generated, binding, engine, model, chat_id, search_text) VALUES ",
    );
    let pixels = |number| Some(i64::from(number)).filter(|number| *number > 0);
    let rows = files.iter().map(|NewFile { row, gallery, .. }| {
        let values: [Parameter<'_>; 16] = [
            (&row.id).into(),
            (&row.user_id).into(),
            (&row.name).into(),
            (&row.media_type).into(),
            row.size_bytes.into(),
            (&row.hash).into(),
            (&row.meta).into(),
            row.created_at.into(),
            pixels(gallery.width).into(),
            pixels(gallery.height).into(),
            i64::from(gallery.is_generated).into(),
            (&gallery.binding).into(),
            (&gallery.engine).into(),
            (&gallery.model).into(),
            (&gallery.chat_id).into(),
            search_text(&row.name, &gallery.prompt).into(),
        ];
        values
    });
    insert.push_rows(rows).execute(connection).await.map(|_| ())
}

pub(super) fn file_from_row(row: &Row) -> sqlx::Result<FileRow> {
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
