//! The world of a component: the names that it imports and exports.

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;
use wasmtime::Engine;
use wasmtime::component::Component as Code;
use wasmtime::component::types::ComponentItem;

use crate::contract::{PACKAGE, VERSION};

/// The interfaces of the package that a component may import.
const IMPORTS: &[&str] = &["types", "images", "upstream", "job", "log"];
/// WASI packages that a component may import. They give access to nothing.
const WASI_PACKAGES: &[&str] = &["cli", "clocks", "filesystem", "io", "random", "sockets"];
const REBUILD: &str = "rebuild it with pinhole-sdk 0.2, or against wit/engine.wit of this release";

/// Checks imports and exports by name. Returns the names of the imports.
pub fn check_world(engine: &Engine, code: &Code) -> Result<Vec<String>, Refusal> {
    let component = code.component_type();
    let mut imports = Vec::new();
    for (name, _) in component.imports(engine) {
        let is_allowed = is_contract_import(name) || is_wasi_import(name);
        Guard::World.refuse_if(!is_allowed, || foreign_import(name))?;
        imports.push(name.to_owned());
    }
    let mut exports = Vec::new();
    for (name, item) in component.exports(engine) {
        let is_engine = contract_interface(name) == Some("engine");
        if is_engine && matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            return Ok(imports);
        }
        exports.push(name);
    }
    Err(missing_export(&exports).into())
}

fn is_contract_import(name: &str) -> bool {
    contract_interface(name).is_some_and(|interface| IMPORTS.contains(&interface))
}

/// The interface of the contract that this name means, if the host implements its version: a patch version says
/// nothing, because it changes no type.
fn contract_interface(name: &str) -> Option<&str> {
    let (interface, version) = name
        .strip_prefix(PACKAGE)?
        .strip_prefix('/')?
        .split_once('@')?;
    (minor_version(version)? == minor_version(VERSION)?).then_some(interface)
}

/// `0.2` of `0.2.7`.
fn minor_version(version: &str) -> Option<&str> {
    let (minor, patch) = version.rsplit_once('.')?;
    let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(minor)
}

fn is_wasi_import(name: &str) -> bool {
    let Some((interface, version)) = name
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split_once('@'))
    else {
        return false;
    };
    let package = interface.split('/').next().unwrap_or_default();
    WASI_PACKAGES.contains(&package) && version.starts_with("0.2.")
}

fn foreign_import(name: &str) -> String {
    let name = plain(name, 200);
    match name.split(['/', '@']).next() {
        Some(PACKAGE) => {
            format!("imports {name}, but this host supports {PACKAGE}@{VERSION}: {REBUILD}")
        }
        Some("wasi:http") => format!(
            "imports {name}, which engines must not import: send requests with {PACKAGE}/upstream@{VERSION}"
        ),
        _ => format!(
            "imports {name}, which engines must not import: only {PACKAGE} and WASI 0.2 are available"
        ),
    }
}

fn missing_export(exports: &[&str]) -> String {
    let wanted = format!("{PACKAGE}/engine@{VERSION}");
    let prefix = format!("{PACKAGE}/engine");
    if let Some(other) = exports.iter().find(|name| name.starts_with(&prefix)) {
        return format!("exports {other}, but this host supports {wanted}: {REBUILD}");
    }
    let first = match exports.first() {
        Some(name) => format!(" (it exports {})", plain(name, 100)),
        None => String::new(),
    };
    format!("does not export {wanted}, so it is written for another world{first}")
}

/// Why a component cannot be linked although its names are right: a function or a type differs.
pub(super) fn describe_mismatch(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    tracing::debug!(
        "a component does not match the contract: {}",
        causes.join(": ")
    );
    // The runtime names interfaces and functions in quotes or backquotes, and says nothing else that helps an author.
    let places: Vec<String> = causes
        .iter()
        .flat_map(|cause| cause.split('`').skip(1).step_by(2))
        .map(|name| plain(name, 100))
        .collect();
    let place = match places.as_slice() {
        [] => String::new(),
        names => format!(" (it differs in {})", names.join(", ")),
    };
    format!("was built against another revision of {PACKAGE}@{VERSION}{place}: {REBUILD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_allows_contract_and_wasi_imports_only() {
        assert!(is_wasi_import("wasi:cli/environment@0.2.6"));
        assert!(!is_wasi_import("wasi:cli/environment@0.3.0"));
        assert!(!is_wasi_import("wasi:http/outgoing-handler@0.2.0"));
        assert!(foreign_import("wasi:http/types@0.2.0").contains("send requests with"));
        assert!(foreign_import("pinhole:engine/job@0.9.0").contains("rebuild it"));
    }

    #[test]
    fn patch_versions_of_the_contract_are_the_same() {
        let interface = contract_interface;
        assert_eq!(interface("pinhole:engine/job@0.2.0"), Some("job"));
        assert_eq!(interface("pinhole:engine/job@0.2.17"), Some("job"));
        for other in [
            "pinhole:engine/job@0.1.0",
            "pinhole:engine/job@0.3.0",
            "pinhole:engine/job@1.2.0",
            "pinhole:engine/job@0.2.0-beta",
            "pinhole:engine/job@0.2.",
            "pinhole:engine/job@0.2",
            "pinhole:engines/job@0.2.0",
            "pinhole:engine/job",
        ] {
            assert_eq!(interface(other), None, "{other}");
        }
    }
}
