//! Compiled code, kept between starts: by digest and engine configuration, authenticated.
//!
//! Wasmtime trusts compiled code blindly, so nothing is loaded that this host has not written: the
//! folder is its owner's alone, and each file has a MAC under a key that lies beside it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Precompiled};

use pinhole_ground::guard::Guard;
use pinhole_ground::data_dir;

const FOLDER: &str = "compiled";
const KEY_FILE: &str = "key";
/// The block size of SHA-256, which is what an HMAC key is padded to.
const KEY_BYTES: usize = 64;

/// The folder of compiled components.
pub(super) struct Compiled {
    path: PathBuf,
    folder: Dir,
    key: [u8; KEY_BYTES],
}

impl Compiled {
    /// Opens the folder, with a new key where it has none that can be used.
    pub(super) fn open(data: &Path) -> Result<Self> {
        let path = data.join(FOLDER);
        let folder = data_dir::create_in(&data_dir::create(data)?, FOLDER)?;
        let read = || data_dir::read_or_create_key(&folder, KEY_FILE, KEY_BYTES);
        let key = read().or_else(|_| {
            // Nothing is lost with it but the time to compile.
            folder.remove_file(KEY_FILE)?;
            read()
        });
        let key = key.with_context(|| format!("cannot use the key in {}", path.display()))?;
        let key = *key.as_array().context("a key that was just measured")?;
        Ok(Self { path, folder, key })
    }

    /// The code of a component that an engine of this configuration compiled before.
    ///
    /// `None` when there is none, and when it was changed: then it is compiled anew.
    pub(super) fn load(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let (code, mac) = names(engine, digest);
        let expected = self.folder.read(&mac).ok()?;
        let bytes = self.folder.read(&code).ok()?;
        let is_ours = self.mac(&code, &bytes).verify_slice(&expected).is_ok();
        if !is_ours && Guard::CompiledMac.holds() {
            tracing::warn!("compiled code {code} is not what this host wrote: compiling it anew");
            return None;
        }
        drop(bytes);
        let path = self.path.join(&code);
        if !matches!(
            Engine::detect_precompiled_file(&path),
            Ok(Some(Precompiled::Component))
        ) {
            return None;
        }
        #[expect(
            unsafe_code,
            reason = "the MAC just proved that this host wrote the file"
        )]
        let component = unsafe { Component::deserialize_file(engine, &path) };
        component.ok()
    }

    /// Keeps code that was just compiled for the next start, and loads it. Where it cannot be kept it
    /// costs only time, so that is logged; the error is why it cannot be loaded.
    pub(super) fn keep(
        &self,
        engine: &Engine,
        digest: &str,
        compiled: &[u8],
    ) -> wasmtime::Result<Component> {
        let (code, mac) = names(engine, digest);
        let written = data_dir::write_whole(&self.folder, &code, compiled).and_then(|()| {
            let tag = self.mac(&code, compiled).finalize().into_bytes();
            data_dir::write_whole(&self.folder, &mac, &tag)
        });
        if let Err(error) = written {
            tracing::warn!(
                "cannot keep compiled code in {}: {error}",
                self.path.display()
            );
        } else if let Some(component) = self.load(engine, digest) {
            return Ok(component);
        }
        #[expect(
            unsafe_code,
            reason = "the bytes come from our own program, which has just compiled them"
        )]
        let component = unsafe { Component::deserialize(engine, compiled) };
        component
    }

    /// Over the name too, so that one component's code cannot stand in for another's.
    fn mac(&self, name: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(bytes);
        mac
    }
}

/// The names of the code's file and of its MAC's.
fn names(engine: &Engine, digest: &str) -> (String, String) {
    let mut hash = Configuration(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hash);
    let configuration = pinhole_ground::text::hex(&hash.0.finalize());
    let configuration = configuration.get(..16).unwrap_or_default();
    let stem = format!("{digest}-{configuration}");
    (format!("{stem}.cwasm"), format!("{stem}.mac"))
}

/// Collects what a `Hash` writes; only the digest at the end matters.
struct Configuration(Sha256);

impl std::hash::Hasher for Configuration {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
