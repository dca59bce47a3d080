//! A cache of compiled code in the data directory, by component digest and engine configuration.
//!
//! Wasmtime executes compiled code without validation, so only code that this host wrote must be loaded.
//! The directory belongs to its owner alone, and each file has a MAC under a key in the same directory.
//! The MAC covers the file's name, so that one component's code cannot replace another's.
//!
//! It does not protect against a person who can read the key.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit, Mac};
use pinhole_ground::data_dir;
use pinhole_ground::guard::Guard;
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Precompiled};

const DIRECTORY: &str = "compiled";
const KEY_FILE: &str = "key";
const CODE_SUFFIX: &str = ".cwasm";
/// Length of all code in bytes; the oldest is removed beyond it.
const MAX_STORE_BYTES: u64 = 4 << 30;
/// The block size of SHA-256, to which HMAC pads a key.
const KEY_BYTES: usize = 64;

/// The cache of compiled code.
pub(crate) struct CompiledStore {
    path: PathBuf,
    directory: Dir,
    key: [u8; KEY_BYTES],
}

/// The files of one component's code.
struct FileNames {
    code: String,
    mac: String,
}

impl CompiledStore {
    /// Opens the cache in the data directory. Replaces an unusable key, which empties the cache.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let path = data.join(DIRECTORY);
        let directory = data_dir::create_in(&data_dir::create(data)?, DIRECTORY)?;
        let read_key = || data_dir::read_or_create_key(&directory, KEY_FILE, KEY_BYTES);
        let key = read_key()
            .or_else(|_| {
                directory.remove_file(KEY_FILE)?;
                read_key()
            })
            .with_context(|| format!("cannot use the key in {}", path.display()))?;
        let key = *key.as_array().context("the key has an unexpected length")?;
        Ok(Self {
            path,
            directory,
            key,
        })
    }

    /// Loads a component's code; `None` if it is missing for this configuration, or was changed.
    pub(crate) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let names = FileNames::new(engine, digest);
        let expected = self.directory.read(&names.mac).ok()?;
        let code = self.directory.read(&names.code).ok()?;
        let is_own = self.mac(&names.code, &code).verify_slice(&expected).is_ok();
        if Guard::CompiledMac.applies(!is_own) {
            tracing::warn!(
                "compiled code {} was not written by this host; compiling it again",
                names.code
            );
            return None;
        }
        drop(code);
        let path = self.path.join(&names.code);
        let is_component = matches!(
            Engine::detect_precompiled_file(&path),
            Ok(Some(Precompiled::Component))
        );
        if !is_component {
            return None;
        }
        #[expect(unsafe_code, reason = "the MAC proves that this host wrote the file")]
        let component = unsafe { Component::deserialize_file(engine, &path) };
        component.ok()
    }

    /// Stores new code and loads it. If it cannot be stored, that is logged, because it costs only time at
    /// the next start. Fails if the code cannot be loaded.
    pub(crate) fn save(
        &self,
        engine: &Engine,
        digest: &str,
        code: &[u8],
    ) -> wasmtime::Result<Component> {
        let names = FileNames::new(engine, digest);
        let written = data_dir::write_whole(&self.directory, &names.code, code).and_then(|()| {
            let mac = self.mac(&names.code, code).finalize().into_bytes();
            data_dir::write_whole(&self.directory, &names.mac, &mac)
        });
        self.remove_oldest(&names);
        if let Err(error) = written {
            tracing::warn!(
                "cannot store compiled code in {}: {error}",
                self.path.display()
            );
        } else if let Some(component) = self.load(engine, digest) {
            return Ok(component);
        }
        #[expect(
            unsafe_code,
            reason = "the compiler process has just returned these bytes"
        )]
        let component = unsafe { Component::deserialize(engine, code) };
        component
    }

    /// Removes a component's code of all configurations. Running calls keep theirs.
    pub(crate) fn remove(&self, digest: &str) {
        let Ok(entries) = self.directory.entries() else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_of_digest = name.to_str().is_some_and(|name| name.starts_with(digest));
            if is_of_digest {
                self.directory.remove_file(&name).ok();
            }
        }
    }

    /// Removes the oldest code while there is too much of it, but not this one.
    fn remove_oldest(&self, saved: &FileNames) {
        let Ok(entries) = self.directory.entries() else {
            return;
        };
        let mut codes: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let metadata = entry.metadata().ok()?;
                name.ends_with(CODE_SUFFIX)
                    .then(|| (metadata.modified().ok(), metadata.len(), name))
            })
            .collect();
        codes.sort();
        let mut bytes: u64 = codes.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, name) in codes {
            if bytes <= MAX_STORE_BYTES {
                break;
            }
            if name != saved.code && self.directory.remove_file(&name).is_ok() {
                let stem = name.strip_suffix(CODE_SUFFIX).unwrap_or(&name);
                self.directory.remove_file(format!("{stem}.mac")).ok();
                bytes = bytes.saturating_sub(length);
            }
        }
    }

    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        mac
    }
}

impl FileNames {
    fn new(engine: &Engine, digest: &str) -> Self {
        let mut hasher = ConfigurationHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let hash = hex(&hasher.0.finalize());
        let configuration = hash.get(..16).unwrap_or_default();
        let stem = format!("{digest}-{configuration}");
        Self {
            code: format!("{stem}{CODE_SUFFIX}"),
            mac: format!("{stem}.mac"),
        }
    }
}

/// Collects the bytes of a `Hash` in a digest that is stable between processes.
struct ConfigurationHasher(Sha256);

impl Hasher for ConfigurationHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Unused: the digest is the result.
    fn finish(&self) -> u64 {
        0
    }
}
