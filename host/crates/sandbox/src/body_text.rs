//! The body of a response, without the long base64 texts in it.
//!
//! An image in JSON arrives as base64, which is a third longer than the image. A body that held this text until
//! the engine takes the image would need the memory of both, and every search in the JSON would read it again. So
//! [`BodyReceiver`] decodes such a text while it arrives: the body has the decoded bytes as a [`Blob`], and a JSON
//! text in which most of the base64 is left out. This text has the same values and the same structure.
//!
//! Nothing is lost: only base64 of the standard alphabet becomes a blob, and encoding it again returns the same
//! text. Any other string, such as one with escapes or of the URL-safe alphabet, stays as it is.

mod receiver;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base64_simd::STANDARD_NO_PAD;
use bytes::Bytes;
use pinhole_ground::memory::ProcessMemory;

use crate::limits::Limits;
use crate::memory_budget::MemoryBudget;

pub(crate) use receiver::{BodyReceiver, unpadded};

/// A body. Clones share the bytes.
#[derive(Clone, Debug, Default)]
pub struct BodyText {
    /// The body without the base64 that is left out. Ranges of the other methods refer to it.
    shortened: Bytes,
    /// In the order of the text.
    blobs: Arc<[Blob]>,
}

/// A base64 text of a JSON string, decoded.
#[derive(Clone, Debug)]
struct Blob {
    bytes: Bytes,
    /// Where base64 is left out of the shortened text: within the string, after its first characters.
    position: usize,
    /// The bytes whose base64 is left out: a multiple of three.
    left_out: Range<usize>,
}

impl Blob {
    /// Length of the base64 that is left out, in bytes.
    fn left_out_length(&self) -> usize {
        self.left_out.len() / 3 * 4
    }

    fn append_left_out(&self, text: &mut Vec<u8>) {
        let bytes = self.bytes.get(self.left_out.clone()).unwrap_or_default();
        STANDARD_NO_PAD.encode_append(bytes, text);
    }
}

impl<T: Into<Bytes>> From<T> for BodyText {
    fn from(bytes: T) -> Self {
        Self {
            shortened: bytes.into(),
            blobs: Arc::default(),
        }
    }
}

