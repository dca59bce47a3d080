//! Archives that are damaged, cut off, forged or of a newer version.

use tar::{Builder, EntryType, Header};

use super::*;

/// Asserts that an archive is refused for this reason, by a check and by a restore, which leaves nothing behind.
#[track_caller]
fn assert_refused(program: &Program, case: &str, archive: &[u8], reason: &str) {
    let path = program.path("refused.tar");
    fs::write(&path, archive).unwrap();
    let path = path.to_str().unwrap();
    let before = fs::read_dir(program.path("")).unwrap().count();
    let checked = program.run(&["restore", "--check", path]).failed(1);
    let restored = on_data(program, "new", &["restore", path]).failed(1);
    for message in [checked, restored] {
        assert!(message.contains(reason), "{case}: {message}");
    }
    assert!(!program.path("new").exists(), "{case}");
    assert_eq!(
        fs::read_dir(program.path("")).unwrap().count(),
        before,
        "{case}"
    );
}

/// The offset of the bytes of an entry, whose path contains this text.
fn offset_of(archive: &[u8], path: &str) -> usize {
    let mut entries = tar::Archive::new(archive);
    let mut entries = entries.entries().unwrap();
    let entry = entries.find(|entry| {
        let entry = entry.as_ref().unwrap();
        String::from_utf8_lossy(&entry.path_bytes()).contains(path)
    });
    entry.unwrap().unwrap().raw_file_position() as usize
}

#[test]
fn damaged_archive_is_refused_and_leaves_nothing() {
    let program = stopped_server();
    let whole = backup_bytes(&program);
    for path in ["files/", "pinhole.db", "components/", "session-key"] {
        let mut damaged = whole.clone();
        damaged[offset_of(&whole, path)] ^= 1;
        assert_refused(&program, path, &damaged, "is damaged: use another backup");
    }
    let mut damaged = whole.clone();
    damaged[offset_of(&whole, LIST)] ^= 1;
    assert_refused(&program, "list", &damaged, "its list is damaged");
    for (case, length, reason) in [
        ("empty", 0, "it is cut off: its list is missing"),
        ("in the head", 700, ""),
        ("in an image", offset_of(&whole, "files/") + 20, ""),
        (
            "before the list",
            offset_of(&whole, LIST) - 512,
            "it is cut off: its list is missing",
        ),
        ("in the list", offset_of(&whole, LIST) + 50, ""),
    ] {
        assert_refused(&program, case, &whole[..length], reason);
    }
    assert_refused(
        &program,
        "no archive",
        &[b'x'; 4096],
        "it is not a backup of pinhole, or it is damaged",
    );
}

/// An archive with these entries, and the right head and list unless they are among them.
#[derive(Default)]
struct ForgedArchive {
    head: Option<Value>,
    entries: Vec<(Vec<u8>, EntryType, Vec<u8>)>,
    /// Length that the header of the last entry says.
    last_length: Option<u64>,
}

impl ForgedArchive {
    fn file(mut self, path: &[u8], bytes: &[u8]) -> Self {
        self.entries
            .push((path.to_vec(), EntryType::Regular, bytes.to_vec()));
        self
    }

    fn bytes(self) -> Vec<u8> {
        let head = json!({"format": 1, "version": "0.1.0", "schema": 1, "created_at": 0});
        let head = self.head.unwrap_or(head).to_string();
        let mut builder = Builder::new(Vec::new());
        let mut list = String::new();
        let mut total = 0;
        let first = (
            b"pinhole-backup.json".to_vec(),
            EntryType::Regular,
            head.into_bytes(),
        );
        let entries: Vec<_> = std::iter::once(first).chain(self.entries).collect();
        let count = entries.len();
        for (index, (path, kind, bytes)) in entries.into_iter().enumerate() {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(&path);
            header.set_entry_type(kind);
            let is_last = index + 1 == count;
            let length = self.last_length.filter(|_| is_last);
            header.set_size(length.unwrap_or(bytes.len() as u64));
            header.set_mode(0o600);
            header.set_cksum();
            builder.append(&header, bytes.as_slice()).unwrap();
            let sha256: String = Sha256::digest(&bytes)
                .iter()
                .map(|it| format!("{it:02x}"))
                .collect();
            let path = String::from_utf8_lossy(&path);
            list += &format!(
                "{}\n",
                json!({"path": path, "bytes": bytes.len(), "sha256": sha256})
            );
            total += bytes.len();
        }
        let totals = json!({"users": 0, "chats": 0, "images": 0, "components": 0, "bytes": total, "missing": 0});
        list += &format!("{}\n", json!({"totals": totals}));
        let mut header = Header::new_gnu();
        header.set_path(LIST).unwrap();
        header.set_size(list.len() as u64);
        header.set_cksum();
        builder.append(&header, list.as_bytes()).unwrap();
        builder.into_inner().unwrap()
    }
}

