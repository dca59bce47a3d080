//! The start of the engines: those whose code is stored serve at once, the others one by one as they are compiled.
//!
//! # What it prevents
//!
//! The order in which compilers finish must not decide which component serves: a file must not get an engine's
//! name because it compiles faster than another one.
//!
//! # How
//!
//! Engines that have a track serve what it names. A new file is decided as soon as no other file can change that:
//! at once if it is named like its engine (`draw.wasm` of engine `draw`), else when `draw.wasm` and all files before it
//! in alphabetical order are decided.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::guard::Refusal;
use pinhole_images::Decoder;
use pinhole_sandbox::{Component, ListedFiles, MAX_COMPILES, digest, read_component};
use tokio_util::task::AbortOnDropHandle;

use super::rows::file_label;
use super::{Releases, check_name, history, track};
use crate::config::Config;
use crate::settings::ENGINE;
use crate::store::{ReleaseRow, ReleaseState, Store};

/// Components that are admitted at the same time: those that are compiled, and those whose code is written meanwhile.
const MAX_ADMISSIONS: usize = 2 * MAX_COMPILES;
/// New engines that a log line names.
const MAX_LISTED_NAMES: usize = 10;

/// The engines of a process that starts. Dropping it ends the compilers.
pub struct EngineStart {
    pub releases: Arc<Releases>,
    queue: VecDeque<Work>,
    compiling: FuturesUnordered<BoxFuture<'static, (Work, Result<Component, Refusal>)>>,
    /// Admitted files that are not decided yet, with their lengths in bytes.
    undecided: BTreeMap<String, (Component, usize)>,
    /// The engines that had a grant before this start.
    granted_before: BTreeSet<String>,
    directory_use: DirectoryUse,
    is_done: bool,
}

/// A component to compile.
struct Work {
    /// The name of its file in messages.
    label: String,
    bytes: Vec<u8>,
    source: Source,
}

enum Source {
    /// A track names it.
    Release(Box<ReleaseRow>),
    /// A file of the engine directory.
    File,
}

/// What a process does with the engine directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryUse {
    /// New and changed files are installed.
    Install,
    /// A server runs and decides about them. Files that it refuses are reported.
    Inspect,
    /// They are not read.
    Ignore,
}

impl EngineStart {
    /// Starts the sandbox, and lets the components serve whose code is stored.
    ///
    /// Fails if a directory or the database is unusable.
    pub async fn new(
        config: &Config,
        store: Store,
        audit: AuditLog,
        decoder: Decoder,
        directory_use: DirectoryUse,
    ) -> Result<Self> {
        let releases = Arc::new(Releases::open(config, store, audit, decoder).await?);
        let granted_before = releases.rows().granted_engines();
        let mut start = Self {
            releases,
            queue: VecDeque::new(),
            compiling: FuturesUnordered::new(),
            undecided: BTreeMap::new(),
            granted_before,
            directory_use,
            is_done: false,
        };
        let files = start.read_files(directory_use).await?;
        start.load_tracks().await?;
        for (file, bytes) in files {
            match directory_use {
                DirectoryUse::Install => start.add_file(file, bytes).await,
                DirectoryUse::Inspect | DirectoryUse::Ignore => {
                    start.inspect_file(file, bytes).await;
                }
            }
        }
        let default = config.environment.get(ENGINE).unwrap_or("sketch");
        let is_default = |work: &Work| work.label.strip_suffix(".wasm") == Some(default);
        start
            .queue
            .make_contiguous()
            .sort_by_key(|it| !is_default(it));
        let waiting = start.queue.iter().map(|work| work.label.clone());
        start.releases.lock().engines.starting = waiting.collect();
        start.decide().await?;
        start.releases.publish().await?;
        Ok(start)
    }

