//! Adds images of another server with their ids and times.

use std::collections::HashSet;

use anyhow::{Context, Result};
use pinhole_images::Image;

use super::{Files, ImageRecord, file_entry};
use crate::store::{FileRow, GalleryFields, NewFile};

/// An image of another server.
#[derive(Clone, Debug)]
pub struct ImportedImage<'a> {
    /// Letters, digits, `-` and `_`.
    pub id: &'a str,
    /// The owner, who exists.
    pub user_id: &'a str,
    pub name: String,
    pub record: ImageRecord,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// Whether the bytes of imported images are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportBytes {
    Write,
    /// Only rows are, to try an import with a copy of the database.
    Omit,
}

impl Files {
    /// True if a file has this id, also one that its owner deleted and may restore.
    pub async fn has_row(&self, id: &str) -> Result<bool> {
        let ids = HashSet::from([id.to_owned()]);
        let existing = self.store.existing_file_ids(&ids).await;
        Ok(!existing
            .context("cannot read files from the database")?
            .is_empty())
    }

    /// Stores an image whose id no file has.
    pub async fn import(
        &self,
        imported: ImportedImage<'_>,
        image: &Image,
        bytes: ImportBytes,
    ) -> Result<()> {
        let id = imported.id;
        let (width, height) = image.upright_size();
        let mut row = FileRow {
            id: id.to_owned(),
            user_id: imported.user_id.to_owned(),
            name: imported.name,
            media_type: image.media_type().to_owned(),
            size_bytes: i64::try_from(image.bytes().len()).unwrap_or(i64::MAX),
            hash: String::new(),
            meta: imported.record.metadata,
            created_at: imported.created_at,
        };
        if bytes == ImportBytes::Write {
            self.require_disk(image.bytes().len() as u64)?;
            // An import that was interrupted leaves bytes without a row.
            self.delete_bytes(id).await;
            row.hash = self.create(id, image.bytes().clone()).await?;
        }
        let file = NewFile {
            entry: file_entry(&row),
            gallery: GalleryFields {
                width,
                height,
                ..imported.record.gallery
            },
            row,
        };
        let inserted = self.store.insert_files(std::slice::from_ref(&file), None);
        if let Err(error) = inserted.await {
            if bytes == ImportBytes::Write {
                self.delete_bytes(id).await;
            }
            return Err(error).context("cannot insert images into the database");
        }
        Ok(())
    }
}
