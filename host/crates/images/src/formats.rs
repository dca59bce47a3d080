//! The scanner of each format.

mod avif;
mod gif;
mod jpeg;
mod png;
pub(crate) mod webp;

use crate::scanner::{ScanError, Scanner};

/// Scans a file of this media type to its end.
pub(crate) fn scan(media_type: &str, scanner: &mut Scanner<'_>) -> Result<(), ScanError> {
    match media_type {
        "image/png" => png::scan(scanner),
        "image/jpeg" => jpeg::scan(scanner),
        "image/webp" => webp::scan(scanner),
        "image/gif" => gif::scan(scanner),
        _ => avif::scan(scanner),
    }
}
