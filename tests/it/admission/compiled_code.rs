//! The stored code of compiled components.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{admitted_names, assert_generates, component, directory, open};

/// One file of compiled code, as it was written at one time.
#[derive(Debug, PartialEq)]
struct StoredCode {
    inode: u64,
    bytes: Vec<u8>,
}

/// The directory of compiled code in a data directory.
struct CodeDirectory(PathBuf);

impl CodeDirectory {
    fn of(data: &TempDir) -> Self {
        Self(data.path().join("compiled"))
    }

    /// The only file of this component with this ending.
    fn path(&self, component: &str, ending: &str) -> PathBuf {
        let digest = Sha256::digest(self::component(component));
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let reasons: Vec<String> = names
            .filter(|name| name.starts_with(&digest) && name.ends_with(ending))
            .collect();
        let [name] = reasons.as_slice() else {
            panic!("{component}: {reasons:?}");
        };
        self.0.join(name)
    }

    fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    fn code(&self, component: &str) -> StoredCode {
        let path = self.path(component, ".cwasm");
        StoredCode {
            inode: fs::metadata(&path).unwrap().ino(),
            bytes: fs::read(path).unwrap(),
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_private_and_reused_at_the_next_start() {
    let directory = directory(&[("sketch.wasm", &component("sketch.wasm"))]);
    let data = tempfile::tempdir().unwrap();
    open(directory.path(), data.path()).await;
    let code_directory = CodeDirectory::of(&data);
    assert_eq!(mode(&code_directory.0), 0o700);
    assert_eq!(mode(&code_directory.key()), 0o600);
    assert_eq!(fs::read_dir(&code_directory.0).unwrap().count(), 3);
    let (first, key) = (
        code_directory.code("sketch.wasm"),
        fs::read(code_directory.key()).unwrap(),
    );
    code_directory.path("sketch.wasm", ".mac");

    // The server closes a directory that is open to others.
    allow(&code_directory.0, 0o755);
    let again = open(directory.path(), data.path()).await;
    assert_generates(&again, "sketch").await;
    assert_eq!(mode(&code_directory.0), 0o700);
    assert_eq!(code_directory.code("sketch.wasm"), first);
    assert_eq!(fs::read(code_directory.key()).unwrap(), key);

    // The file of compiled code is not a component.
    fs::copy(
        code_directory.path("sketch.wasm", ".cwasm"),
        directory.path().join("x.wasm"),
    )
    .unwrap();
    let with_copy = open(directory.path(), data.path()).await;
    assert_eq!(with_copy.rejected[0].reason, "is not WebAssembly");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_of_other_origin_is_compiled_again() {
    let sketch = "sketch.wasm";
    let both = directory(&[
        (sketch, &component(sketch)),
        ("hostile.wasm", &component("hostile.wasm")),
    ]);
    let only = directory(&[(sketch, &component(sketch))]);
    let data = tempfile::tempdir().unwrap();
    open(both.path(), data.path()).await;
    let code_directory = CodeDirectory::of(&data);
    let good = code_directory.code(sketch).bytes;
    let [code, mac] = [".cwasm", ".mac"].map(|ending| code_directory.path(sketch, ending));
    let [other_code, other_mac] =
        [".cwasm", ".mac"].map(|ending| code_directory.path("hostile.wasm", ending));

    type Change<'a> = &'a dyn Fn();
    let changes: &[(&str, Change<'_>)] = &[
        ("a flipped byte", &|| flip(&code)),
        ("half the code", &|| {
            fs::write(&code, &good[..good.len() / 2]).unwrap()
        }),
        ("no bytes", &|| fs::write(&code, b"").unwrap()),
        ("no code", &|| fs::remove_file(&code).unwrap()),
        ("a flipped byte of the MAC", &|| flip(&mac)),
        ("half a MAC", &|| {
            fs::write(&mac, &fs::read(&mac).unwrap()[..16]).unwrap()
        }),
        ("no MAC", &|| fs::remove_file(&mac).unwrap()),
        ("another component's code", &|| {
            fs::copy(&other_code, &code).unwrap();
        }),
        ("another component's code and MAC", &|| {
            fs::copy(&other_code, &code).unwrap();
            fs::copy(&other_mac, &mac).unwrap();
        }),
        ("another key", &|| {
            fs::write(code_directory.key(), [7; 64]).unwrap()
        }),
        ("a key of another length", &|| {
            fs::write(code_directory.key(), [7; 63]).unwrap()
        }),
        ("no key", &|| fs::remove_file(code_directory.key()).unwrap()),
    ];
    for (what, change) in changes {
        let before = code_directory.code(sketch);
        assert!(before.bytes == good, "{what}");
        // An open file prevents that the next file gets the inode of a removed one.
        let _open = fs::File::open(&code).unwrap();
        change();
        let engines = open(only.path(), data.path()).await;
        assert_eq!(admitted_names(&engines), ["sketch"], "{what}");
        assert_generates(&engines, "sketch").await;
        let after = code_directory.code(sketch);
        assert_ne!(after.inode, before.inode, "{what}: not written anew");
        assert!(after.bytes == good, "{what}: other code");
        assert_eq!(mode(&code_directory.key()), 0o600, "{what}");
        assert_eq!(
            fs::metadata(code_directory.key()).unwrap().len(),
            64,
            "{what}"
        );
    }
}
