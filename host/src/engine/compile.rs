//! Bytes to code that can run.

use std::sync::Arc;

use wasmtime::component::Component as Code;

use super::Sandbox;

/// Compiled before, or compiled now, on a thread that may block.
pub(super) async fn compile(
    sandbox: &Arc<Sandbox>,
    digest: &str,
    bytes: Vec<u8>,
) -> Result<Code, String> {
    let (sandbox, digest) = (sandbox.clone(), digest.to_owned());
    let compiled = tokio::task::spawn_blocking(move || {
        if let Some(code) = sandbox.compiled.load(&sandbox.engine, &digest) {
            return Ok(code);
        }
        let code = Code::from_binary(&sandbox.engine, &bytes)?;
        sandbox.compiled.save(&sandbox.engine, &digest, &code);
        wasmtime::Result::Ok(code)
    });
    compiled
        .await
        .map_err(|crash| format!("the compiler failed: {crash}"))?
        .map_err(|error: wasmtime::Error| {
            format!("is not a valid component: {}", error.root_cause())
        })
}
