//! The audit log's files: JSON lines, only appended to, readable by their owner only.
//!
//! The current file is renamed to the next free number when it is full or a day old. The oldest are deleted
//! first: those whose last line is older than the retention, and those beyond the total length.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};

use super::Entry;

/// The current file.
pub(super) const FILE: &str = "audit.jsonl";
/// Earlier files are `audit.N.jsonl`; the highest number is the newest.
const PREFIX: &str = "audit.";
const SUFFIX: &str = ".jsonl";
/// Age at which the current file is renamed.
const MAX_FILE_AGE: Duration = Duration::from_secs(24 * 3600);
/// Files that all lines are divided into, if they are full.
const FULL_FILES: u64 = 16;
/// Time between two searches for files whose retention is over.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(3600);
/// Length of a line, if every byte of its texts needs an escape.
pub(super) const MAX_LINE_BYTES: usize = 2900;

/// How long lines are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRetention {
    pub max_age: Duration,
    /// Length of all files together.
    pub max_bytes: u64,
}

impl Default for AuditRetention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(90 * 24 * 3600),
            max_bytes: 256 << 20,
        }
    }
}

/// The current file, which always ends with a complete line, and its predecessors.
pub(super) struct RotatedFile {
    directory: Dir,
    retention: AuditRetention,
    file: File,
    length: u64,
    /// When the first line was written.
    began: SystemTime,
    /// When expired files were last removed.
    removed: SystemTime,
}

/// A file and its number. That of the current file is the one that it gets when it is renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NumberedFile {
    pub(super) number: u64,
    pub(super) name: String,
}

/// The files, the newest first.
pub(super) fn newest_first(directory: &Dir) -> std::io::Result<Vec<NumberedFile>> {
    let mut numbers = numbers(directory)?;
    let current = NumberedFile {
        number: next_number(&numbers),
        name: FILE.to_owned(),
    };
    numbers.reverse();
    let earlier = numbers.into_iter().map(|number| NumberedFile {
        number,
        name: file_name(number),
    });
    Ok(std::iter::once(current).chain(earlier).collect())
}

/// The number of the current file, after these of earlier files.
fn next_number(earlier: &[u64]) -> u64 {
    earlier.last().map_or(1, |last| last.saturating_add(1))
}

/// The numbers of the earlier files, the oldest first.
fn numbers(directory: &Dir) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in directory.entries()? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| {
            name.strip_prefix(PREFIX)?
                .strip_suffix(SUFFIX)?
                .parse()
                .ok()
        });
        numbers.extend(number.filter(|number| name.to_str() == Some(&file_name(*number))));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn file_name(number: u64) -> String {
    format!("{PREFIX}{number}{SUFFIX}")
}

impl RotatedFile {
    pub(super) fn open(
        directory: Dir,
        retention: AuditRetention,
        now: SystemTime,
    ) -> std::io::Result<Self> {
        let (file, length) = open_current(&directory)?;
        let mut rotated = Self {
            began: first_line_time(&directory).unwrap_or(now),
            directory,
            retention,
            file,
            length,
            removed: SystemTime::UNIX_EPOCH,
        };
        rotated.remove_expired(now)?;
        Ok(rotated)
    }

    pub(super) fn append(&mut self, entry: &Entry, now: SystemTime) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(entry)?;
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        let max_bytes = self.retention.max_bytes / FULL_FILES;
        let is_full = self.length > 0 && self.length.saturating_add(length) > max_bytes;
        if is_full || self.is_old(now) {
            self.rotate(now)?;
        }
        if self.length == 0 {
            self.began = now;
        }
        self.file.write_all(&bytes)?;
        self.length += length;
        Ok(())
    }

    /// Removes the files whose last line is older than the retention. Does nothing if it did so within the
    /// last hour.
    pub(super) fn remove_expired(&mut self, now: SystemTime) -> std::io::Result<()> {
        let is_early = |passed: Duration| passed < REMOVAL_INTERVAL;
        if now.duration_since(self.removed).is_ok_and(is_early) {
            return Ok(());
        }
        self.removed = now;
        if self.is_old(now) {
            self.rotate(now)?;
        }
        for number in numbers(&self.directory)? {
            let name = file_name(number);
            let modified = self.directory.metadata(&name)?.modified()?.into_std();
            let age = now.duration_since(modified).unwrap_or_default();
            if age <= self.retention.max_age {
                break;
            }
            self.directory.remove_file(&name)?;
        }
        Ok(())
    }

    fn is_old(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.began).unwrap_or_default();
        self.length > 0 && age >= MAX_FILE_AGE.min(self.retention.max_age)
    }

    /// Begins a new file, and removes the oldest files beyond the total length.
    fn rotate(&mut self, now: SystemTime) -> std::io::Result<()> {
        let numbers = numbers(&self.directory)?;
        let next = next_number(&numbers);
        self.directory
            .rename(FILE, &self.directory, file_name(next))?;
        (self.file, self.length) = open_current(&self.directory)?;
        self.began = now;
        let mut remaining = self.retention.max_bytes;
        remaining -= remaining / FULL_FILES;
        for number in numbers.into_iter().chain([next]).rev() {
            let name = file_name(number);
            let length = self.directory.metadata(&name)?.len();
            match remaining.checked_sub(length) {
                Some(rest) => remaining = rest,
                None => {
                    remaining = 0;
                    self.directory.remove_file(&name)?;
                }
            }
        }
        Ok(())
    }
}

