//! Images that were made and cannot be stored at this moment, because others write to the database, the
//! disk is full or the process has too many open files.
//!
//! An upstream was paid for them, so they are not discarded: clients get them from here, and they are stored
//! as soon as it is possible. If their bytes are written and only their rows are missing, a file of the
//! directory `spool` names them, so that the next start of the server continues. Bytes that could not be
//! written are in memory, up to a limit, and end with the process.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::{Dir, File};
use pinhole_ground::data_dir;
use serde::{Deserialize, Serialize};

use super::MessageLink;
use crate::store::{FileRow, GalleryFields, JobRow};

/// Bytes of images that wait in memory.
pub const MAX_SPOOLED_BYTES: usize = 64 << 20;
/// Jobs whose images wait.
const MAX_SPOOLED_JOBS: usize = 10_000;
/// Files that are open for the time when no further file can be opened: images that can then be written.
const SPARE_FILES: usize = 8;
const SPARE_PREFIX: &str = ".spare.";
const RECORD_SUFFIX: &str = ".json";

/// The images of one job that wait to be stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpooledJob {
    /// A UUID.
    pub(super) id: String,
    pub(super) files: Vec<SpooledFile>,
    /// Chat and message.
    pub(super) link: Option<(String, String)>,
    /// The job whose end is stored together with the images.
    #[serde(default)]
    pub(super) end: Option<Box<JobRow>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SpooledFile {
    pub(super) row: FileRow,
    /// Missing in records of earlier versions.
    #[serde(default)]
    pub(super) gallery: GalleryFields,
    /// The bytes, if they are not written yet.
    #[serde(skip)]
    pub(super) bytes: Option<Bytes>,
}

/// The directory `spool` and what waits. Clones share both.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    directory: Arc<Dir>,
    jobs: Arc<Mutex<HashMap<String, SpooledJob>>>,
    spares: Arc<Mutex<Vec<SpareFile>>>,
    /// Held by the task that stores what waits: two would take each other's rows for those of another process.
    storing: Arc<tokio::sync::Mutex<()>>,
}

/// An empty file that is open for writing.
#[derive(Debug)]
pub(super) struct SpareFile {
    directory: Arc<Dir>,
    name: String,
    file: File,
}

impl SpooledJob {
    pub(super) fn message_link(&self) -> Option<MessageLink<'_>> {
        let (chat_id, message_id) = self.link.as_ref()?;
        Some(MessageLink {
            chat_id,
            message_id,
        })
    }

    fn memory_bytes(&self) -> usize {
        let bytes = |file: &SpooledFile| file.bytes.as_ref().map_or(0, Bytes::len);
        self.files.iter().map(bytes).sum()
    }
}

impl SpareFile {
    /// Writes the bytes and gives the file its name in a directory. Opens no file.
    pub(super) fn write(mut self, bytes: &[u8], to: &Dir, name: &str) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.directory.rename(&self.name, to, name)
    }
}

