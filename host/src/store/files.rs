//! The rows of files.

use std::collections::HashSet;

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::messages::{add_message, add_message_files};
use super::{Store, escaped, now};

/// A file's row; its bytes are in the folder of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// A UUID.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// For a person, with extension.
    pub name: String,
    /// As sniffed from the bytes.
    pub media_type: String,
    /// Length of the bytes.
    pub size_bytes: i64,
    /// SHA-256 of the bytes, in hexadecimal; empty where it was not noted.
    pub hash: String,
    /// JSON: job, engine, chat and message that it belongs to, or what an uploader said of it.
    pub meta: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Adds the rows of files, all of them or none, and links them to a message of their owner's chat
    /// if a place is given: chat and message. The message is made where it is missing, and becomes
    /// the chat's current one. Without such a chat there are only the rows.
    pub async fn insert_files(
        &self,
        files: &[(FileRow, Value)],
        place: Option<(&str, &str)>,
    ) -> sqlx::Result<()> {
        let Some((first, _)) = files.first() else {
            return Ok(());
        };
        let Some((chat_id, message_id)) = place else {
            // One statement is all or nothing by itself.
            let mut file_writer = self.file_writer.lock().await;
            let mut connection = self.take(&mut file_writer).await?;
            insert(&mut connection, files).await?;
            *file_writer = Some(connection);
            return Ok(());
        };
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query(
            "UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1 AND user_id = $4",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(now())
        .bind(&first.user_id)
        .execute(&mut *transaction)
        .await?;
        insert(&mut transaction, files).await?;
        if done.rows_affected() > 0 {
            add_message(&mut transaction, chat_id, message_id).await?;
            add_message_files(&mut transaction, chat_id, message_id, files).await?;
        }
        transaction.commit().await
    }

    /// Removes a file's row.
    pub async fn delete_file(&self, id: &str) -> sqlx::Result<()> {
        let delete = sqlx::query("DELETE FROM files WHERE id = $1").bind(id);
        delete.execute(&self.pool).await.map(|_| ())
    }

    /// A file, whoever it belongs to.
    pub async fn file(&self, id: &str) -> sqlx::Result<Option<FileRow>> {
        let row = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Files of an owner, or of everybody; the newest first.
    pub async fn files(
        &self,
        user_id: Option<&str>,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<Vec<FileRow>> {
        let rows = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE CAST($1 AS TEXT) IS NULL OR user_id = $1
             ORDER BY created_at DESC, id LIMIT $2 OFFSET $3",
        )
        .bind(user_id)
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Files of an owner, or of everybody, whose name is like a pattern: `*` stands for any text and `?`
    /// for one character; in ASCII, upper and lower case are one. The newest first.
    pub async fn files_named(
        &self,
        user_id: Option<&str>,
        pattern: &str,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<Vec<FileRow>> {
        let rows = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE (CAST($1 AS TEXT) IS NULL OR user_id = $1) AND LOWER(name) LIKE LOWER($2) ESCAPE '\\'
             ORDER BY created_at DESC, id LIMIT $3 OFFSET $4",
        )
        .bind(user_id)
        .bind(escaped(pattern).replace('*', "%").replace('?', "_"))
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Ids of files that were kept before a time; the oldest first.
    pub async fn files_before(&self, created_at: i64, limit: u32) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT id FROM files WHERE created_at < $1 ORDER BY created_at LIMIT $2",
        )
        .bind(created_at)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
    }

    /// Those of these ids that have a row. A few hundred at once; a statement takes no more.
    pub async fn known_files(&self, ids: &HashSet<String>) -> sqlx::Result<HashSet<String>> {
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

async fn insert(connection: &mut SqliteConnection, files: &[(FileRow, Value)]) -> sqlx::Result<()> {
    let mut query = QueryBuilder::new(
        "INSERT INTO files (id, user_id, name, media_type, size_bytes, hash, meta, created_at) ",
    );
    query.push_values(files, |mut row, (file, _)| {
        row.push_bind(&file.id)
            .push_bind(&file.user_id)
            .push_bind(&file.name)
            .push_bind(&file.media_type)
            .push_bind(file.size_bytes)
            .push_bind(&file.hash)
            .push_bind(&file.meta)
            .push_bind(file.created_at);
    });
    query.build().execute(connection).await.map(|_| ())
}

fn read(row: &SqliteRow) -> sqlx::Result<FileRow> {
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
