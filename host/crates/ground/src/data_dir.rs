//! Opens the directories of a process. All other code reads and writes through the handles opened here.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use cap_std::ambient_authority;
use cap_std::fs::{
    Dir, DirBuilder, DirBuilderExt, MetadataExt, OpenOptions, OpenOptionsExt, Permissions,
    PermissionsExt,
};

use crate::guard::Guard;

/// The file that a server locks. It contains the id of the last server's process.
const LOCK_FILE: &str = "server.lock";
/// Length of a process id in bytes.
const MAX_ID_BYTES: u64 = 20;
/// The mode of a file that only its owner can access.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIRECTORY: u32 = 0o700;
/// The mode bits of the group and of all other users.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// The directories that the server creates in its data directory.
const OWN_DIRECTORIES: [&str; 4] = ["compiled", "components", "files", "spool"];

/// A lock on a file. Dropping it, or the end of the process, unlocks it.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

use crate::ballast::Ballast;
use crate::disk;

/// Opens an existing directory.
pub fn open(path: &Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(path, ambient_authority())
}

/// Is one directory the other, or inside it? Symbolic links are followed.
pub fn contains(outer: &Path, inner: &Path) -> std::io::Result<bool> {
    Ok(inner.canonicalize()?.starts_with(outer.canonicalize()?))
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
    builder.mode(PRIVATE_DIRECTORY).recursive(true);
    parent
        .create_dir_with(name, &builder)
        .with_context(context)?;
    let dir = parent.open_dir(name).with_context(context)?;
    restrict_to_owner(&dir).with_context(context)?;
    Ok(dir)
}

/// Locks the data directory for one server.
///
/// Fails, with the id of its process, if another server has locked it.
pub fn lock(dir: &Dir) -> Result<DataLock> {
    let mut options = private_file();
    options.read(true).write(true).create(true);
    let file = dir
        .open_with(LOCK_FILE, &options)
        .with_context(|| format!("cannot open {LOCK_FILE}"))?;
    let mut file = file.into_std();
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut id = String::new();
            (&file).take(MAX_ID_BYTES).read_to_string(&mut id).ok();
            Guard::DataLock.refuse_if(true, || {
                let id = id.trim();
                format!("another server (process {id}) uses it: stop that server, or choose another directory")
            })?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {LOCK_FILE}"));
        }
    }
    file.set_len(0)?;
    write!(file, "{}", std::process::id())?;
    Ok(DataLock { _file: file })
}

/// Waits until no other process holds this lock, and holds it until it is dropped.
pub fn wait_for_lock(dir: &Dir, name: &str) -> std::io::Result<DataLock> {
    let mut options = private_file();
    options.read(true).write(true).create(true);
    let file = dir.open_with(name, &options)?.into_std();
    file.lock()?;
    Ok(DataLock { _file: file })
}

/// The id of the process of the server that has locked the data directory. Changes nothing.
pub fn lock_holder(dir: &Dir) -> Option<String> {
    let file = dir.open(LOCK_FILE).ok()?.into_std();
    let Err(TryLockError::WouldBlock) = file.try_lock() else {
        return None;
    };
    let mut id = String::new();
    (&file).take(MAX_ID_BYTES).read_to_string(&mut id).ok()?;
    Some(id.trim().to_owned())
}

/// Makes the server's own files and directories accessible to their owner only. Returns the names of those
/// that others could access before.
pub fn restrict_entries(dir: &Dir) -> std::io::Result<Vec<String>> {
    let mut restricted = Vec::new();
    for entry in dir.entries()? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let file_name = entry.file_name();
        let name = file_name.to_string_lossy();
        let mode = if metadata.is_file() && is_own_file(&name) {
            PRIVATE_FILE
        } else if metadata.is_dir() && OWN_DIRECTORIES.contains(&&*name) {
            PRIVATE_DIRECTORY
        } else {
            continue;
        };
        let is_open = metadata.mode() & OTHERS != 0;
        if Guard::PrivateFiles.applies(is_open) {
            dir.set_permissions(&file_name, Permissions::from_mode(mode))?;
            restricted.push(name.into_owned());
        }
    }
    restricted.sort();
    Ok(restricted)
}

