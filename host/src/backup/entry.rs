//! The entries of an archive. There are no others, so an archive cannot name a path outside the data directory.

use pinhole_sandbox::MAX_COMPONENT_BYTES;

use crate::store::Store;

/// Length of the first entry, in bytes.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// Length of a key or id, in bytes.
const MAX_KEY_BYTES: u64 = 4 << 10;
/// Length of a record of the spool, in bytes.
pub(super) const MAX_SPOOL_RECORD_BYTES: u64 = 16 << 20;
/// Length of an image, in bytes.
const MAX_IMAGE_BYTES: u64 = 1 << 30;
/// Length of the database and of the list, in bytes.
const MAX_DATABASE_BYTES: u64 = 1 << 44;
/// Length of the id of a file or of a record, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Length of a component's digest in hexadecimal.
const DIGEST_DIGITS: usize = 64;

/// The name of the key that signs sessions.
const SESSION_KEY: &str = "session-key";
/// The name of the key that encrypts secrets of settings.
const SETTINGS_KEY: &str = "settings-key";
const DATABASE_ID: &str = "database-id";
const HEAD: &str = "pinhole-backup.json";
const LIST: &str = "pinhole-backup-list.jsonl";

/// The small files of a data directory that a backup contains, if they exist.
pub(super) const SMALL_FILES: [&str; 3] = [DATABASE_ID, SESSION_KEY, SETTINGS_KEY];

/// The name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryName {
    /// The first one.
    Head,
    /// The last one.
    List,
    Database,
    /// One of [`SMALL_FILES`].
    Small(&'static str),
    /// The digest of a component, in hexadecimal.
    Component(String),
    /// The id of a file.
    Image(String),
    /// The id of a record of the spool.
    SpoolRecord(String),
}

impl EntryName {
    /// `None` if no backup has such an entry.
    pub(super) fn parse(path: &[u8]) -> Option<Self> {
        let path = std::str::from_utf8(path).ok()?;
        let Some((directory, name)) = path.split_once('/') else {
            return match path {
                HEAD => Some(Self::Head),
                LIST => Some(Self::List),
                Store::FILE => Some(Self::Database),
                _ => SMALL_FILES
                    .into_iter()
                    .find(|name| *name == path)
                    .map(Self::Small),
            };
        };
        match directory {
            "components" => {
                let digest = name.strip_suffix(".wasm").filter(|it| is_digest(it))?;
                Some(Self::Component(digest.to_owned()))
            }
            "files" => Self::image(name),
            "spool" => Self::spool_record(name),
            _ => None,
        }
    }

    /// `None` if the id is not one of a file.
    pub(super) fn image(id: &str) -> Option<Self> {
        is_id(id).then(|| Self::Image(id.to_owned()))
    }

    /// `None` if the file is not a record of the spool.
    pub(super) fn spool_record(file_name: &str) -> Option<Self> {
        let id = file_name.strip_suffix(".json").filter(|id| is_id(id))?;
        Some(Self::SpoolRecord(id.to_owned()))
    }

    pub(super) fn path(&self) -> String {
        match self.directory() {
            Some(directory) => format!("{directory}/{}", self.file_name()),
            None => self.file_name(),
        }
    }

    /// The directory in the data directory. `None` is the data directory itself.
    pub(super) fn directory(&self) -> Option<&'static str> {
        match self {
            Self::Component(_) => Some("components"),
            Self::Image(_) => Some("files"),
            Self::SpoolRecord(_) => Some("spool"),
            Self::Head | Self::List | Self::Database | Self::Small(_) => None,
        }
    }

    /// The name in its directory.
    pub(super) fn file_name(&self) -> String {
        match self {
            Self::Head => HEAD.to_owned(),
            Self::List => LIST.to_owned(),
            Self::Database => Store::FILE.to_owned(),
            Self::Small(name) => (*name).to_owned(),
            Self::Component(digest) => format!("{digest}.wasm"),
            Self::Image(id) => id.clone(),
            Self::SpoolRecord(id) => format!("{id}.json"),
        }
    }

    /// Length in bytes beyond which an archive is refused.
    pub(super) fn max_bytes(&self) -> u64 {
        match self {
            Self::Head => MAX_HEAD_BYTES,
            Self::Small(_) => MAX_KEY_BYTES,
            Self::Component(_) => MAX_COMPONENT_BYTES,
            Self::Image(_) => MAX_IMAGE_BYTES,
            Self::SpoolRecord(_) => MAX_SPOOL_RECORD_BYTES,
            Self::Database | Self::List => MAX_DATABASE_BYTES,
        }
    }
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_name_parses_its_own_path() {
        let digest = "0a".repeat(32);
        for name in [
            EntryName::Head,
            EntryName::List,
            EntryName::Database,
            EntryName::Small("session-key"),
            EntryName::Component(digest),
            EntryName::Image("0f8fad5b-d9cb-469f-a165-70867728950e".to_owned()),
            EntryName::SpoolRecord("a_1".to_owned()),
        ] {
            assert_eq!(
                EntryName::parse(name.path().as_bytes()),
                Some(name.clone()),
                "{name:?}"
            );
        }
    }

    #[test]
    fn entry_name_refuses_hostile_paths() {
        let long = format!("files/{}", "a".repeat(MAX_ID_BYTES + 1));
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../pinhole.db",
            "files/..",
            "files/../pinhole.db",
            "files/",
            "files/a/b",
            "files/.hidden",
            "files/a.256",
            "files/a\\b",
            "files/a\0",
            "files//a",
            "./pinhole.db",
            "pinhole.db/",
            "pinhole.db-wal",
            "components/x.wasm",
            "components/..wasm",
            "compiled/key",
            "spool/a",
            "administrator-key",
            &long,
        ] {
            assert_eq!(EntryName::parse(path.as_bytes()), None, "{path}");
        }
        assert_eq!(EntryName::parse(b"files/\xff"), None);
    }
}
