//! Admission: from a component file to a validated [`Component`].
//!
//! The checks go from cheap to expensive, and none executes the component before its imports are known:
//! length, kind, compilation in a child process, imports and exports, and at last the description, which
//! the component returns from a call without any upstream.

mod description;
mod kind;
mod world;

use std::sync::Arc;

use pinhole_ground::guard::Refusal;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};
use wasmtime::component::Component as Code;

use crate::call;
use crate::component::Component;
use crate::component_code::{compile, load};
use crate::cpu_meter::LastComputing;
use crate::grant::{Grant, declared_rights};
use crate::instance::Pre;
use crate::sandbox::Sandbox;

pub use description::{MAX_COUNT, check_description};
pub use kind::check_kind;
pub use world::check_world;

/// Admits the bytes of a component. `file` names them for the operator.
///
/// The refusal's reason is for the operator and follows the file's name.
pub(crate) async fn admit(
    sandbox: &Arc<Sandbox>,
    file: &str,
    bytes: Vec<u8>,
) -> Result<Component, Refusal> {
    check_kind(&bytes)?;
    let digest = digest(&bytes);
    let code = match load(sandbox, &digest).await? {
        Some(code) => code,
        None => compile(sandbox, file, &digest, bytes).await?,
    };
    admit_code(sandbox, file, digest, code).await
}

/// Admits the component with this digest if its code is stored. `None` if it must be compiled first.
pub(crate) async fn admit_compiled(
    sandbox: &Arc<Sandbox>,
    file: &str,
    digest: &str,
) -> Result<Option<Component>, Refusal> {
    match load(sandbox, digest).await? {
        Some(code) => {
            let admitted = admit_code(sandbox, file, digest.to_owned(), code).await;
            admitted.map(Some)
        }
        None => Ok(None),
    }
}

/// SHA-256 of a component's bytes, in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
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
        .and_then(Pre::new)
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
        description: Grant::default().restrict(description.clone()),
        declared: description,
        grant: Grant::default(),
        log: Arc::default(),
        last_computing: LastComputing::default(),
        pre,
    })
}
