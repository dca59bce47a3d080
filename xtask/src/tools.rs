//! The programs of others that xtask starts: installed once, into `tools` in the target directory.
//!
//! `xtask/tools/NAME.txt` pins a version and the digests of its PyPI packages, which contain the
//! built program. Without pip, a program in `PATH` is used, in whatever version. Without either,
//! `cargo install` compiles the pinned version.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::announce;
use crate::workspace::Workspace;

pub(crate) struct Tool {
    program: &'static str,
    /// The package on crates.io.
    package: &'static str,
}

pub(crate) const CARGO_DENY: Tool = Tool {
    program: "cargo-deny",
    package: "cargo-deny",
};
pub(crate) const CARGO_FUZZ: Tool = Tool {
    program: "cargo-fuzz",
    package: "cargo-fuzz",
};
pub(crate) const CARGO_NEXTEST: Tool = Tool {
    program: "cargo-nextest",
    package: "cargo-nextest",
};
pub(crate) const TYPOS: Tool = Tool {
    program: "typos",
    package: "typos-cli",
};

impl Tool {
    /// The path of the program, which is installed if it is missing.
    pub(crate) fn ensure_installed(&self, workspace: &Workspace) -> Result<PathBuf> {
        let name = self.program;
        let requirements = workspace
            .root
            .join("xtask/tools")
            .join(name)
            .with_extension("txt");
        let directory = workspace.target.join("tools").join(name);
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        let program = directory.join("bin").join(file);
        if !program.exists() {
            announce(&format!("installing {name}"));
        }
        let mut pip = packages::pip_install(&requirements, &directory);
        pip.args(["--only-binary=:all:", "--require-hashes"]);
        let package_lists = [requirements.clone()];
        if packages::install(pip, &package_lists, &directory)? {
            return Ok(program);
        }
        if packages::is_installed(name) {
            announce(&format!("cannot install {name}: using the one in PATH"));
            return Ok(name.into());
        }
        let version = pinned_version(workspace, &requirements)?;
        if self.compile(workspace, &version, &directory).is_ok() {
            packages::mark_installed(&package_lists, &directory)?;
            return Ok(program);
        }
        bail!("cannot install {name} {version}: connect to a network, or put {name} in PATH")
    }

    /// Compiles the program with few optimizations: it runs for seconds only.
    fn compile(&self, workspace: &Workspace, version: &str, directory: &Path) -> Result<()> {
        announce(&format!("compiling {} (some minutes)", self.program));
        let status = workspace
            .cargo(&["install", "--locked", "--quiet", self.package])
            .args(["--version", version, "--root"])
            .arg(directory)
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .status()
            .context("cannot start cargo")?;
        if !status.success() {
            bail!("cargo install {} failed", self.package);
        }
        Ok(())
    }
}

fn pinned_version(workspace: &Workspace, requirements: &Path) -> Result<String> {
    let text = fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", workspace.display(requirements)))?;
    let version = parse_version(&text);
    version.with_context(|| format!("{} pins no version", workspace.display(requirements)))
}

/// The version in `name==version \`.
fn parse_version(requirements: &str) -> Option<String> {
    let (_, rest) = requirements.lines().next()?.split_once("==")?;
    Some(rest.trim_end_matches(['\\', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_parsed_from_requirements() {
        let requirements = "some-tool==0.9.148 \\\n    --hash=sha256:00\n";
        assert_eq!(parse_version(requirements).as_deref(), Some("0.9.148"));
        assert_eq!(parse_version("some-tool\n"), None);
    }
}
