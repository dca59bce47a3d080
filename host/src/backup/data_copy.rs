//! Copies a data directory into an archive, in the order that the module's documentation explains.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cap_std::fs::{Dir, File};
use pinhole_ground::data_dir;

use super::OnProgress;
use super::archive_writer::ArchiveWriter;
use super::entry::{EntryName, MAX_SPOOL_RECORD_BYTES, SMALL_FILES};
use super::manifest::{FORMAT, Head, Totals};
use crate::files::spooled_file_ids;
use crate::store::{DatabaseSnapshot, FileKey, RowCounts, Store, now};

/// Files that one step copies.
const BATCH: u32 = 200;
/// Copies of the database, if components are removed at the same moment.
const MAX_SNAPSHOTS: usize = 3;
/// Missing or damaged parts that are named; further ones are counted.
const MAX_NAMED_PROBLEMS: usize = 20;
/// Records of the spool that a backup contains.
const MAX_SPOOL_RECORDS: usize = 10_000;
/// The name of the copied database in the temporary directory.
const COPY: &str = "copy.db";

/// A backup that was written.
#[derive(Debug)]
pub struct Backup {
    pub totals: Totals,
    /// What the server had lost already, a sentence for each.
    pub problems: Vec<String>,
}

/// A backup while it is written.
struct DataCopy {
    data: Arc<Dir>,
    totals: Totals,
    problems: Vec<String>,
}

/// A batch of images after it was copied.
struct CopiedFiles {
    writer: ArchiveWriter,
    copied: u64,
    /// Ids of files without bytes.
    missing: Vec<String>,
    /// A sentence for each image with other bytes.
    damaged: Vec<String>,
}

/// Writes a backup of a data directory, also while its server runs. Bytes go to `output` in their order.
///
/// `work` is an existing directory on a disk with space for the database, accessible to its owner only.
pub async fn write_backup(
    data: &Path,
    work: &Path,
    output: Box<dyn Write + Send>,
    on_progress: OnProgress,
) -> Result<Backup> {
    let name = data.display();
    let opened = data_dir::open(data).with_context(|| format!("cannot open {name}"))?;
    let opened = Arc::new(opened);
    let work_dir = data_dir::open(work).context("cannot open the temporary directory")?;
    let copy = DataCopy {
        data: opened,
        totals: Totals::default(),
        problems: Vec::new(),
    };
    copy.write(data, work, work_dir, output, on_progress).await
}

impl DataCopy {
    async fn write(
        mut self,
        data: &Path,
        work: &Path,
        work_dir: Dir,
        output: Box<dyn Write + Send>,
        on_progress: OnProgress,
    ) -> Result<Backup> {
        let records = self.copy_spool(work_dir.try_clone()?).await?;
        let (mut snapshot, components) = self.copy_database(data, work, &work_dir).await?;
        let context = "cannot read the copy of the database";
        let schema = snapshot.schema_version().await.context(context)?;
        let known = Store::schema_version();
        ensure!(
            schema <= known,
            "the database has schema {schema}, and this program knows {known}: make the backup with the program of the server"
        );
        let counts = snapshot.counts().await.context(context)?;
        let database_bytes = work_dir.metadata(COPY)?.len();
        let head = Head {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            created_at: now(),
        };
        let expected_bytes = counts.file_bytes.saturating_add(database_bytes);
        let mut writer = ArchiveWriter::new(output, &head, expected_bytes, on_progress)?;
        writer = self.add_components(writer, components).await?;
        writer = self.add_images(writer, &mut snapshot).await?;
        writer = self
            .add_spool(writer, &work_dir, &mut snapshot, records)
            .await?;
        let RowCounts { users, chats, .. } = snapshot.counts().await.context(context)?;
        snapshot.close().await.context(context)?;
        writer = self.add_rest(writer, &work_dir).await?;
        self.totals.users = users;
        self.totals.chats = chats;
        self.totals.bytes = writer.written_bytes();
        let totals = self.totals.clone();
        blocking(move || writer.finish(&totals)).await?;
        Ok(Backup {
            totals: self.totals,
            problems: self.problems,
        })
    }

