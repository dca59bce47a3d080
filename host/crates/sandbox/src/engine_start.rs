//! The start of the engines: component files are admitted at the same time, and serve one by one.
//!
//! # What it prevents
//!
//! The order in which compilers finish must not decide which component serves: a file must not get an engine's
//! name because it compiles faster than another one.
//!
//! # How
//!
//! Files whose code is stored are admitted first. The others are compiled, [`MAX_COMPILES`] at a time. A component
//! serves before all files are admitted only if no other file can change that:
//!
//! - its grant names exactly this file and digest, or
//! - it is a new engine, and all files with a name before its own in alphabetical order are decided.
//!
//! All others wait until every file is admitted or rejected.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pinhole_ground::guard::{Guard, Refusal};
use tokio_util::task::AbortOnDropHandle;

use crate::admission::{admit, admit_stored};
use crate::compile::MAX_COMPILES;
use crate::component::Component;
use crate::engines::Engines;
use crate::grant::FirstUse;
use crate::host_task::describe_crash;
use crate::registry::InitialState;
use crate::sandbox::Options;

/// Files that are admitted at the same time: those that are compiled, and those whose code is written meanwhile.
const MAX_ADMISSIONS: usize = 2 * MAX_COMPILES;

/// The engines of a server that starts. Dropping it ends the compilers.
pub struct EngineStart {
    engines: Engines,
    initial: InitialState,
    /// Files that no compiler has started with, in alphabetical order.
    queue: VecDeque<String>,
    compiling: FuturesUnordered<BoxFuture<'static, (String, Result<Component, Refusal>)>>,
    /// Admitted components that do not serve yet, by file.
    undecided: BTreeMap<String, Component>,
    is_done: bool,
}

impl EngineStart {
    /// Starts the sandbox, and admits the component files whose code is stored.
    ///
    /// Fails if a directory is unusable.
    pub async fn new(options: &Options) -> Result<Self> {
        let mut engines = Engines::none(options)?;
        let files = engines.list_files()?;
        engines.starting = files.iter().cloned().collect();
        let mut start = Self {
            initial: InitialState {
                first_use: options.first_use,
                claimed_names: BTreeSet::new(),
                grants: engines.grants.load_all()?,
            },
            engines,
            queue: VecDeque::new(),
            compiling: FuturesUnordered::new(),
            undecided: BTreeMap::new(),
            is_done: false,
        };
        for file in files {
            let stored =
                admit_stored(&start.engines.sandbox, &start.engines.directory, &file).await;
            match stored.transpose() {
                Some(admitted) => start.add(file, admitted),
                None => start.queue.push_back(file),
            }
        }
        start.decide().await?;
        Ok(start)
    }

    /// The engines at this moment.
    #[must_use]
    pub fn engines(&self) -> Engines {
        self.engines.clone()
    }

    /// Waits for the next file, and returns whether the engines may have changed. False if all files are
    /// decided.
    pub async fn next(&mut self) -> Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        while self.compiling.len() < MAX_ADMISSIONS
            && let Some(file) = self.queue.pop_front()
        {
            self.compiling.push(self.admission(file));
        }
        if let Some((file, admitted)) = self.compiling.next().await {
            self.add(file, admitted);
        }
        self.decide().await?;
        Ok(true)
    }

    /// Admits a file in a task of its own.
    fn admission(&self, file: String) -> BoxFuture<'static, (String, Result<Component, Refusal>)> {
        let (sandbox, directory) = (self.engines.sandbox.clone(), self.engines.directory.clone());
        let name = file.clone();
        let task = async move { admit(&sandbox, &directory, &name).await };
        let task = AbortOnDropHandle::new(tokio::spawn(task));
        Box::pin(async move {
            let admitted = task.await.unwrap_or_else(|crash| {
                Err(format!("cannot be admitted: {}", describe_crash(&crash)).into())
            });
            (file, admitted)
        })
    }

    fn add(&mut self, file: String, admitted: Result<Component, Refusal>) {
        self.engines.starting.remove(&file);
        match admitted {
            Ok(component) => {
                let name = component.description.name.clone();
                self.initial.claimed_names.insert(name);
                self.undecided.insert(file, component);
            }
            Err(refusal) => self.engines.reject(file, refusal),
        }
    }

    /// Lets the components serve that can.
    async fn decide(&mut self) -> Result<()> {
        if self.engines.starting.is_empty() {
            return self.decide_all().await;
        }
        let files: Vec<String> = self.undecided.keys().cloned().collect();
        for file in files {
            let is_certain = self
                .undecided
                .get(&file)
                .is_some_and(|it| self.is_certain(it));
            if is_certain && let Some(component) = self.undecided.remove(&file) {
                self.register(component).await;
            }
        }
        Ok(())
    }

    /// True if no file that is not admitted yet can change what happens to this component.
    fn is_certain(&self, component: &Component) -> bool {
        let (name, file) = (&component.description.name, &component.file);
        if self.engines.get(name).is_some() {
            return false;
        }
        match self.engines.grants.load(name) {
            Ok(Some(grant)) => {
                Guard::EngineNames.applies(grant.digest == component.digest && grant.file == *file)
            }
            Ok(None) => {
                let is_first = |other: &String| file < other;
                let undecided = self.undecided.values();
                let mut rivals = undecided.filter(|it| it.description.name == *name);
                self.initial.first_use == FirstUse::Declared
                    && self.initial.previous_engine(file).is_none()
                    && self.engines.starting.iter().all(is_first)
                    && rivals.all(|rival| *file <= rival.file)
            }
            Err(_) => false,
        }
    }

    /// Decides about all components that are left. Every file is known.
    async fn decide_all(&mut self) -> Result<()> {
        let mut claims: BTreeMap<String, Vec<Component>> = BTreeMap::new();
        for component in std::mem::take(&mut self.undecided).into_values() {
            let name = component.description.name.clone();
            claims.entry(name).or_default().push(component);
        }
        for (name, components) in claims {
            if let Some(component) = self.engines.resolve_conflict(&name, components) {
                self.register(component).await;
            }
        }
        // Not in the order in which compilers finished.
        self.engines.rejected.sort_by(|a, b| a.file.cmp(&b.file));
        self.is_done = true;
        self.engines.log_granted();
        self.engines.grants.remove_orphaned_copies()
    }

    async fn register(&mut self, component: Component) {
        let file = component.file.clone();
        if let Err(refusal) = self.engines.register(component, &self.initial).await {
            self.engines.reject(file, refusal);
        }
    }
}
