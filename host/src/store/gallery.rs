//! A user's images as a gallery: pages by cursor, filters and search.
//!
//! All filters are columns of one index, `gallery`, so that a search reads no page of the table. Two
//! statements read a page: the first finds the ids and how long the rows are, so that the caller can count
//! the memory before the second reads them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::database::{Query, Row, query};
use super::files::file_from_row;
use super::search::{beginning, containing_pattern};
use super::{FileRow, SearchError, Store};

/// Characters of an image's name and prompt, together, that a search compares.
pub const MAX_SEARCHED_CHARS: usize = 1000;
/// Names of engines, and of models, in [`GalleryFacets`].
const MAX_FACET_NAMES: i64 = 200;

/// What a gallery searches and shows of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GalleryFields {
    /// In pixels, as viewers show the image. 0 if unknown.
    pub width: u32,
    pub height: u32,
    /// A job made it. The other fields are empty otherwise.
    pub is_generated: bool,
    pub binding: String,
    pub engine: String,
    pub model: String,
    pub chat_id: String,
    pub prompt: String,
}

/// Selects images of a user. Empty and `None` match every image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GalleryFilter {
    /// Part of the name or the prompt, in any case.
    pub text: String,
    /// A binding or an engine.
    pub engine: String,
    pub model: String,
    pub chat_id: String,
    /// The first second, since 1970.
    pub from: Option<i64>,
    /// The last second, since 1970.
    pub to: Option<i64>,
    pub is_starred: Option<bool>,
    pub is_generated: Option<bool>,
}

/// The last image of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryCursor {
    pub created_at: i64,
    pub id: String,
}

/// An image of a page, before its row is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryKey {
    pub cursor: GalleryCursor,
    /// Length of the name and the metadata.
    pub row_bytes: usize,
}

/// An image of a gallery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryRow {
    pub file: FileRow,
    /// In pixels, as viewers show the image. `None` if unknown.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub is_generated: bool,
    pub is_starred: bool,
}

/// What a user's images can be filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GalleryFacets {
    /// Names of bindings, sorted.
    pub engines: Vec<String>,
    /// Sorted.
    pub models: Vec<String>,
    /// All images.
    pub total: u64,
}

impl Store {
    /// A page of a user's images, newest first: those after the cursor.
    pub async fn gallery_keys(
        &self,
        user_id: &str,
        filter: &GalleryFilter,
        after: Option<&GalleryCursor>,
        limit: u32,
    ) -> Result<Vec<GalleryKey>, SearchError> {
        let select = select_keys(user_id, filter, after, limit);
        let rows = if *filter == GalleryFilter::default() {
            select.fetch_all(&self.database).await?
        } else {
            let mut search = self.searches.start(user_id).await?;
            select.fetch_all(search.connection()).await?
        };
        Ok(rows.iter().map(key_from_row).collect::<sqlx::Result<_>>()?)
    }

    /// Those of the ids that are images of the user, in the order of the ids, each once. Accepts a few
    /// hundred, the parameters of one statement.
    pub async fn gallery_rows(
        &self,
        user_id: &str,
        ids: &[String],
    ) -> sqlx::Result<Vec<GalleryRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let select = query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at, width, height,
                 is_generated, is_starred
             FROM files WHERE deleted_at IS NULL",
        );
        let rows = push_own_ids(select, user_id, ids)
            .fetch_all(&self.database)
            .await?;
        let mut by_id = HashMap::with_capacity(rows.len());
        for row in &rows {
            let found = gallery_from_row(row)?;
            by_id.insert(found.file.id.clone(), found);
        }
        Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
    }

    /// What a user's images can be filtered by.
    pub async fn gallery_facets(&self, user_id: &str) -> Result<GalleryFacets, SearchError> {
        let mut search = self.searches.start(user_id).await?;
        let mut names = Vec::new();
        for select in [
            "SELECT DISTINCT binding FROM files
             WHERE user_id = $1 AND deleted_at IS NULL AND binding <> '' ORDER BY binding LIMIT $2",
            "SELECT DISTINCT model FROM files
             WHERE user_id = $1 AND deleted_at IS NULL AND model <> '' ORDER BY model LIMIT $2",
        ] {
            let found = query(select).bind(user_id).bind(MAX_FACET_NAMES);
            names.push(found.fetch_values(search.connection()).await?);
        }
        let total: i64 =
            query("SELECT COUNT(*) FROM files WHERE user_id = $1 AND deleted_at IS NULL")
                .bind(user_id)
                .fetch_value(search.connection())
                .await?;
        let models = names.pop().unwrap_or_default();
        Ok(GalleryFacets {
            engines: names.pop().unwrap_or_default(),
            models,
            total: u64::try_from(total).unwrap_or_default(),
        })
    }

    /// Stars images of a user, or removes their stars. Returns how many changed. Accepts a few hundred ids.
    pub async fn star_files(
        &self,
        user_id: &str,
        ids: &[String],
        is_starred: bool,
    ) -> sqlx::Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let update =
            query("UPDATE files SET is_starred = $1 WHERE deleted_at IS NULL AND is_starred <> $1")
                .bind(i64::from(is_starred));
        let mut statement = self.begin_statement().await?;
        let changed = push_own_ids(update, user_id, ids)
            .execute(&mut *statement)
            .await?;
        statement.commit().await?;
        Ok(changed)
    }
}

