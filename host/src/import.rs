//! Imports from Open WebUI: users, API keys, groups, images, chats and the image settings of its database.
//!
//! # How
//!
//! The source is only read. Rows retain their ids, so that images in chats have the same URLs as before, and a second
//! import finds what exists and adds only what is new. What exists here is never changed. Users come first, then what
//! belongs to them; each row is one transaction, so that an import that stops can be started again.
//!
//! The rows of the source are input from outside, with the limits of the HTTP API. A row that exceeds them, or is
//! damaged, is left out and named in the report.
//!
//! # What it does not cover
//!
//! Features that this server does not have: documents, folders, tags, tools, channels, profile images. Roles and
//! permissions other than the one for images.

mod chats;
mod images;
mod people;
mod report;
mod row_pages;
mod settings;
mod source_settings;

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use cap_std::fs::Dir;

use crate::app::App;
use crate::files::ImportBytes;
use crate::store::{OpenWebUi, now};
use source_settings::SourceSettings;

pub use report::{Finding, Kind, KindCounts, Report};

/// Length of an id in bytes. It is part of a file's name.
const MAX_ID_BYTES: usize = 64;
/// The tables that are read, each with a column that earlier releases lack.
const TABLES: [(&str, &str); 7] = [
    ("user", "name"),
    ("auth", "password"),
    ("api_key", "expires_at"),
    ("group", "permissions"),
    ("group_member", "group_id"),
    ("file", "path"),
    ("chat", "pinned"),
];

/// What an import leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Omissions {
    pub api_keys: bool,
    pub settings: bool,
}

/// Receives the kind of rows that is imported now and the number of those that are done.
pub type OnProgress = Arc<dyn Fn(Kind, u64) + Send + Sync>;

/// An import from the database and the uploads of an Open WebUI server.
pub struct OpenWebUiImport {
    pub source: OpenWebUi,
    /// The directory `uploads` of the server.
    pub uploads: Dir,
    pub omissions: Omissions,
    pub bytes: ImportBytes,
    pub on_progress: OnProgress,
}

/// An import that runs.
struct Run<'a> {
    app: &'a Arc<App>,
    source: OpenWebUi,
    uploads: Dir,
    bytes: ImportBytes,
    settings: SourceSettings,
    on_progress: OnProgress,
    report: Report,
}

impl OpenWebUiImport {
    /// Imports everything that can be. The caller has locked the data directory against servers.
    ///
    /// An error stops the import between two rows. Another one continues it.
    pub async fn run(mut self, app: &Arc<App>) -> Result<Report> {
        let failure = "cannot read the Open WebUI database";
        for (table, column) in TABLES {
            let columns = self.source.columns(table).await.context(failure)?;
            ensure!(
                columns.iter().any(|it| it == column),
                "the database has no table {table:?} with a column {column:?}: it is not one of Open WebUI 0.6.43 or \
                 later. Start that release with it once"
            );
        }
        let settings = SourceSettings::read(&mut self.source).await?;
        let mut run = Run {
            app,
            source: self.source,
            uploads: self.uploads,
            bytes: self.bytes,
            settings,
            on_progress: self.on_progress,
            report: Report::default(),
        };
        run.import_users().await?;
        if !self.omissions.api_keys {
            run.import_keys().await?;
        }
        run.import_groups().await?;
        run.import_members().await?;
        run.import_images().await?;
        run.import_chats().await?;
        if !self.omissions.settings {
            run.import_settings().await?;
        }
        let administrators = app.store.administrators(1).await?;
        if administrators.is_empty() {
            let note = "no user is an administrator: add one with `pinhole user add EMAIL --admin`";
            run.report.note(Kind::Users, "", note);
        }
        run.source.close().await.context(failure)?;
        Ok(run.report)
    }
}

impl Run<'_> {
    fn progress(&self, kind: Kind) {
        (self.on_progress)(kind, self.report.counts(kind).found);
    }
}

/// True for an id that this server could have chosen, apart from its form.
fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The reason to leave out a row with another id.
const INVALID_ID: &str = "its id is not one of at most 64 letters, digits, - and _";
/// The reason to leave out a row with bytes in place of text.
const UNREADABLE: &str = "a column of its row is not text";

/// A time that this server believes: a sweep of files refuses one in the future.
fn plausible_time(secs: Option<i64>) -> i64 {
    let now = now();
    secs.filter(|secs| (0..=now).contains(secs)).unwrap_or(now)
}

/// Stops an import.
fn stop<T>(kind: Kind, id: &str, error: anyhow::Error) -> Result<T> {
    bail!(error.context(format!(
        "the import stopped at {} {id}; start it again to continue",
        kind.singular()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plausible_time_is_not_in_the_future() {
        let now = now();
        assert_eq!(plausible_time(Some(5)), 5);
        for other in [None, Some(-1), Some(now + 1000), Some(i64::MAX)] {
            assert!(
                (now..=now + 5).contains(&plausible_time(other)),
                "{other:?}"
            );
        }
    }

    #[test]
    fn id_is_part_of_a_file_name() {
        assert!(is_id("0f8fad5b-d9cb-469f-a165-70867728950e") && is_id("key_1"));
        let long = "a".repeat(MAX_ID_BYTES + 1);
        for invalid in [
            "",
            ".",
            "..",
            "a/b",
            "a.256",
            "a b",
            "ä",
            "a\0",
            long.as_str(),
        ] {
            assert!(!is_id(invalid), "{invalid:?}");
        }
    }
}
