//! Engines that flood the log and the audit log.

use anyhow::{Context, Result, ensure};
use pinhole_ground::audit::RefusalKind;
use serde_json::Value;

use super::require_failure;
use crate::target::AttackTarget;

/// Refusals that the job causes.
const REFUSALS: usize = 500;
/// Entries that the job may get in the audit log, with the summaries of further refusals.
const MAX_ENTRIES: usize = 20;

pub(super) async fn long_line(target: &AttackTarget) -> Result<()> {
    let count_before = target.audit_summary(RefusalKind::Limit).await?.count;
    require_failure(target, "line 100000", "written").await?;
    // A truncated line is within the limit of an engine's log, and a whole one is not.
    let count = target.audit_summary(RefusalKind::Limit).await?.count;
    ensure!(
        count == count_before,
        "the whole line counts toward the limit"
    );
    Ok(())
}

pub(super) async fn repeated_refusals(target: &AttackTarget) -> Result<()> {
    let response = target.generate(&format!("refusals {REFUSALS}")).await?;
    ensure!(
        response
            .error_message()
            .contains(&format!("refused {REFUSALS}")),
        "not all requests were refused: {}",
        response.text()
    );
    let log = target.audit_summary(RefusalKind::Grant).await?;
    let text = |entry: &Value, field: &str| {
        let text = entry.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let first = log
        .entries
        .iter()
        .find(|entry| text(entry, "message").contains("/elsewhere/0"));
    let job = text(first.context("the first refusal is not logged")?, "job");
    let entries: Vec<_> = log
        .entries
        .iter()
        .filter(|entry| text(entry, "job") == job)
        .collect();
    ensure!(
        entries.len() <= MAX_ENTRIES,
        "one job has {} entries in the audit log",
        entries.len()
    );
    ensure!(
        entries
            .into_iter()
            .any(|entry| text(entry, "message").starts_with("and ")),
        "the audit log does not count the other refusals"
    );
    Ok(())
}
