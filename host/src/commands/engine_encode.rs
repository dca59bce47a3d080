//! `pinhole engine encode`: makes a component from a core module, for compilers that write core modules only.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use pinhole_ground::text::plain;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{FAILED, WRONG_USE};

/// The contract that the module implements.
const CONTRACT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/engine.wit"));
const WORLD: &str = "image-engine";
const WORLD_WITH_EXPLAIN: &str = "image-engine-with-explain";
/// In the names of the exports of a module that implements `explain`.
const EXPLAIN: &[u8] = b"pinhole:engine/explain@";
/// The section in which binding generators describe the world. A module that has it needs no other.
const METADATA: &[u8] = b"component-type";
/// The imports of a C library, which the adapter translates to WASI 0.2.
const PREVIEW_1: &str = "wasi_snapshot_preview1";
/// Length in bytes of the reason that is printed.
const MAX_REASON_BYTES: usize = 300;

#[derive(Args)]
pub(crate) struct EngineEncode {
    /// Core module (WebAssembly) that implements the contract
    module: PathBuf,
    /// Component file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Writes the component. Returns the exit code.
pub(crate) fn encode(arguments: &EngineEncode) -> Result<u8> {
    let EngineEncode { module, out } = arguments;
    let bytes = match read(module) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("pinhole: cannot read {}: {error}", module.display());
            return Ok(WRONG_USE);
        }
    };
    let component = match encode_module(bytes) {
        Ok(component) => component,
        Err(error) => {
            let reason = plain(&format!("{error:#}"), MAX_REASON_BYTES);
            eprintln!(
                "pinhole: cannot encode {} as an engine: {reason}; build it against pinhole-sdk/wit",
                module.display()
            );
            return Ok(FAILED);
        }
    };
    write(out, &component).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}: {} KB", out.display(), component.len().div_ceil(1000));
    Ok(0)
}

fn encode_module(mut module: Vec<u8>) -> Result<Vec<u8>> {
    if module.get(..8) != Some(b"\0asm\x01\0\0\0") {
        return Err(anyhow!("it is not a core module of WebAssembly"));
    }
    let contains = |text: &[u8]| memchr::memmem::find(&module, text).is_some();
    if !contains(METADATA) {
        let world_name = if contains(EXPLAIN) {
            WORLD_WITH_EXPLAIN
        } else {
            WORLD
        };
        let mut resolve = Resolve::default();
        let package = resolve.push_str("engine.wit", CONTRACT)?;
        let world = resolve.select_world(&[package], Some(world_name))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(
            PREVIEW_1,
            wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?
        .encode()
}

#[expect(
    clippy::disallowed_methods,
    reason = "an author names the file that a compiler wrote"
)]
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "an author names the file to write"
)]
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, bytes)
}
