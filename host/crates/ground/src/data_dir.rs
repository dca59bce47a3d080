//! Opens the folders a process works in. Everything else reads and writes through what it opens.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};

/// Opens a folder that exists.
pub fn open(path: &Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Opens a folder to write to, making it, for the owner alone, where it is missing. One that is
/// there keeps its permissions.
///
/// Fails, naming the folder, when it cannot be made, entered or written to.
pub fn create(path: &Path) -> Result<Dir> {
    let named = || format!("cannot use folder {}", path.display());
    let folder = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Dir::create_ambient_dir_all(path, ambient_authority()).with_context(named)?;
            let folder = open(path).with_context(named)?;
            own(&folder).with_context(named)?;
            folder
        }
        opened => opened.with_context(named)?,
    };
    probe(&folder).with_context(named)?;
    Ok(folder)
}

/// Opens a folder inside another, making it where it is missing, for the owner alone.
pub fn create_in(parent: &Dir, name: &str) -> Result<Dir> {
    let named = || format!("cannot use folder {name}");
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true);
    parent.create_dir_with(name, &builder).with_context(named)?;
    let folder = parent.open_dir(name).with_context(named)?;
    own(&folder).with_context(named)?;
    Ok(folder)
}

/// Writes a whole file in one step: nobody ever sees half of it.
pub fn write_whole(folder: &Dir, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
    let written = folder
        .write(&unfinished, bytes)
        .and_then(|()| folder.rename(&unfinished, folder, name));
    if written.is_err() {
        // The failure is what matters; a leftover is swept by nobody but harms nobody.
        folder.remove_file(&unfinished).ok();
    }
    written
}

/// Reads a file of any folder, at most `max_bytes` and one more, which shows that it is longer.
pub fn read_whole(path: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().context("it is no file")?;
    let file = open(parent.unwrap_or(Path::new(".")))?.open(name)?;
    let mut bytes = Vec::new();
    let most = (max_bytes as u64).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A random key in a file for its owner alone, made where there is none yet.
///
/// Fails, naming the file, where it has another length.
pub(crate) fn key_in(folder: &Dir, name: &str, bytes: usize) -> Result<Vec<u8>> {
    if !folder.exists(name) {
        make_key(folder, name, bytes)?;
    }
    let key = folder.read(name)?;
    ensure!(
        key.len() == bytes,
        "the file {name} has not {bytes} bytes: remove it, and another is made"
    );
    Ok(key)
}

/// Written whole and then linked: of two processes that start at once, both use the first's.
fn make_key(folder: &Dir, name: &str, bytes: usize) -> Result<()> {
    let mut key = vec![0; bytes];
    getrandom::fill(&mut key).context("no random numbers for a key")?;
    let unfinished = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    std::io::Write::write_all(&mut folder.open_with(&unfinished, &options)?, &key)?;
    let linked = folder.hard_link(&unfinished, folder, name);
    folder.remove_file(&unfinished)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn own(folder: &Dir) -> std::io::Result<()> {
    use cap_std::fs::{Permissions, PermissionsExt};
    folder.set_permissions(".", Permissions::from_mode(0o700))
}

/// Is there room, and may we write?
fn probe(folder: &Dir) -> std::io::Result<()> {
    // A name of its own: two processes may look at the same time.
    let name = format!(".probe.{}", uuid::Uuid::new_v4().simple());
    write_whole(folder, &name, &[0; 4096])?;
    folder.remove_file(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        use cap_std::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let data = open(folder.path()).unwrap();
        let key = key_in(&data, "a-key", 32).unwrap();
        assert_eq!(key.len(), 32);
        assert_eq!(key_in(&data, "a-key", 32).unwrap(), key);
        make_key(&data, "a-key", 32).unwrap();
        assert_eq!(key_in(&data, "a-key", 32).unwrap(), key);
        let mode = data.metadata("a-key").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(data.entries().unwrap().count(), 1);
        data.write("a-key", "short").unwrap();
        let error = key_in(&data, "a-key", 32).unwrap_err().to_string();
        assert!(error.contains("a-key"), "{error}");
    }
}
