//! Decoding of compressed response bodies. Requests do not ask for compression, but some upstreams
//! compress anyway.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};
use pinhole_ground::guard::{Guard, Refusal};

use crate::error::Error;

/// Decoded bytes per encoded byte, over the whole body.
const MAX_RATIO: usize = 100;
/// Up to this number of decoded bytes, any ratio is allowed.
const MAX_ANY_RATIO_BYTES: usize = 1 << 20;
/// Encoded bytes that are decoded at once. It is small, so that a bomb is noticed early.
const STEP_BYTES: usize = 1024;

/// Decodes a body chunk by chunk.
pub(crate) struct ContentDecoder {
    stream: Stream,
    encoded_bytes: usize,
    decoded_bytes: usize,
}

enum Stream {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl ContentDecoder {
    /// The decoder for a response with these headers; `None` if the body is not encoded. Fails on an
    /// encoding other than gzip and deflate, and on more than one.
    pub(crate) fn for_response(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        let Some(encoding) = encodings.next() else {
            return Ok(None);
        };
        if encodings.next().is_some() {
            Guard::Encoding.refuse_if(true, || "the response has more than one encoding")?;
            return Ok(None);
        }
        let name = encoding.to_str().unwrap_or_default().trim();
        let stream = match name.to_ascii_lowercase().as_str() {
            "identity" => return Ok(None),
            "gzip" | "x-gzip" => Stream::Gzip(MultiGzDecoder::new(Vec::new())),
            "deflate" => Stream::Deflate(ZlibDecoder::new(Vec::new())),
            _ => {
                Guard::Encoding.refuse_if(true, || {
                    format!("the response has the encoding {encoding:?}, which was not requested")
                })?;
                return Ok(None);
            }
        };
        Ok(Some(Self {
            stream,
            encoded_bytes: 0,
            decoded_bytes: 0,
        }))
    }

    /// Decodes a chunk. Fails if the body becomes longer than `max_bytes`.
    pub(crate) fn push(&mut self, chunk: &[u8], max_bytes: usize) -> Result<Bytes, Error> {
        let bytes_before = self.decoded_bytes;
        for step in chunk.chunks(STEP_BYTES) {
            self.encoded_bytes += step.len();
            self.stream.decode(step).map_err(not_decodable)?;
            self.decoded_bytes = bytes_before + self.stream.output().len();
            self.check_length(max_bytes)?;
        }
        Ok(std::mem::take(self.stream.output()).into())
    }

    /// The rest of the decoded body at the end of the encoded one. Fails if that is truncated.
    pub(crate) fn finish(&mut self, max_bytes: usize) -> Result<Bytes, Error> {
        self.stream.finish().map_err(not_decodable)?;
        self.decoded_bytes += self.stream.output().len();
        self.check_length(max_bytes)?;
        Ok(std::mem::take(self.stream.output()).into())
    }

    fn check_length(&self, max_bytes: usize) -> Result<(), Error> {
        if Guard::AnswerBytes.applies(self.decoded_bytes > max_bytes) {
            return Err(Error::body_too_large(max_bytes));
        }
        let allowed = MAX_ANY_RATIO_BYTES.max(self.encoded_bytes.saturating_mul(MAX_RATIO));
        Guard::Ratio
            .refuse_if(self.decoded_bytes > allowed, || {
                format!("the response expands to more than {MAX_RATIO} times its encoded length")
            })
            .map_err(Error::Unusable)
    }
}

impl Stream {
    /// Decoded bytes that were not taken.
    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Gzip(stream) => stream.get_mut(),
            Self::Deflate(stream) => stream.get_mut(),
        }
    }

    fn decode(&mut self, encoded: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(stream) => {
                stream.write_all(encoded)?;
                stream.flush()
            }
            Self::Deflate(stream) => {
                stream.write_all(encoded)?;
                stream.flush()
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(stream) => stream.try_finish(),
            Self::Deflate(stream) => stream.try_finish(),
        }
    }
}

fn not_decodable(error: io::Error) -> Error {
    Error::Unusable(format!("the response cannot be decoded: {error}").into())
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

    /// Decodes a body in chunks of this size.
    fn decode_chunks(
        encoding: &'static str,
        body: &[u8],
        size: usize,
        max: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut decoder = ContentDecoder::for_response(&headers(&[encoding]))
            .unwrap()
            .unwrap();
        let mut decoded = Vec::new();
        for chunk in body.chunks(size) {
            decoded.extend_from_slice(&decoder.push(chunk, max)?);
        }
        decoded.extend_from_slice(&decoder.finish(max)?);
        Ok(decoded)
    }

    #[test]
    fn content_decoder_decodes_chunks_of_any_size() {
        let plain: Vec<u8> = (0..50_000_u32).map(|i| (i * i % 251) as u8).collect();
        for size in [1, 7, 1000, 1 << 20] {
            for (encoding, body) in [("gzip", gzip(&plain)), ("DEFLATE", deflate(&plain))] {
                let whole = decode_chunks(encoding, &body, size, plain.len()).unwrap();
                assert!(whole == plain, "{encoding} in chunks of {size}");
                let longer = decode_chunks(encoding, &body, size, plain.len() - 1);
                assert!(matches!(longer, Err(Error::TooLarge { .. })), "{longer:?}");
            }
        }
        assert_eq!(decode_chunks("gzip", &gzip(b""), 9, 0).unwrap(), b"");
    }

    #[test]
    fn content_decoder_limits_the_expansion_ratio() {
        let zeros = vec![0; 8 << 20];
        for (encoding, body) in [("gzip", gzip(&zeros)), ("deflate", deflate(&zeros))] {
            let bomb = decode_chunks(encoding, &body, 1 << 20, usize::MAX);
            assert!(
                matches!(&bomb, Err(Error::Unusable(refusal)) if refusal.guard == Some(Guard::Ratio))
            );
        }
        let short = vec![0; MAX_ANY_RATIO_BYTES];
        assert!(decode_chunks("gzip", &gzip(&short), 1 << 20, usize::MAX).is_ok());
    }

    #[test]
    fn content_decoder_refuses_unknown_encodings_and_damaged_bodies() {
        for encodings in [
            &["br"][..],
            &["zstd"],
            &["gzip, gzip"],
            &["gzip", "gzip"],
            &["identity", "gzip"],
            &[""],
        ] {
            assert!(
                ContentDecoder::for_response(&headers(encodings)).is_err(),
                "{encodings:?}"
            );
        }
        assert!(
            ContentDecoder::for_response(&headers(&["identity"]))
                .unwrap()
                .is_none()
        );
        let valid = gzip(b"words");
        let truncated = &valid[..valid.len() - 9];
        let mut corrupt = valid.clone();
        corrupt[12] ^= 0x40;
        let followed = [&valid[..], b"more"].concat();
        for body in [truncated, b"words", &corrupt, &followed] {
            let decoded = decode_chunks("gzip", body, 100, 1000);
            assert!(matches!(decoded, Err(Error::Unusable(_))), "{decoded:?}");
        }
    }
}
