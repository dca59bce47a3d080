//! Image formats: PNG, JPEG, WebP, GIF and AVIF.
//!
//! # What it prevents
//!
//! Images come from engines, upstreams and users, all of which may be hostile. A file may be a document
//! that a browser executes, carry a second file behind its end, expand to gigabytes of pixels, exploit a
//! decoder, or reveal a location, a prompt or a secret in its metadata.
//!
//! # How
//!
//! - [`Image::from_bytes`] identifies the format by the bytes, and scans the file from its start to its
//!   end with the scanner of that format (`formats`). No pixel is decoded. The scan checks size, number
//!   of frames and scans, and truncation, and records every part that is not pixels.
//! - [`Image::with_metadata`] removes recorded parts by cutting or overwriting bytes. It never encodes
//!   pixels again.
//! - The functions that need pixels ([`Image::to_upright`], [`Image::to_white_mask`],
//!   [`Image::to_thumbnail`]) decode without metadata and with bounded memory. [`Decoder`] limits how
//!   many run at once.
//!
//! # Invariants
//!
//! - An [`Image`] is within the limits that it was created with, and has one of [`MEDIA_TYPES`], none of
//!   which a browser renders as a document.
//! - Nothing follows its end, unless the guard `picture-end` is disabled.
//! - No index into a file is trusted: every read is checked against the file's length.
//!
//! # What it does not cover
//!
//! Pixel data is not verified before it is decoded, so a valid [`Image`] may fail to decode.
//! A message that is hidden in the pixels is not found.

mod decoder;
mod formats;
mod image_file;
mod metadata;
mod metadata_part;
mod pixels;
#[cfg(any(test, feature = "sample"))]
mod sample;
mod scanner;
mod structure;

pub use decoder::{DecodeError, DecodeFor, DecodePermit, Decoder};
pub use image_file::{Image, ImageLimits, MEDIA_TYPES};
pub use metadata::MetadataPolicy;
