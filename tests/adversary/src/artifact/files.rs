//! Files that are not components, or not files.

use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, ensure};
use pinhole_ground::data_dir;
use pinhole_ground::guard::Guard;
use pinhole_sandbox::{MAX_COMPONENT_BYTES, MAX_FILES};

use super::directory::{
    BadComponent, EngineDirectory, HOSTILE, hostile_variant, require_all_rejected,
};
use super::encoding::MODULE;
use crate::target::{AttackTarget, is_expected_guard};

pub(super) async fn not_a_component(target: &AttackTarget) -> Result<()> {
    let mut noise = vec![0; 100_000];
    getrandom::fill(&mut noise).context("cannot get random numbers")?;
    // Random bytes could start like a component.
    if let Some(first) = noise.first_mut() {
        *first = 0xff;
    }
    let component = |label, bytes, reason| BadComponent {
        label,
        bytes,
        reason,
        guard: Some(Guard::ComponentKind),
    };
    let components = [
        component("random bytes", noise, "is not WebAssembly"),
        component("no bytes", Vec::new(), "is empty"),
        component("text", b"(component)".to_vec(), "is not WebAssembly"),
        component(
            "a program",
            b"\x7fELF\x02\x01\x01".to_vec(),
            "is not WebAssembly",
        ),
        component("a module", MODULE.to_vec(), "is a core module"),
        component(
            "a later version",
            b"\0asm\x0e\0\x01\0".to_vec(),
            "of an unsupported version",
        ),
        component(
            "compiled code",
            compiled_code(target).await?,
            "is not WebAssembly",
        ),
    ];
    require_all_rejected(target, &components).await
}

/// Code that this host has compiled.
async fn compiled_code(target: &AttackTarget) -> Result<Vec<u8>> {
    let directory = EngineDirectory::with_granted(target, "plain").await?;
    let compiled = directory.data_dir("compiled")?;
    for entry in compiled.entries()? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(".cwasm") {
            return Ok(compiled.read(name)?);
        }
    }
    anyhow::bail!("the host stores no compiled code")
}

pub(super) async fn truncated(target: &AttackTarget) -> Result<()> {
    let whole = hostile_variant(target, "plain")?;
    let lengths = (1..16).map(|part| (whole.len() * part / 16).max(9));
    for length in lengths.chain([8, 9, 10, whole.len() - 1]) {
        let bytes = whole
            .get(..length)
            .context("longer than the component")?
            .to_vec();
        // The first eight bytes are a valid, empty component.
        let reason = match length {
            8 => "does not export",
            _ => "is not a valid component",
        };
        let component = BadComponent {
            label: "truncated",
            bytes,
            reason,
            guard: None,
        };
        require_all_rejected(target, &[component]).await?;
    }
    Ok(())
}

pub(super) async fn too_long(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::new(target)?;
    let file = directory.dir()?.create("attack.wasm")?;
    file.set_len(MAX_COMPONENT_BYTES + 1)?;
    directory
        .require_attack_rejected("a component may have", Some(Guard::ComponentBytes))
        .await
}

pub(super) async fn not_a_file(target: &AttackTarget) -> Result<()> {
    let outside = tempfile::tempdir()?;
    let component = hostile_variant(target, "plain")?;
    data_dir::open(outside.path())?.write("out.wasm", component)?;
    let links = [
        outside.path().join("out.wasm"),
        "../out.wasm".into(),
        "attack.wasm".into(),
        "nowhere".into(),
        "/dev/zero".into(),
    ];
    for link in links {
        let directory = EngineDirectory::new(target)?;
        directory.dir()?.symlink_contents(&link, "attack.wasm")?;
        directory
            .require_attack_rejected("cannot be read", None)
            .await
            .with_context(|| format!("a link to {}", link.display()))?;
    }

    let guard = Some(Guard::RegularFile);
    let with_directory = EngineDirectory::new(target)?;
    with_directory.dir()?.create_dir("attack.wasm")?;
    with_directory
        .require_attack_rejected("is not a file", guard)
        .await
        .context("a directory")?;

    let with_socket = EngineDirectory::new(target)?;
    let _socket = UnixListener::bind(with_socket.engines.path().join("attack.wasm"))?;
    with_socket
        .require_attack_rejected("is not a file", guard)
        .await
        .context("a socket")
}

pub(super) async fn forged_name(target: &AttackTarget) -> Result<()> {
    let component = hostile_variant(target, "plain")?;
    for name in [
        "x\nengine file hostile.wasm is admitted.wasm",
        "\u{1b}[2Jx.wasm",
        "x\u{202e}.wasm",
        "\u{fb01}le.wasm",
    ] {
        let directory = EngineDirectory::new(target)?;
        directory.write(name, &component)?;
        let engines = directory.open().await?;
        let [rejected] = engines.rejected.as_slice() else {
            anyhow::bail!("a file with the name {name:?} is admitted");
        };
        let is_forgery = |c: char| c.is_control() || c == '\u{202e}';
        ensure!(
            !rejected.file.contains(is_forgery)
                && is_expected_guard(rejected.guard.map(Guard::name), &[Guard::FileNames]),
            "the file is rejected as {rejected:?}"
        );
    }
    Ok(())
}

pub(super) async fn hidden(target: &AttackTarget) -> Result<()> {
    let component = hostile_variant(target, "plain")?;
    for name in [".hostile.wasm", "~hostile.wasm", "hostile.part.wasm"] {
        let directory = EngineDirectory::new(target)?;
        directory.write(name, &component)?;
        let engines = directory.open().await?;
        ensure!(
            engines.admitted().next().is_none(),
            "{name} is admitted as an engine"
        );
        ensure!(
            engines.rejected.is_empty(),
            "{name} is reported as a component"
        );
    }
    Ok(())
}

pub(super) async fn too_many(target: &AttackTarget) -> Result<()> {
    let directory = EngineDirectory::new(target)?;
    for number in 0..MAX_FILES {
        directory.write(&format!("a{number:03}.wasm"), MODULE)?;
    }
    directory.write_hostile("plain")?;
    let engines = directory.open().await?;
    ensure!(
        engines.admitted().next().is_none(),
        "the last of {} files is admitted",
        MAX_FILES + 1
    );
    let mut rejected = engines.rejected.iter();
    ensure!(
        rejected.any(|it| it.file == HOSTILE
            && it.reason.contains("exceeds the limit of")
            && is_expected_guard(it.guard.map(Guard::name), &[Guard::FileCount])),
        "the last of {} files is not rejected because of the limit",
        MAX_FILES + 1
    );
    Ok(())
}
