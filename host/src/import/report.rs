//! What an import found and did.

use std::fmt;

use pinhole_ground::text::plain;
use serde::Serialize;

/// Rows that are named; further ones are counted.
const MAX_FINDINGS: usize = 1_000;
/// Length of an id or reason in bytes; a longer one is cut.
const MAX_TEXT_BYTES: usize = 300;

/// The kinds of rows, in the order of the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Users,
    ApiKeys,
    Groups,
    Memberships,
    Images,
    Chats,
    Settings,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Users,
        Self::ApiKeys,
        Self::Groups,
        Self::Memberships,
        Self::Images,
        Self::Chats,
        Self::Settings,
    ];

    /// One row of this kind.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::ApiKeys => "API key",
            Self::Groups => "group",
            Self::Memberships => "membership",
            Self::Images => "file",
            Self::Chats => "chat",
            Self::Settings => "setting",
        }
    }

    /// Rows of this kind.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::ApiKeys => "API keys",
            Self::Groups => "groups",
            Self::Memberships => "memberships",
            Self::Images => "files",
            Self::Chats => "chats",
            Self::Settings => "settings",
        }
    }
}

/// The numbers of rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindCounts {
    pub found: u64,
    pub imported: u64,
    /// This server had them before.
    pub exists: u64,
    pub skipped: u64,
}

/// A row that was left out, or imported in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// Empty if it concerns no single row.
    pub id: String,
    /// The row was left out.
    pub is_skipped: bool,
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = if self.is_skipped { "skipped " } else { "" };
        let (kind, id, reason) = (self.kind.singular(), &self.id, &self.reason);
        match id.as_str() {
            "" => write!(formatter, "{start}{}: {reason}", self.kind.plural()),
            id => write!(formatter, "{start}{kind} {id}: {reason}"),
        }
    }
}

/// What an import found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    counts: [KindCounts; Kind::ALL.len()],
    findings: Vec<Finding>,
    /// Findings that are not named.
    omitted: u64,
}

impl Report {
    #[must_use]
    pub fn counts(&self, kind: Kind) -> KindCounts {
        self.counts.get(kind as usize).copied().unwrap_or_default()
    }

    /// At most a thousand, in their order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The number of findings that are not named.
    #[must_use]
    pub fn omitted_findings(&self) -> u64 {
        self.omitted
    }

    pub(super) fn found(&mut self, kind: Kind) {
        self.counts_mut(kind).found += 1;
    }

    pub(super) fn imported(&mut self, kind: Kind) {
        self.counts_mut(kind).imported += 1;
    }

    pub(super) fn exists(&mut self, kind: Kind) {
        self.counts_mut(kind).exists += 1;
    }

    pub(super) fn skipped(&mut self, kind: Kind, id: &str, reason: impl AsRef<str>) {
        self.counts_mut(kind).skipped += 1;
        self.add(kind, id, true, reason.as_ref());
    }

    /// Names a row that was imported in part.
    pub(super) fn note(&mut self, kind: Kind, id: &str, reason: impl AsRef<str>) {
        self.add(kind, id, false, reason.as_ref());
    }

    fn add(&mut self, kind: Kind, id: &str, is_skipped: bool, reason: &str) {
        if self.findings.len() == MAX_FINDINGS {
            self.omitted += 1;
            return;
        }
        self.findings.push(Finding {
            kind,
            id: plain(id, MAX_TEXT_BYTES),
            is_skipped,
            reason: plain(reason, MAX_TEXT_BYTES),
        });
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the array has an element for each kind"
    )]
    fn counts_mut(&mut self, kind: Kind) -> &mut KindCounts {
        &mut self.counts[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_a_limited_number_of_rows_and_counts_all() {
        let mut report = Report::default();
        for _ in 0..MAX_FINDINGS + 5 {
            report.found(Kind::Settings);
            report.skipped(Kind::Settings, "a\nb", "x".repeat(MAX_TEXT_BYTES + 1));
        }
        let counts = report.counts(Kind::Settings);
        let expected = (MAX_FINDINGS + 5) as u64;
        assert_eq!((counts.found, counts.skipped), (expected, expected));
        assert_eq!(
            (report.findings().len(), report.omitted_findings()),
            (MAX_FINDINGS, 5)
        );
        let first = report.findings().first().unwrap();
        assert_eq!(
            (first.id.as_str(), first.reason.len()),
            ("a b", MAX_TEXT_BYTES)
        );
        assert_eq!(report.counts(Kind::Users), KindCounts::default());
    }
}
