//! Files that are no components, or no files.

use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, ensure};

use super::{Folders, HOSTILE, described, is_refused, refused};
use crate::arena::Arena;
use pinhole_sandbox::{MAX_COMPONENT_BYTES, MAX_FILES};

/// A core module that does nothing.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

pub(super) async fn no_component(arena: &Arena) -> Result<()> {
    let mut noise = vec![0; 100_000];
    getrandom::fill(&mut noise).context("no random numbers")?;
    // It could begin like a component by accident.
    if let Some(first) = noise.first_mut() {
        *first = 0xff;
    }
    let files = [
        ("noise", noise, "is not WebAssembly"),
        ("nothing", Vec::new(), "is empty"),
        ("text", b"(component)".to_vec(), "is not WebAssembly"),
        (
            "a program",
            b"\x7fELF\x02\x01\x01".to_vec(),
            "is not WebAssembly",
        ),
        ("a module", MODULE.to_vec(), "is a core module"),
        (
            "a later version",
            b"\0asm\x0e\0\x01\0".to_vec(),
            "of an unsupported version",
        ),
        (
            "compiled code",
            compiled(arena).await?,
            "is not WebAssembly",
        ),
    ];
    refused(arena, &files).await
}

/// What this host itself has compiled, passed off as a component.
async fn compiled(arena: &Arena) -> Result<Vec<u8>> {
    let folders = Folders::granted(arena, "plain").await?;
    let kept = folders.kept("compiled")?;
    for entry in kept.entries()? {
        let name = entry?.file_name();
        if name.to_string_lossy().ends_with(".cwasm") {
            return Ok(kept.read(name)?);
        }
    }
    anyhow::bail!("the host keeps no compiled code")
}

pub(super) async fn truncated(arena: &Arena) -> Result<()> {
    let whole = described(arena, "plain")?;
    let lengths = (1..16).map(|part| (whole.len() * part / 16).max(9));
    for length in lengths.chain([8, 9, 10, whole.len() - 1]) {
        let cut = whole.get(..length).context("longer than the whole")?;
        // Of eight bytes there is a component that does nothing at all.
        let gist = match length {
            8 => "does not export",
            _ => "is not a valid component",
        };
        refused(arena, &[("cut", cut.to_vec(), gist)]).await?;
    }
    Ok(())
}

pub(super) async fn too_long(arena: &Arena) -> Result<()> {
    let folders = Folders::new(arena)?;
    let file = folders.folder()?.create("attack.wasm")?;
    file.set_len(MAX_COMPONENT_BYTES + 1)?;
    is_refused(&folders, "attack.wasm", "a component may have").await
}

pub(super) async fn no_file(arena: &Arena) -> Result<()> {
    let outside = tempfile::tempdir()?;
    let component = described(arena, "plain")?;
    pinhole_ground::data_dir::open(outside.path())?.write("out.wasm", component)?;
    let links = [
        outside.path().join("out.wasm"),
        "../out.wasm".into(),
        "attack.wasm".into(),
        "nowhere".into(),
        "/dev/zero".into(),
    ];
    for target in links {
        let folders = Folders::new(arena)?;
        folders.folder()?.symlink_contents(&target, "attack.wasm")?;
        is_refused(&folders, "attack.wasm", "cannot be read")
            .await
            .with_context(|| format!("a link to {}", target.display()))?;
    }

    let folders = Folders::new(arena)?;
    folders.folder()?.create_dir("attack.wasm")?;
    let a_folder = is_refused(&folders, "attack.wasm", "is not a file").await;
    a_folder.context("a folder")?;

    let folders = Folders::new(arena)?;
    let _socket = UnixListener::bind(folders.engines.path().join("attack.wasm"))?;
    let a_socket = is_refused(&folders, "attack.wasm", "is not a file").await;
    a_socket.context("a socket")
}

pub(super) async fn forged_name(arena: &Arena) -> Result<()> {
    let component = described(arena, "plain")?;
    for name in [
        "x\nengine file hostile.wasm is admitted.wasm",
        "\u{1b}[2Jx.wasm",
        "x\u{202e}.wasm",
        "\u{fb01}le.wasm",
    ] {
        let folders = Folders::new(arena)?;
        folders.put(name, &component)?;
        let engines = folders.open().await?;
        let [refused] = engines.rejected_files() else {
            anyhow::bail!("a file called {name:?} is admitted");
        };
        let seen = |c: char| c.is_control() || c == '\u{202e}';
        ensure!(
            !refused.file.contains(seen),
            "it is shown as {:?}",
            refused.file
        );
    }
    Ok(())
}

pub(super) async fn without_number(arena: &Arena) -> Result<()> {
    let folders = Folders::new(arena)?;
    for number in 0..MAX_FILES {
        folders.put(&format!("a{number:03}.wasm"), MODULE)?;
    }
    folders.put(HOSTILE, &described(arena, "plain")?)?;
    let engines = folders.open().await?;
    ensure!(
        engines.admitted().next().is_none(),
        "the last of {} files is admitted",
        MAX_FILES + 1
    );
    let mut refused = engines.rejected_files().iter();
    ensure!(
        refused.any(|it| it.file == HOSTILE && it.reason.contains("exceeds the limit of")),
        "the last of {} files is not refused for that",
        MAX_FILES + 1
    );
    Ok(())
}