    /// Copies the records of images that wait for their rows. Returns the names of the copies.
    async fn copy_spool(&self, work_dir: Dir) -> Result<Vec<EntryName>> {
        let data = self.data.clone();
        blocking(move || {
            let Some(spool) = optional(data.open_dir("spool")).context("cannot open the spool")?
            else {
                return Ok(Vec::new());
            };
            let mut records = Vec::new();
            for entry in spool.entries().context("cannot list the spool")? {
                let file_name = entry.context("cannot list the spool")?.file_name();
                let Some(name) = file_name.to_str().and_then(EntryName::spool_record) else {
                    continue;
                };
                // The server removes a record when its images have rows.
                let json = optional(spool.read(name.file_name()));
                let Some(json) = json.context("cannot read the spool")? else {
                    continue;
                };
                if json.len() as u64 <= MAX_SPOOL_RECORD_BYTES && records.len() < MAX_SPOOL_RECORDS
                {
                    work_dir.write(name.file_name(), json)?;
                    records.push(name);
                }
            }
            Ok(records)
        })
        .await
    }

    /// Copies the database. Returns the digests of its components, whose bytes exist.
    async fn copy_database(
        &mut self,
        data: &Path,
        work: &Path,
        work_dir: &Dir,
    ) -> Result<(DatabaseSnapshot, Vec<String>)> {
        let mut attempt = 1;
        loop {
            let context = "cannot copy the database";
            let created = DatabaseSnapshot::create(data, &work.join(COPY)).await;
            let mut snapshot = created.context(context)?;
            let digests = snapshot.component_digests().await.context(context)?;
            let (present, missing): (Vec<_>, Vec<_>) = digests
                .into_iter()
                .filter(|digest| EntryName::parse(component_path(digest).as_bytes()).is_some())
                .partition(|digest| self.data.exists(component_path(digest)));
            if missing.is_empty() || attempt == MAX_SNAPSHOTS {
                for digest in missing {
                    self.report(format!(
                        "the component {digest} is missing in the data directory"
                    ));
                }
                return Ok((snapshot, present));
            }
            // An administrator removed them after the copy, or long ago.
            snapshot.close().await.context(context)?;
            work_dir.remove_file(COPY)?;
            attempt += 1;
        }
    }

    async fn add_components(
        &mut self,
        mut writer: ArchiveWriter,
        digests: Vec<String>,
    ) -> Result<ArchiveWriter> {
        self.totals.components = digests.len() as u64;
        let data = self.data.clone();
        blocking(move || {
            for digest in digests {
                let path = component_path(&digest);
                let (file, length) = open(&data, &path)?.with_context(|| {
                    format!("the component {digest} was removed: start the backup again")
                })?;
                writer.add(&EntryName::Component(digest), file, length)?;
            }
            Ok(writer)
        })
        .await
    }

    /// Adds the files of all rows. Rows of files that were deleted meanwhile are removed from the copy.
    async fn add_images(
        &mut self,
        mut writer: ArchiveWriter,
        snapshot: &mut DatabaseSnapshot,
    ) -> Result<ArchiveWriter> {
        let context = "cannot read the copy of the database";
        let mut last = String::new();
        loop {
            let files = snapshot.files_after(&last, BATCH).await.context(context)?;
            let Some(newest) = files.last() else {
                return Ok(writer);
            };
            last = newest.id.clone();
            let data = self.data.clone();
            let copied = blocking(move || copy_files(writer, &data, files)).await?;
            writer = copied.writer;
            self.totals.images += copied.copied;
            for problem in copied.damaged {
                self.report(problem);
            }
            let lost = snapshot
                .remove_deleted(copied.missing)
                .await
                .context(context)?;
            for id in lost {
                self.report(format!(
                    "the bytes of image {id} are missing in the data directory"
                ));
            }
        }
    }

