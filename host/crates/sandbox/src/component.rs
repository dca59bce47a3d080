//! Admitted components and rejected files.

use std::collections::BTreeSet;
use std::sync::Arc;

use pinhole_ground::guard::Guard;

use crate::contract::Description;
use crate::cpu_meter::LastComputing;
use crate::grant::{Grant, Right};
use crate::guest_log::{EngineLog, LogLine};
use crate::instance::Pre;

/// An admitted component: its code, its description and its grant.
pub struct Component {
    /// The name of its file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// The names of the interfaces that it imports.
    pub imports: Vec<String>,
    /// Validated, as the component returned it.
    pub declared: Description,
    /// The declared description, restricted to the grant.
    pub description: Description,
    /// All rights that it declares, granted or not.
    pub declared_rights: BTreeSet<Right>,
    pub grant: Grant,
    pub(crate) log: Arc<EngineLog>,
    pub(crate) last_computing: LastComputing,
    pub(crate) pre: Arc<Pre>,
}

impl Component {
    /// The same component with another grant, and the file that the grant names. Both share their code and their log.
    #[must_use]
    pub fn with_grant(&self, grant: Grant) -> Self {
        Self {
            file: grant.file.clone(),
            digest: self.digest.clone(),
            imports: self.imports.clone(),
            declared: self.declared.clone(),
            description: grant.restrict(self.declared.clone()),
            declared_rights: self.declared_rights.clone(),
            grant,
            log: self.log.clone(),
            last_computing: self.last_computing.clone(),
            pre: self.pre.clone(),
        }
    }

    /// True if it explains its settings.
    #[must_use]
    pub fn explains_settings(&self) -> bool {
        self.pre.explains_settings()
    }

    /// The log of its calls. It does not hold the component's code.
    #[must_use]
    pub fn log(&self) -> &Arc<EngineLog> {
        &self.log
    }

    /// The last lines of its log with a higher number than this: see [`EngineLog::lines_since`].
    #[must_use]
    pub fn log_lines(&self, since: u64) -> Vec<LogLine> {
        self.log.lines_since(since)
    }
}

/// A file that was not admitted.
#[derive(Clone, Debug)]
pub struct RejectedFile {
    /// Its name in the directory of components; unprintable characters are removed.
    pub file: String,
    /// For the operator: the problem and the remedy. Continues a sentence that begins
    /// with the file's name.
    pub reason: String,
    /// The guard that rejected it, if one did.
    pub guard: Option<Guard>,
}
