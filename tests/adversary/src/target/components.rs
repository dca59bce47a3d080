//! Components that are admitted in this process, as a server does when it starts.

use std::path::Path;

use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole::config::Config;
use pinhole::releases::{DirectoryUse, EngineStart, Releases};
use pinhole::store::Store;
use pinhole_ground::audit::AuditLog;
use pinhole_ground::data_dir;
use pinhole_ground::environment::Environment;
use pinhole_images::Decoder;
use pinhole_sandbox::{Compiler, Engines, MAX_COMPONENT_BYTES, RejectedFile};

use super::AttackTarget;

/// Slots of engines that are opened in this process.
const MAX_SLOTS: u32 = 8;

/// Directories, and how their components are compiled and refused.
pub(crate) struct EngineSetup<'a> {
    /// The directory of component files.
    pub(crate) engines: &'a Path,
    pub(crate) data: &'a Path,
    pub(crate) compiler: Compiler,
    pub(crate) audit: AuditLog,
}

impl AttackTarget {
    /// The bytes of a hostile component. The name lacks `.wasm`.
    pub(crate) fn component(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.components.join(name).with_extension("wasm");
        let max_bytes = usize::try_from(MAX_COMPONENT_BYTES)?;
        data_dir::read_whole(&path, max_bytes)
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// How components are compiled in this process.
    pub(crate) fn compiler(&self) -> Compiler {
        self.config.compiler.clone()
    }

    /// Opens engines as a server does when it starts, in this process.
    pub(crate) async fn open_engines(&self, setup: EngineSetup<'_>) -> Result<Engines> {
        Ok(self.open_releases(setup).await?.engines())
    }

    /// Opens the releases of engines as a server does when it starts, in this process.
    pub(crate) async fn open_releases(&self, setup: EngineSetup<'_>) -> Result<Arc<Releases>> {
        let config = Config {
            data: setup.data.to_owned(),
            engines: setup.engines.to_owned(),
            slots: self.config.slots.min(MAX_SLOTS),
            slots_per_user: self.config.slots_per_user.min(MAX_SLOTS),
            compiler: setup.compiler,
            ..Config::new(Environment::default())?
        };
        let store = Store::open(&config.data).await?;
        let decoder = Decoder::default();
        let start =
            EngineStart::new(&config, store, setup.audit, decoder, DirectoryUse::Install).await?;
        start.finish().await
    }

    /// Admits one component in empty directories. Returns the files that are rejected.
    pub(crate) async fn admit(
        &self,
        bytes: &[u8],
        compiler: Compiler,
    ) -> Result<Vec<RejectedFile>> {
        let (engines, data) = (tempfile::tempdir()?, tempfile::tempdir()?);
        data_dir::open(engines.path())?.write("attack.wasm", bytes)?;
        let setup = EngineSetup {
            engines: engines.path(),
            data: data.path(),
            compiler,
            audit: AuditLog::default(),
        };
        let opened = self.open_engines(setup).await?;
        Ok(opened.rejected)
    }
}
