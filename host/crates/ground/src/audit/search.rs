//! Searches the files of the audit log from the newest entry to the oldest, page by page.

use std::fmt;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::str::FromStr;
use std::time::SystemTime;

use anyhow::{Context, Result};
use cap_std::fs::{Dir, File};

use super::rotation::NumberedFile;
use super::{Entry, RefusalKind};

/// Bytes of the files that one search reads. The next page continues there.
const MAX_READ_BYTES: u64 = 8 << 20;
/// Bytes that are read at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// Which entries a search returns.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// `None` returns all kinds.
    pub kind: Option<RefusalKind>,
    /// The engine, or a component's file name.
    pub engine: Option<String>,
    /// The id of a user, or the IP address of a client.
    pub user: Option<String>,
    /// Entries of this time and later.
    pub since: Option<SystemTime>,
    /// Entries before this time.
    pub before: Option<SystemTime>,
}

/// Where a search continues: before this byte of this file. A file that is renamed retains its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    file: u64,
    end: u64,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.file, self.end)
    }
}

impl FromStr for AuditCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (file, end) = text.split_once('-').ok_or(InvalidCursor)?;
        Ok(Self {
            file: file.parse().map_err(|_| InvalidCursor)?,
            end: end.parse().map_err(|_| InvalidCursor)?,
        })
    }
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidCursor;

/// A part of the entries, newest first.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    pub entries: Vec<Entry>,
    /// `None` at the oldest entry. A page may be empty and have a next one.
    pub next: Option<AuditCursor>,
}

/// A line of a file.
struct FileLine {
    /// Where it begins.
    start: u64,
    entry: Option<Entry>,
}

/// The lines of the files, from the newest to the oldest.
struct Lines<'a> {
    directory: &'a Dir,
    /// The files that are not opened yet, the oldest first.
    older: Vec<NumberedFile>,
    current: Option<OpenFile>,
    /// Lines that were read, the oldest first.
    buffer: Vec<FileLine>,
    remaining_bytes: u64,
}

struct OpenFile {
    number: u64,
    file: File,
    /// The lines from here on were read.
    end: u64,
}

impl AuditFilter {
    fn accepts(&self, entry: &Entry, time: Option<SystemTime>) -> bool {
        self.kind.is_none_or(|kind| kind.name() == entry.kind)
            && self.engine.as_ref().is_none_or(|it| *it == entry.engine)
            && self.user.as_ref().is_none_or(|it| *it == entry.user)
            && self
                .before
                .is_none_or(|before| time.is_some_and(|time| time < before))
    }
}

/// Returns at most `max` entries before the cursor. The files are the newest first.
pub(super) fn search(
    directory: &Dir,
    files: Vec<NumberedFile>,
    filter: &AuditFilter,
    cursor: Option<AuditCursor>,
    max: usize,
) -> Result<AuditPage> {
    let mut lines = Lines::new(directory, files, cursor)?;
    let mut page = AuditPage::default();
    while let Some((number, line)) = lines.next()? {
        let Some(entry) = line.entry else { continue };
        let time = humantime::parse_rfc3339(&entry.time).ok();
        if filter
            .since
            .is_some_and(|since| time.is_some_and(|time| time < since))
        {
            return Ok(page);
        }
        if !filter.accepts(&entry, time) {
            continue;
        }
        page.entries.push(entry);
        if page.entries.len() >= max {
            let next = AuditCursor {
                file: number,
                end: line.start,
            };
            page.next = Some(next).filter(|_| lines.has_more(line.start));
            return Ok(page);
        }
    }
    page.next = lines.position();
    Ok(page)
}

impl<'a> Lines<'a> {
    fn new(
        directory: &'a Dir,
        files: Vec<NumberedFile>,
        cursor: Option<AuditCursor>,
    ) -> Result<Self> {
        let mut older = files;
        older.reverse();
        let mut lines = Self {
            directory,
            older,
            current: None,
            buffer: Vec::new(),
            remaining_bytes: MAX_READ_BYTES,
        };
        if let Some(cursor) = cursor {
            lines.older.retain(|file| file.number <= cursor.file);
            lines.open_next()?;
            let is_named = |file: &&mut OpenFile| file.number == cursor.file;
            if let Some(file) = lines.current.as_mut().filter(is_named) {
                file.end = file.end.min(cursor.end);
            }
        }
        Ok(lines)
    }

    /// The next line and the number of its file. `None` at the end of the last file, or if enough was read.
    fn next(&mut self) -> Result<Option<(u64, FileLine)>> {
        loop {
            if let (Some(line), Some(file)) = (self.buffer.pop(), &self.current) {
                return Ok(Some((file.number, line)));
            }
            let is_read = self.current.as_ref().is_none_or(|file| file.end == 0);
            if is_read && !self.open_next()? {
                return Ok(None);
            }
            if self.remaining_bytes == 0 {
                return Ok(None);
            }
            if let Some(file) = &mut self.current {
                let length = file.end.min(CHUNK_BYTES);
                self.remaining_bytes = self.remaining_bytes.saturating_sub(length);
                self.buffer = file
                    .read_back(length)
                    .context("cannot read the audit log")?;
            }
        }
    }

