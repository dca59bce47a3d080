//! The child's side of a compilation: `pinhole compile`.

use std::fmt::Display;
use std::io::{Read, Write};

use wasmtime::Engine;

use super::{CompileLimits, confinement};
use crate::component_files::MAX_COMPONENT_BYTES;
use crate::wasmtime_engine::compile_config;

/// The exit code of a child that rejects its component. Standard error has the reason.
pub(super) const REJECTED: u8 = 1;

/// Applies the limits to this process, reads a component from standard input and writes its code to
/// standard output.
///
/// Returns the exit code. If it is not 0, standard error has the reason in one line.
#[must_use]
pub fn compile_input(limits: CompileLimits) -> u8 {
    match compile(limits) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("{reason}");
            REJECTED
        }
    }
}

fn compile(limits: CompileLimits) -> Result<(), String> {
    let host_failure = |error: &dyn Display| format!("the compiler failed: {error}");
    confinement::apply_limits(limits).map_err(|error| host_failure(&error))?;
    // No guest runs here, so the allocation strategy does not matter.
    let engine = Engine::new(&compile_config()).map_err(|error| host_failure(&error))?;
    let mut component = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_COMPONENT_BYTES.saturating_add(1))
        .read_to_end(&mut component)
        .map_err(|error| host_failure(&error))?;
    // The component is not parsed before this line.
    confinement::filter_system_calls().map_err(|error| host_failure(&error))?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| error.root_cause().to_string())?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(&code)
        .and_then(|()| output.flush())
        .map_err(|error| host_failure(&error))
}

/// Compiles a component for every processor of this architecture, in this process and without limits: for a program
/// that runs in a simulated processor, which lacks instructions of this one.
pub fn compile_portably(component: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = compile_config();
    config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    Engine::new(&config)?.precompile_component(component)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasmtime_engine::new_engine;

    #[test]
    fn child_compiles_for_the_engine_of_the_server() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let child = Engine::new(&compile_config()).unwrap();
        assert_eq!(hash(&child), hash(&new_engine(4).unwrap()));
    }
}
