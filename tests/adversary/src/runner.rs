//! Runs cases one after another, and checks after each what must always hold.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use pinhole::config::Config;
use tokio::time::timeout;

use crate::case::{AttackCase, CaseReport, ExpectedEntry, Verdict};
use crate::target::{AttackTarget, AuditSummary, is_expected_guard};
use crate::{Options, cases};

/// How long a case may take. An attack that still runs then has succeeded.
const CASE_TIMEOUT: Duration = Duration::from_secs(300);

/// Runs the selected cases and reports each. Fails if no case is selected or the server cannot be attacked.
pub async fn run(
    config: &Config,
    options: &Options,
    mut report: impl FnMut(CaseReport),
) -> Result<()> {
    let is_selected = |case: &&AttackCase| {
        let mut prefixes = options.cases.iter();
        options.cases.is_empty() || prefixes.any(|prefix| case.name.starts_with(prefix.as_str()))
    };
    let selected: Vec<_> = cases().filter(is_selected).collect();
    ensure!(
        !selected.is_empty(),
        "no case starts with {}: list the cases with `pinhole-adversary --list`",
        options.cases.join(" or ")
    );
    let target = match &options.against {
        None => AttackTarget::start_server(config, options).await?,
        Some(server) => AttackTarget::for_installed(config, options, server).await?,
    };
    for case in selected {
        let verdict = match target.skip_reason(case) {
            Some(reason) => Verdict::Skipped(reason),
            None => match run_case(&target, case).await {
                Ok(()) => Verdict::Blocked,
                Err(error) => Verdict::Failed(format!("{error:#}")),
            },
        };
        report(CaseReport { case, verdict });
    }
    target.close().await
}

async fn run_case(target: &AttackTarget, case: &AttackCase) -> Result<()> {
    target.reset_upstreams();
    let audit_before = match case.audit_entry {
        Some(expected) => Some((expected, target.audit_summary(expected.kind).await?)),
        None => None,
    };
    let ended = timeout(CASE_TIMEOUT, (case.run)(target)).await;
    let restored = target.restore_settings().await;
    ended.map_err(|_| {
        anyhow!(
            "the case ran for more than {} seconds",
            CASE_TIMEOUT.as_secs()
        )
    })??;
    restored?;
    let requests = target.trap.requests();
    ensure!(
        requests.is_empty() && target.trap.connection_count() == 0,
        "a connection reached the trap: {requests:?}"
    );
    target
        .check_other_engine()
        .await
        .context("after the case, another engine generates no image")?;
    if let Some((expected, before)) = audit_before {
        check_audit_log(target, expected, &before).await?;
    }
    Ok(())
}

/// Fails unless the audit log has the new entry that a case expects.
async fn check_audit_log(
    target: &AttackTarget,
    expected: ExpectedEntry,
    before: &AuditSummary,
) -> Result<()> {
    let kind = expected.kind.name();
    let after = target.audit_summary(expected.kind).await?;
    ensure!(
        after.count > before.count,
        "the audit log has no new refusal of kind {kind}"
    );
    let guards = after.guards_since(before);
    let is_named = |guard: &&str| is_expected_guard(Some(guard), expected.guards);
    ensure!(
        expected.guards.is_empty() || guards.iter().any(is_named),
        "the new refusals of kind {kind} in the audit log are by the guards {guards:?}, and none of {:?}",
        expected.guards
    );
    Ok(())
}
