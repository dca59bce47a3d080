//! Components that were granted something, and want more or pass for others.

use anyhow::{Context, Result, bail, ensure};

use super::{Folders, HOSTILE, described};
use crate::arena::Arena;
use pinhole_ground::audit::{self, Kind};
use pinhole_sandbox::Engines;

/// Starts after which a coin that never showed one of its sides is none.
const MAX_TOSSES: u32 = 64;

pub(super) async fn undeclared_request(arena: &Arena) -> Result<()> {
    for prompt in [
        "reach api /secret",
        "reach api /",
        "reach api /allowed",
        "reach api /allowed-too/x",
        "reach other /allowed/x",
        "send POST api /allowed/x",
        "send DELETE api /allowed/x",
        "connect api /secret",
    ] {
        let answer = arena.draw(prompt).await?;
        answer
            .was_not_granted()
            .with_context(|| prompt.to_owned())?;
    }
    let requests = arena.upstream.requests();
    ensure!(requests.is_empty(), "the upstream saw {requests:?}");
    Ok(())
}

/// The digest of the hostile engine that serves, if one does.
fn serving(engines: &Engines) -> Option<String> {
    engines.get("hostile").map(|it| it.digest.clone())
}

/// The component that was granted serves on, and the other one waits and was noted.
async fn waits(folders: &Folders<'_>, granted: &Option<String>) -> Result<Engines> {
    let before = audit::count(Some(Kind::Grant));
    let engines = folders.open().await?;
    ensure!(
        serving(&engines) == *granted,
        "{:?} serves in place of {granted:?}",
        serving(&engines)
    );
    ensure!(engines.pending().len() == 1, "nothing waits for a grant");
    ensure!(
        audit::count(Some(Kind::Grant)) > before,
        "that it waits was not noted"
    );
    Ok(engines)
}

pub(super) async fn declares_more(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?);
    for word in [
        "request",
        "prefix",
        "upstream",
        "credential",
        "default",
        "variable",
        "open-key",
    ] {
        folders.put(HOSTILE, &described(arena, word)?)?;
        let waited = waits(&folders, &granted).await;
        waited.with_context(|| format!("a component with more: {word}"))?;
    }
    Ok(())
}

pub(super) async fn new_name(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?);
    folders.put(HOSTILE, &described(arena, "renamed")?)?;
    waits(&folders, &granted).await?;
    Ok(())
}

pub(super) async fn one_name_twice(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?);
    let impostor = described(arena, "again")?;
    // One comes before it in alphabetical order, and one after it.
    for file in ["a.wasm", "z.wasm"] {
        folders.put(file, &impostor)?;
    }
    let engines = folders.open().await?;
    ensure!(
        serving(&engines) == granted,
        "the file that came later took the name"
    );
    ensure!(
        engines.rejected_files().len() == 2,
        "the others are not refused: {:?}",
        engines.rejected_files()
    );
    Ok(())
}

pub(super) async fn other_description_each_time(arena: &Arena) -> Result<()> {
    let declares_more = |engines: &Engines| {
        let component = engines.get("hostile").context("it is not admitted")?;
        let more = component.declared_rights.iter();
        anyhow::Ok(
            more.map(ToString::to_string)
                .any(|it| it == "more at base-url"),
        )
    };
    let (mut modest, mut tosses) = (None, 0);
    while modest.is_none() {
        tosses += 1;
        ensure!(tosses < MAX_TOSSES, "it always declares more");
        let folders = Folders::granted(arena, "changing").await?;
        let grants = folders.open().await?;
        let grant = grants.grants().load("hostile").map_err(anyhow::Error::msg)?;
        let grant = grant.context("it was granted nothing")?;
        let mut rights = grant.allows.iter().map(ToString::to_string);
        if rights.all(|right| right != "more at base-url") {
            modest = Some(folders);
        }
    }
    let Some(folders) = modest else {
        bail!("it always declares more");
    };
    for _ in 0..MAX_TOSSES {
        let engines = folders.open().await?;
        if !declares_more(&engines)? {
            continue;
        }
        let component = engines.get("hostile").context("it is not admitted")?;
        let description = &component.description;
        ensure!(
            description.upstreams.len() == 1,
            "it has an upstream that was not granted"
        );
        let mut variables = description.settings.iter();
        ensure!(
            variables.all(|it| !it.generate_variables.contains(&"HOSTILE_MORE".to_owned())),
            "it reads a variable that was not granted"
        );
        return Ok(());
    }
    bail!("it never declares more")
}

