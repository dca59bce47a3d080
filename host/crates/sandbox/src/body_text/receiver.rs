//! Receives a body, and decodes the base64 in it.

use base64_simd::STANDARD_NO_PAD;

use super::{Blob, BodyText};
use crate::limits::LimitExceeded;
use crate::memory_budget::Reservation;

/// Length of the beginning of a string that stays in the text, in bytes. An engine reads no more of a string that
/// is cut, and redaction looks no further for it.
const HEAD_BYTES: usize = 1 << 10;
/// Base64 that is decoded at once, in bytes: as much as the nearest cache of a processor has.
const STEP_BYTES: usize = 16 << 10;
/// Memory that a blob gets first, in bytes. Once it is longer, it gets the memory of all that the body may contain.
const MAX_SHORT_BLOB_BYTES: usize = 64 << 10;
/// Memory of a blob in bytes, without its content.
const BLOB_BYTES: usize = 128;
/// Bytes that may precede a JSON text: white space and the UTF-8 byte order mark.
const PREAMBLE: &[u8] = b" \t\r\n\xef\xbb\xbf";

/// Receives a body in chunks.
pub(crate) struct BodyReceiver {
    shortened: Vec<u8>,
    blobs: Vec<Blob>,
    /// Length of all blobs that are complete.
    blob_bytes: usize,
    scan: Scan,
    /// Length of the rest of the body that is declared and has not arrived.
    missing_bytes: usize,
    reservation: Reservation,
}

/// What the next byte belongs to.
enum Scan {
    /// Nothing but white space arrived.
    Start,
    /// A body that is no JSON.
    Other,
    /// JSON, outside of its strings.
    Json,
    String(StringScan),
    Base64(PartialBlob),
}

/// A string that is being received.
#[derive(Clone, Copy)]
struct StringScan {
    start: usize,
    is_escaped: bool,
    may_be_base64: bool,
}

/// A blob that is being received.
struct PartialBlob {
    bytes: Vec<u8>,
    /// Characters that are not decoded yet: a part of a group of four, or a padded group.
    pending: Vec<u8>,
    /// The first bytes, whose base64 is in the text.
    head_bytes: usize,
    string_start: usize,
}

/// What became of a part of a base64 text.
enum Step {
    Decoded(usize),
    /// The string ends here.
    End,
    NotBase64,
}

impl BodyReceiver {
    /// Receives a body of this declared length in bytes, or 0.
    pub(crate) fn new(length: usize, reservation: Reservation) -> Self {
        Self {
            shortened: Vec::new(),
            blobs: Vec::new(),
            blob_bytes: 0,
            scan: Scan::Start,
            missing_bytes: length,
            reservation,
        }
    }

    /// Appends a chunk, and counts it. Fails if it exceeds a limit.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), LimitExceeded> {
        self.reservation.grow(chunk.len())?;
        self.missing_bytes = self.missing_bytes.saturating_sub(chunk.len());
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = match &mut self.scan {
                Scan::Start => self.push_start(rest),
                Scan::Other => {
                    self.shortened.extend_from_slice(rest);
                    rest.len()
                }
                Scan::Json => self.push_json(rest),
                Scan::String(string) => {
                    let string = *string;
                    self.push_string(string, rest)
                }
                Scan::Base64(blob) => match blob.push(rest, self.missing_bytes) {
                    Step::Decoded(used) => used,
                    Step::End => {
                        self.end_blob()?;
                        0
                    }
                    Step::NotBase64 => {
                        self.give_up_blob()?;
                        0
                    }
                },
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        self.reservation.shrink_to(self.held_bytes());
        Ok(())
    }

    /// The body, and what counts it.
    pub(crate) fn finish(mut self) -> (BodyText, Reservation) {
        // A string without an end is no JSON, but its text stays complete.
        if let Scan::Base64(blob) = self.leave_blob() {
            let group_bytes = blob.bytes.len();
            self.push_blob(blob, group_bytes);
        }
        let body = BodyText {
            shortened: self.shortened.into(),
            blobs: self.blobs.into(),
        };
        (body, self.reservation)
    }

    fn held_bytes(&self) -> usize {
        let partial_bytes = match &self.scan {
            Scan::Base64(blob) => blob.bytes.len(),
            _ => 0,
        };
        self.shortened.len() + self.blob_bytes + partial_bytes
    }

