//! What an archive says about itself: in its first entry before it is written, and in its last one afterwards.

use serde::{Deserialize, Serialize};

/// The format of archives. Another one gets another number.
pub(super) const FORMAT: u32 = 1;

/// The first entry, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    /// The version of the program that wrote the archive.
    pub(super) version: String,
    /// The version of the tables of the database.
    pub(super) schema: i64,
    /// Seconds since 1970.
    pub(super) created_at: i64,
}

/// A line of the last entry: JSON Lines, in the order of the archive. The last line has the totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ListLine {
    Entry(ListedEntry),
    End { totals: Totals },
}

/// An entry of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListedEntry {
    pub(super) path: String,
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// What a backup contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub users: u64,
    pub chats: u64,
    /// Images with their bytes.
    pub images: u64,
    /// Installed components.
    pub components: u64,
    /// Length of all entries.
    pub bytes: u64,
    /// Images and components whose bytes the server itself had lost before the backup.
    pub missing: u64,
}