/// True if other users can add and remove files.
pub fn is_writable_by_others(dir: &Dir) -> std::io::Result<bool> {
    Ok(dir.dir_metadata()?.mode() & OTHERS_WRITE != 0)
}

/// The database and its identity, the version of identities, the keys, the URL of the setup, the audit log, the
/// ballast and the lock.
fn is_own_file(name: &str) -> bool {
    name.starts_with("pinhole.db")
        || name.ends_with("-key")
        || (name.starts_with("audit.") && name.ends_with(".jsonl"))
        || [
            "ballast",
            "database-id",
            "identity-version",
            "setup-url",
            LOCK_FILE,
        ]
        .contains(&name)
}

/// Creates an empty file, accessible to its owner only, if it is missing.
pub fn create_private_file(dir: &Dir, name: &str) -> std::io::Result<()> {
    let mut options = private_file();
    dir.open_with(name, options.append(true).create(true))?;
    Ok(())
}

/// Creates files that are accessible to their owner only.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    if Guard::PrivateFiles.applies(true) {
        options.mode(PRIVATE_FILE);
    }
    options
}

/// Writes a file in one step: no reader ever sees a part of it.
pub fn write_whole(dir: &Dir, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
    let mut options = private_file();
    let written = dir
        .open_with(&temporary, options.write(true).create_new(true))
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| dir.rename(&temporary, dir, name));
    if written.is_err() {
        // The caller reports the first failure.
        dir.remove_file(&temporary).ok();
    }
    written
}

/// True for the name of a file that [`write_whole`] has not completed. A crash leaves it.
#[must_use]
pub fn is_incomplete(name: &str) -> bool {
    name.starts_with('.')
}

/// Reads a file by path: at most `max_bytes` plus one, which shows that the file is longer.
pub fn read_whole(path: &Path, max_bytes: usize) -> Result<Vec<u8>> {
    // A person chose the path, so its links are followed.
    let file = cap_std::fs::File::open_ambient(path, ambient_authority())?;
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
    let mut options = private_file();
    options.write(true).create_new(true);
    dir.open_with(&temporary, &options)?.write_all(&key)?;
    let linked = dir.hard_link(&temporary, dir, name);
    dir.remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

fn restrict_to_owner(dir: &Dir) -> std::io::Result<()> {
    dir.set_permissions(".", Permissions::from_mode(PRIVATE_DIRECTORY))
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

    #[test]
    fn second_lock_names_the_process_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path()).unwrap();
        let first = lock(&data).unwrap();
        let error = lock(&data).unwrap_err().to_string();
        let id = std::process::id();
        assert!(
            error.starts_with(&format!("another server (process {id}) uses it")),
            "{error}"
        );
        drop(first);
        lock(&data).unwrap();
    }

    #[test]
    fn restrict_entries_changes_only_the_files_of_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let data = open(dir.path()).unwrap();
        let open_to_all = |name: &str, mode: u32| {
            let permissions = Permissions::from_mode(mode);
            data.set_permissions(name, permissions).unwrap();
        };
        for file in [
            "identity-version",
            "pinhole.db",
            "pinhole.db-wal",
            "session-key",
            "notes.txt",
        ] {
            data.write(file, "").unwrap();
            open_to_all(file, 0o644);
        }
        for directory in ["files", "engines"] {
            data.create_dir(directory).unwrap();
            open_to_all(directory, 0o755);
        }
        let expected = [
            "files",
            "identity-version",
            "pinhole.db",
            "pinhole.db-wal",
            "session-key",
        ];
        assert_eq!(restrict_entries(&data).unwrap(), expected);
        assert!(restrict_entries(&data).unwrap().is_empty());
        let mode = |name: &str| data.metadata(name).unwrap().mode() & 0o777;
        assert_eq!((mode("files"), mode("pinhole.db")), (0o700, 0o600));
        assert_eq!((mode("engines"), mode("notes.txt")), (0o755, 0o644));
        assert!(!is_writable_by_others(&data).unwrap());
        open_to_all(".", 0o770);
        assert!(is_writable_by_others(&data).unwrap());
    }
}
