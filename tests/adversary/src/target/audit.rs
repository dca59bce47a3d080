//! The server's audit log.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, HAS_SWITCHES};
use serde_json::{Map, Value};

use super::AttackTarget;

/// Entries that a query returns.
const MAX_ENTRIES: u32 = 1000;

/// The refusals of one kind.
pub(crate) struct AuditSummary {
    /// The number of refusals since the server was started.
    pub(crate) count: u64,
    /// How many of them have no entry of their own.
    pub(crate) dropped: u64,
    /// The number of them by guard.
    guards: Map<String, Value>,
    /// The logged ones, newest first.
    pub(crate) entries: Vec<Value>,
}

impl AuditSummary {
    /// The guards that have refused since an earlier summary.
    pub(crate) fn guards_since(&self, earlier: &Self) -> Vec<&str> {
        self.guards
            .iter()
            .filter(|(guard, count)| earlier.guards.get(*guard) != Some(*count))
            .map(|(guard, _)| guard.as_str())
            .collect()
    }
}

impl AttackTarget {
    /// The refusals of a kind.
    pub(crate) async fn audit_summary(&self, kind: RefusalKind) -> Result<AuditSummary> {
        let path = format!("/api/v1/audit?limit={MAX_ENTRIES}&kind={}", kind.name());
        let response = self.client.get(&path).await?;
        ensure!(
            response.status == StatusCode::OK,
            "cannot read the audit log: {response:?}"
        );
        let log = response.json()?;
        let number = |name: &str| {
            let number = log.get(name).and_then(Value::as_u64);
            number.with_context(|| format!("the audit log has no number {name}"))
        };
        let guards = log.get("guards").and_then(Value::as_object);
        let entries = log.get("lines").and_then(Value::as_array);
        Ok(AuditSummary {
            count: number("counted")?,
            dropped: number("dropped")?,
            guards: guards.context("the audit log names no guards")?.clone(),
            entries: entries.context("the audit log has no entries")?.clone(),
        })
    }
}

/// Is this the guard that must have refused?
///
/// Always true in a build for `tests/switch-off`. There a guard is disabled, and a case must detect that
/// the attack succeeds, not that another guard refuses it.
pub(crate) fn is_expected_guard(named: Option<&str>, expected: &[Guard]) -> bool {
    HAS_SWITCHES || expected.iter().any(|guard| named == Some(guard.name()))
}
