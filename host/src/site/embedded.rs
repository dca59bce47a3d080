//! The pages in the program.

use rust_embed::RustEmbed;

use super::{ContentEncoding, FileContent, SiteFile};

/// The files that `npm run build` wrote. A build without them fails.
#[derive(RustEmbed)]
#[folder = "ui/dist"]
struct Pages;

/// The file with this name.
pub(super) fn find(name: &str, encoding: Option<ContentEncoding>) -> Option<SiteFile> {
    let file = match encoding {
        Some(encoding) => Pages::get(&format!("{name}{}", encoding.suffix()))?,
        None => Pages::get(name)?,
    };
    let hash = file.metadata.sha256_hash();
    Some(SiteFile {
        version: pinhole_ground::text::hex(hash.get(..16)?),
        length: file.data.len() as u64,
        content: FileContent::Bytes(file.data),
        encoding,
    })
}
