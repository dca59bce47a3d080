//! Restores a data directory from an archive, completely or not at all.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;

use super::OnProgress;
use super::archive_reader::read_archive;
use super::entry::{EntryName, SMALL_FILES};
use super::manifest::Totals;

/// The directories of a data directory that an archive has files of.
const DIRECTORIES: [&str; 3] = ["components", "files", "spool"];

/// A data directory to restore: it is missing or empty.
pub struct RestoreTarget {
    path: PathBuf,
    /// The directory itself, if it exists, and its parent otherwise.
    around: Dir,
    exists: bool,
    /// Removed unless the restore succeeds.
    staging: String,
}

/// Checks an archive completely, and writes nothing.
pub fn check_archive(input: impl Read, length: u64, on_progress: &OnProgress) -> Result<Totals> {
    read_archive(input, None, length, on_progress)
}

impl RestoreTarget {
    /// Fails unless the directory is missing or empty.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let random = uuid::Uuid::new_v4().simple();
        match data_dir::open(path) {
            Ok(directory) => {
                let mut entries = directory.entries()?;
                ensure!(
                    entries.next().is_none(),
                    "{name} is not empty: restore into a new directory"
                );
                Ok(Self {
                    path: path.to_owned(),
                    around: directory,
                    exists: true,
                    staging: format!(".restore.{random}"),
                })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let parent = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                Ok(Self {
                    path: path.to_owned(),
                    around: data_dir::create(parent)?,
                    exists: false,
                    staging: format!(".restore.{random}"),
                })
            }
            Err(error) => Err(error).with_context(|| format!("cannot open {name}")),
        }
    }

    /// Restores the archive. `length` is for reports of the progress.
    ///
    /// A missing directory appears with all its files at once. An existing one, such as a mounted volume, is locked
    /// against servers while its entries are renamed; the database is the last one.
    pub fn restore(
        self,
        input: impl Read,
        length: u64,
        on_progress: &OnProgress,
    ) -> Result<Totals> {
        let restored = self.fill(input, length, on_progress);
        if restored.is_err() {
            // The first failure is reported.
            self.around.remove_dir_all(&self.staging).ok();
        }
        restored
    }

    fn fill(&self, input: impl Read, length: u64, on_progress: &OnProgress) -> Result<Totals> {
        let staging = data_dir::create_in(&self.around, &self.staging)?;
        for name in DIRECTORIES {
            data_dir::create_in(&staging, name)?;
        }
        let totals = read_archive(input, Some(&staging), length, on_progress)?;
        let context = || format!("cannot write to {}", self.path.display());
        if self.exists {
            self.move_entries(&staging).with_context(context)?;
            return Ok(totals);
        }
        let Some(name) = self.path.file_name() else {
            bail!(
                "{} has no name: choose another directory",
                self.path.display()
            );
        };
        // Fails if the directory was created and filled meanwhile.
        self.around
            .rename(&self.staging, &self.around, name)
            .with_context(context)?;
        Ok(totals)
    }

    /// Moves the entries into the directory, while no server can use it.
    fn move_entries(&self, staging: &Dir) -> Result<()> {
        let _lock = data_dir::lock(&self.around)?;
        let database = EntryName::Database.file_name();
        let names = DIRECTORIES.into_iter().chain(SMALL_FILES);
        for name in names.chain([database.as_str()]) {
            if staging.exists(name) {
                staging.rename(name, &self.around, name)?;
            }
        }
        self.around.remove_dir(&self.staging)?;
        Ok(())
    }
}
