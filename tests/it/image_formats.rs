//! Validation of image files before decoding, and removal of metadata. The files in
//! `tests/data/pictures` resemble those of cameras and programs.

mod limits;
mod metadata_policy;

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use pinhole_images::{Image, ImageLimits, MetadataPolicy};

/// Private metadata in the sample files.
const SECRET: &[u8] = b"4711-secret";
const LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};

/// Name and bytes of each sample file.
fn sample_files() -> Vec<(String, Bytes)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/pictures");
    let files = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = files.map(|file| {
        let bytes = std::fs::read(file.path()).unwrap();
        (file.file_name().into_string().unwrap(), bytes.into())
    });
    let mut files: Vec<_> = files.filter(|(name, _)| !name.ends_with(".py")).collect();
    files.sort();
    assert!(files.len() == 18, "{}", files.len());
    files
}

fn sample_file(name: &str) -> Bytes {
    let mut files = sample_files().into_iter();
    files.find(|(file, _)| file == name).unwrap().1
}

fn uploaded(bytes: Bytes) -> Image {
    Image::from_upload(bytes, LIMITS).unwrap()
}

fn refusal(bytes: impl Into<Bytes>) -> String {
    Image::from_bytes(bytes.into(), LIMITS).unwrap_err().reason
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|fixture| fixture == text)
}

fn contains_secret(bytes: &[u8]) -> bool {
    contains(bytes, SECRET)
}

fn decoder(image: &Image) -> impl ImageDecoder {
    let reader = ImageReader::new(Cursor::new(image.bytes().clone()));
    let reader = reader.with_guessed_format().unwrap();
    reader.into_decoder().unwrap()
}

/// The stored pixels; `None` for AVIF, which cannot be decoded here.
fn pixels(image: &Image) -> Option<DynamicImage> {
    let is_decodable = image.media_type() != "image/avif";
    is_decodable.then(|| DynamicImage::from_decoder(decoder(image)).unwrap())
}

fn orientation(image: &Image) -> Orientation {
    decoder(image).orientation().unwrap()
}

#[test]
fn complete_file_is_accepted_and_truncated_file_refused() {
    for (name, bytes) in sample_files() {
        let image = uploaded(bytes.clone());
        assert_eq!(image.size(), (24, 16), "{name}");
        let end = image.bytes().len();
        for length in 0..end {
            let error = Image::from_upload(bytes.slice(..length), LIMITS)
                .unwrap_err()
                .reason;
            let reasons = ["truncated", "empty", "not a PNG"];
            assert!(
                reasons.iter().any(|it| error.contains(it)),
                "{name} {length}: {error}"
            );
        }
        let whole = Image::from_bytes(bytes.clone(), LIMITS);
        match name.as_str() {
            "phone.jpg" => assert!(whole.unwrap_err().reason.contains("after its end")),
            _ => assert_eq!(whole.unwrap().bytes().as_ptr(), bytes.as_ptr(), "{name}"),
        }
    }
}

#[test]
fn bytes_after_end_are_refused_or_removed() {
    for (name, bytes) in sample_files() {
        let image = uploaded(bytes.clone());
        for behind in [&b"PK\x03\x04 an archive"[..], b"<script>", b"\0\0\x01"] {
            let two = Bytes::from([image.bytes(), behind].concat());
            let error = refusal(two.clone());
            assert!(error.contains("after its end"), "{name}: {error}");
            assert_eq!(uploaded(two).bytes(), image.bytes(), "{name}");
        }
        let padded = Bytes::from([image.bytes().as_ref(), &[0; 7]].concat());
        let padded = Image::from_bytes(padded, LIMITS).unwrap();
        assert_eq!(
            padded
                .with_metadata(MetadataPolicy::Strip, |_| false)
                .size(),
            (24, 16)
        );
        assert!(!contains(padded.bytes(), &[0; 200]), "{name}");
    }
}

