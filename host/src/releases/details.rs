//! An engine in detail, for an administrator: what serves, its rights, and what waits for approval.

mod serving;

use std::collections::BTreeSet;

use pinhole_sandbox::grant::{Grant, Right};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{file_label, read_rights};
use super::{EngineStatus, ReleaseError, Releases};
use crate::jobs::Snapshot;
use crate::store::{HistoryRow, HostRelease};

pub use serving::{BindingDetails, ServingComponent, UpstreamDetails};

/// An engine with its versions, its rights and its bindings.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EngineDetails {
    pub engine: EngineStatus,
    /// The component that serves; `null` if none does.
    #[schema(required = true)]
    pub serving: Option<ServingComponent>,
    /// The component that waits for approval; `null` if none does.
    #[schema(required = true)]
    pub pending: Option<PendingComponent>,
    /// The component to which the rights were granted; `null` if nothing is granted.
    #[schema(required = true)]
    pub granted: Option<GrantedComponent>,
    /// The rights that the component declares which waits for approval, or else the one that serves; and those that are
    /// granted and no longer declared.
    pub rights: Vec<DeclaredRight>,
    /// The running servers that share the database, and whether they have the newest version that serves. Empty with
    /// SQLite.
    pub hosts: Vec<EngineHost>,
}

/// A running server, and what it has of the newest version of an engine that serves.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EngineHost {
    pub name: String,
    /// The version of its program.
    pub program_version: String,
    /// It serves the version.
    pub is_loaded: bool,
    /// Why it cannot. Follows the name of the version in a sentence. `null` if it can, or still loads it.
    #[schema(required = true)]
    pub problem: Option<String>,
}

impl From<HostRelease> for EngineHost {
    fn from(release: HostRelease) -> Self {
        Self {
            name: release.host,
            program_version: release.version,
            is_loaded: release.problem.as_deref() == Some(""),
            problem: release.problem.filter(|it| !it.is_empty()),
        }
    }
}

/// A component that waits for approval.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PendingComponent {
    pub version: String,
    /// SHA-256 of the component, in hexadecimal. An approval names it.
    pub digest: String,
    pub file: String,
    /// The engine that the same file was before; empty if it has not changed its name.
    pub previous_engine: String,
    /// Why it waits. Follows the name of the file in a sentence.
    pub reason: String,
}

/// The component to which rights were granted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantedComponent {
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    pub file: String,
}

/// A right, and whether it is granted.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeclaredRight {
    /// Such as `api POST /images/`.
    pub right: String,
    pub state: RightState,
}

/// Whether a right is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RightState {
    Granted,
    /// Declared, and neither granted nor denied.
    New,
    Denied,
    /// Granted, and no longer declared.
    Unused,
}

/// An entry of an engine's history.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Seconds since 1970.
    pub at: i64,
    /// SHA-256 of the component that it is about, in hexadecimal.
    pub digest: String,
    /// Such as `installed`, `promoted` or `rolled-back`.
    pub what: String,
    pub why: String,
    /// The name of the user or command that caused it; empty if the server did.
    pub by: String,
}

impl From<HistoryRow> for HistoryEntry {
    fn from(row: HistoryRow) -> Self {
        Self {
            at: row.at,
            digest: row.digest,
            what: row.what,
            why: row.why,
            by: row.user_name,
        }
    }
}

impl Releases {
    /// An engine in detail. The snapshot has its bindings.
    pub async fn details(
        &self,
        engine: &str,
        snapshot: &Snapshot,
    ) -> Result<EngineDetails, ReleaseError> {
        let status = self.status(engine)?;
        let hosts = self.hosts_of(engine).await?;
        let serving = self.engines().get(engine).cloned();
        let rows = self.rows();
        let (grant, is_readable) = match rows.grant(engine) {
            Ok(grant) => (grant.unwrap_or_default(), true),
            Err(_) => (Grant::default(), false),
        };
        let parked = rows.parked(engine).map(|release| {
            let approval = rows.pending_approval(release);
            (release, approval.reason())
        });
        let unreadable = || {
            let track = rows.tracks.get(engine).filter(|_| !is_readable)?;
            let release = rows.releases.get(&track.current)?;
            let reason =
                format!("has an unreadable grant. Review with `pinhole engine grant {engine}`");
            Some((release, reason))
        };
        let pending = parked.or_else(unreadable);
        let declared = match (&pending, &serving) {
            (Some((release, _)), _) => read_rights(&release.declared).unwrap_or_default(),
            (None, Some(component)) => component.declared_rights.clone(),
            (None, None) => BTreeSet::new(),
        };
        Ok(EngineDetails {
            engine: status,
            serving: serving.map(|it| ServingComponent::new(&it, snapshot)),
            pending: pending.map(|(release, reason)| PendingComponent {
                version: release.version.clone(),
                digest: release.digest.clone(),
                file: file_label(release),
                previous_engine: release.replaces.clone(),
                reason,
            }),
            granted: (!grant.digest.is_empty()).then(|| GrantedComponent {
                file: rows
                    .releases
                    .get(&grant.digest)
                    .map_or_else(|| grant.file.clone(), file_label),
                digest: grant.digest.clone(),
            }),
            rights: compare_rights(&declared, &grant),
            hosts: hosts.into_iter().map(EngineHost::from).collect(),
        })
    }
}

/// The declared and the granted rights, in order.
fn compare_rights(declared: &BTreeSet<Right>, grant: &Grant) -> Vec<DeclaredRight> {
    let state = |right: &Right| {
        let includes = |rights: &BTreeSet<Right>| rights.iter().any(|it| it.includes(right));
        if !declared.contains(right) {
            RightState::Unused
        } else if includes(&grant.denies) {
            RightState::Denied
        } else if includes(&grant.allows) {
            RightState::Granted
        } else {
            RightState::New
        }
    };
    let rights = declared.union(&grant.allows);
    rights
        .map(|right| DeclaredRight {
            right: right.to_string(),
            state: state(right),
        })
        .collect()
}
