//! Builds engines as core modules and encodes them as components.
//!
//! Cargo decides which modules it compiles again. A component is encoded again only if its inputs
//! or xtask itself are newer than the component.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::steps::announce_build;
use crate::wasm_targets;
use crate::workspace::Workspace;

/// The engines that ship with Pinhole, and the example. Package and file have the same name.
const ENGINES: [&str; 5] = ["automatic1111", "comfyui", "gemini", "openai", "sketch"];
/// The examples that do not ship, with cases of their own.
const EXAMPLES: [&str; 3] = ["replicate", "stability", "swarmui"];
/// Functions that an engine in `tests/guests/core` may leave out: they do nothing then.
const OPTIONAL_FUNCTIONS: [&str; 5] = ["start", "describe", "after", "generate", "allocate"];

/// Builds the engines, each to `engines/<name>.wasm` in the target directory.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    wasm_targets::ensure_installed(workspace, &[wasm_targets::ENGINES])?;
    announce_build(
        "building the engines",
        &workspace.engines(),
        ENGINES_FIRST_BUILD,
    );
    let packages = ENGINES.map(|name| format!("pinhole-{name}"));
    cargo_build(workspace, wasm_targets::ENGINES, &packages)?;
    encode_engines(workspace)
}

/// Builds the engines, and the engines that only tests run, each of these to
/// `guests/<name>.wasm` in the target directory.
pub(crate) fn build_with_test_guests(workspace: &Workspace) -> Result<()> {
    wasm_targets::ensure_installed(workspace, &[wasm_targets::ENGINES, wasm_targets::WASI])?;
    announce_build(
        "building the engines and the test engines",
        &workspace.guests(),
        ENGINES_FIRST_BUILD,
    );
    let mut packages: Vec<String> = ENGINES.map(|name| format!("pinhole-{name}")).into();
    packages.push("pinhole-hostile-guest".to_owned());
    packages.extend(EXAMPLES.map(|name| format!("pinhole-{name}")));
    cargo_build(workspace, wasm_targets::ENGINES, &packages)?;
    encode_engines(workspace)?;
    let hostile = module(workspace, wasm_targets::ENGINES, "pinhole_hostile_guest");
    encode_module(
        workspace,
        &hostile,
        &workspace.guests().join("hostile.wasm"),
    )?;

    for name in EXAMPLES {
        let example = module(workspace, wasm_targets::ENGINES, &format!("pinhole_{name}"));
        let component = workspace.guests().join(name).with_extension("wasm");
        encode_module(workspace, &example, &component)?;
    }

    // For this target cargo's own linker writes the component.
    let wasip2 = ["pinhole-wasip2-guest".to_owned()];
    cargo_build(workspace, wasm_targets::WASI, &wasip2)?;
    let component = module(workspace, wasm_targets::WASI, "pinhole_wasip2_guest");
    let file = workspace.guests().join("wasip2.wasm");
    update(workspace, &file, &[&component], || {
        read(workspace, &component)
    })?;

    encode_wat_components(workspace)?;
    encode_wat_engines(workspace)
}

const ENGINES_FIRST_BUILD: &str = "1 minute";

/// The components that ship with Pinhole.
pub(crate) fn components(workspace: &Workspace) -> Vec<PathBuf> {
    let component = |name| workspace.engines().join(name).with_extension("wasm");
    ENGINES.into_iter().map(component).collect()
}

fn cargo_build(workspace: &Workspace, target: &str, packages: &[String]) -> Result<()> {
    let mut arguments = vec!["build", "--profile", "guest", "--target", target];
    for package in packages {
        arguments.extend(["--package", package]);
    }
    workspace.build("the engines", &arguments)
}

/// The file that cargo writes for a library.
fn module(workspace: &Workspace, target: &str, library: &str) -> PathBuf {
    let directory = workspace.target.join(target).join("guest");
    directory.join(library).with_extension("wasm")
}

fn encode_engines(workspace: &Workspace) -> Result<()> {
    for name in ENGINES {
        let module = module(workspace, wasm_targets::ENGINES, &format!("pinhole_{name}"));
        let component = workspace.engines().join(name).with_extension("wasm");
        encode_module(workspace, &module, &component)?;
    }
    Ok(())
}

/// Encodes a core module that wit-bindgen has described.
fn encode_module(workspace: &Workspace, module: &Path, component: &Path) -> Result<()> {
    update(workspace, component, &[module], || {
        let bytes = read(workspace, module)?;
        ComponentEncoder::default()
            .validate(true)
            .module(&bytes)
            .and_then(|mut encoder| encoder.encode())
            .with_context(|| format!("cannot encode {}", workspace.display(module)))
    })
}