#[test]
fn stripping_metadata_changes_no_pixel() {
    for (name, bytes) in sample_files() {
        let image = uploaded(bytes);
        let has_notes = contains_secret(image.bytes());
        assert_eq!(
            has_notes,
            ["notes.", "phone.", "film.gif", "film.webp"]
                .iter()
                .any(|it| name.starts_with(it))
        );
        for metadata in [MetadataPolicy::Essential, MetadataPolicy::Strip] {
            let stripped = image.with_metadata(metadata, |_| false);
            assert!(!contains_secret(stripped.bytes()), "{name} {metadata:?}");
            assert_eq!(pixels(&stripped), pixels(&image), "{name} {metadata:?}");
            // The result is a valid image without further metadata.
            let again = Image::from_bytes(stripped.bytes().clone(), LIMITS).unwrap();
            for repeated in [again, stripped.clone()] {
                let repeated = repeated.with_metadata(metadata, |_| false);
                assert_eq!(
                    repeated.bytes().as_ptr(),
                    stripped.bytes().as_ptr(),
                    "{name}"
                );
            }
        }
        let unchanged = image.with_metadata(MetadataPolicy::Keep, |_| false);
        assert_eq!(unchanged.bytes().as_ptr(), image.bytes().as_ptr(), "{name}");
        // Without metadata, the same bytes are returned without a copy.
        if ["plain.", "progressive.", "palette.", "deep.", "film.png"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            let stripped = image.with_metadata(MetadataPolicy::Strip, |_| false);
            assert_eq!(stripped.bytes().as_ptr(), image.bytes().as_ptr(), "{name}");
        }
    }
}

#[test]
fn essential_metadata_retains_colors_and_orientation() {
    for name in ["notes.png", "phone.jpg", "notes.webp"] {
        let original = uploaded(sample_file(name));
        let profile = decoder(&original).icc_profile().unwrap();
        assert!(profile.is_some(), "{name}");
        assert_eq!(orientation(&original), Orientation::Rotate90, "{name}");
        let essential = original.with_metadata(MetadataPolicy::Essential, |_| false);
        assert_eq!(
            decoder(&essential).icc_profile().unwrap(),
            profile,
            "{name}"
        );
        assert_eq!(orientation(&essential), Orientation::Rotate90, "{name}");
        let bare = original.with_metadata(MetadataPolicy::Strip, |_| false);
        assert_eq!(decoder(&bare).icc_profile().unwrap(), None, "{name}");
        assert_eq!(orientation(&bare), Orientation::NoTransforms, "{name}");
        assert!(bare.bytes().len() < essential.bytes().len(), "{name}");
    }
    let avif = uploaded(sample_file("notes.avif"));
    let has_profile = |image: &Image| contains(image.bytes(), b"acsp");
    assert!(has_profile(
        &avif.with_metadata(MetadataPolicy::Essential, |_| false)
    ));
    assert!(!has_profile(
        &avif.with_metadata(MetadataPolicy::Strip, |_| false)
    ));
}

#[test]
fn metadata_with_secret_is_removed_under_keep() {
    for name in [
        "notes.png",
        "phone.jpg",
        "notes.webp",
        "notes.avif",
        "film.gif",
    ] {
        let image = uploaded(sample_file(name));
        let clean = image.with_metadata(MetadataPolicy::Keep, contains_secret);
        assert!(!contains_secret(clean.bytes()), "{name}");
        assert_eq!(pixels(&clean), pixels(&image), "{name}");
    }
    // A color profile with a secret is removed.
    for name in ["notes.png", "phone.jpg", "notes.webp"] {
        let clean = uploaded(sample_file(name))
            .with_metadata(MetadataPolicy::Essential, |content| {
                contains(content, b"acsp")
            });
        assert_eq!(decoder(&clean).icc_profile().unwrap(), None, "{name}");
    }
}

#[test]
fn other_formats_are_refused() {
    for bytes in [
        &b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..],
        b"<?xml version='1.0'?><svg/>",
        b"<!doctype html><script>alert(1)</script>",
        b"%PDF-1.7\n",
        b"PK\x03\x04\x14\0\0\0",
        b"II*\0\x08\0\0\0\0\0\0\0\0\0",
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0",
        b"\0\0\x01\0\x01\0",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypavis\0\0\0\0avifavis",
        b"RIFF\x04\0\0\0WAVE",
        b"GIF90a\x01\0\x01\0\0\0\0;",
    ] {
        assert!(refusal(bytes).contains("not a PNG"), "{bytes:?}");
    }
}
