//! Engines that flood the log and the audit log.

use anyhow::{Result, ensure};
use pinhole_ground::audit::{AuditLog, RefusalKind};
use pinhole_ground::guard::Guard;
use serde_json::{Value, json};

use super::require_failure;
use crate::secret::{add_user, remove_user};
use crate::target::{AttackTarget, ClientRequest, IMAGES_PATH};
use crate::wasi_guest;

/// Refusals that the user's job causes.
const REFUSALS: usize = 500;
/// Entries that the user may get in the audit log.
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

/// Lines of one KiB that one job may log, and far more.
const ALLOWED_LINES: usize = 55;
const FLOOD_LINES: usize = 5000;
/// Jobs that together log more than an engine may in a minute.
const JOBS: usize = 24;

pub(super) async fn flooded_streams(target: &AttackTarget) -> Result<()> {
    let audit = AuditLog::default();
    let prompts = ["print", "complain"].map(|stream| format!("{stream} {FLOOD_LINES}"));
    wasi_guest::generate(target, &audit, &prompts).await?;
    require_refusals(&audit, Guard::LogBytes, prompts.len())
}

pub(super) async fn many_jobs(target: &AttackTarget) -> Result<()> {
    let audit = AuditLog::default();
    let prompts = vec![format!("print {ALLOWED_LINES}"); JOBS];
    wasi_guest::generate(target, &audit, &prompts).await?;
    require_refusals(&audit, Guard::LogRate, 1)
}

fn require_refusals(audit: &AuditLog, guard: Guard, min: usize) -> Result<()> {
    let counts = audit.guard_counts(Some(RefusalKind::Limit));
    let refused: u64 = counts
        .filter(|(it, _)| *it == guard)
        .map(|(_, count)| count)
        .sum();
    ensure!(
        refused >= min as u64,
        "only {refused} jobs reached the limit of the log"
    );
    Ok(())
}

pub(super) async fn repeated_refusals(target: &AttackTarget) -> Result<()> {
    let dropped_before = target.audit_summary(RefusalKind::Grant).await?.dropped;
    let user = add_user(target).await?;
    let body = json!({"prompt": format!("refusals {REFUSALS}"), "engine": "hostile"});
    let request = ClientRequest::json(IMAGES_PATH, &body);
    let as_user = target.client.with_key(&user.key)?;
    let response = target.client.send_as(&as_user, request).await?;
    ensure!(
        response
            .error_message()
            .contains(&format!("refused {REFUSALS}")),
        "not all requests were refused: {}",
        response.text()
    );
    let log = target.audit_summary(RefusalKind::Grant).await?;
    let of_user = |entry: &&Value| entry.get("user").and_then(Value::as_str) == Some(&*user.id);
    let entries = log.entries.iter().filter(of_user).count();
    ensure!(
        (1..=MAX_ENTRIES).contains(&entries),
        "the user has {entries} entries in the audit log"
    );
    let dropped = log.dropped - dropped_before;
    ensure!(
        dropped as usize + entries >= REFUSALS,
        "the audit log counts only {dropped} other refusals"
    );
    remove_user(target, &user).await
}
