//! An engine that uses the network functions of WASI.

use anyhow::{Context, Result, ensure};
use pinhole_ground::audit::AuditLog;
use serde_json::Value;

use crate::target::AttackTarget;
use crate::wasi_guest;

/// The engine returns the result of each attempt in the details of its image.
pub(super) async fn sockets(target: &AttackTarget) -> Result<()> {
    let prompts = ["look around".to_owned()];
    let details = wasi_guest::generate(target, &AuditLog::default(), &prompts).await?;
    let results: Value = serde_json::from_str(details.first().context("the job has no image")?)?;
    for attempt in ["connect", "listen", "lookup"] {
        let error = results.pointer(&format!("/{attempt}/error"));
        ensure!(
            error.is_some_and(Value::is_string),
            "{attempt} is not refused: {results}"
        );
    }
    Ok(())
}
