//! Components that were granted something, and want more or imitate others.

use anyhow::{Context, Result, bail, ensure};
use pinhole::releases::ReleaseError;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Engines;

use super::directory::{EngineDirectory, hostile_variant};
use crate::target::{AttackTarget, is_expected_guard};

/// The digest of the hostile engine that serves, if one serves.
pub(super) fn serving_digest(engines: &Engines) -> Option<String> {
    engines.get("hostile").map(|it| it.digest.clone())
}

/// Fails unless this component serves, the other one waits for approval, and the audit log says so.
pub(super) async fn require_pending(
    directory: &EngineDirectory<'_>,
    serving: Option<&str>,
    guard: Guard,
) -> Result<Engines> {
    let count_before = directory.audit_count(RefusalKind::Grant);
    let engines = directory.open().await?;
    let actual = serving_digest(&engines);
    ensure!(
        actual.as_deref() == serving,
        "{actual:?} serves instead of {serving:?}"
    );
    ensure!(
        engines.pending.len() == 1,
        "no component waits for approval"
    );
    ensure!(
        directory.audit_count(RefusalKind::Grant) > count_before,
        "the pending approval is not in the audit log"
    );
    directory.require_audit_guard(RefusalKind::Grant, guard)?;
    Ok(engines)
}

pub(super) async fn declares_more(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?);
    for variant in [
        "request",
        "prefix",
        "upstream",
        "host",
        "credential",
        "default",
        "variable",
        "open-key",
    ] {
        directory.write_hostile(variant)?;
        require_pending(&directory, granted.as_deref(), Guard::DeclaredMore)
            .await
            .with_context(|| format!("a component with more: {variant}"))?;
    }
    Ok(())
}

pub(super) async fn new_name(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?);
    directory.write_hostile("renamed")?;
    require_pending(&directory, granted.as_deref(), Guard::RenamedEngine).await?;
    Ok(())
}

pub(super) async fn duplicate_name(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?);
    let impostor = hostile_variant(target, "again")?;
    // One precedes the granted file in alphabetical order, and one follows it.
    for file in ["a.wasm", "z.wasm"] {
        directory.write(file, &impostor)?;
    }
    let engines = directory.open().await?;
    ensure!(
        serving_digest(&engines) == granted,
        "a new file took over the name"
    );
    let rejected = &engines.rejected;
    let is_rejected_by_guard = rejected
        .iter()
        .all(|file| is_expected_guard(file.guard.map(Guard::name), &[Guard::EngineNames]));
    ensure!(
        rejected.len() == 2 && is_rejected_by_guard,
        "the other files are not rejected: {rejected:?}"
    );
    Ok(())
}

pub(super) async fn swapped_before_approval(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?);
    directory.write_hostile("request")?;
    let engines = require_pending(&directory, granted.as_deref(), Guard::DeclaredMore).await?;
    let reviewed = engines.pending.first().context("no component waits")?;
    directory.write_hostile("upstream")?;
    require_pending(&directory, granted.as_deref(), Guard::DeclaredMore).await?;
    let releases = directory.releases().await?;
    let approved = releases
        .approve("hostile", Some(&reviewed.digest), "ada")
        .await;
    let Err(ReleaseError::Refused { refusal, .. }) = approved else {
        bail!("the approval covers other bytes than those reviewed: {approved:?}");
    };
    ensure!(
        is_expected_guard(Some(refusal.guard_name()), &[Guard::ShownDigest]),
        "the approval failed for another reason: {refusal}"
    );
    ensure!(
        serving_digest(&directory.open().await?) == granted,
        "another component serves"
    );
    Ok(())
}
