//! The proof that a database and the bytes of its files belong together: both have the same random id.
//!
//! The id of a directory of files is in the data directory, and that of a bucket is an object of the bucket.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;

use super::objects::{Bucket, Objects};
use crate::store::Store;

/// The name of the file or object with the id.
const FILE: &str = "database-id";
/// Length of an id in bytes.
const MAX_ID_BYTES: u64 = 100;

/// The id of the files.
#[derive(Clone)]
pub(super) struct Identity {
    data: Arc<Dir>,
    objects: Objects,
}

impl Identity {
    pub(super) fn new(data: Dir, objects: Objects) -> Self {
        let data = Arc::new(data);
        Self { data, objects }
    }

    /// Sets the ids of new files, and of those from before there were ids. Files without a row retain their id,
    /// or none.
    pub(super) async fn open(&self, store: &Store) -> Result<()> {
        let has_rows = store.count_files_before(i64::MAX).await? > 0;
        let in_database = store.identity().await?;
        let may_adopt = match (&in_database, self.read().await?) {
            (None, None) => has_rows || self.objects.is_empty().await?,
            (None, Some(_)) | (Some(_), None) => self.objects.is_empty().await?,
            (Some(id), Some(other)) => {
                self.warn_about_other_database(*id == other);
                false
            }
        };
        if may_adopt {
            self.adopt(store).await?;
        } else if in_database.is_none() {
            store.set_identity(&new_id()).await?;
        }
        Ok(())
    }

    /// Two servers with one bucket would each take the other's files for orphans.
    fn warn_about_other_database(&self, is_same: bool) {
        if !is_same && matches!(self.objects, Objects::Bucket(_)) {
            tracing::warn!(
                "the bucket has the files of another database: use another bucket or S3_KEY_PREFIX, unless this \
                 database replaces the other one; nothing is swept until `pinhole files sweep --confirm`"
            );
        }
    }

    /// True if the database is the one that these files were used with.
    pub(super) async fn agrees(&self, store: &Store) -> Result<bool> {
        let in_database = store.identity().await?;
        Ok(in_database.is_some() && in_database == self.read().await?)
    }

    /// Makes the files the database's.
    pub(super) async fn adopt(&self, store: &Store) -> Result<()> {
        store.set_identity(&new_id()).await?;
        let id = store.identity().await?.context("the database has no id")?;
        if self.read().await?.as_ref() == Some(&id) {
            return Ok(());
        }
        self.write(&id).await
    }

    /// The id of the files.
    pub(super) async fn read(&self) -> Result<Option<String>> {
        match &self.objects {
            Objects::Folder(_) => self.read_file(),
            Objects::Bucket(bucket) => read_object(bucket).await,
        }
    }

    pub(super) async fn write(&self, id: &str) -> Result<()> {
        match &self.objects {
            Objects::Folder(_) => data_dir::write_whole(&self.data, FILE, id.as_bytes())
                .with_context(|| format!("cannot write {FILE} in the data directory")),
            Objects::Bucket(bucket) => {
                let written = bucket.put(FILE, id.to_owned().into()).await;
                written.with_context(|| format!("cannot write {FILE} in the bucket"))
            }
        }
    }

    /// What has the id, for a message.
    pub(super) fn place(&self) -> &'static str {
        match &self.objects {
            Objects::Folder(_) => "data directory",
            Objects::Bucket(_) => "bucket",
        }
    }

    fn read_file(&self) -> Result<Option<String>> {
        match self.data.read_to_string(FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.with_context(|| {
                format!("cannot read {FILE} in the data directory")
            })?)),
        }
    }
}

async fn read_object(bucket: &Bucket) -> Result<Option<String>> {
    let failure = || format!("cannot read {FILE} in the bucket");
    let bytes = bucket.get(FILE, MAX_ID_BYTES).await;
    let Some(bytes) = bytes.with_context(failure)? else {
        return Ok(None);
    };
    Ok(Some(String::from_utf8(bytes.into()).with_context(failure)?))
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
