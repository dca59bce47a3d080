//! Compilation: from a component's bytes to code that can run.
//!
//! A component decides how much time and memory its compilation takes, and may exploit a bug of the
//! compiler. So the server never compiles by itself. It takes the code from the [store](crate::compiled_store)
//! or starts a child process with limits and a system call filter: the same program, as `pinhole compile`,
//! which reads the component from standard input and writes the code to standard output.

mod child;
mod compiler;
mod confinement;

use std::sync::Arc;

use pinhole_ground::guard::Refusal;
use pinhole_ground::metrics;
use pinhole_ground::text::plain;
use tokio::task::JoinError;
use tokio::time::Instant;
use wasmtime::component::Component as Code;

use crate::sandbox::Sandbox;

pub use child::compile_input;
pub use compiler::Compiler;

/// Compilations that run at the same time.
pub(crate) const MAX_COMPILES: usize = 2;
/// Length in bytes of the code that one component may compile to.
pub const MAX_CODE_BYTES: usize = 256 << 20;
/// Length of a reason for the operator in bytes.
const MAX_REASON_BYTES: usize = 300;

/// The limits of a compiler process. It applies them before it reads anything.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Address space.
    pub memory_bytes: u64,
    /// CPU time of all its threads together.
    pub cpu_secs: u64,
}

/// Loads a component's code from the store, or compiles and stores it.
///
/// The refusal's reason is for the operator and follows the file's name.
pub(crate) async fn compile(
    sandbox: &Arc<Sandbox>,
    digest: &str,
    bytes: Vec<u8>,
) -> Result<Code, Refusal> {
    if let Some(code) = load_stored(sandbox.clone(), digest.to_owned()).await? {
        return Ok(code);
    }
    let _permit = sandbox.compiles.acquire().await;
    compile_and_store(sandbox.clone(), digest.to_owned(), bytes).await
}

async fn load_stored(sandbox: Arc<Sandbox>, digest: String) -> Result<Option<Code>, Refusal> {
    tokio::task::spawn_blocking(move || sandbox.compiled.load(&sandbox.engine, &digest))
        .await
        .map_err(|error| task_failure(&error))
}

async fn compile_and_store(
    sandbox: Arc<Sandbox>,
    digest: String,
    bytes: Vec<u8>,
) -> Result<Code, Refusal> {
    let runtime = tokio::runtime::Handle::current();
    // The child's parent-death signal is bound to the thread that starts it, so that thread waits for it.
    tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let compiled = runtime.block_on(sandbox.compiler.compile(&bytes));
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
    let failure = if error.is_panic() {
        "the host failed; see its log"
    } else {
        "the host canceled the compilation"
    };
    format!("cannot be compiled: {failure}").into()
}

/// The reason for a file that the compiler does not accept.
fn invalid_component(detail: &str) -> String {
    let detail = plain(detail.trim(), MAX_REASON_BYTES);
    format!("is not a valid component: {detail}")
}
