//! The world of a component: the names that it imports and exports.

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;
use wasmtime::Engine;
use wasmtime::component::Component as Code;
use wasmtime::component::types::ComponentItem;

/// The package and version of the contract that this host implements.
const PACKAGE: &str = "pinhole:engine";
const VERSION: &str = "0.1.0";
/// The interfaces of the package that a component may import.
const IMPORTS: &[&str] = &["types", "images", "upstream", "job", "log"];
/// WASI packages that a component may import. They give access to nothing.
const WASI_PACKAGES: &[&str] = &["cli", "clocks", "filesystem", "io", "random", "sockets"];
const BUILD_AGAINST: &str = "build it against this release's wit/engine.wit";

/// Checks imports and exports by name. Returns the names of the imports.
pub fn check_world(engine: &Engine, code: &Code) -> Result<Vec<String>, Refusal> {
    let component = code.component_type();
    let mut imports = Vec::new();
    for (name, _) in component.imports(engine) {
        let is_allowed = is_contract_import(name) || is_wasi_import(name);
        Guard::World.refuse_if(!is_allowed, || foreign_import(name))?;
        imports.push(name.to_owned());
    }
    let wanted = format!("{PACKAGE}/engine@{VERSION}");
    let mut exports = Vec::new();
    for (name, item) in component.exports(engine) {
        if name == wanted && matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            return Ok(imports);
        }
        exports.push(name);
    }
    Err(missing_export(&wanted, &exports).into())
}

fn is_contract_import(name: &str) -> bool {
    IMPORTS
        .iter()
        .any(|interface| name == format!("{PACKAGE}/{interface}@{VERSION}"))
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
            format!("imports {name}, but this host supports {PACKAGE}@{VERSION}: {BUILD_AGAINST}")
        }
        Some("wasi:http") => format!(
            "imports {name}, which engines must not import: send requests with {PACKAGE}/upstream@{VERSION}"
        ),
        _ => format!(
            "imports {name}, which engines must not import: only {PACKAGE} and WASI 0.2 are available"
        ),
    }
}

fn missing_export(wanted: &str, exports: &[&str]) -> String {
    let prefix = format!("{PACKAGE}/engine");
    if let Some(other) = exports.iter().find(|name| name.starts_with(&prefix)) {
        return format!("exports {other}, but this host supports {wanted}: {BUILD_AGAINST}");
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
    let detail = plain(&causes.join(": "), 300);
    format!("differs from {PACKAGE}@{VERSION} of this host: {BUILD_AGAINST} ({detail})")
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
        assert!(foreign_import("pinhole:engine/job@0.9.0").contains("this release's"));
    }
}