fn select_keys<'q>(
    user_id: &'q str,
    filter: &'q GalleryFilter,
    after: Option<&'q GalleryCursor>,
    limit: u32,
) -> Query<'q> {
    let mut select = query(
        "SELECT id, created_at,
             CAST(OCTET_LENGTH(name) + OCTET_LENGTH(meta) AS BIGINT) AS row_bytes FROM files
         WHERE deleted_at IS NULL AND user_id = $1",
    )
    .bind(user_id);
    if let Some(GalleryCursor { created_at, id }) = after {
        select = select
            .push(" AND (created_at, id) < (")
            .push_bind(*created_at);
        select = select.push(", ").push_bind(id).push(")");
    }
    if let Some(from) = filter.from {
        select = select.push(" AND created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        select = select.push(" AND created_at <= ").push_bind(to);
    }
    if let Some(is_starred) = filter.is_starred {
        select = select.push(" AND is_starred = ");
        select = select.push_bind(i64::from(is_starred));
    }
    if let Some(is_generated) = filter.is_generated {
        select = select.push(" AND is_generated = ");
        select = select.push_bind(i64::from(is_generated));
    }
    if !filter.engine.is_empty() {
        select = select.push(" AND (binding = ").push_bind(&filter.engine);
        select = select.push(" OR engine = ").push_bind(&filter.engine);
        select = select.push(")");
    }
    if !filter.model.is_empty() {
        select = select.push(" AND model = ").push_bind(&filter.model);
    }
    if !filter.chat_id.is_empty() {
        select = select.push(" AND chat_id = ").push_bind(&filter.chat_id);
    }
    if !filter.text.is_empty() {
        let text = beginning(&filter.text.to_lowercase(), MAX_SEARCHED_CHARS);
        select = select.push(" AND search_text LIKE ");
        select = select.push_bind(containing_pattern(&text));
        select = select.push(" ESCAPE '\\'");
    }
    select = select.push(" ORDER BY created_at DESC, id DESC LIMIT ");
    select.push_bind(i64::from(limit))
}

/// Completes a condition: one of these ids, and of this user. The ids are looked up: without the cast, SQLite
/// would read all rows of the user.
pub(super) fn push_own_ids<'q>(query: Query<'q>, user_id: &'q str, ids: &'q [String]) -> Query<'q> {
    query
        .push(" AND CAST(user_id AS TEXT) = ")
        .push_bind(user_id)
        .push(" AND id IN (")
        .push_list(ids)
        .push(")")
}

/// The text that a search compares.
pub(super) fn search_text(name: &str, prompt: &str) -> String {
    let text = beginning(&format!("{name}\n{prompt}"), MAX_SEARCHED_CHARS);
    beginning(&text.to_lowercase(), MAX_SEARCHED_CHARS)
}

fn key_from_row(row: &Row) -> sqlx::Result<GalleryKey> {
    let row_bytes: i64 = row.try_get("row_bytes")?;
    Ok(GalleryKey {
        cursor: GalleryCursor {
            created_at: row.try_get("created_at")?,
            id: row.try_get("id")?,
        },
        row_bytes: usize::try_from(row_bytes).unwrap_or(usize::MAX),
    })
}

fn gallery_from_row(row: &Row) -> sqlx::Result<GalleryRow> {
    let pixels = |column: &str| -> sqlx::Result<Option<u32>> {
        let pixels: Option<i64> = row.try_get(column)?;
        Ok(pixels.and_then(|it| u32::try_from(it).ok()))
    };
    Ok(GalleryRow {
        file: file_from_row(row)?,
        width: pixels("width")?,
        height: pixels("height")?,
        is_generated: row.try_get_flag("is_generated")?,
        is_starred: row.try_get_flag("is_starred")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_text_is_short_and_in_lower_case() {
        assert_eq!(search_text("Fox.PNG", "A Füchs\0"), "fox.png\na füchs ");
        let long = search_text("x", &"İ".repeat(5000));
        assert_eq!(long.chars().count(), MAX_SEARCHED_CHARS);
    }
}