    /// Decides whether the body is JSON. As the other methods of this name, it returns the number of bytes used.
    fn push_start(&mut self, rest: &[u8]) -> usize {
        let start = rest.iter().position(|byte| !PREAMBLE.contains(byte));
        let start = start.unwrap_or(rest.len());
        let (preamble, body) = rest.split_at(start);
        self.shortened.extend_from_slice(preamble);
        match body.first() {
            None => {}
            Some(b'{' | b'[') => self.scan = Scan::Json,
            Some(_) => {
                self.shortened
                    .reserve_exact(body.len() + self.missing_bytes);
                self.scan = Scan::Other;
            }
        }
        start
    }

    fn push_json(&mut self, rest: &[u8]) -> usize {
        let Some(found) = memchr::memchr(b'"', rest) else {
            self.shortened.extend_from_slice(rest);
            return rest.len();
        };
        let used = found + 1;
        self.shortened
            .extend_from_slice(rest.get(..used).unwrap_or_default());
        self.scan = Scan::String(StringScan {
            start: self.shortened.len(),
            is_escaped: false,
            may_be_base64: true,
        });
        used
    }

    fn push_string(&mut self, string: StringScan, rest: &[u8]) -> usize {
        let length = self.shortened.len() - string.start;
        let window_bytes = if string.is_escaped {
            1
        } else if string.may_be_base64 {
            HEAD_BYTES - length
        } else {
            rest.len()
        };
        let window = rest.get(..window_bytes).unwrap_or(rest);
        let found = if string.is_escaped {
            None
        } else {
            memchr::memchr2(b'"', b'\\', window)
        };
        let used = found.map_or(window.len(), |found| found + 1);
        let text = window.get(..used).unwrap_or_default();
        self.shortened.extend_from_slice(text);
        let is_head = string.may_be_base64 && length + used == HEAD_BYTES;
        self.scan = match (found, text.last()) {
            (Some(_), Some(b'"')) => Scan::Json,
            (None, _) if is_head => self.start_blob(string),
            (found, _) => Scan::String(StringScan {
                is_escaped: found.is_some(),
                may_be_base64: string.may_be_base64 && found.is_none(),
                ..string
            }),
        };
        used
    }

    /// Decodes the beginning of a string, if it is base64 or a data URL of it.
    fn start_blob(&mut self, string: StringScan) -> Scan {
        let head = self.shortened.get(string.start..).unwrap_or_default();
        let decoded = base64_of(head).and_then(|base64| {
            let (groups, pending) = base64.split_at(base64.len() - base64.len() % 4);
            let mut blob = PartialBlob {
                bytes: Vec::new(),
                pending: pending.to_vec(),
                head_bytes: groups.len() / 4 * 3,
                string_start: string.start,
            };
            blob.decode(groups, 0).then_some(blob)
        });
        let Some(blob) = decoded else {
            return Scan::String(StringScan {
                may_be_base64: false,
                ..string
            });
        };
        self.shortened
            .truncate(self.shortened.len() - blob.pending.len());
        Scan::Base64(blob)
    }

    /// Completes the blob at the end of its string.
    fn end_blob(&mut self) -> Result<(), LimitExceeded> {
        let Scan::Base64(blob) = &mut self.scan else {
            return Ok(());
        };
        let group_bytes = blob.bytes.len();
        let last = std::mem::take(&mut blob.pending);
        let is_base64 = blob.decode(unpadded(&last), 0);
        blob.pending = last;
        if !is_base64 {
            return self.give_up_blob();
        }
        if let Scan::Base64(complete) = self.leave_blob() {
            self.push_blob(complete, group_bytes);
        }
        Ok(())
    }

    /// Returns to the text of a string that is no base64.
    fn give_up_blob(&mut self) -> Result<(), LimitExceeded> {
        if let Scan::Base64(blob) = self.leave_blob() {
            let left_out = blob.bytes.get(blob.head_bytes..).unwrap_or_default();
            let length = STANDARD_NO_PAD.encoded_length(left_out.len());
            self.reservation.hold(length)?;
            self.shortened.reserve(length + self.missing_bytes);
            STANDARD_NO_PAD.encode_append(left_out, &mut self.shortened);
            self.shortened.extend_from_slice(&blob.pending);
        }
        Ok(())
    }

