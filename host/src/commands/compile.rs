//! `pinhole compile`: compiles a component in a child process of the server.

use clap::Args;
use pinhole_sandbox::{CompileLimits, compile_input};

#[derive(Args)]
pub(crate) struct Compile {
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    cpu_secs: u64,
    /// Start with the priority of the server
    #[arg(long)]
    urgent: bool,
}

/// Compiles the component on standard input. Returns the exit code.
pub(crate) fn run(arguments: &Compile) -> u8 {
    compile_input(CompileLimits {
        memory_bytes: arguments.memory_bytes,
        cpu_secs: arguments.cpu_secs,
        is_urgent: arguments.urgent,
    })
}
