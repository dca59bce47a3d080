//! Components of another world, and what they say of themselves.

use anyhow::Result;

use super::{described, patched, refused};
use crate::arena::Arena;

/// What every component begins with.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const LOG: &str = "pinhole:engine/log@0.1.0";

pub(super) async fn long_name(arena: &Arena) -> Result<()> {
    let name = format!("a{}", "b".repeat(90_000));
    let long = importing(&[name]);
    refused(arena, &[("a long name", long, "which engines must not import")]).await
}

pub(super) async fn many_imports(arena: &Arena) -> Result<()> {
    let names: Vec<_> = (0..200_000).map(|number| format!("a{number}")).collect();
    let many = importing(&names);
    refused(arena, &[("many imports", many, "")]).await
}

/// A component that imports functions of these names.
fn importing(names: &[String]) -> Vec<u8> {
    // One type: a function that takes and gives nothing.
    let types = [1, 0x40, 0, 1, 0];
    let mut imports = number(names.len());
    for name in names {
        imports.push(0);
        imports.extend(number(name.len()));
        imports.extend_from_slice(name.as_bytes());
        imports.extend([1, 0]);
    }
    let mut bytes = COMPONENT.to_vec();
    for (section, content) in [(7, types.as_slice()), (10, &imports)] {
        bytes.push(section);
        bytes.extend(number(content.len()));
        bytes.extend_from_slice(content);
    }
    bytes
}

/// As WebAssembly writes numbers: seven bits a byte, the lowest first.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(super) async fn foreign_import(arena: &Arena) -> Result<()> {
    let hostile = described(arena, "plain")?;
    let mut files = Vec::new();
    for (other, gist) in [
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
    ] {
        files.push((other, patched(&hostile, LOG, other)?, gist));
    }
    refused(arena, &files).await
}

pub(super) async fn other_release(arena: &Arena) -> Result<()> {
    let other = patched(&described(arena, "plain")?, "@0.1.0", "@0.9.0")?;
    let gist = "@0.9.0, but this host supports pinhole:engine@0.1.0";
    refused(arena, &[("another release", other, gist)]).await
}

pub(super) async fn other_function(arena: &Arena) -> Result<()> {
    let hostile = described(arena, "plain")?;
    let files = [
        (
            "a function that nobody has",
            patched(&hostile, "random", "rendom")?,
            "differs from pinhole:engine@0.1.0 of this host",
        ),
        (
            "an export that is missing",
            patched(&hostile, "verify", "verity")?,
            "differs from pinhole:engine@0.1.0 of this host",
        ),
    ];
    refused(arena, &files).await
}

pub(super) async fn without_description(arena: &Arena) -> Result<()> {
    let mut files = Vec::new();
    for word in ["trap", "spin", "many"] {
        files.push((
            word,
            described(arena, word)?,
            "cannot describe itself: the engine",
        ));
    }
    // Of ten megabytes it is told here or there that they are too much.
    files.push(("long", described(arena, "long")?, "describe"));
    refused(arena, &files).await
}

pub(super) async fn wrong_description(arena: &Arena) -> Result<()> {
    let files = [
        (
            "a name in capitals",
            described(arena, "upper")?,
            "has an invalid description: its name is \"HOSTILE\"",
        ),
        (
            "a title in colour",
            described(arena, "titled")?,
            "has an invalid description: its title has unprintable characters",
        ),
    ];
    refused(arena, &files).await
}

pub(super) async fn foreign_variable(arena: &Arena) -> Result<()> {
    let component = described(arena, "foreign")?;
    let gist = "variable \"PATH\" does not contain the engine's name HOSTILE";
    refused(arena, &[("the variable PATH", component, gist)]).await
}

pub(super) async fn secret_variable(arena: &Arena) -> Result<()> {
    let component = described(arena, "unhidden")?;
    let gist = "variable HOSTILE_OTHER_TOKEN holds a secret";
    refused(arena, &[("a token", component, gist)]).await
}
