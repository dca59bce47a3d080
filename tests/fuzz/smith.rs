//! Components that are generated from bytes.

use std::borrow::Cow;

use arbitrary::Unstructured;
use wasm_smith::{Component, Config};

/// The bytes themselves if they start like WebAssembly, otherwise a component that is generated from
/// them. `None` if there are too few.
pub(crate) fn component(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if bytes.starts_with(b"\0asm") {
        return Some(Cow::Borrowed(bytes));
    }
    let component = Component::new(config(), &mut Unstructured::new(bytes)).ok()?;
    Some(Cow::Owned(component.to_bytes()))
}

/// The features of the host's compiler, with more memories and tables than it allows.
fn config() -> Config {
    Config {
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        max_memories: 5,
        max_tables: 20,
        memory64_enabled: true,
        relaxed_simd_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}
