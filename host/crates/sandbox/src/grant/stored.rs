//! Grants on disk: one file for each engine, and a copy of each component that a grant names, so
//! that it can serve on when its file is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};

use super::{Grant, Right};
use pinhole_ground::guard::Guard;
use pinhole_ground::data_dir;

/// Where grants are, in the data folder.
const FOLDER: &str = "grants";
/// How a grant is written, as a number.
const VERSION: u32 = 1;
/// Length of a grant's file, in bytes: what an engine may declare at most, twice.
const MAX_GRANT_BYTES: u64 = 2 << 20;

/// The folder of grants.
pub struct Grants {
    folder: Dir,
}

/// A grant as its file holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    digest: String,
    file: String,
    allows: BTreeSet<Right>,
    denies: BTreeSet<Right>,
}

impl Grants {
    /// Opens the folder in the data folder, for its owner alone.
    pub fn open(data: &Path) -> Result<Self> {
        let folder = data_dir::create_in(&data_dir::create(data)?, FOLDER)?;
        Ok(Self { folder })
    }

    /// The grant of an engine; `None` where it has none yet.
    ///
    /// The error says what is wrong with its file and what to do: nothing is granted then.
    pub fn of(&self, engine: &str) -> Result<Option<Grant>, String> {
        match self.read(engine) {
            Err(why) if Guard::GrantReadable.holds() => Err(format!(
                "has a grant that cannot be read ({FOLDER}/{engine}.json in the data folder: {why}): restore that file, or remove it to grant the engine anew"
            )),
            Err(_) => Ok(None),
            Ok(grant) => Ok(grant),
        }
    }

