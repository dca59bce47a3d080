//! Backups: one file with everything that a data directory cannot make again, written while a server runs.
//!
//! # What it prevents
//!
//! Database and files cannot be copied at the same moment. A copy whose database names an image that the copy lacks
//! is a loss that only a restore shows.
//!
//! # How
//!
//! The server writes bytes before their row and removes them after it
//! ([ADR 0029](../../docs/adr/0029-bytes-before-rows.md)). So the database is copied first, in one read transaction: each
//! row of the copy had its bytes at that moment, and files never change. Then the files of the copy's rows are read.
//! If one is missing, its owner has deleted it meanwhile, and its row is removed from the copy as well, which is
//! therefore the last part of the archive but the list. A row that the server still has and whose bytes are missing
//! is damage from before: it is reported, and stays. Images that wait for their rows are read before the database,
//! so that they are in one of the two.
//!
//! The archive is a tar file. Its first entry says which version wrote it, its last one lists the length and SHA-256
//! of every other, so that a cut archive cannot pass for a whole one. A restore writes into a directory that no server
//! uses, and gives it its name when everything is checked.
//!
//! # Invariant
//!
//! Each row of `files` in a restored database has its bytes, except those that were reported.
//!
//! # What it does not cover
//!
//! Compiled code and the ballast, which the server makes again, and the audit log. The engine directory and the web
//! client are the operator's own files. An archive is not signed: only its owner should be able to write it.

mod archive_reader;
mod archive_writer;
mod data_copy;
mod entry;
mod manifest;
mod restore;

use std::sync::Arc;

pub use data_copy::{Backup, write_backup};
pub use manifest::Totals;
pub use restore::{RestoreTarget, check_archive};

/// Receives the bytes that are done and the bytes of all.
pub type OnProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;
