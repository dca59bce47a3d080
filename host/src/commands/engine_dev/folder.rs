//! The folder of an engine: its build script, what is built, and its changes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::{Dir, DirEntry, MetadataExt};
use pinhole_ground::data_dir;
use tokio::time::sleep;

/// The script that builds the engine.
const BUILD_SCRIPT: &str = "build.sh";
/// The directory that it writes the component to.
const BUILD_DIRECTORY: &str = "build";
/// The directory of cases, with a subdirectory for each engine.
const CASES: &str = "cases";
/// Directories of what is built or installed. Names that begin with a dot are ignored too.
const IGNORED: [&str; 5] = [
    BUILD_DIRECTORY,
    "__pycache__",
    "dist",
    "node_modules",
    "target",
];
/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_millis(300);
/// Files that are looked at, and directories in each other.
const MAX_FILES: usize = 20_000;
const MAX_DEPTH: usize = 32;
/// The first bytes of a component; a core module has others.
const COMPONENT_MAGIC: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// The folder of an engine.
pub(super) struct EngineFolder {
    path: PathBuf,
    directory: Arc<Dir>,
}

/// The files of the folder at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FolderState(BTreeMap<PathBuf, FileStamp>);

/// What differs after a write to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    seconds: i64,
    nanoseconds: i64,
    length: u64,
    inode: u64,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Only cases.
    Cases,
    Source,
}