    /// Adds the images that wait for their rows, and their records. Leaves out a record whose images have rows by now,
    /// or were deleted.
    async fn add_spool(
        &mut self,
        mut writer: ArchiveWriter,
        work_dir: &Dir,
        snapshot: &mut DatabaseSnapshot,
        records: Vec<EntryName>,
    ) -> Result<ArchiveWriter> {
        for name in records {
            let json = work_dir.read(name.file_name())?;
            let ids = spooled_file_ids(&json);
            let has_rows = snapshot.has_one_of(&ids).await;
            if ids.is_empty() || has_rows.context("cannot read the copy of the database")? {
                continue;
            }
            let data = self.data.clone();
            let added = blocking(move || add_record(writer, &data, &name, &json, &ids)).await?;
            writer = added.0;
            self.totals.images += added.1;
        }
        Ok(writer)
    }

    /// Adds the keys and the completed copy of the database.
    async fn add_rest(&self, mut writer: ArchiveWriter, work_dir: &Dir) -> Result<ArchiveWriter> {
        let (data, work_dir) = (self.data.clone(), work_dir.try_clone()?);
        blocking(move || {
            for name in SMALL_FILES {
                if let Some((file, length)) = open(&data, name)? {
                    writer.add(&EntryName::Small(name), file, length)?;
                }
            }
            let (database, length) =
                open(&work_dir, COPY)?.context("the copy of the database was removed")?;
            writer.add(&EntryName::Database, database, length)?;
            Ok(writer)
        })
        .await
    }

    fn report(&mut self, problem: String) {
        self.totals.missing += 1;
        if self.problems.len() < MAX_NAMED_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// Copies a batch of images.
fn copy_files(mut writer: ArchiveWriter, data: &Dir, files: Vec<FileKey>) -> Result<CopiedFiles> {
    let (mut missing, mut damaged, mut copied) = (Vec::new(), Vec::new(), 0);
    for FileKey {
        id,
        size_bytes,
        hash,
    } in files
    {
        let name = EntryName::image(&id)
            .with_context(|| format!("the database has a file with the invalid id {id:?}"))?;
        let Some((file, length)) = open(data, &name.path())? else {
            missing.push(id);
            continue;
        };
        let sha256 = writer.add(&name, file, length)?;
        copied += 1;
        if length != size_bytes || !(hash.is_empty() || hash == sha256) {
            damaged.push(format!(
                "the bytes of image {id} are not those that were stored"
            ));
        }
    }
    Ok(CopiedFiles {
        writer,
        copied,
        missing,
        damaged,
    })
}

/// Adds a record of the spool with its images, unless one of them was deleted. Returns the number of images.
fn add_record(
    mut writer: ArchiveWriter,
    data: &Dir,
    name: &EntryName,
    json: &[u8],
    ids: &[String],
) -> Result<(ArchiveWriter, u64)> {
    let mut images = Vec::new();
    for id in ids {
        let Some(image) = EntryName::image(id) else {
            return Ok((writer, 0));
        };
        let Some(opened) = open(data, &image.path())? else {
            return Ok((writer, 0));
        };
        images.push((image, opened));
    }
    let count = images.len() as u64;
    for (image, (file, length)) in images {
        writer.add(&image, file, length)?;
    }
    writer.add(name, json, json.len() as u64)?;
    Ok((writer, count))
}

fn component_path(digest: &str) -> String {
    EntryName::Component(digest.to_owned()).path()
}

/// A file and its length. `None` if it does not exist.
fn open(directory: &Dir, path: &str) -> Result<Option<(File, u64)>> {
    let context = || format!("cannot read {path}");
    let Some(file) = optional(directory.open(path)).with_context(context)? else {
        return Ok(None);
    };
    let length = file.metadata().with_context(context)?.len();
    Ok(Some((file, length)))
}

fn optional<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs work that waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
