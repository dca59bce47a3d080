//! Files that change while a server runs or between starts: components, their copies, code and grants.

use anyhow::{Context, Result, bail, ensure};
use cap_std::fs::Dir;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

use super::approval::{require_pending, serving_digest};
use super::directory::{EngineDirectory, HOSTILE, hostile_variant};
use crate::target::AttackTarget;

pub(super) async fn replaced_while_running(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let engines = directory.open().await?;
    let component = engines.get("hostile").context("it is not admitted")?;
    for bytes in [hostile_variant(target, "less")?, Vec::new()] {
        directory.write(HOSTILE, &bytes)?;
        let description = engines
            .describe(component)
            .await
            .context("the running component fails")?;
        ensure!(
            description.settings.len() == component.description.settings.len(),
            "the new bytes ran"
        );
    }
    Ok(())
}

pub(super) async fn swapped_copy(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?).context("the engine does not serve")?;
    directory
        .data_dir("components")?
        .write(format!("{granted}.wasm"), hostile_variant(target, "again")?)?;
    directory.write_hostile("request")?;
    require_pending(&directory, None, Guard::DeclaredMore).await?;
    directory.require_audit_guard(RefusalKind::Admission, Guard::KeptCopy)
}

pub(super) async fn poisoned_code(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let granted = serving_digest(&directory.open().await?).context("the engine does not serve")?;
    let compiled = directory.data_dir("compiled")?;
    let own_code = code_file(&compiled, &granted)?;
    // Another component, admitted by the same host, that has no setting `note`.
    directory.write_hostile("less")?;
    let other = serving_digest(&directory.open().await?).context("the engine does not serve")?;
    let other_code = compiled.read(code_file(&compiled, &other)?)?;
    directory.write_hostile("plain")?;
    let whole = compiled.read(&own_code)?;
    let truncated = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
    for poison in [other_code, truncated] {
        compiled.write(&own_code, poison)?;
        let engines = directory.open().await?;
        let component = engines.get("hostile").context("it is not admitted")?;
        let mut settings = component.description.settings.iter();
        ensure!(
            settings.any(|setting| setting.key == "note"),
            "the code of another component was loaded under its name"
        );
    }
    Ok(())
}

/// The name of the file that stores a component's code.
fn code_file(compiled: &Dir, digest: &str) -> Result<String> {
    for entry in compiled.entries()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(digest) && name.ends_with(".cwasm") {
            return Ok(name);
        }
    }
    bail!("the host stores no compiled code of {digest}")
}

pub(super) async fn unknown_right(target: &AttackTarget) -> Result<()> {
    let digest = "0".repeat(64);
    let valid = format!(
        r#"{{"version": 1, "digest": "{digest}", "file": "{HOSTILE}", "denies": [],
            "allows": [{{"request": {{"upstream": "api", "request": "GET /allowed/"}}}}]}}"#
    );
    let replaced = |from: &str, to: &str| {
        let changed = valid.replacen(from, to, 1);
        ensure!(changed != valid, "the grant does not contain {from}");
        Ok(changed)
    };
    for invalid in [
        replaced("{", "{\"capabilities\": [],")?,
        replaced("\"request\": \"", "\"requests\": \"")?,
        replaced("\"version\": 1", "\"version\": 2")?,
        replaced("GET /allowed/", "GET /allowed/../")?,
        String::new(),
    ] {
        // A grant of an earlier server moves into the database, and stays unreadable there.
        let directory = EngineDirectory::new(target)?;
        directory.write_hostile("plain")?;
        let data = directory.data_dir("")?;
        data.create_dir("grants")?;
        data.write("grants/hostile.json", &invalid)?;
        for _ in 0..2 {
            let guard = Some(Guard::GrantReadable);
            directory
                .require_rejected(HOSTILE, "has an unreadable grant", guard)
                .await?;
        }
    }
    Ok(())
}
