//! Engines that misdescribe themselves.

use anyhow::{Context, Result, bail, ensure};
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Engines;

use super::directory::{BadComponent, EngineDirectory, hostile_variant, require_all_rejected};
use crate::target::AttackTarget;

/// Starts after which a random description has shown both of its variants.
const MAX_STARTS: u32 = 64;
/// A right that the variant `changing` declares at some starts.
const ADDITIONAL_RIGHT: &str = "more at base-url";

async fn require_variant_rejected(
    target: &AttackTarget,
    variant: &str,
    reason: &str,
    guard: Option<Guard>,
) -> Result<()> {
    let component = BadComponent {
        label: variant,
        bytes: hostile_variant(target, variant)?,
        reason,
        guard,
    };
    require_all_rejected(target, &[component]).await
}

pub(super) async fn missing(target: &AttackTarget) -> Result<()> {
    for variant in ["trap", "spin", "many"] {
        let reason = "cannot describe itself: the engine";
        require_variant_rejected(target, variant, reason, None).await?;
    }
    // Different limits can refuse a title of 10 MB.
    require_variant_rejected(target, "long", "describe", None).await
}

pub(super) async fn invalid(target: &AttackTarget) -> Result<()> {
    let guard = Some(Guard::Description);
    let name = "has an invalid description: its name is \"HOSTILE\"";
    require_variant_rejected(target, "upper", name, guard).await?;
    let title = "has an invalid description: its title has unprintable characters";
    require_variant_rejected(target, "titled", title, guard).await
}

pub(super) async fn foreign_variable(target: &AttackTarget) -> Result<()> {
    let reason = "variable \"PATH\" does not contain the engine's name HOSTILE";
    require_variant_rejected(target, "foreign", reason, Some(Guard::OwnVariables)).await
}

pub(super) async fn secret_variable(target: &AttackTarget) -> Result<()> {
    let reason = "variable HOSTILE_OTHER_TOKEN holds a secret";
    require_variant_rejected(target, "unhidden", reason, Some(Guard::HiddenVariables)).await
}

pub(super) async fn changes_between_starts(target: &AttackTarget) -> Result<()> {
    let directory = grant_without_additional_right(target).await?;
    for _ in 0..MAX_STARTS {
        let engines = directory.open().await?;
        if declares_additional_right(&engines)? {
            return require_restricted(&engines);
        }
    }
    bail!("the component never declares more")
}

/// A directory whose component was granted only the smaller variant of its description.
async fn grant_without_additional_right(target: &AttackTarget) -> Result<EngineDirectory<'_>> {
    for _ in 0..MAX_STARTS {
        // It is refused if it describes itself differently the second time.
        let Ok(directory) = EngineDirectory::with_granted(target, "changing").await else {
            continue;
        };
        let grant = directory.releases().await?.grant("hostile")?;
        let mut rights = grant.allows.iter().map(ToString::to_string);
        if rights.all(|right| right != ADDITIONAL_RIGHT) {
            return Ok(directory);
        }
    }
    bail!("the component always declares more")
}

fn declares_additional_right(engines: &Engines) -> Result<bool> {
    let component = engines.get("hostile").context("it is not admitted")?;
    let mut rights = component.declared_rights.iter().map(ToString::to_string);
    Ok(rights.any(|right| right == ADDITIONAL_RIGHT))
}

/// Fails unless the description is restricted to the grant.
fn require_restricted(engines: &Engines) -> Result<()> {
    let component = engines.get("hostile").context("it is not admitted")?;
    let description = &component.description;
    ensure!(
        description.upstreams.len() == 1,
        "the engine has an upstream that was not granted"
    );
    let variable = "HOSTILE_MORE".to_owned();
    let mut settings = description.settings.iter();
    ensure!(
        settings.all(|setting| !setting.generate_variables.contains(&variable)),
        "the engine reads a variable that was not granted"
    );
    Ok(())
}