impl EngineFolder {
    /// The error says what to do.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let directory =
            data_dir::open(path).map_err(|error| format!("cannot open folder {shown}: {error}"))?;
        if !directory.is_file(BUILD_SCRIPT) {
            return Err(format!(
                "{shown} is not the folder of an engine, because it has no {BUILD_SCRIPT}: name that folder, or write a \
                 {BUILD_SCRIPT} that writes the component to {BUILD_DIRECTORY}/NAME.wasm"
            ));
        }
        Ok(Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            directory: Arc::new(directory),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn build_script(&self) -> PathBuf {
        self.path.join(BUILD_SCRIPT)
    }

    pub(super) fn build_directory(&self) -> PathBuf {
        self.path.join(BUILD_DIRECTORY)
    }

    /// The directory of cases, if it has some of this engine.
    pub(super) fn cases(&self, engine: &str) -> Option<PathBuf> {
        let cases = Path::new(CASES);
        let has_cases = self.directory.is_dir(cases.join(engine));
        has_cases.then(|| self.path.join(cases))
    }

    /// The component that was built last. The error is a clause.
    pub(super) fn newest_component(&self) -> Result<PathBuf, String> {
        let missing = || {
            format!("{BUILD_SCRIPT} wrote no component: it must write {BUILD_DIRECTORY}/NAME.wasm")
        };
        let build = self.directory.open_dir(BUILD_DIRECTORY);
        let build = build.map_err(|_| missing())?;
        let entries = build.entries().map_err(|_| missing())?;
        let components = entries.flatten().filter(is_component);
        let newest = components.max_by_key(|entry| entry.metadata().map(|it| stamp(&it)).ok());
        let newest = newest.ok_or_else(missing)?;
        Ok(self.build_directory().join(newest.file_name()))
    }

    pub(super) fn state(&self) -> FolderState {
        read_state(&self.directory)
    }

    /// Waits until the folder differs from this state. Returns its new state.
    pub(super) async fn wait_for_change(&self, before: &FolderState) -> (FolderState, Change) {
        loop {
            sleep(INTERVAL).await;
            let directory = self.directory.clone();
            let read = tokio::task::spawn_blocking(move || read_state(&directory));
            let Ok(now) = read.await else {
                continue;
            };
            if let Some(change) = before.change_to(&now) {
                return (now, change);
            }
        }
    }
}

impl FolderState {
    /// How the folder changed; `None` if it did not.
    fn change_to(&self, later: &Self) -> Option<Change> {
        let is_same = |path: &PathBuf| self.0.get(path) == later.0.get(path);
        let changed = self.0.keys().chain(later.0.keys());
        let mut changed = changed.filter(|path| !is_same(path)).peekable();
        changed.peek()?;
        let are_cases = changed.all(|path| path.starts_with(CASES));
        Some(if are_cases {
            Change::Cases
        } else {
            Change::Source
        })
    }
}

impl FileStamp {
    const fn order(self) -> (i64, i64) {
        (self.seconds, self.nanoseconds)
    }
}

impl PartialOrd for FileStamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// By time.
impl Ord for FileStamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

fn stamp(metadata: &cap_std::fs::Metadata) -> FileStamp {
    FileStamp {
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
        length: metadata.len(),
        inode: metadata.ino(),
    }
}

fn is_component(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    if Path::new(&name).extension() != Some(OsStr::new("wasm")) {
        return false;
    }
    let mut magic = [0; COMPONENT_MAGIC.len()];
    let read = entry
        .open()
        .and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == COMPONENT_MAGIC
}

fn read_state(directory: &Dir) -> FolderState {
    let mut files = BTreeMap::new();
    add_files(directory, Path::new(""), 0, &mut files);
    FolderState(files)
}

/// Adds the files of a directory. What cannot be read counts as missing.
fn add_files(directory: &Dir, path: &Path, depth: usize, files: &mut BTreeMap<PathBuf, FileStamp>) {
    let Ok(entries) = directory.entries() else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ignored = name.as_encoded_bytes().starts_with(b".")
            || IGNORED.iter().any(|ignored| name == *ignored);
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if is_ignored || files.len() >= MAX_FILES {
            continue;
        }
        let inner = path.join(&name);
        if kind.is_dir() {
            if let Ok(subdirectory) = entry.open_dir()
                && depth < MAX_DEPTH
            {
                add_files(&subdirectory, &inner, depth + 1, files);
            }
        } else if let Ok(metadata) = entry.metadata() {
            files.insert(inner, stamp(&metadata));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, EngineFolder) {
        let root = tempfile::tempdir().unwrap();
        let directory = data_dir::open(root.path()).unwrap();
        for name in ["cases/draw/A1", "src", "build", "target", ".git"] {
            directory.create_dir_all(name).unwrap();
        }
        directory.write(BUILD_SCRIPT, "").unwrap();
        directory.write("src/lib.rs", "1").unwrap();
        let folder = EngineFolder::open(root.path()).unwrap();
        (root, folder)
    }

    #[test]
    fn folder_without_build_script_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let message = EngineFolder::open(root.path()).err().unwrap();
        assert!(message.contains("has no build.sh: name that"), "{message}");
        let missing = EngineFolder::open(&root.path().join("x")).err().unwrap();
        assert!(missing.starts_with("cannot open folder "), "{missing}");
    }

    #[test]
    fn change_is_of_cases_or_of_the_source() {
        let (_root, folder) = folder();
        let before = folder.state();
        let change = |path: &str, expected: Option<Change>| {
            folder.directory.write(path, path).unwrap();
            assert_eq!(before.change_to(&folder.state()), expected, "{path}");
        };
        change("build/draw.wasm", None);
        change("target/x", None);
        change(".git/index", None);
        change("cases/draw/A1/case.json", Some(Change::Cases));
        change("src/new.rs", Some(Change::Source));
        let later = folder.state();
        folder.directory.remove_file("src/lib.rs").unwrap();
        assert_eq!(later.change_to(&folder.state()), Some(Change::Source));
    }

    #[test]
    fn newest_component_is_no_core_module() {
        let (_root, folder) = folder();
        assert!(folder.newest_component().is_err());
        let write = |name: &str, bytes: &[u8]| {
            let path = format!("{BUILD_DIRECTORY}/{name}");
            folder.directory.write(path, bytes).unwrap();
        };
        write("draw.wasm", &COMPONENT_MAGIC);
        write("core.wasm", b"\0asm\x01\0\0\0");
        write("notes.txt", &COMPONENT_MAGIC);
        let newest = folder.newest_component().unwrap();
        assert_eq!(newest.file_name(), Some(OsStr::new("draw.wasm")));
    }
}
