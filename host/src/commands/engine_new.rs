//! `pinhole engine new`: writes the folder of a new engine.

mod template;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use pinhole_sandbox::check_engine_name;

use super::{FAILED, WRONG_USE};
use template::TemplateFile;

/// Programs can be executed, all other files only read and written.
const PROGRAM_MODE: u32 = 0o777;
const FILE_MODE: u32 = 0o666;

#[derive(Args)]
pub(crate) struct EngineNew {
    /// Name of the engine: lower-case letters, digits and dashes
    name: String,
    /// Language of the engine
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// Folder to create [default: NAME]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// The languages that have a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Js,
    Python,
    C,
}

/// Writes the folder. Returns the exit code.
pub(crate) fn create(arguments: &EngineNew) -> Result<u8> {
    let EngineNew { name, lang, into } = arguments;
    if let Err(refusal) = check_engine_name(name) {
        eprintln!("pinhole: {}", refusal.reason);
        return Ok(WRONG_USE);
    }
    let folder = into.clone().unwrap_or_else(|| name.into());
    let shown = folder.display();
    if let Err(error) = create_folder(&folder) {
        match error.kind() {
            ErrorKind::AlreadyExists => {
                eprintln!("pinhole: {shown} already exists: choose another folder with --into");
                return Ok(WRONG_USE);
            }
            ErrorKind::NotFound => eprintln!(
                "pinhole: cannot create {shown}: the folder above it does not exist; create that first"
            ),
            _ => eprintln!("pinhole: cannot create {shown}: {error}"),
        }
        return Ok(FAILED);
    }
    for file in template::files(*lang) {
        let path = folder.join(file.path.replace(template::NAME, name));
        write(&path, file, &template::fill(file.text, name))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("created {shown}; next, in that folder:");
    println!("  ./build.sh");
    println!("  pinhole engine test build/{name}.wasm --cases cases");
    println!("README.md says what else it needs and how to continue");
    Ok(0)
}

/// Fails if there is a file or folder with this path.
#[expect(clippy::disallowed_methods, reason = "an author names the folder")]
fn create_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().create(path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the folder was just created where its author wants it"
)]
fn write(path: &Path, file: &TemplateFile, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).create(parent)?;
    }
    let mode = if file.is_program() {
        PROGRAM_MODE
    } else {
        FILE_MODE
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?
        .write_all(text.as_bytes())
}
