//! Bodies that an upstream has compressed although nobody asked it to.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

use super::Error;
use pinhole_ground::guard::Guard;

/// Bytes that one byte of a compressed body may become, on the whole.
const MAX_RATIO: usize = 100;
/// Bytes up to which a body may become what it likes: a short one is no danger.
const MAX_ANY_RATIO_BYTES: usize = 1 << 20;
/// Bytes that are decoded at a time, so that a limit is noticed before much has come of them.
const STEP: usize = 1024;

/// Turns the pieces of a compressed body into plain ones.
pub(super) struct Decoder {
    stream: Stream,
    taken: usize,
    made: usize,
}

enum Stream {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    /// The decoder that an answer with these headers needs; none where it is plain. Fails on every
    /// encoding but gzip and deflate, and on one within another.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(encoding), None) = (encodings.next(), encodings.next()) else {
            return match headers.contains_key(CONTENT_ENCODING) && Guard::Encoding.holds() {
                true => Err("the answer is encoded more than once".to_owned()),
                false => Ok(None),
            };
        };
        let stream = match encoding.to_str().unwrap_or_default().trim() {
            name if name.eq_ignore_ascii_case("identity") => return Ok(None),
            name if name.eq_ignore_ascii_case("gzip") => {
                Stream::Gzip(MultiGzDecoder::new(Vec::new()))
            }
            name if name.eq_ignore_ascii_case("x-gzip") => {
                Stream::Gzip(MultiGzDecoder::new(Vec::new()))
            }
            name if name.eq_ignore_ascii_case("deflate") => {
                Stream::Deflate(ZlibDecoder::new(Vec::new()))
            }
            _ if !Guard::Encoding.holds() => return Ok(None),
            _ => {
                return Err(format!(
                    "the answer is encoded as {encoding:?}, which nobody asked for"
                ));
            }
        };
        Ok(Some(Self {
            stream,
            taken: 0,
            made: 0,
        }))
    }

    /// What a piece becomes. Fails where the whole would be longer than `max_bytes`.
    pub(super) fn push(&mut self, piece: &[u8], max_bytes: usize) -> Result<Bytes, Error> {
        let mut decoded = Vec::new();
        for part in piece.chunks(STEP) {
            self.taken += part.len();
            let plain = self.stream.decode(part).map_err(unusable)?;
            self.made += plain.len();
            decoded.extend_from_slice(&plain);
            self.check(max_bytes)?;
        }
        Ok(decoded.into())
    }

    /// What is left when the body has ended. Fails where it broke off.
    pub(super) fn finish(&mut self, max_bytes: usize) -> Result<Bytes, Error> {
        let plain = self.stream.finish().map_err(unusable)?;
        self.made += plain.len();
        self.check(max_bytes)?;
        Ok(plain.into())
    }

    fn check(&self, max_bytes: usize) -> Result<(), Error> {
        if self.made > Guard::AnswerBytes.limit(max_bytes) {
            return Err(Error::TooLarge(max_bytes));
        }
        let allowed = MAX_ANY_RATIO_BYTES.max(self.taken.saturating_mul(MAX_RATIO));
        match self.made > Guard::Ratio.limit(allowed) {
            true => Err(Error::Unusable(format!(
                "the answer becomes more than {MAX_RATIO} times as long as it came"
            ))),
            false => Ok(()),
        }
    }
}

impl Stream {
    fn decode(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(stream) => {
                stream.write_all(part)?;
                stream.flush()?;
                Ok(std::mem::take(stream.get_mut()))
            }
            Self::Deflate(stream) => {
                stream.write_all(part)?;
                stream.flush()?;
                Ok(std::mem::take(stream.get_mut()))
            }
        }
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(stream) => {
                stream.try_finish()?;
                Ok(std::mem::take(stream.get_mut()))
            }
            Self::Deflate(stream) => {
                stream.try_finish()?;
                Ok(std::mem::take(stream.get_mut()))
            }
        }
    }
}

fn unusable(error: io::Error) -> Error {
    Error::Unusable(format!("the answer cannot be decoded: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    fn headers(encodings: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for encoding in encodings {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        headers
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// The whole of a body that comes in pieces of this size.
    fn decode(
        encoding: &'static str,
        body: &[u8],
        size: usize,
        max: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut decoder = Decoder::of(&headers(&[encoding])).unwrap().unwrap();
        let mut whole = Vec::new();
        for piece in body.chunks(size) {
            whole.extend_from_slice(&decoder.push(piece, max)?);
        }
        whole.extend_from_slice(&decoder.finish(max)?);
        Ok(whole)
    }

    #[test]
    fn a_body_is_decoded_however_it_is_cut() {
        let plain: Vec<u8> = (0..50_000_u32).map(|i| (i * i % 251) as u8).collect();
        for size in [1, 7, 1000, 1 << 20] {
            for (encoding, body) in [("gzip", gzip(&plain)), ("DEFLATE", deflate(&plain))] {
                let whole = decode(encoding, &body, size, plain.len()).unwrap();
                assert!(whole == plain, "{encoding} in pieces of {size}");
                let longer = decode(encoding, &body, size, plain.len() - 1);
                assert!(matches!(longer, Err(Error::TooLarge(_))), "{longer:?}");
            }
        }
        assert_eq!(decode("gzip", &gzip(b""), 9, 0).unwrap(), b"");
    }

    #[test]
    fn a_body_may_not_become_much_longer() {
        let zeros = vec![0; 8 << 20];
        for (encoding, body) in [("gzip", gzip(&zeros)), ("deflate", deflate(&zeros))] {
            let bomb = decode(encoding, &body, 1 << 20, usize::MAX);
            assert!(matches!(&bomb, Err(Error::Unusable(why)) if why.contains("100 times")));
        }
        let short = vec![0; MAX_ANY_RATIO_BYTES];
        assert!(decode("gzip", &gzip(&short), 1 << 20, usize::MAX).is_ok());
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for encodings in [
            &["br"][..],
            &["zstd"],
            &["gzip, gzip"],
            &["gzip", "gzip"],
            &["identity", "gzip"],
            &[""],
        ] {
            assert!(Decoder::of(&headers(encodings)).is_err(), "{encodings:?}");
        }
        assert!(Decoder::of(&headers(&["identity"])).unwrap().is_none());
        let body = gzip(b"words");
        let (cut, mut wrong) = (&body[..body.len() - 9], body.clone());
        wrong[12] ^= 0x40;
        for body in [cut, b"words", &wrong, &[&body[..], b"behind"].concat()] {
            let decoded = decode("gzip", body, 100, 1000);
            assert!(matches!(decoded, Err(Error::Unusable(_))), "{decoded:?}");
        }
    }
}