/// Opens the current file and ends its last line. Returns its length.
fn open_current(directory: &Dir) -> std::io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = directory.open_with(FILE, &options)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    let mut length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        // The last writer stopped in the middle of a line.
        file.write_all(b"\n")?;
        length += 1;
    }
    Ok((file, length))
}

/// When the first line of the current file was written. `None` if the file is empty.
fn first_line_time(directory: &Dir) -> Option<SystemTime> {
    let mut bytes = Vec::new();
    let file = directory.open(FILE).ok()?;
    file.take(MAX_LINE_BYTES as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let entry: Entry = serde_json::from_slice(line).ok()?;
    humantime::parse_rfc3339(&entry.time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Event, RefusalKind};
    use crate::data_dir;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn entry(message: &str) -> Entry {
        Entry::new(&Event {
            kind: RefusalKind::Limit,
            guard: None,
            actor: Actor::Server,
            engine: "hostile",
            job: "1",
            message,
        })
    }

    fn open(directory: &Dir, retention: AuditRetention, now: SystemTime) -> RotatedFile {
        RotatedFile::open(directory.try_clone().unwrap(), retention, now).unwrap()
    }

    fn names(directory: &Dir) -> Vec<String> {
        let files = newest_first(directory).unwrap().into_iter();
        files.map(|file| file.name).collect()
    }

    #[test]
    fn full_files_are_rotated_and_the_oldest_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        // The only earlier file of previous versions.
        directory.write("audit.1.jsonl", "{}\n").unwrap();
        directory
            .write("audit.x.jsonl", "another program's")
            .unwrap();
        directory
            .write("audit.01.jsonl", "another program's")
            .unwrap();
        let retention = AuditRetention {
            max_bytes: 1 << 20,
            ..AuditRetention::default()
        };
        let now = SystemTime::now();
        let mut file = open(&directory, retention, now);
        let long = entry(&"x".repeat(1000));
        for _ in 0..3 * retention.max_bytes / 1000 {
            file.append(&long, now).unwrap();
        }
        let names = names(&directory);
        let lengths: Vec<u64> = names
            .iter()
            .map(|name| directory.metadata(name).unwrap().len())
            .collect();
        assert!((15..=17).contains(&names.len()), "{names:?}");
        assert!(lengths.iter().sum::<u64>() <= retention.max_bytes);
        assert!(
            lengths
                .iter()
                .all(|length| *length <= retention.max_bytes / 16)
        );
        assert_eq!(names[0], FILE);
        assert!(!names.contains(&"audit.1.jsonl".to_owned()));
        assert!(directory.exists("audit.x.jsonl") && directory.exists("audit.01.jsonl"));
    }

    #[test]
    fn files_are_rotated_each_day_and_removed_after_the_retention() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        let retention = AuditRetention {
            max_age: 3 * DAY,
            ..AuditRetention::default()
        };
        let now = SystemTime::now();
        let mut file = open(&directory, retention, now);
        file.append(&entry("first"), now).unwrap();
        file.append(&entry("second"), now + DAY / 2).unwrap();
        // A restart does not make the file younger.
        drop(file);
        let mut reopened = open(&directory, retention, now + DAY / 2);
        // The first line was written a little later than `now`.
        let next_day = now + DAY + Duration::from_secs(60);
        reopened.append(&entry("third"), next_day).unwrap();
        assert_eq!(names(&directory), [FILE, "audit.1.jsonl"]);
        reopened.remove_expired(now + 2 * DAY + DAY / 2).unwrap();
        let expected = [FILE, "audit.2.jsonl", "audit.1.jsonl"];
        assert_eq!(names(&directory), expected);
        reopened.remove_expired(now + 4 * DAY).unwrap();
        assert_eq!(names(&directory), [FILE]);
        assert_eq!(directory.metadata(FILE).unwrap().len(), 0);
    }

    #[test]
    fn incomplete_last_line_is_ended() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = data_dir::open(temporary.path()).unwrap();
        directory.write(FILE, "{\"time\": \"20").unwrap();
        let now = SystemTime::now();
        let mut file = open(&directory, AuditRetention::default(), now);
        file.append(&entry("one"), now).unwrap();
        let text = directory.read_to_string(FILE).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            serde_json::from_str::<Entry>(lines[1]).unwrap().message,
            "one"
        );
    }
}
