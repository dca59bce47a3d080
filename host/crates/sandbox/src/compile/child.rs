//! The child's side: what `pinhole compile` does.

use std::io::{Read, Write};

use wasmtime::Engine;

use super::{CompileLimits, confine};
use crate::{MAX_COMPONENT_BYTES, configuration};

/// The exit code of a child that has refused its component; what it said is why.
pub(super) const REFUSED: u8 = 1;

/// Takes these limits on, reads a component from standard input, and writes what it is compiled to
/// to standard output.
///
/// The exit code. Where it is not 0, standard error has the reason in one line.
#[must_use]
pub fn compile_input(limits: CompileLimits) -> u8 {
    match compile(limits) {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("{reason}");
            REFUSED
        }
    }
}

fn compile(limits: CompileLimits) -> Result<(), String> {
    let ours = |error: &dyn std::fmt::Display| format!("the compiler cannot work: {error}");
    confine::take_on(limits).map_err(|error| ours(&error))?;
    // Its memory is never a guest's, so how memory is allotted does not matter here.
    let engine = Engine::new(&configuration()).map_err(|error| ours(&error))?;
    let mut component = Vec::new();
    let input = std::io::stdin().lock();
    let mut input = input.take(MAX_COMPONENT_BYTES.saturating_add(1));
    input
        .read_to_end(&mut component)
        .map_err(|error| ours(&error))?;
    // Nothing hostile was looked at so far.
    confine::leave_the_system_alone().map_err(|error| ours(&error))?;
    let code = engine
        .precompile_component(&component)
        .map_err(|error| error.root_cause().to_string())?;
    let mut output = std::io::stdout().lock();
    output
        .write_all(&code)
        .and_then(|()| output.flush())
        .map_err(|error| ours(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_compiles_for_the_server_s_engine() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let child = Engine::new(&configuration()).unwrap();
        assert_eq!(hash(&child), hash(&crate::engine(4).unwrap()));
    }
}
