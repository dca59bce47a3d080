//! The code of a component: from the store, or compiled and stored.

use std::sync::Arc;
use std::time::Duration;

use pinhole_ground::guard::Refusal;
use pinhole_ground::metrics;
use pinhole_ground::waiting::Reports;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinError;
use tokio::time::Instant;
use wasmtime::component::Component as Code;

use crate::compile::invalid_component;
use crate::host_task::describe_crash;
use crate::sandbox::Sandbox;

/// The target of log lines that show a person why a command takes long.
pub const PROGRESS_TARGET: &str = "pinhole::progress";
/// Log lines of a long compilation.
const REPORTS: Reports = Reports {
    first: Duration::from_secs(1),
    interval: Duration::from_secs(5),
};

/// Loads a component's code from the store; `None` if it is not there.
pub(crate) async fn load(sandbox: &Arc<Sandbox>, digest: &str) -> Result<Option<Code>, Refusal> {
    let (sandbox, digest) = (sandbox.clone(), digest.to_owned());
    tokio::task::spawn_blocking(move || sandbox.compiled.load(&sandbox.engine, &digest))
        .await
        .map_err(|error| task_failure(&error))
}

/// Compiles a component and stores its code. Dropping the future ends the compiler.
///
/// The refusal's reason is for the operator and follows the file's name.
pub(crate) async fn compile(
    sandbox: &Arc<Sandbox>,
    file: &str,
    digest: &str,
    bytes: Vec<u8>,
) -> Result<Code, Refusal> {
    // Of a semaphore that is never closed.
    let permit = sandbox.compiles.clone().acquire_owned().await.ok();
    let size_bytes = bytes.len();
    let compiled = compile_and_store(sandbox.clone(), digest.to_owned(), bytes, permit);
    let max_secs = sandbox.compiler.time.as_secs();
    let report = |elapsed| {
        let line = describe_progress(file, size_bytes, max_secs, elapsed);
        tracing::info!(target: PROGRESS_TARGET, "{line}");
    };
    REPORTS.until_done(compiled, report).await
}

/// The log line of a compilation after this time.
fn describe_progress(file: &str, size_bytes: usize, max_secs: u64, elapsed: Duration) -> String {
    if elapsed <= REPORTS.first {
        let megabytes = size_bytes as f64 / 1e6;
        return format!(
            "compiling {file} ({megabytes:.1} MB), once for each version (at most {max_secs} s of CPU time)"
        );
    }
    let secs = elapsed.as_secs();
    format!("compiling {file}: {secs} s so far; the other engines serve meanwhile")
}

async fn compile_and_store(
    sandbox: Arc<Sandbox>,
    digest: String,
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Code, Refusal> {
    let runtime = tokio::runtime::Handle::current();
    // Held by this future alone: the thread notices that it was dropped.
    let (_caller, caller_dropped) = oneshot::channel::<()>();
    // The child's parent-death signal is bound to the thread that starts it, so that thread waits for it.
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let is_idle = || sandbox.queue.load().used == 0;
        let compiled = runtime.block_on(async {
            tokio::select! {
                compiled = sandbox.compiler.compile(&bytes, is_idle) => compiled,
                _ = caller_dropped => Err("was not compiled: the server stopped".into()),
            }
        });
        // Another component is compiled while this one's code is written.
        drop(permit);
        metrics::count_compile(start.elapsed(), compiled.is_ok());
        sandbox
            .compiled
            .save(&sandbox.engine, &digest, &compiled?)
            .map_err(|error| invalid_component(&error.root_cause().to_string()).into())
    })
    .await
    .map_err(|error| task_failure(&error))?
}

fn task_failure(error: &JoinError) -> Refusal {
    format!("cannot be compiled: {}", describe_crash(error)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_size_first_and_the_time_later() {
        let line = |secs| describe_progress("fox.wasm", 18_900_000, 60, Duration::from_secs(secs));
        assert_eq!(
            line(1),
            "compiling fox.wasm (18.9 MB), once for each version (at most 60 s of CPU time)"
        );
        assert_eq!(
            line(10),
            "compiling fox.wasm: 10 s so far; the other engines serve meanwhile"
        );
    }
}
