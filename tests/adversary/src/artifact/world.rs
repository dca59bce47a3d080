//! Components of another world.

use anyhow::Result;
use pinhole_ground::guard::Guard;

use super::directory::{BadComponent, hostile_variant, patched, require_all_rejected};
use super::encoding::{COMPONENT, number, section, with_length};
use crate::target::AttackTarget;

/// An import of the hostile engine.
const LOG: &str = "pinhole:engine/log@0.2.0";

pub(super) async fn long_name(target: &AttackTarget) -> Result<()> {
    let name = format!("a{}", "b".repeat(90_000));
    let component = BadComponent {
        label: "a long name",
        bytes: importing(&[name]),
        reason: "which engines must not import",
        guard: Some(Guard::World),
    };
    require_all_rejected(target, &[component]).await
}

pub(super) async fn many_imports(target: &AttackTarget) -> Result<()> {
    let names: Vec<_> = (0..200_000).map(|number| format!("a{number}")).collect();
    let component = BadComponent {
        label: "many imports",
        bytes: importing(&names),
        reason: "",
        guard: None,
    };
    require_all_rejected(target, &[component]).await
}

/// A component that imports functions with these names.
fn importing(names: &[String]) -> Vec<u8> {
    // One type: a function without parameters and results.
    let types = [1, 0x40, 0, 1, 0];
    let mut imports = number(names.len());
    for name in names {
        imports.push(0);
        imports.extend(with_length(name.as_bytes()));
        imports.extend([1, 0]);
    }
    [COMPONENT, &section(7, &types), &section(10, &imports)].concat()
}

pub(super) async fn foreign_import(target: &AttackTarget) -> Result<()> {
    let hostile = hostile_variant(target, "plain")?;
    let imports = [
        (
            "evil:tools/shell-x@0.1.0",
            "imports evil:tools/shell-x@0.1.0, which engines must not import",
        ),
        (
            "wasi:http/outgoing@0.2.0",
            "imports wasi:http/outgoing@0.2.0, which engines must not import: send requests with",
        ),
        (
            "wasi:io/streamings@0.3.0",
            "imports wasi:io/streamings@0.3.0, which engines must not import",
        ),
    ];
    let mut components = Vec::new();
    for (import, reason) in imports {
        components.push(BadComponent {
            label: import,
            bytes: patched(&hostile, LOG, import)?,
            reason,
            guard: Some(Guard::World),
        });
    }
    require_all_rejected(target, &components).await
}

pub(super) async fn other_release(target: &AttackTarget) -> Result<()> {
    let component = BadComponent {
        label: "another release",
        bytes: patched(&hostile_variant(target, "plain")?, "@0.2.0", "@0.9.0")?,
        reason: "@0.9.0, but this host supports pinhole:engine@0.2.0",
        guard: Some(Guard::World),
    };
    require_all_rejected(target, &[component]).await
}

pub(super) async fn other_function(target: &AttackTarget) -> Result<()> {
    let hostile = hostile_variant(target, "plain")?;
    let reason = "was built against another revision of pinhole:engine@0.2.0";
    let components = [
        BadComponent {
            label: "an unknown function",
            bytes: patched(&hostile, "random", "rendom")?,
            reason,
            guard: None,
        },
        BadComponent {
            label: "a missing export",
            bytes: patched(&hostile, "verify", "verity")?,
            reason,
            guard: None,
        },
    ];
    require_all_rejected(target, &components).await
}
