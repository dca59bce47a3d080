//! Stored grants: one file for each engine in the data directory, and a copy of each granted component,
//! which serves if the component's file is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir;
use pinhole_ground::guard::{Guard, Refusal};
use serde::{Deserialize, Serialize};

use super::{Grant, Right};

/// The directory of grants in the data directory.
const DIRECTORY: &str = "grants";
/// The version of the file format.
const VERSION: u32 = 1;
/// Length of a grant's file in bytes: twice what an engine can declare.
const MAX_GRANT_BYTES: u64 = 2 << 20;

/// The stored grants of all engines.
pub struct GrantStore {
    directory: Dir,
}

/// The file format of a grant.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    version: u32,
    digest: String,
    file: String,
    allows: BTreeSet<Right>,
    denies: BTreeSet<Right>,
}

impl GrantStore {
    /// Opens the directory of grants, or creates it for its owner alone.
    pub fn open(data: &Path) -> Result<Self> {
        let directory = data_dir::create_in(&data_dir::create(data)?, DIRECTORY)?;
        Ok(Self { directory })
    }

    /// Loads the grant of an engine; `None` if it has none yet.
    ///
    /// Fails if the file is unreadable. The engine has no rights then.
    pub fn load(&self, engine: &str) -> Result<Option<Grant>, Refusal> {
        match self.read_grant(engine) {
            Ok(grant) => Ok(grant),
            Err(problem) => {
                Guard::GrantReadable.refuse_if(true, || {
                    format!(
                        "has an unreadable grant ({DIRECTORY}/{engine}.json in the data directory: {problem}): restore that file, or remove it to grant the engine again"
                    )
                })?;
                Ok(None)
            }
        }
    }

