//! Pictures, kept: bytes in a folder, a row in the store.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::Dir;
use serde_json::{Value, json};

use crate::folder;
use crate::images::Image;
use crate::store::{FileRow, Store};

/// The folder of files and the store beside it.
#[derive(Clone, Debug)]
pub struct Files {
    folder: Arc<Dir>,
    store: Store,
}

impl Files {
    /// Keeps files in a folder of the data folder.
    pub fn open(data: &Dir, store: Store) -> Result<Self> {
        let folder = Arc::new(folder::create_in(data, "files")?);
        Ok(Self { folder, store })
    }

    /// Keeps an image for its owner. `meta` says which job, chat and message it belongs to.
    ///
    /// The row is written last, so a file that can be found is always whole.
    pub async fn save(&self, user_id: &str, image: &Image, meta: Value) -> Result<FileRow> {
        let id = uuid::Uuid::new_v4().to_string();
        let (folder, name, bytes) = (self.folder.clone(), id.clone(), image.bytes().clone());
        tokio::task::spawn_blocking(move || folder::write_whole(&folder, &name, &bytes))
            .await?
            .with_context(|| format!("cannot keep picture {id} in the data folder"))?;
        let row = FileRow {
            name: format!("generated-image.{}", image.extension()),
            media_type: image.media_type().to_owned(),
            size_bytes: i64::try_from(image.bytes().len()).unwrap_or(i64::MAX),
            user_id: user_id.to_owned(),
            meta: meta.to_string(),
            id,
        };
        if let Err(error) = self.store.insert_file(&row).await {
            self.folder.remove_file(&row.id).ok();
            return Err(error)
                .with_context(|| format!("cannot keep the row of picture {}", row.id));
        }
        Ok(row)
    }

    /// Takes files back that were just kept. What cannot be removed is logged.
    pub async fn remove(&self, rows: &[FileRow]) {
        for row in rows {
            let removed = self.store.delete_file(&row.id).await;
            if let Err(error) = removed {
                tracing::error!("the row of picture {} is left over: {error}", row.id);
            }
            if let Err(error) = self.folder.remove_file(&row.id) {
                tracing::error!("picture {} is left over: {error}", row.id);
            }
        }
    }

    /// A file of this owner, with its bytes. `None` when there is none or it is somebody else's.
    pub async fn read(&self, id: &str, user_id: &str) -> Result<Option<(FileRow, Bytes)>> {
        let Some(row) = self.store.file(id, user_id).await? else {
            return Ok(None);
        };
        let (folder, name) = (self.folder.clone(), row.id.clone());
        let bytes = tokio::task::spawn_blocking(move || folder.read(&name)).await?;
        match bytes {
            Ok(bytes) => Ok(Some((row, bytes.into()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read picture {}", row.id)),
        }
    }
}

impl FileRow {
    /// Where a client gets the bytes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("/api/v1/files/{}/content", self.id)
    }
}

/// A file as it stands in a `files` event.
///
/// Source: Open WebUI 0.6.43 has `type` and `url`; later releases add the others.
#[must_use]
pub fn in_event(file: &FileRow) -> Value {
    json!({
        "type": "image",
        "id": file.id,
        "url": file.url(),
        "name": file.name,
        "content_type": file.media_type,
    })
}