    /// Waits for the next component, and returns whether the engines may have changed. False if all files are
    /// decided.
    pub async fn next(&mut self) -> Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        while self.compiling.len() < MAX_ADMISSIONS
            && let Some(work) = self.queue.pop_front()
        {
            self.compiling.push(self.admission(work));
        }
        if let Some((work, admitted)) = self.compiling.next().await {
            self.releases.lock().engines.starting.remove(&work.label);
            let size_bytes = work.bytes.len();
            match (work.source, admitted) {
                (Source::Release(release), admitted) => {
                    self.add_release(&release, admitted).await?
                }
                (Source::File, Ok(component)) => {
                    self.undecided.insert(work.label, (component, size_bytes));
                }
                (Source::File, Err(refusal)) => self.releases.reject(work.label, refusal).await,
            }
        }
        self.decide().await?;
        self.releases.publish().await?;
        Ok(true)
    }

    /// Completes the start.
    pub async fn finish(mut self) -> Result<Arc<Releases>> {
        while self.next().await? {}
        Ok(self.releases)
    }

    /// Reads the files of the directory that are to be decided, and repairs stored components from files with the same
    /// bytes.
    async fn read_files(
        &mut self,
        directory_use: DirectoryUse,
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        if directory_use == DirectoryUse::Ignore {
            return Ok(BTreeMap::new());
        }
        let ListedFiles { files, refused } = self.releases.list_directory()?;
        for (file, refusal) in refused {
            self.releases.lock().engines.reject(file, refusal);
        }
        let mut read = BTreeMap::new();
        for file in files {
            match read_component(&self.releases.directory, &file) {
                Ok(bytes) => {
                    read.insert(file, bytes);
                }
                Err(refusal) => self.releases.lock().engines.reject(file, refusal),
            }
        }
        if directory_use == DirectoryUse::Inspect {
            return Ok(read);
        }
        let rows = self.releases.rows();
        let is_serving = |digest: &str| {
            let mut tracks = rows.tracks.values();
            tracks.any(|it| it.serves(digest))
        };
        for bytes in read.values() {
            let digest = digest(bytes);
            if is_serving(&digest)
                && let Err(refusal) = self.releases.bytes.save_here(&digest, bytes)
            {
                tracing::warn!("the component sha256:{digest} {}", refusal.reason);
            }
        }
        Ok(read)
    }

    /// Loads what the tracks name, or puts it into the queue.
    async fn load_tracks(&mut self) -> Result<()> {
        let rows = self.releases.rows();
        for track in rows.tracks.values() {
            if let Err(refusal) = rows.grant(&track.engine) {
                let file = rows.file_of(track).unwrap_or(&track.engine).to_owned();
                self.releases.lock().engines.reject(file, refusal);
            }
            for digest in track.serving() {
                let Some(release) = rows.releases.get(digest) else {
                    continue;
                };
                let label = file_label(release);
                let bytes = match self.releases.bytes.read(digest).await {
                    Ok(bytes) => bytes,
                    Err(refusal) => {
                        self.add_release(release, Err(refusal)).await?;
                        continue;
                    }
                };
                self.releases.bytes.share(digest, &bytes).await;
                let engines = self.releases.engines();
                match engines.admit_compiled(&label, digest).await.transpose() {
                    Some(admitted) => self.add_release(release, admitted).await?,
                    None => self.queue.push_back(Work {
                        label,
                        bytes,
                        source: Source::Release(Box::new(release.clone())),
                    }),
                }
            }
        }
        Ok(())
    }

    /// A component that a track names serves, or is recorded as one that cannot.
    async fn add_release(
        &mut self,
        release: &ReleaseRow,
        admitted: Result<Component, Refusal>,
    ) -> Result<()> {
        let checked = admitted.and_then(|component| {
            check_name(&component, release)?;
            Ok(component)
        });
        match checked {
            Ok(component) => {
                let mut state = self.releases.lock();
                let component = Arc::new(component);
                state.loaded.insert(component.digest.clone(), component);
                Ok(())
            }
            // Other hosts may be able to load it.
            Err(refusal) if self.releases.store.is_shared() => {
                self.releases
                    .record_failure(&release.digest, &refusal.reason);
                let label = file_label(release);
                self.releases.lock().engines.reject(label, refusal);
                Ok(())
            }
            Err(refusal) => {
                let label = file_label(release);
                let reason = refusal.reason.clone();
                self.releases.lock().engines.reject(label, refusal);
                self.releases.drop_candidate(&release.digest, &reason).await
            }
        }
    }

    /// A file of the directory: nothing is to be done, or it is admitted now, or it is put into the queue.
    async fn add_file(&mut self, file: String, bytes: Vec<u8>) {
        let digest = digest(&bytes);
        let is_known = self.releases.rows().files.get(&file) == Some(&digest);
        let is_release =
            |work: &Work| matches!(&work.source, Source::Release(it) if it.digest == digest);
        let is_queued = is_known && self.queue.iter().any(is_release);
        if is_queued || self.releases.is_decided(&file, &digest).await {
            return;
        }
        let engines = self.releases.engines();
        match engines.admit_compiled(&file, &digest).await.transpose() {
            Some(Ok(component)) => {
                let size_bytes = bytes.len();
                match self.releases.bytes.save(&digest, &bytes).await {
                    Ok(()) => {
                        self.undecided.insert(file, (component, size_bytes));
                    }
                    Err(refusal) => self.releases.reject(file, refusal).await,
                }
            }
            Some(Err(refusal)) => self.releases.reject(file, refusal).await,
            None => self.queue.push_back(Work {
                label: file,
                bytes,
                source: Source::File,
            }),
        }
    }

    /// A file that the server may have refused.
    async fn inspect_file(&mut self, file: String, bytes: Vec<u8>) {
        if self.releases.is_decided(&file, &digest(&bytes)).await {
            return;
        }
        let admitted = self.releases.engines().admit(&file, bytes).await;
        let checked = admitted
            .and_then(|component| self.releases.check_owner(&file, &component.declared.name));
        if let Err(refusal) = checked {
            self.releases.lock().engines.reject(file, refusal);
        }
    }

    /// Admits a component in a task of its own.
    fn admission(&self, work: Work) -> BoxFuture<'static, (Work, Result<Component, Refusal>)> {
        let releases = self.releases.clone();
        let (engines, label, bytes) = (releases.engines(), work.label.clone(), work.bytes.clone());
        let task = async move {
            let component = engines.admit(&label, bytes.clone()).await?;
            releases.bytes.save(&component.digest, &bytes).await?;
            Ok(component)
        };
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        Box::pin(async move {
            let admitted = task.await.unwrap_or_else(|crash| {
                Err(format!("cannot be admitted: the server failed ({crash})").into())
            });
            (work, admitted)
        })
    }

    /// Decides about the files about which it can.
    async fn decide(&mut self) -> Result<()> {
        loop {
            let file = self.undecided.iter().find_map(|(file, (component, _))| {
                self.is_certain(file, &component.declared.name)
                    .then(|| file.clone())
            });
            let Some(file) = file else { break };
            if let Some((component, size_bytes)) = self.undecided.remove(&file) {
                self.releases
                    .decide_file(&file, component, size_bytes)
                    .await;
            }
        }
        let is_empty = self.compiling.is_empty() && self.undecided.is_empty();
        if self.queue.is_empty() && is_empty {
            self.complete().await?;
        }
        Ok(())
    }

    /// True if no file that is not admitted yet can change what happens to this one.
    fn is_certain(&self, file: &str, engine: &str) -> bool {
        let own_file = format!("{engine}.wasm");
        if file == own_file || self.releases.rows().tracks.contains_key(engine) {
            return true;
        }
        let state = self.releases.lock();
        let waiting = &state.engines.starting;
        let is_undecided =
            |other: &String| waiting.contains(other) || self.undecided.contains_key(other);
        !is_undecided(&own_file) && waiting.iter().all(|other| file < other.as_str())
    }

    /// Every file is decided.
    async fn complete(&mut self) -> Result<()> {
        if self.is_done {
            return Ok(());
        }
        self.is_done = true;
        if self.directory_use != DirectoryUse::Install {
            return Ok(());
        }
        let rows = self.releases.rows();
        for file in rows.files.keys() {
            if !self.releases.directory.exists(file) {
                let _changes = self.releases.changes.lock().await;
                self.releases.forget_file(file).await;
            }
        }
        self.releases.set_all_seen();
        self.log_granted();
        let _changes = self.releases.changes.lock().await;
        self.releases.remove_old_releases().await;
        Ok(())
    }

    /// Logs the engines that were granted what they declare, in one line.
    fn log_granted(&self) {
        let granted = self.releases.rows().granted_engines();
        let new: Vec<_> = granted.difference(&self.granted_before).collect();
        if new.is_empty() {
            return;
        }
        let listed: Vec<_> = new
            .iter()
            .take(MAX_LISTED_NAMES)
            .map(|it| it.as_str())
            .collect();
        let mut names = listed.join(", ");
        if new.len() > MAX_LISTED_NAMES {
            names.push_str(&format!(" and {} more", new.len() - MAX_LISTED_NAMES));
        }
        tracing::info!(
            "new engines are granted the permissions that they declare: {names}; review them with `pinhole engine grant NAME`"
        );
    }
}

impl Releases {
    /// A candidate that cannot be loaded is dropped.
    async fn drop_candidate(&self, digest: &str, reason: &str) -> Result<()> {
        let rows = self.rows();
        let mut tracks = rows.tracks.values();
        let Some(track) = tracks.find(|it| it.candidate.as_deref() == Some(digest)) else {
            return Ok(());
        };
        let after = track::without_candidate(track);
        let reason = format!("it {reason}");
        let state = ReleaseState::RolledBack;
        let mut change = self.track_change(Some(track.clone()), Some(after), state, &reason);
        change
            .history
            .push(history(&track.engine, digest, "rolled-back", &reason, ""));
        self.commit(change, Vec::new()).await?;
        Ok(())
    }
}
