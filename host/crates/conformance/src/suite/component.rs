//! Installs the component under test.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_images::Decoder;
use pinhole_sandbox::{Compiler, Engines, MAX_COMPONENT_BYTES, Options};

/// Copies a component to the engines directory, admits it, and compiles it unless the cache has its code.
/// Returns the engine's name.
pub(super) async fn install(
    component: &Path,
    data_dir: &TempDir,
    engines_dir: &TempDir,
    cache: Option<&Path>,
    compiler: &Compiler,
) -> Result<String> {
    let unreadable = || format!("cannot read component {}", component.display());
    let bytes = read(component).with_context(unreadable)?;
    let directory = data_dir::open(engines_dir.path())?;
    let temporary_name = "component.wasm";
    directory.write(temporary_name, &bytes)?;
    let options = Options {
        data: data_dir.path().to_owned(),
        cache: cache.map(Path::to_owned),
        slots: 1,
        slots_per_user: 1,
        compiler: compiler.clone(),
        audit: AuditLog::default(),
        decoder: Decoder::default(),
    };
    let engines = Engines::open(&options, engines_dir.path()).await?;
    if let Some(rejected) = engines.rejected.first() {
        bail!(
            "component {} is not admitted: it {}",
            component.display(),
            rejected.reason
        );
    }
    let admitted = engines.admitted().next().with_context(unreadable)?;
    let name = admitted.description.name.clone();
    // The host names an engine that it does not admit by its file.
    directory.rename(temporary_name, &directory, format!("{name}.wasm"))?;
    Ok(name)
}

fn read(component: &Path) -> Result<Vec<u8>> {
    let parent = match component.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = data_dir::open(parent)?;
    let file = component.file_name().context("the path names no file")?;
    let length = directory.metadata(file)?.len();
    if length > MAX_COMPONENT_BYTES {
        bail!("it is too long: {length} bytes (limit {MAX_COMPONENT_BYTES})");
    }
    Ok(directory.read(file)?)
}