#[test]
fn hostile_archive_is_refused_and_leaves_nothing() {
    let program = Program::new(&[]);
    let forged = ForgedArchive::default;
    for path in [
        &b"../evil"[..],
        b"/etc/evil",
        b"files/../../evil",
        b"files/a/b",
        b"files/.a",
        b"administrator-key",
        b"compiled/key",
        b"pinhole.db-wal",
        b"files/\xff",
    ] {
        let case = String::from_utf8_lossy(path);
        let archive = forged().file(path, b"x").bytes();
        assert_refused(
            &program,
            &case,
            &archive,
            "which no backup has: use another one",
        );
    }
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Directory,
        EntryType::Fifo,
    ] {
        let entry = (b"files/a".to_vec(), kind, Vec::new());
        let archive = ForgedArchive {
            entries: vec![entry],
            ..forged()
        };
        assert_refused(&program, "kind", &archive.bytes(), "files/a is not a file");
    }
    let long_name = (
        b"././@LongLink".to_vec(),
        EntryType::GNULongName,
        vec![b'a'; 9000],
    );
    let named_long = ForgedArchive {
        entries: vec![long_name],
        ..forged()
    };
    assert_refused(
        &program,
        "long name",
        &named_long.bytes(),
        "which no backup has",
    );
    for (name, length, reason) in [
        (&b"session-key"[..], 5000, "more than the 4096 allowed"),
        (b"files/a", 1 << 31, "more than the 1073741824 allowed"),
        (b"files/a", 1 << 62, "more than the 1073741824 allowed"),
    ] {
        let archive = ForgedArchive {
            last_length: Some(length),
            ..forged().file(name, b"x")
        };
        assert_refused(&program, "length", &archive.bytes(), reason);
    }
    let twice = forged().file(b"pinhole-backup.json", b"{}").bytes();
    assert_refused(
        &program,
        "second head",
        &twice,
        "pinhole-backup.json is in the wrong place",
    );
    let no_database = forged().file(b"files/a", b"x").bytes();
    assert_refused(&program, "no database", &no_database, "it has no database");
    let after = forged().file(LIST.as_bytes(), b"").bytes();
    assert_refused(&program, "empty list", &after, "it is cut off in its list");
    for (head, reason) in [
        (
            json!({"format": 1, "version": "9.0.0", "schema": 999, "created_at": 0}),
            "restore it with pinhole 9.0.0 or later",
        ),
        (
            json!({"format": 2, "version": "9.0.0", "schema": 1, "created_at": 0}),
            "restore it with pinhole 9.0.0 or later",
        ),
        (json!({"format": 1}), "it is not a backup of pinhole"),
        (json!([]), "it is not a backup of pinhole"),
    ] {
        let archive = ForgedArchive {
            head: Some(head.clone()),
            ..forged().file(b"pinhole.db", b"x")
        };
        assert_refused(&program, &head.to_string(), &archive.bytes(), reason);
    }
    // The same name twice is a failure to write, and no damage of the archive.
    let duplicate = forged()
        .file(b"pinhole.db", b"x")
        .file(b"pinhole.db", b"y")
        .bytes();
    let path = program.path("twice.tar");
    fs::write(&path, duplicate).unwrap();
    let message = on_data(&program, "new", &["restore", path.to_str().unwrap()]).failed(1);
    assert!(message.contains("cannot write pinhole.db"), "{message}");
    assert!(!program.path("new").exists());
}
