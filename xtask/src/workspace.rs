//! Where the repository and its `target` folder are; cargo, run there.

use std::ffi::OsString;
use std::path::{Display, Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The folders that every command works in. Both paths are absolute.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// `target`, or where cargo's configuration (`CARGO_TARGET_DIR`) puts it.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the current folder.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(cargo_program())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("cargo metadata failed: {}", said.trim());
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata gave no JSON")?;
        let folder = |pointer: &str| {
            let path = metadata.pointer(pointer).and_then(Value::as_str);
            let path = path.with_context(|| format!("cargo metadata has no {pointer}"))?;
            anyhow::Ok(PathBuf::from(path))
        };
        Ok(Self {
            root: folder("/workspace_root")?,
            target: folder("/target_directory")?,
        })
    }

    /// Where the components that ship with Pinhole are put.
    pub(crate) fn engines(&self) -> PathBuf {
        self.target.join("engines")
    }

    /// Where the components are put that only tests run.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The server.
    pub(crate) fn program(&self) -> PathBuf {
        self.program_in("debug")
    }

    /// The same as it ships.
    pub(crate) fn optimised_program(&self) -> PathBuf {
        self.program_in("release")
    }

    fn program_in(&self, profile: &str) -> PathBuf {
        let program = format!("pinhole{}", std::env::consts::EXE_SUFFIX);
        self.target.join(profile).join(program)
    }

    /// A cargo command at the root of the repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut cargo = Command::new(cargo_program());
        cargo.current_dir(&self.root).args(arguments);
        // What cargo told us of ourselves: build scripts that look at it would run again each time
        // that cargo is started by us and not by a person.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&name);
            }
        }
        cargo
    }

    /// Runs a cargo command whose own messages say why it failed; ours names what it was for.
    pub(crate) fn build(&self, what: &str, arguments: &[&str]) -> Result<()> {
        let status = self
            .cargo(arguments)
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("{what} did not build: cargo's message above says why");
        }
        Ok(())
    }

    /// The path from the root of the repository, where it lies in there; never empty.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        match path.strip_prefix(&self.root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside,
            _ => path,
        }
    }

    /// The same for a message.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> Display<'a> {
        self.relative(path).display()
    }
}

/// The exit code of a child, as our own; 1 when a signal ended it.
pub(crate) fn as_exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The cargo that runs us, so that an override such as `cargo +beta xtask` holds on.
fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