impl BodyText {
    /// The body of these chunks, without limits.
    #[must_use]
    pub fn from_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let limits = Limits {
            held_bytes: usize::MAX,
            taken_bytes: usize::MAX,
            ..Limits::describe()
        };
        let memory = MemoryBudget::new(&limits, ProcessMemory::default().of(None));
        let mut receiver = BodyReceiver::new(0, memory.empty_reservation());
        for chunk in chunks {
            receiver.push(chunk).expect("there are no limits");
        }
        receiver.finish().0
    }

    /// The body without the base64 that is left out. It is the whole body unless that is JSON.
    #[must_use]
    pub fn shortened(&self) -> &Bytes {
        &self.shortened
    }

    /// The first bytes of the whole body, up to a length.
    pub(crate) fn head(&self, length: usize) -> Cow<'_, [u8]> {
        let end = self.shortened.len().min(length);
        let mut head = self.whole(0..end);
        match &mut head {
            Cow::Borrowed(_) => {}
            Cow::Owned(bytes) => bytes.truncate(length),
        }
        head
    }

    /// A range of the shortened text, complete.
    pub(crate) fn whole(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let get = |part| self.shortened.get(part).unwrap_or_default();
        if self.blobs_in(&range).next().is_none() {
            return Cow::Borrowed(get(range));
        }
        let mut whole = Vec::with_capacity(self.whole_length(&range));
        let mut at = range.start;
        for blob in self.blobs_in(&range) {
            whole.extend_from_slice(get(at..blob.position));
            blob.append_left_out(&mut whole);
            at = blob.position;
        }
        whole.extend_from_slice(get(at..range.end));
        Cow::Owned(whole)
    }

    /// Length of [`Self::whole`] in bytes.
    pub(crate) fn whole_length(&self, range: &Range<usize>) -> usize {
        let left_out: usize = self.blobs_in(range).map(Blob::left_out_length).sum();
        range.len() + left_out
    }

    /// The part of a string's range before anything is left out.
    pub(crate) fn before_left_out(&self, range: &Range<usize>) -> &[u8] {
        let end = self
            .blobs_in(range)
            .next()
            .map_or(range.end, |blob| blob.position);
        self.shortened.get(range.start..end).unwrap_or_default()
    }

    /// The position in the whole body of a position in the shortened text.
    pub(crate) fn whole_position(&self, position: usize) -> usize {
        self.whole_length(&(0..position))
    }

    /// The decoded base64 of the string with this range; `None` if it is not decoded yet.
    pub(crate) fn blob_in(&self, range: &Range<usize>) -> Option<&Bytes> {
        self.blobs_in(range).next().map(|blob| &blob.bytes)
    }

    /// The blobs of a range, also one at its end.
    fn blobs_in(&self, range: &Range<usize>) -> impl Iterator<Item = &Blob> {
        let first = self
            .blobs
            .partition_point(|blob| blob.position < range.start);
        let blobs = self.blobs.get(first..).unwrap_or_default().iter();
        let end = range.end;
        blobs.take_while(move |blob| blob.position <= end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job_context::JobContext;
    use crate::json_document::Document;
    use crate::redaction::CallRedactor;
    use pinhole_egress::Redactor;
    use pinhole_ground::audit::AuditLog;

    /// Bytes without a pattern.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    }

    fn base64(length: usize) -> String {
        base64_simd::STANDARD.encode_to_string(noise(length))
    }

    fn json(string: &str) -> String {
        format!(r#" {{"a":"\"\\","{string}k":1,"s":"{string}","n":[1,"é",{{"t":"{string}"}}]}}"#)
    }

    /// Checks that a text in chunks of this size is the same as in one piece.
    #[track_caller]
    fn check_chunks(text: &str, size: usize) {
        check_body(text, BodyText::from_chunks(text.as_bytes().chunks(size)));
    }

    #[track_caller]
    fn check_body(text: &str, body: BodyText) {
        let whole = body.whole(0..body.shortened.len());
        assert!(whole == text.as_bytes());
        for length in [0, 1, 50, text.len() / 2, text.len(), text.len() + 1] {
            let head = text.as_bytes().get(..length).unwrap_or(text.as_bytes());
            assert!(body.head(length) == head, "{length}");
        }
        let (shortened, original) = match (
            Document::parse(body),
            Document::parse(text.to_owned().into()),
        ) {
            (Ok(shortened), Ok(original)) => (shortened, original),
            (shortened, original) => {
                assert_eq!(shortened.unwrap_err(), original.unwrap_err());
                return;
            }
        };
        for pointer in ["/a", "/s", "/n/1", "/n/2/t", "/x"] {
            // Base64 is decoded twice: the first time changes nothing.
            for _ in 0..2 {
                assert!(
                    shortened.base64_at(pointer) == original.base64_at(pointer),
                    "{pointer}"
                );
                assert!(
                    shortened.text_at(pointer) == original.text_at(pointer),
                    "{pointer}"
                );
                assert_eq!(
                    shortened.text_length_at(pointer),
                    original.text_length_at(pointer)
                );
            }
        }
        let redactor = CallRedactor::new(
            Redactor::default().into(),
            AuditLog::default(),
            "engine",
            &JobContext::new("job".to_owned()),
        );
        for max_bytes in [0, 100, 1000, u32::MAX] {
            let skeletons = [&shortened, &original].map(|it| it.skeleton(max_bytes, &redactor));
            assert!(skeletons[0] == skeletons[1], "{max_bytes}");
        }
    }

    #[test]
    fn body_leaves_base64_out_of_json() {
        for length in [765, 766, 767, 768, 769, 770, 3000] {
            let string = base64(length);
            for prefix in ["", "data:image/png;base64,"] {
                let text = format!(r#"{{"s":"{prefix}{string}","t":1}}"#);
                let body = BodyText::from_chunks([text.as_bytes()]);
                assert!(body.shortened.len() < 1100, "{length}");
                let document = Document::parse(body.clone()).unwrap();
                assert!(document.base64_at("/s").unwrap() == noise(length));
                check_body(&text, body);
            }
        }
    }

    #[test]
    fn body_is_the_same_for_all_chunks() {
        let (base64, short) = (base64(2000), base64(10));
        for (name, string) in [
            ("short", short.clone()),
            ("base64", base64.clone()),
            ("without padding", base64.trim_end_matches('=').to_owned()),
            ("too much padding", format!("{base64}=")),
            ("only padding", "=".repeat(2000)),
            ("padding within", format!("{base64}{base64}")),
            ("a URL", format!("data:image/png;base64,{base64}")),
            ("a URL without a comma", format!("data:{base64}")),
            ("a URL of a text", format!("data:image/é,{base64}")),
            ("escapes", format!(r"{}\/{base64}", &base64[..1500])),
            ("escapes at the start", format!(r"\/{base64}")),
            ("an escape at the end", format!(r"{base64}\n")),
            ("a line end", format!("{base64}\n")),
            (
                "the other alphabet",
                base64.replace('/', "_").replace('+', "-"),
            ),
            ("a text", "a long text ".repeat(200)),
            ("a text after base64", format!("{} text", &base64[..2000])),
            ("a character after base64", format!("{}€", &base64[..1999])),
            ("bits after the end", format!("{}QR==", &base64[..1600])),
            ("one character", format!("{}Q", &base64[..1600])),
        ] {
            let text = json(&string);
            for size in [1, 2, 3, 5, 7, 64, 1023, 1024, 1025, text.len()] {
                println!("{name} in chunks of {size}");
                check_chunks(&text, size);
                check_chunks(text.trim_end_matches(['}', ']', '"']), size);
                check_chunks(&format!("{{\"s\":\"{string}"), size);
            }
        }
    }

    #[test]
    fn body_is_the_same_for_each_split() {
        let base64 = base64(800);
        let text = format!(
            r#"{{"a":"\"\\\u00e9\ud83d\ude00","s":"{base64}","n":[true,-1.5e3,"é",{{"t":"data:,{base64}"}}]}}"#
        );
        for split in 0..text.len() {
            let (start, end) = text.as_bytes().split_at(split);
            let body = BodyText::from_chunks([start, end]);
            assert_eq!(body.blobs.len(), 2, "{split}");
            check_body(&text, body);
        }
    }

    #[test]
    fn body_that_is_no_json_stays_as_it_is() {
        for start in ["", "\"", "<a href=\"", "\u{feff}x \""] {
            let text = format!("{start}{}\"", base64(3000));
            let body = BodyText::from_chunks(text.as_bytes().chunks(1000));
            assert!(body.shortened == text, "{start}");
        }
    }

    #[test]
    fn body_with_an_image_holds_little_more_than_the_image() {
        let image_bytes = 2 << 20;
        let text = format!(r#"{{"data":[{{"b64_json":"{}"}}]}}"#, base64(image_bytes));
        let process = ProcessMemory::new(usize::MAX);
        let memory = MemoryBudget::new(&Limits::job(Duration::ZERO), process.of(None));
        let mut receiver = BodyReceiver::new(text.len(), memory.empty_reservation());
        for chunk in text.as_bytes().chunks(64 << 10) {
            receiver.push(chunk).unwrap();
            assert!(process.held_bytes() < image_bytes + (8 << 10));
        }
        let (_, reservation) = receiver.finish();
        assert!(process.held_bytes() >= image_bytes);
        drop(reservation);
        assert_eq!(process.held_bytes(), 0);
    }
}
