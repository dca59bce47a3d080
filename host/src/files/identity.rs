//! The proof that a database and a data directory belong together: both have the same random id.

use std::io::ErrorKind;
use std::sync::Arc;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;

use super::objects::Objects;
use crate::store::Store;

/// The name of the file with the id.
const FILE: &str = "database-id";

/// The id in the data directory.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    data: Arc<Dir>,
}

impl Identity {
    pub(super) fn new(data: Dir) -> Self {
        let data = Arc::new(data);
        Self { data }
    }

    /// Sets the ids of a new data directory, and of one from before there were ids. A directory whose
    /// files have no row keeps its id, or none.
    pub(super) async fn open(&self, store: &Store, objects: &Objects) -> Result<()> {
        let has_rows = store.count_files_before(i64::MAX).await? > 0;
        let in_database = store.identity().await?;
        let may_adopt = match (&in_database, self.read()?) {
            (None, None) => has_rows || objects.is_empty().await?,
            (None, Some(_)) | (Some(_), None) => objects.is_empty().await?,
            (Some(_), Some(_)) => false,
        };
        if may_adopt {
            self.adopt(store).await?;
        } else if in_database.is_none() {
            store.set_identity(&new_id()).await?;
        }
        Ok(())
    }

    /// True if the database is the one that this directory was used with.
    pub(super) async fn agrees(&self, store: &Store) -> Result<bool> {
        let in_database = store.identity().await?;
        Ok(in_database.is_some() && in_database == self.read()?)
    }

    /// Makes the directory the database's.
    pub(super) async fn adopt(&self, store: &Store) -> Result<()> {
        store.set_identity(&new_id()).await?;
        let id = store.identity().await?.context("the database has no id")?;
        if self.read()?.as_ref() == Some(&id) {
            return Ok(());
        }
        data_dir::write_whole(&self.data, FILE, id.as_bytes())
            .with_context(|| format!("cannot write {FILE} in the data directory"))
    }

    fn read(&self) -> Result<Option<String>> {
        match self.data.read_to_string(FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => Ok(Some(read.with_context(|| {
                format!("cannot read {FILE} in the data directory")
            })?)),
        }
    }
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