    fn read(&self, engine: &str) -> Result<Option<Grant>, String> {
        let name = named(engine);
        if !self.folder.exists(&name) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = self.folder.open(&name).map_err(|error| error.to_string())?;
        let read = file.take(MAX_GRANT_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_GRANT_BYTES {
            return Err(format!("it has more than {MAX_GRANT_BYTES} bytes"));
        }
        let written: Written = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let is_digest = written.digest.len() == 64
            && written.digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        match (written.version == VERSION, is_digest) {
            (true, true) => Ok(Some(Grant {
                digest: written.digest,
                file: written.file,
                allows: written.allows,
                denies: written.denies,
            })),
            (false, _) => Err(format!(
                "its version is {}, and this host reads {VERSION}",
                written.version
            )),
            (_, false) => Err("its digest is none".to_owned()),
        }
    }

    /// All grants that can be read, by engine.
    pub fn all(&self) -> Result<BTreeMap<String, Grant>> {
        let mut grants = BTreeMap::new();
        for name in self.names()? {
            if let Some(engine) = name.strip_suffix(".json")
                && let Ok(Some(grant)) = self.read(engine)
            {
                grants.insert(engine.to_owned(), grant);
            }
        }
        Ok(grants)
    }

    /// Writes an engine's grant in one step.
    pub fn save(&self, engine: &str, grant: &Grant) -> Result<(), String> {
        let written = Written {
            version: VERSION,
            digest: grant.digest.clone(),
            file: grant.file.clone(),
            allows: grant.allows.clone(),
            denies: grant.denies.clone(),
        };
        let kept = serde_json::to_vec_pretty(&written)
            .map_err(std::io::Error::from)
            .and_then(|text| data_dir::write_whole(&self.folder, &named(engine), &text));
        kept.map_err(|error| format!("cannot be granted anything: {FOLDER}/{engine}.json in the data folder cannot be written: {error}"))
    }

    /// Is there a copy of the component with this digest?
    #[must_use]
    pub fn has_copy(&self, digest: &str) -> bool {
        self.folder.exists(copy(digest))
    }

    /// Keeps a copy of a component.
    pub fn keep_copy(&self, digest: &str, bytes: &[u8]) -> Result<(), String> {
        data_dir::write_whole(&self.folder, &copy(digest), bytes)
            .map_err(|error| format!("cannot be granted anything: no copy of it can be kept in {FOLDER} in the data folder: {error}"))
    }

    /// The folder, and the name in it of the copy with this digest.
    #[must_use]
    pub fn copy(&self, digest: &str) -> (&Dir, String) {
        (&self.folder, copy(digest))
    }

    /// Removes the copies that no grant names. Where a grant cannot be read, all stay.
    pub fn sweep(&self) -> Result<()> {
        let names = self.names()?;
        let grants = self.all()?;
        let engines = names.iter().filter(|name| name.ends_with(".json")).count();
        if engines > grants.len() {
            return Ok(());
        }
        let named: BTreeSet<_> = grants.values().map(|grant| copy(&grant.digest)).collect();
        for name in names {
            if name.ends_with(".wasm") && !named.contains(&name) {
                self.folder
                    .remove_file(&name)
                    .with_context(|| format!("cannot remove {FOLDER}/{name} in the data folder"))?;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        let named = || format!("cannot read the folder {FOLDER} in the data folder");
        let mut names = Vec::new();
        for entry in self.folder.entries().with_context(named)? {
            let name = entry.with_context(named)?.file_name();
            // What is no UTF-8 is nothing that we wrote; what begins with a dot is half written.
            names.extend(
                name.to_str()
                    .filter(|name| !name.starts_with('.'))
                    .map(str::to_owned),
            );
        }
        Ok(names)
    }
}

fn named(engine: &str) -> String {
    format!("{engine}.json")
}

fn copy(digest: &str) -> String {
    format!("{digest}.wasm")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> (tempfile::TempDir, Grants) {
        let data = tempfile::tempdir().unwrap();
        let grants = Grants::open(data.path()).unwrap();
        (data, grants)
    }

    fn grant(digest: char) -> Grant {
        let request = super::super::Allowed::parse("POST /x/").unwrap();
        let upstream = "api".to_owned();
        Grant {
            digest: digest.to_string().repeat(64),
            file: "draw.wasm".into(),
            allows: [Right::Request { upstream, request }].into(),
            denies: BTreeSet::new(),
        }
    }

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let (_data, grants) = grants();
        assert_eq!(grants.of("draw"), Ok(None));
        grants.save("draw", &grant('a')).unwrap();
        assert_eq!(grants.of("draw"), Ok(Some(grant('a'))));
        assert_eq!(grants.all().unwrap().len(), 1);
    }

    #[test]
    fn a_grant_that_is_not_as_it_was_written_grants_nothing() {
        let (_data, grants) = grants();
        grants.save("draw", &grant('a')).unwrap();
        let good = grants.folder.read_to_string("draw.json").unwrap();
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
            ("aaaa", "../a", "its digest is none"),
            ("}", "", "expected `,` or `}`"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            grants.folder.write("draw.json", bad).unwrap();
            let why = grants.of("draw").unwrap_err();
            assert!(why.contains(gist) && why.contains("draw.json"), "{why}");
        }
        let long = " ".repeat(MAX_GRANT_BYTES as usize + 1);
        grants.folder.write("draw.json", long).unwrap();
        assert!(grants.of("draw").unwrap_err().contains("more than"));
    }

    #[test]
    fn copies_that_no_grant_names_are_removed() {
        let (_data, grants) = grants();
        let [old, new] = ["a", "b"].map(|digit| digit.repeat(64));
        grants.keep_copy(&old, b"old").unwrap();
        grants.keep_copy(&new, b"new").unwrap();
        grants.folder.write("broken.json", "{").unwrap();
        grants.save("draw", &grant('b')).unwrap();
        grants.sweep().unwrap();
        assert!(
            grants.has_copy(&old),
            "a grant that cannot be read may name it"
        );
        grants.folder.remove_file("broken.json").unwrap();
        grants.sweep().unwrap();
        assert!(!grants.has_copy(&old) && grants.has_copy(&new));
    }
}
