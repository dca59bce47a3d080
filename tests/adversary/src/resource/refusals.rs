//! Refusals without end.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::arena::Arena;

/// Refusals of the job.
const REFUSALS: usize = 500;
/// Lines that it may get, with those that tell how many more there were.
const MAX_LINES: usize = 20;

pub(super) async fn flood(arena: &Arena) -> Result<()> {
    let answer = arena.draw(&format!("refusals {REFUSALS}")).await?;
    ensure!(
        answer.message().contains(&format!("refused {REFUSALS}")),
        "not all were refused: {}",
        answer.text()
    );
    let told = arena.get("/api/v1/audit?limit=1000&kind=grant").await?;
    let told = told.json()?;
    let lines = told.get("lines").and_then(Value::as_array);
    let lines = lines.context("the audit log has no lines")?;
    let text = |line: &Value, field: &str| {
        let text = line.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let is_ours = |line: &&Value| text(line, "message").contains("/elsewhere/0");
    let first = lines.iter().find(is_ours);
    let job = text(first.context("the first refusal is not told")?, "job");
    let own: Vec<_> = lines
        .iter()
        .filter(|line| text(line, "job") == job)
        .collect();
    ensure!(
        own.len() <= MAX_LINES,
        "one job has {} lines of the audit log",
        own.len()
    );
    let counted = |line: &&Value| text(line, "message").starts_with("and ");
    ensure!(
        own.into_iter().any(|line| counted(&line)),
        "how many more there were is not told"
    );
    Ok(())
}
