//! Builds guests and encodes them as components.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::targets;
use crate::workspace::Workspace;

/// The engines that ship with Pinhole, and the example. Package and file are named after each.
const ENGINES: [&str; 5] = ["automatic1111", "comfyui", "gemini", "openai", "sketch"];

/// Builds the engines, each to `engines/<name>.wasm` in the target folder.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let packages = ENGINES.map(|name| format!("pinhole-{name}"));
    cargo_build(workspace, "an engine", targets::ENGINES, &packages)?;
    for name in ENGINES {
        let module = artefact(workspace, targets::ENGINES, &format!("pinhole_{name}"));
        let place = workspace.engines().join(name).with_extension("wasm");
        put(workspace, &place, &encode(workspace, &module)?)?;
    }
    Ok(())
}

/// Builds the engines that only tests run, each to `guests/<name>.wasm` in the target folder.
pub(crate) fn build_test_guests(workspace: &Workspace) -> Result<()> {
    let package = |name: &str| [format!("pinhole-{name}-guest")];
    let what = "a test engine";
    cargo_build(workspace, what, targets::ENGINES, &package("hostile"))?;
    let module = artefact(workspace, targets::ENGINES, "pinhole_hostile_guest");
    let hostile = encode(workspace, &module)?;
    put(
        workspace,
        &workspace.guests().join("hostile.wasm"),
        &hostile,
    )?;

    // For this target cargo's own linker makes the component.
    cargo_build(workspace, what, targets::WASI, &package("wasip2"))?;
    let component = artefact(workspace, targets::WASI, "pinhole_wasip2_guest");
    let wasip2 = read(workspace, &component)?;
    put(workspace, &workspace.guests().join("wasip2.wasm"), &wasip2)?;
    assemble(workspace)?;
    complete(workspace)
}

/// Makes an engine of each text in `tests/guests/core`, which says what is wrong with it: `engine.part`
/// makes it a whole module, `engine.wit` a component.
fn complete(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root.join("tests/guests/core");
    let read_text = |path: &Path| {
        let unreadable = || format!("cannot read {}", workspace.shown(path));
        fs::read_to_string(path).with_context(unreadable)
    };
    let rest = read_text(&folder.join("engine.part"))?;
    let mut resolve = Resolve::default();
    resolve.push_path(workspace.root.join("wit"))?;
    let (package, _) = resolve.push_path(folder.join("engine.wit"))?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let mut text = read_text(&path)?;
        // What it does not do itself, it does without doing anything.
        for function in ["start", "describe", "after", "generate", "allocate"] {
            if !text.contains(&format!("(func ${function}")) {
                text.push_str(&format!("(func ${function})\n"));
            }
        }
        let world = match text.contains("pinhole:hostile/things") {
            true => "engine-with-things",
            false => "engine",
        };
        let world = resolve.select_world(&[package], Some(world))?;
        let made = || -> Result<Vec<u8>> {
            let mut module = wat::parse_str(format!("(module\n{text}{rest})"))?;
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
            ComponentEncoder::default()
                .validate(true)
                .module(&module)
                .and_then(|encoder| encoder.encode())
        };
        let cannot = || format!("cannot make a component of {}", workspace.shown(&path));
        let name = path.file_name().unwrap_or_default();
        let place = workspace.guests().join(name).with_extension("wasm");
        put(workspace, &place, &made().with_context(cannot)?)?;
    }
    Ok(())
}

/// Makes a component of each text in `tests/guests/wat`: for what no compiler would write.
fn assemble(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root.join("tests/guests/wat");
    let unreadable = || format!("cannot read {}", workspace.shown(&folder));
    for entry in fs::read_dir(&folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_name().with_context(unreadable)?;
        if path.extension().is_some_and(|extension| extension == "wat") {
            let bytes = wat::parse_file(&path)
                .with_context(|| format!("cannot assemble {}", workspace.shown(&path)))?;
            let place = workspace.guests().join(name).with_extension("wasm");
            put(workspace, &place, &bytes)?;
        }
    }
    Ok(())
}

fn cargo_build(workspace: &Workspace, what: &str, target: &str, packages: &[String]) -> Result<()> {
    let mut arguments = vec!["build", "--profile", "guest", "--target", target];
    for package in packages {
        arguments.extend(["--package", package]);
    }
    workspace.build(what, &arguments)
}

fn artefact(workspace: &Workspace, target: &str, library: &str) -> PathBuf {
    let folder = workspace.target.join(target).join("guest");
    folder.join(library).with_extension("wasm")
}

/// The component that a core module of wit-bindgen's describes.
fn encode(workspace: &Workspace, module: &Path) -> Result<Vec<u8>> {
    let bytes = read(workspace, module)?;
    ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("cannot make a component of {}", workspace.shown(module)))
}

fn read(workspace: &Workspace, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", workspace.shown(path)))
}

/// Puts the bytes at their place in one step, so that a running server never sees half a file,
/// and leaves a file alone that already has them.
fn put(workspace: &Workspace, place: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        match fs::read(place) {
            Ok(present) if present == bytes => return Ok(false),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let unfinished = place.with_extension(format!("wasm.{}", std::process::id()));
        fs::write(&unfinished, bytes)?;
        fs::rename(&unfinished, place)?;
        Ok(true)
    };
    let shown = workspace.shown(place);
    if write().with_context(|| format!("cannot write {shown}"))? {
        eprintln!("wrote {shown} ({} KB)", bytes.len().div_ceil(1000));
    }
    Ok(())
}
