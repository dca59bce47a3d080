//! The grants of earlier servers: a directory of files, which moves into the database once.

use std::path::Path;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;
use pinhole_ground::text::plain;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::component_bytes::ComponentBytes;
use super::rows::read_rights;
use super::track;
use crate::store::{EngineChange, GrantRow, HistoryRow, ReleaseRow, ReleaseState, Store, now};

/// The directory of grants in the data directory: `<engine>.json`, and `<digest>.wasm` for each component.
const DIRECTORY: &str = "grants";
const IMPORTED: &str = "grants.imported";
/// Length of a grant's file in bytes.
const MAX_GRANT_BYTES: usize = 2 << 20;
/// Length of the name of an engine in bytes.
const MAX_NAME_BYTES: usize = 100;

/// The version of the files.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile<'a> {
    version: u32,
    digest: String,
    file: String,
    #[serde(borrow)]
    allows: &'a RawValue,
    #[serde(borrow)]
    denies: &'a RawValue,
}

/// Moves the directory of grants into the database, if there is one. It is renamed at the end, so that an
/// interrupted import is repeated.
pub(super) async fn import_grants(
    data: &Path,
    store: &Store,
    bytes: &ComponentBytes,
) -> Result<()> {
    let data_dir = data_dir::open(data)?;
    let Ok(grants) = data_dir.open_dir(DIRECTORY) else {
        return Ok(());
    };
    let context = || format!("cannot import the directory {DIRECTORY} of the data directory");
    let known = store.engine_rows().await.with_context(context)?.grants;
    for entry in grants.entries().with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        let engine = name.to_str().and_then(|name| name.strip_suffix(".json"));
        let Some(engine) = engine.filter(|it| !it.starts_with('.')) else {
            continue;
        };
        if known.iter().any(|grant| grant.engine == engine) {
            continue;
        }
        let change = import_grant(&grants, engine, bytes);
        store.change_engine(&change).await.with_context(context)?;
    }
    data_dir
        .rename(DIRECTORY, &data_dir, IMPORTED)
        .with_context(context)?;
    tracing::info!("moved the engines' grants into the database; {IMPORTED} is not read any more");
    Ok(())
}

/// A grant that cannot be read becomes one that cannot be read in the database, so that its engine stays stopped.
fn import_grant(grants: &Dir, engine: &str, bytes: &ComponentBytes) -> EngineChange {
    let unreadable = |problem: String| {
        let problem = plain(&problem, MAX_NAME_BYTES);
        tracing::warn!("the grant of engine {engine} cannot be read ({problem})");
        EngineChange {
            grant: Some(GrantRow {
                engine: engine.to_owned(),
                allows: String::new(),
                denies: String::new(),
                digest: String::new(),
                file: format!("{engine}.wasm"),
            }),
            ..EngineChange::default()
        }
    };
    let text = match grants.read_to_string(format!("{engine}.json")) {
        Ok(text) if text.len() <= MAX_GRANT_BYTES => text,
        Ok(_) => return unreadable("it is too long".to_owned()),
        Err(error) => return unreadable(error.to_string()),
    };
    let grant: GrantFile<'_> = match serde_json::from_str(&text) {
        Ok(grant) => grant,
        Err(error) => return unreadable(error.to_string()),
    };
    if grant.version != VERSION {
        return unreadable(format!("its version is {}", grant.version));
    }
    for rights in [grant.allows, grant.denies] {
        if let Err(error) = read_rights(rights.get()) {
            return unreadable(error.to_string());
        }
    }
    let (allows, denies) = (grant.allows.get().to_owned(), grant.denies.get().to_owned());
    let row = GrantRow {
        engine: engine.to_owned(),
        allows: allows.clone(),
        denies,
        digest: grant.digest.clone(),
        file: grant.file.clone(),
    };
    let copy = grants.read(format!("{}.wasm", grant.digest)).ok();
    let copy = copy.filter(|copy| pinhole_sandbox::digest(copy) == grant.digest);
    let is_stored = copy
        .as_ref()
        .is_some_and(|copy| bytes.save_here(&grant.digest, copy).is_ok());
    if !is_stored {
        // The engine's file has the component, unless it was replaced.
        return EngineChange {
            grant: Some(row),
            ..EngineChange::default()
        };
    }
    let release = ReleaseRow {
        digest: grant.digest.clone(),
        engine: engine.to_owned(),
        version: String::new(),
        file: grant.file.clone(),
        declared: allows.clone(),
        granted: allows,
        replaces: String::new(),
        state: ReleaseState::Current,
        reason: String::new(),
        size_bytes: copy.map_or(0, |copy| i64::try_from(copy.len()).unwrap_or(i64::MAX)),
        added_by: String::new(),
        added_at: now(),
    };
    EngineChange {
        track: Some((None, Some(track::first(engine, &grant.digest)))),
        files: vec![(grant.file, Some(grant.digest.clone()))],
        history: vec![HistoryRow {
            at: 0,
            engine: engine.to_owned(),
            digest: grant.digest,
            what: "imported".to_owned(),
            why: String::new(),
            user_name: String::new(),
        }],
        releases: vec![release],
        grant: Some(row),
        ..EngineChange::default()
    }
}
