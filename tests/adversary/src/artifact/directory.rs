//! An engine directory with patched components, and the data directory that stores its grants.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cap_std::fs::Dir;
use pinhole::releases::Releases;
use pinhole_ground::audit::{AuditLog, AuditRetention, RefusalKind};
use pinhole_ground::data_dir;
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Engines;
use tempfile::TempDir;

use crate::target::{AttackTarget, EngineSetup, is_expected_guard};

/// The file of the hostile engine.
pub(super) const HOSTILE: &str = "hostile.wasm";
/// Length of the longest reason that a rejection may have, in bytes.
const MAX_REASON_BYTES: usize = 600;
/// Precedes the name of the description's variant in the hostile component.
const MARK: &[u8] = b"describe as: ";
/// Length of that name with trailing spaces, in bytes.
const VARIANT_BYTES: usize = 11;
/// The file of a component that must be rejected.
const ATTACK: &str = "attack.wasm";

/// An engine directory, and the data directory that stores its grants.
pub(super) struct EngineDirectory<'a> {
    target: &'a AttackTarget,
    pub(super) engines: TempDir,
    data: TempDir,
    audit: AuditLog,
}

/// A component that must be rejected.
pub(super) struct BadComponent<'a> {
    pub(super) label: &'a str,
    pub(super) bytes: Vec<u8>,
    /// A part of the reason.
    pub(super) reason: &'a str,
    /// The guard that must reject it; `None` if no single guard does.
    pub(super) guard: Option<Guard>,
}

impl<'a> EngineDirectory<'a> {
    pub(super) fn new(target: &'a AttackTarget) -> Result<Self> {
        let data = tempfile::tempdir()?;
        Ok(Self {
            target,
            engines: tempfile::tempdir()?,
            audit: AuditLog::open(&data_dir::open(data.path())?, AuditRetention::default())?,
            data,
        })
    }

    /// A directory with the hostile engine in a variant, which was granted what it declares.
    pub(super) async fn with_granted(target: &'a AttackTarget, variant: &str) -> Result<Self> {
        let directory = Self::new(target)?;
        directory.write(HOSTILE, &hostile_variant(target, variant)?)?;
        let engines = directory.open().await?;
        ensure!(
            engines.get("hostile").is_some(),
            "the hostile engine is not admitted: {:?}",
            engines.rejected
        );
        Ok(directory)
    }

    pub(super) fn dir(&self) -> Result<Dir> {
        Ok(data_dir::open(self.engines.path())?)
    }

    /// A directory in the data directory.
    pub(super) fn data_dir(&self, name: &str) -> Result<Dir> {
        Ok(data_dir::open(&self.data.path().join(name))?)
    }

    /// Writes a component file.
    pub(super) fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.dir()?.write(file, bytes)?)
    }

    /// Writes the hostile engine in a variant.
    pub(super) fn write_hostile(&self, variant: &str) -> Result<()> {
        self.write(HOSTILE, &hostile_variant(self.target, variant)?)
    }

    /// Opens the engines, as a server does when it starts.
    pub(super) async fn open(&self) -> Result<Engines> {
        Ok(self.releases().await?.engines())
    }

    /// Opens the releases, as a server does when it starts.
    pub(super) async fn releases(&self) -> Result<Arc<Releases>> {
        let setup = EngineSetup {
            engines: self.engines.path(),
            data: self.data.path(),
            compiler: self.target.compiler(),
            audit: self.audit.clone(),
        };
        self.target.open_releases(setup).await
    }

    pub(super) fn audit_count(&self, kind: RefusalKind) -> u64 {
        self.audit.count(Some(kind))
    }

    /// Fails unless the newest entry of the audit log of this kind names this guard.
    pub(super) fn require_audit_guard(&self, kind: RefusalKind, guard: Guard) -> Result<()> {
        let newest = self.audit.newest(Some(kind), 1)?;
        let logged = newest.first().map(|entry| entry.guard.as_str());
        ensure!(
            is_expected_guard(logged, &[guard]),
            "the audit log names the guard {logged:?} instead of {}",
            guard.name()
        );
        Ok(())
    }

    /// Fails unless exactly one file is rejected, `attack.wasm`, with this reason and an audit entry.
    pub(super) async fn require_attack_rejected(
        &self,
        reason: &str,
        guard: Option<Guard>,
    ) -> Result<()> {
        self.require_rejected(ATTACK, reason, guard).await
    }

    /// Fails unless exactly this file is rejected, with this reason and an audit entry.
    pub(super) async fn require_rejected(
        &self,
        file: &str,
        reason: &str,
        guard: Option<Guard>,
    ) -> Result<()> {
        let count_before = self.audit_count(RefusalKind::Admission);
        let engines = self.open().await?;
        let [rejected] = engines.rejected.as_slice() else {
            let admitted: Vec<_> = engines.admitted().map(|it| it.file.as_str()).collect();
            anyhow::bail!(
                "the rejected files are {:?}, the admitted ones are {admitted:?}",
                engines.rejected
            );
        };
        ensure!(
            rejected.file == file && rejected.reason.contains(reason),
            "{:?} is rejected because it {:?}, instead of {reason:?}",
            rejected.file,
            rejected.reason
        );
        ensure!(
            rejected.reason.len() <= MAX_REASON_BYTES
                && !rejected.reason.contains(char::is_control),
            "the reason is not one printable line: {} bytes",
            rejected.reason.len()
        );
        ensure!(
            self.audit_count(RefusalKind::Admission) > count_before,
            "the rejection is not in the audit log"
        );
        if let Some(guard) = guard {
            self.require_audit_guard(RefusalKind::Admission, guard)?;
        }
        Ok(())
    }
}

/// Fails unless each of these components, alone in its directory, is rejected.
pub(super) async fn require_all_rejected(
    target: &AttackTarget,
    components: &[BadComponent<'_>],
) -> Result<()> {
    for component in components {
        let directory = EngineDirectory::new(target)?;
        directory.write(ATTACK, &component.bytes)?;
        directory
            .require_attack_rejected(component.reason, component.guard)
            .await
            .with_context(|| component.label.to_owned())?;
    }
    Ok(())
}

/// The hostile component with another variant of its description.
pub(super) fn hostile_variant(target: &AttackTarget, variant: &str) -> Result<Vec<u8>> {
    let mut bytes = target.component("hostile")?;
    let start = bytes
        .windows(MARK.len())
        .position(|window| window == MARK)
        .context("the hostile component has no mark for its description")?
        + MARK.len();
    let marked = bytes
        .get_mut(start..start + VARIANT_BYTES)
        .context("the mark is truncated")?;
    marked.copy_from_slice(format!("{variant:VARIANT_BYTES$}").as_bytes());
    Ok(bytes)
}

/// Replaces each `from` by `to`, which has the same length, so that the bytes stay well-formed.
pub(super) fn patched(bytes: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "{from} and {to} differ in length");
    let (mut patched, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    let mut count = 0;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(from.as_bytes()) {
            patched.extend_from_slice(to.as_bytes());
            (rest, count) = (after, count + 1);
        } else {
            patched.push(*first);
            rest = tail;
        }
    }
    ensure!(count > 0, "the component does not contain {from}");
    Ok(patched)
}