    /// Opens the next older file. Returns false at the end.
    fn open_next(&mut self) -> Result<bool> {
        while let Some(NumberedFile { number, name }) = self.older.pop() {
            let file = match self.directory.open(&name) {
                Ok(file) => file,
                // Removed since the directory was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read the audit log {name}"));
                }
            };
            let end = file.metadata()?.len();
            self.current = Some(OpenFile { number, file, end });
            return Ok(true);
        }
        self.current = None;
        Ok(false)
    }

    /// Are there lines before this position of the current file?
    fn has_more(&self, start: u64) -> bool {
        start > 0 || !self.older.is_empty()
    }

    /// Where the next search continues. `None` at the end.
    fn position(&self) -> Option<AuditCursor> {
        let file = self.current.as_ref()?;
        self.has_more(file.end).then_some(AuditCursor {
            file: file.number,
            end: file.end,
        })
    }
}

impl OpenFile {
    /// Reads the whole lines in the bytes before the end. If none begins there, the bytes are skipped.
    fn read_back(&mut self, length: u64) -> std::io::Result<Vec<FileLine>> {
        let begin = self.end - length;
        self.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        (&self.file).take(length).read_to_end(&mut bytes)?;
        let mut lines = Vec::new();
        let mut start = begin;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            // The first line began earlier, unless it is the first of the file.
            if index > 0 || begin == 0 {
                lines.push(FileLine {
                    start,
                    entry: serde_json::from_slice(line).ok(),
                });
            }
            start += line.len() as u64;
        }
        self.end = lines.first().map_or(begin, |line| line.start);
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir;

    /// A line with this second, kind and user.
    fn line(second: u64, kind: &str, user: &str) -> String {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        let entry = Entry {
            time: humantime::format_rfc3339_millis(time).to_string(),
            kind: kind.to_owned(),
            guard: String::new(),
            engine: "e".to_owned(),
            job: second.to_string(),
            user: user.to_owned(),
            message: "m".repeat(500),
        };
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    fn files() -> Vec<NumberedFile> {
        let file = |number, name: &str| NumberedFile {
            number,
            name: name.to_owned(),
        };
        vec![
            file(3, "audit.jsonl"),
            file(2, "audit.2.jsonl"),
            file(1, "audit.1.jsonl"),
        ]
    }

    /// The jobs of all pages, and the number of pages.
    fn all(directory: &Dir, filter: &AuditFilter, max: usize) -> (Vec<u64>, usize) {
        let (mut jobs, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = search(directory, files(), filter, cursor, max).unwrap();
            assert!(page.entries.len() <= max);
            jobs.extend(page.entries.iter().map(|it| it.job.parse::<u64>().unwrap()));
            pages += 1;
            let Some(next) = page.next else {
                return (jobs, pages);
            };
            cursor = Some(next.to_string().parse().unwrap());
        }
    }

    #[test]
    fn search_returns_each_entry_of_all_files_once() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        let lines = |seconds: std::ops::Range<u64>| {
            let lines = seconds.map(|second| {
                let user = if second % 10 == 0 { "ada" } else { "eve" };
                let kind = if second % 4 == 0 { "grant" } else { "limit" };
                line(second, kind, user)
            });
            lines.collect::<String>()
        };
        directory.write("audit.1.jsonl", lines(0..2000)).unwrap();
        let torn = lines(2000..2003) + "{\"time\": \"torn\n" + &lines(2003..2010);
        directory.write("audit.2.jsonl", torn).unwrap();
        directory.write("audit.jsonl", lines(2010..2100)).unwrap();
        for max in [1, 7, 1000, 5000] {
            let (jobs, pages) = all(&directory, &AuditFilter::default(), max);
            assert!(jobs.iter().copied().eq((0..2100).rev()), "{max}");
            assert_eq!(pages, 2100_usize.div_ceil(max), "{max}");
        }
        let second = |secs| Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(secs));
        let filter = AuditFilter {
            kind: Some(RefusalKind::Grant),
            user: Some("ada".to_owned()),
            since: second(100),
            before: second(2041),
            ..AuditFilter::default()
        };
        let (jobs, _) = all(&directory, &filter, 10);
        assert!(
            jobs.iter()
                .copied()
                .eq((100..2041).rev().filter(|it| it % 20 == 0))
        );
        let other = AuditFilter {
            engine: Some("other".to_owned()),
            ..AuditFilter::default()
        };
        assert!(all(&directory, &other, 10).0.is_empty());
    }

    #[test]
    fn search_reads_a_limited_number_of_bytes_and_continues() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        let many: String = (0..30_000)
            .map(|second| line(second, "limit", "eve"))
            .collect();
        assert!(many.len() as u64 > MAX_READ_BYTES);
        directory.write("audit.1.jsonl", many).unwrap();
        directory.write("audit.jsonl", "").unwrap();
        let filter = AuditFilter {
            before: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2)),
            ..AuditFilter::default()
        };
        let (jobs, pages) = all(&directory, &filter, 10);
        assert_eq!(jobs, [1, 0]);
        assert!(pages > 1, "{pages}");
    }

    #[test]
    fn cursor_is_two_numbers() {
        let cursor: AuditCursor = "3-120".parse().unwrap();
        assert_eq!((cursor.file, cursor.end), (3, 120));
        for invalid in ["", "3", "-", "3-", "a-1", "1-2-3", "-1-2"] {
            assert_eq!(
                invalid.parse::<AuditCursor>(),
                Err(InvalidCursor),
                "{invalid}"
            );
        }
    }
}
