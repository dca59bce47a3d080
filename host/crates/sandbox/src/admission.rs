//! Admission: from a component file to a validated [`Component`].
//!
//! The checks go from cheap to expensive, and none executes the component before its imports are known:
//! length, kind, compilation in a child process, imports and exports, and at last the description, which
//! the component returns from a call without any upstream.

mod description;
mod kind;
mod world;

use std::sync::Arc;

use cap_std::fs::Dir;
use pinhole_ground::guard::Refusal;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};
use wasmtime::component::Component as Code;

use crate::call;
use crate::component::Component;
use crate::component_code::{compile, load};
use crate::component_files::read_component;
use crate::contract::ImageEnginePre;
use crate::cpu_meter::LastComputing;
use crate::grant::{Grant, declared_rights};
use crate::sandbox::Sandbox;

pub use description::{MAX_COUNT, check_description};
pub use kind::check_kind;
pub use world::check_world;

/// Admits one component file.
///
/// The refusal's reason is for the operator and follows the file's name.
pub(crate) async fn admit(
    sandbox: &Arc<Sandbox>,
    directory: &Dir,
    file: &str,
) -> Result<Component, Refusal> {
    let (bytes, digest) = read(directory, file)?;
    let code = match load(sandbox, &digest).await? {
        Some(code) => code,
        None => compile(sandbox, file, &digest, bytes).await?,
    };
    admit_code(sandbox, file, digest, code).await
}

/// Admits one component file if its code is stored. `None` if it must be compiled first.
pub(crate) async fn admit_stored(
    sandbox: &Arc<Sandbox>,
    directory: &Dir,
    file: &str,
) -> Result<Option<Component>, Refusal> {
    let (_, digest) = read(directory, file)?;
    match load(sandbox, &digest).await? {
        Some(code) => admit_code(sandbox, file, digest, code).await.map(Some),
        None => Ok(None),
    }
}

/// Reads a component file. Returns its bytes and its digest.
fn read(directory: &Dir, file: &str) -> Result<(Vec<u8>, String), Refusal> {
    let bytes = read_component(directory, file)?;
    check_kind(&bytes)?;
    let digest = hex(&Sha256::digest(&bytes));
    Ok((bytes, digest))
}

async fn admit_code(
    sandbox: &Arc<Sandbox>,
    file: &str,
    digest: String,
    code: Code,
) -> Result<Component, Refusal> {
    let imports = check_world(&sandbox.engine, &code)?;
    let pre = sandbox
        .linker
        .instantiate_pre(&code)
        .and_then(ImageEnginePre::new)
        .map_err(|error| world::describe_mismatch(&error))?;
    let pre = Arc::new(pre);
    let description = call::describe(sandbox, file, &pre)
        .await
        .map_err(|error| Refusal {
            guard: error.guard(),
            reason: format!("cannot describe itself: {error}"),
        })?;
    check_description(&description).map_err(|refusal| {
        refusal.map_reason(|reason| format!("has an invalid description: {reason}"))
    })?;
    Ok(Component {
        file: file.to_owned(),
        digest,
        imports,
        declared_rights: declared_rights(&description),
        description,
        grant: Grant::default(),
        log: Arc::default(),
        last_computing: LastComputing::default(),
        pre,
    })
}