    fn read_grant(&self, engine: &str) -> Result<Option<Grant>, String> {
        let name = grant_name(engine);
        if !self.directory.exists(&name) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.directory
            .open(&name)
            .and_then(|file| file.take(MAX_GRANT_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_GRANT_BYTES {
            return Err(format!("it has more than {MAX_GRANT_BYTES} bytes"));
        }
        let file: GrantFile = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if file.version != VERSION {
            let version = file.version;
            return Err(format!(
                "its version is {version}; this host supports {VERSION}"
            ));
        }
        let is_digest =
            file.digest.len() == 64 && file.digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_digest {
            return Err("its digest is invalid".to_owned());
        }
        Ok(Some(Grant {
            digest: file.digest,
            file: file.file,
            allows: file.allows,
            denies: file.denies,
        }))
    }

    /// Loads all readable grants, by engine name.
    pub fn load_all(&self) -> Result<BTreeMap<String, Grant>> {
        let mut grants = BTreeMap::new();
        for name in self.list_names()? {
            if let Some(engine) = name.strip_suffix(".json")
                && let Ok(Some(grant)) = self.read_grant(engine)
            {
                grants.insert(engine.to_owned(), grant);
            }
        }
        Ok(grants)
    }

    /// Stores the grant of an engine, atomically.
    pub fn save(&self, engine: &str, grant: &Grant) -> Result<(), String> {
        let file = GrantFile {
            version: VERSION,
            digest: grant.digest.clone(),
            file: grant.file.clone(),
            allows: grant.allows.clone(),
            denies: grant.denies.clone(),
        };
        serde_json::to_vec_pretty(&file)
            .map_err(std::io::Error::from)
            .and_then(|json| data_dir::write_whole(&self.directory, &grant_name(engine), &json))
            .map_err(|error| {
                format!(
                    "cannot be granted: {DIRECTORY}/{engine}.json in the data directory cannot be written: {error}"
                )
            })
    }

    /// True if there is a copy of the component with this digest.
    #[must_use]
    pub fn has_copy(&self, digest: &str) -> bool {
        self.directory.exists(copy_name(digest))
    }

    /// Stores a copy of a component.
    pub fn save_copy(&self, digest: &str, bytes: &[u8]) -> Result<(), String> {
        data_dir::write_whole(&self.directory, &copy_name(digest), bytes).map_err(|error| {
            format!(
                "cannot be granted: a copy of it cannot be stored in {DIRECTORY} in the data directory: {error}"
            )
        })
    }

    /// The directory of grants and copies.
    #[must_use]
    pub fn directory(&self) -> &Dir {
        &self.directory
    }

    /// Removes the copies that no grant names. Removes none if a grant is unreadable, because that grant
    /// may name it.
    pub fn remove_orphaned_copies(&self) -> Result<()> {
        let names = self.list_names()?;
        let grants = self.load_all()?;
        let grant_files = names.iter().filter(|name| name.ends_with(".json")).count();
        if grant_files > grants.len() {
            return Ok(());
        }
        let granted: BTreeSet<_> = grants
            .values()
            .map(|grant| copy_name(&grant.digest))
            .collect();
        for name in names {
            if name.ends_with(".wasm") && !granted.contains(&name) {
                self.directory.remove_file(&name).with_context(|| {
                    format!("cannot remove {DIRECTORY}/{name} in the data directory")
                })?;
            }
        }
        Ok(())
    }

    /// The names of complete files. Names of other origin, and of unfinished writes, are skipped.
    fn list_names(&self) -> Result<Vec<String>> {
        let failure = || format!("cannot read the directory {DIRECTORY} in the data directory");
        let mut names = Vec::new();
        for entry in self.directory.entries().with_context(failure)? {
            let name = entry.with_context(failure)?.file_name();
            if let Some(text) = name.to_str()
                && !text.starts_with('.')
            {
                names.push(text.to_owned());
            }
        }
        Ok(names)
    }
}

/// The name of the file of an engine's grant.
fn grant_name(engine: &str) -> String {
    format!("{engine}.json")
}

/// The name of the copy of the component with this digest.
pub(crate) fn copy_name(digest: &str) -> String {
    format!("{digest}.wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> (tempfile::TempDir, GrantStore) {
        let data = tempfile::tempdir().unwrap();
        let grants = GrantStore::open(data.path()).unwrap();
        (data, grants)
    }

    fn grant(digest: char) -> Grant {
        let request = super::super::RequestRule::parse("POST /x/").unwrap();
        let upstream = "api".to_owned();
        Grant {
            digest: digest.to_string().repeat(64),
            file: "draw.wasm".into(),
            allows: [Right::Request { upstream, request }].into(),
            denies: BTreeSet::new(),
        }
    }

    #[test]
    fn grant_store_loads_what_it_saved() {
        let (_data, grants) = grants();
        assert_eq!(grants.load("draw"), Ok(None));
        grants.save("draw", &grant('a')).unwrap();
        assert_eq!(grants.load("draw"), Ok(Some(grant('a'))));
        assert_eq!(grants.load_all().unwrap().len(), 1);
    }

    #[test]
    fn grant_store_refuses_changed_files() {
        let (_data, grants) = grants();
        grants.save("draw", &grant('a')).unwrap();
        let good = grants.directory.read_to_string("draw.json").unwrap();
        for (from, to, gist) in [
            ("\"denies\"", "\"fornies\"", "unknown field `fornies`"),
            (
                "\"request\": \"POST",
                "\"asks\": \"POST",
                "unknown field `asks`",
            ),
            ("POST /x/", "POST x", "not a method and a path prefix"),
            ("POST /x/", "CONNECT /", "not a method and a path prefix"),
            ("\"version\": 1", "\"version\": 2", "its version is 2"),
            ("aaaa", "../a", "its digest is invalid"),
            ("}", "", "expected `,` or `}`"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            grants.directory.write("draw.json", bad).unwrap();
            let reason = grants.load("draw").unwrap_err().reason;
            assert!(
                reason.contains(gist) && reason.contains("draw.json"),
                "{reason}"
            );
        }
        let long = " ".repeat(MAX_GRANT_BYTES as usize + 1);
        grants.directory.write("draw.json", long).unwrap();
        let refusal = grants.load("draw").unwrap_err();
        assert!(refusal.reason.contains("more than"));
        assert_eq!(refusal.guard, Some(Guard::GrantReadable));
    }

    #[test]
    fn grant_store_removes_orphaned_copies_unless_a_grant_is_unreadable() {
        let (_data, grants) = grants();
        let [old, new] = ["a", "b"].map(|digit| digit.repeat(64));
        grants.save_copy(&old, b"old").unwrap();
        grants.save_copy(&new, b"new").unwrap();
        grants.directory.write("broken.json", "{").unwrap();
        grants.save("draw", &grant('b')).unwrap();
        grants.remove_orphaned_copies().unwrap();
        assert!(grants.has_copy(&old), "an unreadable grant may name it");
        grants.directory.remove_file("broken.json").unwrap();
        grants.remove_orphaned_copies().unwrap();
        assert!(!grants.has_copy(&old) && grants.has_copy(&new));
    }
}