/// Assembles each component in `tests/guests/wat`: no compiler would write these.
fn encode_wat_components(workspace: &Workspace) -> Result<()> {
    for path in wat_files(workspace, &workspace.root.join("tests/guests/wat"))? {
        let component = guest_component(workspace, &path);
        update(workspace, &component, &[&path], || {
            wat::parse_file(&path)
                .with_context(|| format!("cannot assemble {}", workspace.display(&path)))
        })?;
    }
    Ok(())
}

/// Encodes an engine from each text in `tests/guests/core`. A text has only the functions that
/// make it hostile: `engine.part` completes it to a module, `engine.wit` to a component.
fn encode_wat_engines(workspace: &Workspace) -> Result<()> {
    let directory = workspace.root.join("tests/guests/core");
    let part = directory.join("engine.part");
    let wit = directory.join("engine.wit");
    let contract = workspace.root.join("wit/engine.wit");
    for path in wat_files(workspace, &directory)? {
        let component = guest_component(workspace, &path);
        update(
            workspace,
            &component,
            &[&path, &part, &wit, &contract],
            || {
                encode_wat_engine(workspace, &path, &part, &wit)
                    .with_context(|| format!("cannot encode {}", workspace.display(&path)))
            },
        )?;
    }
    Ok(())
}

fn encode_wat_engine(
    workspace: &Workspace,
    path: &Path,
    part: &Path,
    wit: &Path,
) -> Result<Vec<u8>> {
    let mut text = read_text(workspace, path)?;
    for function in OPTIONAL_FUNCTIONS {
        if !text.contains(&format!("(func ${function}")) {
            text.push_str(&format!("(func ${function})\n"));
        }
    }
    let rest = read_text(workspace, part)?;
    let mut module = wat::parse_str(format!("(module\n{text}{rest})"))?;

    let world_name = if text.contains("pinhole:hostile/things") {
        "engine-with-things"
    } else {
        "engine"
    };
    let mut resolve = Resolve::default();
    resolve.push_path(workspace.root.join("wit"))?;
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some(world_name))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
}

/// The component that a text in `tests/guests` becomes.
fn guest_component(workspace: &Workspace, text: &Path) -> PathBuf {
    let name = text.file_name().unwrap_or_default();
    workspace.guests().join(name).with_extension("wasm")
}

fn wat_files(workspace: &Workspace, directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read {}", workspace.display(directory));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "wat") {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(workspace: &Workspace, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", workspace.display(path)))
}

fn read_text(workspace: &Workspace, path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", workspace.display(path)))
}

/// Writes the component if one of its inputs or xtask itself is newer than it.
fn update(
    workspace: &Workspace,
    component: &Path,
    inputs: &[&Path],
    encode: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<()> {
    let program = std::env::current_exe().context("cannot find the path of xtask")?;
    if is_current(component, &[inputs, &[&program]].concat()) {
        return Ok(());
    }
    let bytes = encode()?;
    let written = write_if_changed(component, &bytes);
    let name = workspace.display(component);
    if written.with_context(|| format!("cannot write {name}"))? {
        eprintln!("wrote {name} ({} KB)", bytes.len().div_ceil(1000));
    }
    Ok(())
}

/// Whether the output exists and no input is newer.
pub(crate) fn is_current(output: &Path, inputs: &[&Path]) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let Ok(written) = modified(output) else {
        return false;
    };
    inputs
        .iter()
        .all(|input| modified(input).is_ok_and(|changed| changed <= written))
}

/// Replaces the file in one step, so that a running server never reads half a file. A file that
/// already has these bytes gets only a new modification time. Returns whether the bytes changed.
fn write_if_changed(file: &Path, bytes: &[u8]) -> std::io::Result<bool> {
    match fs::read(file) {
        Ok(present) if present == bytes => {
            let file = File::options().write(true).open(file)?;
            file.set_modified(SystemTime::now())?;
            return Ok(false);
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let unfinished = file.with_extension(format!("wasm.{}", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, file)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn component_is_current_until_an_input_is_newer() {
        let directory = std::env::temp_dir().join(format!("pinhole-xtask-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let [module, component] = ["module", "component"].map(|name| directory.join(name));
        fs::write(&module, "module").unwrap();
        assert!(!is_current(&component, &[&module]), "no component yet");

        assert!(write_if_changed(&component, b"component").unwrap());
        assert!(is_current(&component, &[&module]));

        let later = SystemTime::now() + Duration::from_secs(5);
        File::options()
            .write(true)
            .open(&module)
            .unwrap()
            .set_modified(later)
            .unwrap();
        assert!(!is_current(&component, &[&module]), "module is newer");
        assert!(!write_if_changed(&component, b"component").unwrap());
        fs::remove_dir_all(&directory).unwrap();
    }
}
