//! The repository, its target directory, and the cargo commands that run in it.

use std::ffi::OsString;
use std::path::{Display, Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The directories that every command works in. Both paths are absolute.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// `target`, or the directory that cargo's configuration (`CARGO_TARGET_DIR`) names.
    pub(crate) target: PathBuf,
    /// The packages whose documentation tests are enabled.
    pub(crate) packages_with_doctests: Vec<String>,
}

impl Workspace {
    /// Finds the workspace of the current directory.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(cargo_program())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!("cargo metadata failed: {}", message.trim());
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
        let directory = |pointer: &str| {
            let path = metadata.pointer(pointer).and_then(Value::as_str);
            let path = path.with_context(|| format!("cargo metadata has no {pointer}"))?;
            anyhow::Ok(PathBuf::from(path))
        };
        Ok(Self {
            root: directory("/workspace_root")?,
            target: directory("/target_directory")?,
            packages_with_doctests: packages_with_doctests(&metadata),
        })
    }

    /// The directory of the components that ship with Pinhole.
    pub(crate) fn engines(&self) -> PathBuf {
        self.target.join("engines")
    }

    /// The directory of the components that only tests run.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// The server.
    pub(crate) fn server_program(&self) -> PathBuf {
        self.program("debug", "pinhole")
    }

    /// The server, optimized.
    pub(crate) fn release_server_program(&self) -> PathBuf {
        self.program("release", "pinhole")
    }

    /// The security test suite.
    pub(crate) fn adversary_program(&self) -> PathBuf {
        self.program("debug", "pinhole-adversary")
    }

    fn program(&self, profile: &str, name: &str) -> PathBuf {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.target.join(profile).join(file)
    }

    /// A cargo command at the root of the repository.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        self.cargo_command(Path::new(&cargo_program()), arguments)
    }

    /// A command of cargo or of a cargo plugin at the root of the repository.
    pub(crate) fn cargo_command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).args(arguments);
        // Cargo sets these for xtask. Build scripts that read them would run again each time that
        // xtask, and not a person, starts cargo.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Runs a cargo command that prints its own reason for a failure. `what` is for the error.
    pub(crate) fn build(&self, what: &str, arguments: &[&str]) -> Result<()> {
        let status = self
            .cargo(arguments)
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("cannot build {what}: see cargo's message above");
        }
        Ok(())
    }

    /// The path from the root of the repository if it is in the repository; never empty.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        match path.strip_prefix(&self.root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside,
            _ => path,
        }
    }

    /// The same for a message.
    pub(crate) fn display<'a>(&self, path: &'a Path) -> Display<'a> {
        self.relative(path).display()
    }
}

fn packages_with_doctests(metadata: &Value) -> Vec<String> {
    let has_doctests = |package: &&Value| {
        let targets = package["targets"].as_array();
        targets.is_some_and(|targets| targets.iter().any(|target| target["doctest"] == true))
    };
    let name = |package: &Value| package["name"].as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array();
    packages
        .into_iter()
        .flatten()
        .filter(has_doctests)
        .filter_map(name)
        .collect()
}

/// The exit code of a child process; 1 if a signal killed it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The cargo that runs xtask, so that an override such as `cargo +beta xtask` applies to it too.
fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_with_doctests_are_found() {
        let metadata = json!({ "packages": [
            { "name": "a", "targets": [{ "doctest": false }, { "doctest": true }] },
            { "name": "b", "targets": [{ "doctest": false }] },
        ] });
        assert_eq!(packages_with_doctests(&metadata), ["a"]);
        assert!(packages_with_doctests(&json!({})).is_empty());
    }
}
