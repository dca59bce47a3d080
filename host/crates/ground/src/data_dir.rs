//! Opens the directories of a process. All other code reads and writes through the handles opened here.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};

use crate::ballast::Ballast;
use crate::disk;

/// Opens an existing directory.
pub fn open(path: &Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Opens a writable directory. Creates it, accessible to its owner only, if it is missing; the
/// permissions of an existing one stay.
///
/// Fails, with the directory's name, if it cannot be created, opened or written to. A full disk is no
/// failure: what is stored can still be read and removed.
pub fn create(path: &Path) -> Result<Dir> {
    let context = || format!("cannot use directory {}", path.display());
    let dir = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Dir::create_ambient_dir_all(path, ambient_authority()).with_context(context)?;
            let dir = open(path).with_context(context)?;
            restrict_to_owner(&dir).with_context(context)?;
            dir
        }
        opened => opened.with_context(context)?,
    };
    match probe(&dir) {
        Err(error) if disk::is_full(&error) => {
            Ballast::new(dir.try_clone()?)
                .make_room()
                .with_context(context)?;
        }
        probed => probed.with_context(context)?,
    }
    Ok(dir)
}

/// Opens a directory inside another one. Creates it, accessible to its owner only, if it is missing.
pub fn create_in(parent: &Dir, name: &str) -> Result<Dir> {
    let context = || format!("cannot use directory {name}");
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true);
    parent
        .create_dir_with(name, &builder)
        .with_context(context)?;
    let dir = parent.open_dir(name).with_context(context)?;
    restrict_to_owner(&dir).with_context(context)?;
    Ok(dir)
}

/// Writes a file in one step: no reader ever sees a part of it.
pub fn write_whole(dir: &Dir, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
    let written = dir
        .write(&temporary, bytes)
        .and_then(|()| dir.rename(&temporary, dir, name));
    if written.is_err() {
        // The caller reports the first failure. A leftover file is harmless.
        dir.remove_file(&temporary).ok();
    }
    written
}

/// Reads a file by path: at most `max_bytes` plus one, which shows that the file is longer.
pub fn read_whole(path: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let name = path.file_name().context("the path names no file")?;
    let file = open(parent.unwrap_or(Path::new(".")))?.open(name)?;
    let mut bytes = Vec::new();
    let most = (max_bytes as u64).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a random key from a file that only its owner can read. Creates it if it is missing.
///
/// Fails, with the file's name, if the key has another length.
pub fn read_or_create_key(dir: &Dir, name: &str, bytes: usize) -> Result<Vec<u8>> {
    if !dir.exists(name) {
        create_key(dir, name, bytes)?;
    }
    let key = dir.read(name)?;
    ensure!(
        key.len() == bytes,
        "the key file {name} does not have {bytes} bytes: remove it to create a new key"
    );
    Ok(key)
}

/// Writes the key and then links it, so that two processes that start together use the same key.
fn create_key(dir: &Dir, name: &str, bytes: usize) -> Result<()> {
    let mut key = vec![0; bytes];
    getrandom::fill(&mut key).context("cannot get random numbers for a key")?;
    let temporary = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    std::io::Write::write_all(&mut dir.open_with(&temporary, &options)?, &key)?;
    let linked = dir.hard_link(&temporary, dir, name);
    dir.remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn restrict_to_owner(dir: &Dir) -> std::io::Result<()> {
    use cap_std::fs::{Permissions, PermissionsExt};
    dir.set_permissions(".", Permissions::from_mode(0o700))
}

/// Checks that the directory is writable.
fn probe(dir: &Dir) -> std::io::Result<()> {
    // A random name: two processes may probe at the same time.
    let name = format!(".probe.{}", uuid::Uuid::new_v4().simple());
    write_whole(dir, &name, &[0; 4096])?;
    dir.remove_file(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_created_once_and_readable_by_its_owner_only() {
        use cap_std::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path()).unwrap();
        let key = read_or_create_key(&data, "a-key", 32).unwrap();
        assert_eq!(key.len(), 32);
        assert_eq!(read_or_create_key(&data, "a-key", 32).unwrap(), key);
        create_key(&data, "a-key", 32).unwrap();
        assert_eq!(read_or_create_key(&data, "a-key", 32).unwrap(), key);
        let mode = data.metadata("a-key").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(data.entries().unwrap().count(), 1);
        data.write("a-key", "short").unwrap();
        let error = read_or_create_key(&data, "a-key", 32)
            .unwrap_err()
            .to_string();
        assert!(error.contains("a-key"), "{error}");
    }
}