impl Spool {
    /// Opens the directory and reads what an earlier process left.
    pub(super) fn open(data: &Dir) -> Result<Self> {
        let directory = Arc::new(data_dir::create_in(data, "spool")?);
        let mut jobs = HashMap::new();
        for entry in directory.entries().context("cannot list the spool")? {
            let name = entry.context("cannot list the spool")?.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(RECORD_SUFFIX)) else {
                continue;
            };
            let job: SpooledJob = serde_json::from_slice(
                &directory
                    .read(name)
                    .with_context(|| format!("cannot read spool/{name}"))?,
            )
            .with_context(|| {
                format!("cannot read spool/{name}: remove it, and its images are lost")
            })?;
            jobs.insert(job.id.clone(), job);
        }
        Ok(Self {
            directory,
            jobs: Arc::new(Mutex::new(jobs)),
            spares: Arc::default(),
            storing: Arc::default(),
        })
    }

    /// Opens spare files, up to their number. Only a server does, and removes those of the one before.
    pub(super) fn open_spares(&self) -> std::io::Result<()> {
        let mut spares = lock(&self.spares);
        if spares.is_empty() {
            for entry in self.directory.entries()? {
                let name = entry?.file_name();
                if name.to_str().is_some_and(|it| it.starts_with(SPARE_PREFIX)) {
                    self.directory.remove_file(name)?;
                }
            }
        }
        while spares.len() < SPARE_FILES {
            let name = format!("{SPARE_PREFIX}{}", uuid::Uuid::new_v4().simple());
            let mut options = data_dir::private_file();
            options.write(true).create_new(true);
            spares.push(SpareFile {
                file: self.directory.open_with(&name, &options)?,
                directory: self.directory.clone(),
                name,
            });
        }
        Ok(())
    }

    /// Waits until no other task stores what waits, and excludes others.
    pub(super) async fn start_storing(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.storing.lock().await
    }

    pub(super) fn take_spare(&self) -> Option<SpareFile> {
        lock(&self.spares).pop()
    }

    /// Adds a job. Returns false if too much waits already.
    #[must_use]
    pub(super) fn add(&self, job: SpooledJob) -> bool {
        let mut jobs = lock(&self.jobs);
        let waiting: usize = jobs.values().map(SpooledJob::memory_bytes).sum();
        if jobs.len() >= MAX_SPOOLED_JOBS || waiting + job.memory_bytes() > MAX_SPOOLED_BYTES {
            return false;
        }
        self.record(&job);
        jobs.insert(job.id.clone(), job);
        true
    }

    /// Replaces a job after some of its bytes were written.
    pub(super) fn update(&self, job: SpooledJob) {
        self.record(&job);
        lock(&self.jobs).insert(job.id.clone(), job);
    }

    /// Removes a job whose images are stored.
    pub(super) fn remove(&self, job_id: &str) -> std::io::Result<()> {
        lock(&self.jobs).remove(job_id);
        let name = format!("{job_id}{RECORD_SUFFIX}");
        if self.directory.exists(&name) {
            self.directory.remove_file(&name)?;
        }
        Ok(())
    }

    /// Removes a file that its owner has deleted.
    pub(super) fn remove_file(&self, file_id: &str) {
        let mut jobs = lock(&self.jobs);
        for job in jobs.values_mut() {
            let before = job.files.len();
            job.files.retain(|file| file.row.id != file_id);
            if job.files.len() < before {
                self.record(job);
            }
        }
    }

    /// All jobs that wait.
    pub(super) fn jobs(&self) -> Vec<SpooledJob> {
        lock(&self.jobs).values().cloned().collect()
    }

    pub(super) fn find(&self, file_id: &str) -> Option<SpooledFile> {
        let jobs = lock(&self.jobs);
        let mut files = jobs.values().flat_map(|job| &job.files);
        files.find(|file| file.row.id == file_id).cloned()
    }

    /// True if the images of this job wait, and the end of the job with them.
    pub(super) fn has_end_of(&self, job_id: &str) -> bool {
        let jobs = lock(&self.jobs);
        let mut ends = jobs.values().filter_map(|job| job.end.as_ref());
        ends.any(|end| end.id == job_id)
    }

    pub(super) fn contains(&self, file_id: &str) -> bool {
        self.find(file_id).is_some()
    }

    /// Writes a job to the directory if all its bytes are written. Without the record the job waits in
    /// memory only.
    fn record(&self, job: &SpooledJob) {
        if job.memory_bytes() > 0 {
            return;
        }
        let name = format!("{}{RECORD_SUFFIX}", job.id);
        let json = serde_json::to_vec(job).unwrap_or_default();
        let mut written = data_dir::write_whole(&self.directory, &name, &json);
        if written.is_err()
            && let Some(spare) = self.take_spare()
        {
            written = spare.write(&json, &self.directory, &name);
        }
        if let Err(error) = written {
            tracing::warn!("cannot write spool/{name}, will retry: {error}");
        }
    }
}

/// The ids of the files in a record of the directory `spool`. Empty if it is not valid.
#[must_use]
pub fn spooled_file_ids(record: &[u8]) -> Vec<String> {
    match serde_json::from_slice::<SpooledJob>(record) {
        Ok(job) => job.files.into_iter().map(|file| file.row.id).collect(),
        Err(_) => Vec::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
