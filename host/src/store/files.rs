//! The rows of files.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::Store;

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
    /// Adds a file's row.
    pub async fn insert_file(&self, file: &FileRow) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO files (id, user_id, name, media_type, size_bytes, hash, meta, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&file.id)
        .bind(&file.user_id)
        .bind(&file.name)
        .bind(&file.media_type)
        .bind(file.size_bytes)
        .bind(&file.hash)
        .bind(&file.meta)
        .bind(file.created_at)
        .execute(&self.pool)
        .await
        .map(|_| ())
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
             WHERE $1 IS NULL OR user_id = $1
             ORDER BY created_at DESC, id LIMIT $2 OFFSET $3",
        )
        .bind(user_id)
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
