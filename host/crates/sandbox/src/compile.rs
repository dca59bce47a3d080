//! Compilation: from a component's bytes to code that can run.
//!
//! A component decides how much time and memory its compilation takes, and may exploit a bug of the
//! compiler. So the server never compiles by itself. It takes the code from the [store](crate::compiled_store)
//! or starts a child process with limits and a system call filter: the same program, as `pinhole compile`,
//! which reads the component from standard input and writes the code to standard output.

mod child;
mod compiler;
mod confinement;

use pinhole_ground::text::plain;

pub use child::{compile_input, compile_portably};
pub use compiler::{Compiler, MAX_URGENT};

/// Compilations that run at the same time.
pub const MAX_COMPILES: usize = 2;
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
    /// Requests wait for it, and no call runs: it starts with the server's own priority.
    pub is_urgent: bool,
}

/// The reason for a file that the compiler does not accept.
pub(crate) fn invalid_component(detail: &str) -> String {
    let detail = plain(detail.trim(), MAX_REASON_BYTES);
    format!("is not a valid component: {detail}")
}
