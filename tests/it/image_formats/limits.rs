//! Small files that expand to many pixels, frames or bytes.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use pinhole_images::{Image, MetadataPolicy};

use super::{LIMITS, refusal};

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    // The checksum is not verified before decoding.
    [&length, name.as_slice(), content, &[0; 4]].concat()
}

/// A gray PNG whose header has this size, with these chunks before its pixels.
fn png(width: u32, height: u32, chunks: &[Vec<u8>], pixels: usize) -> Bytes {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        b"\x08\0\0\0\0",
    ]
    .concat();
    let (header, pixels) = (chunk(b"IHDR", &header), chunk(b"IDAT", &vec![0; pixels]));
    let end = chunk(b"IEND", b"");
    [
        b"\x89PNG\r\n\x1a\n",
        &header[..],
        &chunks.concat(),
        &pixels,
        &end,
    ]
    .concat()
    .into()
}

fn frame_control(side: u32) -> Vec<u8> {
    let sides = [side.to_be_bytes(), side.to_be_bytes()].concat();
    chunk(b"fcTL", &[&[0; 4][..], &sides, &[0; 14]].concat())
}

/// A GIF with a square canvas and this many frames of the same size.
fn gif(side: u16, frames: usize) -> Bytes {
    let side = [side.to_le_bytes(), side.to_le_bytes()].concat();
    let frame = [b",\0\0\0\0", &side[..], b"\0\x02\x02D\x01\0"].concat();
    [b"GIF89a", &side[..], b"\0\0\0", &frame.repeat(frames), b";"]
        .concat()
        .into()
}

/// A WebP with this many frames of one pixel.
fn webp(frames: usize) -> Bytes {
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        [name.as_slice(), &length, content, &[0][..content.len() % 2]].concat()
    };
    let pixels = chunk(b"VP8L", b"\x2f\0\0\0\0\0");
    let frame = chunk(b"ANMF", &[&[0; 16][..], &pixels].concat());
    let all = [
        chunk(b"VP8X", b"\x02\0\0\0\0\0\0\0\0\0"),
        frame.repeat(frames),
    ]
    .concat();
    chunk(b"RIFF", &[b"WEBP", &all[..]].concat()).into()
}

/// A JPEG of this size with this many scans.
fn jpeg(width: u16, height: u16, scans: usize) -> Bytes {
    let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\xaa".repeat(scans);
    let header = [b"\xff\xc2\0\x0b\x08", &sides[..], b"\x01\x01\x11\0"].concat();
    [b"\xff\xd8", &header[..], &scan, b"\xff\xd9"]
        .concat()
        .into()
}

fn zlib(length: usize) -> Vec<u8> {
    let mut compressed = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..length >> 20 {
        compressed.write_all(&zeros).unwrap();
    }
    compressed.finish().unwrap()
}

fn accepted(bytes: Bytes) -> Image {
    Image::from_bytes(bytes, LIMITS).unwrap()
}

#[test]
fn dimensions_without_pixels_are_refused() {
    let error = refusal(png(65_535, 65_535, &[], 8));
    assert!(
        error.contains("is 65535 x 65535, which is not between 1 and 67108864"),
        "{error}"
    );
    assert!(refusal(png(0, 5, &[], 8)).contains("is 0 x 5"));
    let missing_pixels = refusal(png(8192, 8192, &[], 20));
    assert!(
        missing_pixels.contains("can never be as many"),
        "{missing_pixels}"
    );
    accepted(png(8192, 8192, &[], 65_100));
    let side = [gif(65_535, 1), jpeg(65_535, 65_535, 1)];
    for image in side {
        assert!(refusal(image).contains("65535 x 65535"));
    }
}