pub(super) async fn replaced_while_it_runs(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let engines = folders.open().await?;
    let component = engines.get("hostile").context("it is not admitted")?;
    for bytes in [described(arena, "less")?, Vec::new()] {
        folders.put(HOSTILE, &bytes)?;
        let described = engines.describe(component).await;
        let described = described.context("it works no more")?;
        ensure!(
            described.settings.len() == component.description.settings.len(),
            "the new bytes have answered"
        );
    }
    Ok(())
}

pub(super) async fn swapped_before_accepting(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?);
    folders.put(HOSTILE, &described(arena, "request")?)?;
    let engines = waits(&folders, &granted).await?;
    let shown = engines.pending().first().context("nothing waits")?;
    folders.put(HOSTILE, &described(arena, "upstream")?)?;
    ensure!(
        engines.approve(shown).is_err(),
        "other bytes were accepted than were shown"
    );
    waits(&folders, &granted).await?;
    Ok(())
}

pub(super) async fn swapped_copy(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?).context("it does not serve")?;
    folders
        .kept("grants")?
        .write(format!("{granted}.wasm"), described(arena, "again")?)?;
    folders.put(HOSTILE, &described(arena, "request")?)?;
    waits(&folders, &None).await?;
    Ok(())
}

pub(super) async fn poisoned_code(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let granted = serving(&folders.open().await?).context("it does not serve")?;
    let kept = folders.kept("compiled")?;
    let code = |digest: &str| -> Result<String> {
        for entry in kept.entries()? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(digest) && name.ends_with(".cwasm") {
                return Ok(name);
            }
        }
        bail!("the host keeps no compiled code of {digest}")
    };
    let good = code(&granted)?;
    // Another component, admitted by the same host, that has no setting `note`.
    folders.put(HOSTILE, &described(arena, "less")?)?;
    let other = serving(&folders.open().await?).context("it does not serve")?;
    let other = code(&other)?;
    folders.put(HOSTILE, &described(arena, "plain")?)?;
    for whole in [true, false] {
        let poison = match whole {
            true => kept.read(&other)?,
            false => {
                let bytes = kept.read(&good)?;
                bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec()
            }
        };
        kept.write(&good, poison)?;
        let engines = folders.open().await?;
        let component = engines.get("hostile").context("it is not admitted")?;
        let mut settings = component.description.settings.iter();
        ensure!(
            settings.any(|setting| setting.key == "note"),
            "the code of another component was loaded under its name"
        );
    }
    Ok(())
}

pub(super) async fn unknown_right(arena: &Arena) -> Result<()> {
    let folders = Folders::granted(arena, "plain").await?;
    let kept = folders.kept("grants")?;
    let good = kept.read_to_string("hostile.json")?;
    let changed = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        ensure!(changed != good, "the grant has no {from}");
        Ok(changed)
    };
    for bad in [
        changed("{", "{\"capabilities\": [],")?,
        changed("\"request\": \"", "\"requests\": \"")?,
        changed("\"version\": 1", "\"version\": 2")?,
        changed("GET /allowed/", "GET /allowed/../")?,
        String::new(),
    ] {
        kept.write("hostile.json", &bad)?;
        super::is_refused(&folders, HOSTILE, "has an unreadable grant").await?;
        ensure!(
            kept.read_to_string("hostile.json")? == bad,
            "the grant was written over"
        );
    }
    Ok(())
}