    /// Continues in the string of the blob, which is returned.
    fn leave_blob(&mut self) -> Scan {
        let start = match &self.scan {
            Scan::Base64(blob) => blob.string_start,
            _ => self.shortened.len(),
        };
        let string = StringScan {
            start,
            is_escaped: false,
            may_be_base64: false,
        };
        std::mem::replace(&mut self.scan, Scan::String(string))
    }

    /// Adds a blob whose first `group_bytes` bytes are of whole groups.
    fn push_blob(&mut self, blob: PartialBlob, group_bytes: usize) {
        let mut bytes = blob.bytes;
        // It had the memory of all that the body could contain.
        if bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        self.blob_bytes += bytes.len() + BLOB_BYTES;
        self.blobs.push(Blob {
            bytes: bytes.into(),
            position: self.shortened.len(),
            left_out: blob.head_bytes..group_bytes,
        });
        self.shortened.extend_from_slice(&blob.pending);
    }
}

impl PartialBlob {
    /// Decodes the next characters of the string. `missing_bytes` of the body follow the text.
    fn push(&mut self, text: &[u8], missing_bytes: usize) -> Step {
        let window = text.get(..STEP_BYTES).unwrap_or(text);
        let end = memchr::memchr2(b'"', b'\\', window).unwrap_or(window.len());
        let characters = window.get(..end).unwrap_or_default();
        if characters.is_empty() {
            return match window.first() {
                Some(b'"') => Step::End,
                _ => Step::NotBase64,
            };
        }
        if self.pending.is_empty() && characters.len() >= 4 {
            return self.push_groups(characters, text.len() + missing_bytes);
        }
        if self.pending.len() == 4 {
            // Nothing may follow a padded group.
            return Step::NotBase64;
        }
        let used = characters.len().min(4 - self.pending.len());
        self.pending
            .extend_from_slice(characters.get(..used).unwrap_or_default());
        if self.pending.len() == 4 && self.pending.last() != Some(&b'=') {
            let group = std::mem::take(&mut self.pending);
            if !self.decode(&group, 0) {
                self.pending = group;
                self.pending.truncate(4 - used);
                return Step::NotBase64;
            }
        }
        Step::Decoded(used)
    }

    /// Decodes the whole groups at the start of at least one.
    fn push_groups(&mut self, characters: &[u8], following_bytes: usize) -> Step {
        let whole = characters.len() - characters.len() % 4;
        let is_padded = characters.get(whole - 1) == Some(&b'=');
        let length = if is_padded { whole - 4 } else { whole };
        let (groups, rest) = characters.split_at(length);
        if !self.decode(groups, following_bytes) {
            return Step::NotBase64;
        }
        if length > 0 {
            return Step::Decoded(length);
        }
        let padded = rest.get(..4).unwrap_or_default();
        self.pending.extend_from_slice(padded);
        Step::Decoded(padded.len())
    }

    /// Appends what the characters decode to. Returns false if they are no base64, and appends nothing.
    /// `following_bytes` of the body follow, as far as that is known.
    fn decode(&mut self, characters: &[u8], following_bytes: usize) -> bool {
        let length = characters.len() / 4 * 3 + 2;
        if self.bytes.capacity() - self.bytes.len() < length {
            let is_short = self.bytes.len() + length <= MAX_SHORT_BLOB_BYTES;
            let max_bytes = if is_short {
                MAX_SHORT_BLOB_BYTES
            } else {
                usize::MAX
            };
            let following = (following_bytes / 4 * 3 + 4).min(max_bytes);
            self.bytes.reserve(length.max(following));
        }
        STANDARD_NO_PAD
            .decode_append(characters, &mut self.bytes)
            .is_ok()
    }
}

/// The base64 in the beginning of a string; `None` if it begins like another text.
fn base64_of(head: &[u8]) -> Option<&[u8]> {
    let Some(url) = head.strip_prefix(b"data:") else {
        return Some(head);
    };
    let comma = memchr::memchr(b',', url)?;
    let (media_type, base64) = url.split_at_checked(comma + 1)?;
    media_type.is_ascii().then_some(base64)
}

/// Base64 without its padding.
pub(crate) fn unpadded(base64: &[u8]) -> &[u8] {
    base64
        .strip_suffix(b"==")
        .or(base64.strip_suffix(b"="))
        .unwrap_or(base64)
}