#[test]
fn frame_count_and_total_pixels_are_limited() {
    accepted(gif(1, 2_000));
    accepted(webp(2_000));
    accepted(png(1, 1, &vec![frame_control(1); 2_000], 8));
    for image in [
        gif(1, 2_001),
        webp(2_001),
        png(1, 1, &vec![frame_control(1); 2_001], 8),
    ] {
        let error = refusal(image);
        assert!(error.contains("more than the 2000 frames"), "{error}");
    }
    accepted(gif(8192, 16));
    let error = refusal(gif(8192, 17));
    assert!(error.contains("more than the 1073741824 pixels"), "{error}");
    let large_frame = refusal(png(1, 1, &[frame_control(65_535)], 8));
    assert!(large_frame.contains("65535 x 65535"), "{large_frame}");
    for nothing in [gif(1, 0), webp(0), jpeg(8, 8, 0)] {
        let empty = refusal(nothing);
        assert!(
            empty.contains("no frame") || empty.contains("no pixels"),
            "{empty}"
        );
    }
}

#[test]
fn scan_count_and_total_pixels_are_limited() {
    accepted(jpeg(8, 8, 100));
    assert!(refusal(jpeg(8, 8, 101)).contains("more than the 100 scans"));
    accepted(jpeg(8192, 8192, 16));
    assert!(refusal(jpeg(8192, 8192, 17)).contains("more than the 1073741824 pixels"));
}

#[test]
fn metadata_length_and_count_are_limited() {
    let note = |length| chunk(b"tEXt", &vec![b'x'; length]);
    accepted(png(1, 1, &[note((8 << 20) - 12)], 8));
    accepted(png(1, 1, &vec![note(1); 1_000], 8));
    for notes in [vec![note((8 << 20) - 11)], vec![note(1); 1_001]] {
        assert!(refusal(png(1, 1, &notes, 8)).contains("more metadata than"));
    }
}

#[test]
fn oversized_compressed_metadata_is_removed() {
    let profile = |compressed: Vec<u8>| chunk(b"iCCP", &[b"p\0\0", &compressed[..]].concat());
    let text = |compressed: Vec<u8>| chunk(b"zTXt", &[b"t\0\0", &compressed[..]].concat());
    let international_text =
        |compressed: Vec<u8>| chunk(b"iTXt", &[b"t\0\x01\0\0\0", &compressed[..]].concat());
    for (metadata, chunks, is_retained) in [
        (
            MetadataPolicy::Essential,
            vec![profile(zlib(4 << 20))],
            true,
        ),
        (
            MetadataPolicy::Essential,
            vec![profile(zlib(5 << 20))],
            false,
        ),
        (
            MetadataPolicy::Essential,
            vec![profile(b"no zlib".to_vec())],
            false,
        ),
        (MetadataPolicy::Keep, vec![text(zlib(16 << 20))], true),
        (MetadataPolicy::Keep, vec![text(zlib(17 << 20))], false),
        (
            MetadataPolicy::Keep,
            vec![international_text(zlib(16 << 20))],
            true,
        ),
        (
            MetadataPolicy::Keep,
            vec![international_text(zlib(17 << 20))],
            false,
        ),
        // Each is within the limit, but not their sum.
        (MetadataPolicy::Keep, vec![text(zlib(1 << 20)); 17], false),
    ] {
        let image = accepted(png(1, 1, &chunks, 8));
        let stripped = image.with_metadata(metadata, |_| false);
        let expected = if is_retained {
            image.bytes().clone()
        } else {
            png(1, 1, &[], 8)
        };
        assert!(
            stripped.bytes() == &expected,
            "{metadata:?} {} {is_retained}",
            image.bytes().len()
        );
    }
}

#[test]
fn frame_size_must_match_header() {
    let image = webp(1).to_vec();
    let mut canvas = image.clone();
    // The canvas becomes sixteen pixels wide.
    canvas[24] = 15;
    accepted(canvas.into());
    let mut lies = image;
    let at = lies.windows(4).position(|it| it == b"VP8L").unwrap();
    lies[at + 9] = 7;
    assert!(refusal(lies).contains("another size"));
    let two = jpeg(8, 8, 1).to_vec();
    let header = two[2..15].to_vec();
    let two = [&two[..15], &header, &two[15..]].concat();
    assert!(refusal(two).contains("two headers"));
}
