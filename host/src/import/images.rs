//! Images: their rows, and their bytes from the directory of uploads.

use std::io::{ErrorKind, Read};

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::Dir;
use pinhole_ground::json_bounds::JsonBounds;
use pinhole_images::Image;
use serde::Deserialize;
use serde_json::Value;

use super::row_pages::RowPages;
use super::{INVALID_ID, Kind, Run, UNREADABLE, is_id, plausible_time, stop};
use crate::files::{ImageRecord, ImportedImage, UPLOAD_LIMITS, stored_name};
use crate::jobs::{ImageMetadata, StoredRequest};
use crate::store::{GalleryFields, SourceFile};

/// Length of the metadata of a file in bytes. Longer metadata, as with source images, is left out.
const MAX_META_BYTES: usize = 64 << 10;
/// Bounds of the metadata of a file.
const META_BOUNDS: JsonBounds = JsonBounds {
    max_values: 2_000,
    max_depth: 32,
    max_string_bytes: MAX_META_BYTES,
};
/// The name that Open WebUI gives to images that it generates.
const GENERATED_NAME: &str = "generated-image.";

/// The metadata of a file of Open WebUI.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    content_type: Option<String>,
    /// Of a generated image: its request, with the chat and the message.
    data: Value,
}

impl Run<'_> {
    pub(super) async fn import_images(&mut self) -> Result<()> {
        let mut pages = RowPages::default();
        loop {
            let page = self.source.files(pages.after(), MAX_META_BYTES).await;
            let page = page.context("cannot read the files of the Open WebUI database")?;
            let continues = pages.advance(&page, |file| &file.id);
            for row in page {
                self.report.found(Kind::Images);
                match row {
                    Ok(file) => self.import_image(&file).await?,
                    Err(row) => self.report.skipped(Kind::Images, &row.id, UNREADABLE),
                }
                self.progress(Kind::Images);
            }
            if !continues {
                return Ok(());
            }
        }
    }

    async fn import_image(&mut self, source: &SourceFile) -> Result<()> {
        let id = source.id.as_str();
        if !is_id(id) {
            self.report.skipped(Kind::Images, id, INVALID_ID);
            return Ok(());
        }
        let files = &self.app.files;
        if files.has_row(id).await? {
            self.report.exists(Kind::Images);
            return Ok(());
        }
        if self.app.store.role(&source.user_id).await?.is_none() {
            let reason = "its owner was not imported";
            self.report.skipped(Kind::Images, id, reason);
            return Ok(());
        }
        let meta = parse_meta(&source.meta);
        let image = match read_image(&self.uploads, &source.path, &meta).await? {
            Ok(image) => image,
            Err(reason) => {
                self.report.skipped(Kind::Images, id, reason);
                return Ok(());
            }
        };
        let imported = ImportedImage {
            id,
            user_id: &source.user_id,
            name: stored_name(&source.name, &image),
            record: image_record(source, &meta),
            created_at: plausible_time(source.created_at),
        };
        match files.import(imported, &image, self.bytes).await {
            Ok(()) => self.report.imported(Kind::Images),
            Err(error) => return stop(Kind::Images, id, error),
        }
        Ok(())
    }
}

/// Damaged metadata is as none.
fn parse_meta(json: &str) -> Meta {
    if META_BOUNDS.check(json.as_bytes()).is_err() {
        return Meta::default();
    }
    serde_json::from_str(json).unwrap_or_default()
}

/// The image of a file, or the reason why it has none.
async fn read_image(
    uploads: &Dir,
    path: &str,
    meta: &Meta,
) -> Result<std::result::Result<Image, String>> {
    let declared = meta.content_type.as_deref();
    if declared.is_some_and(|declared| !declared.starts_with("image/")) {
        return Ok(Err("it is not an image".to_owned()));
    }
    // The directory of another machine, or the URL of a bucket.
    let name = path
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_owned();
    if name.is_empty() || name == "." || name == ".." {
        return Ok(Err("its row has no path".to_owned()));
    }
    let uploads = uploads.try_clone()?;
    let read = tokio::task::spawn_blocking(move || read_upload(&uploads, &name)).await?;
    Ok(read.and_then(|bytes| {
        let image = Image::from_upload(bytes, UPLOAD_LIMITS);
        image.map_err(|refusal| format!("it is not an image: {}", refusal.reason))
    }))
}

/// The bytes of a file in the directory of uploads, or the reason why it has none.
fn read_upload(uploads: &Dir, name: &str) -> std::result::Result<Bytes, String> {
    let metadata = uploads.symlink_metadata(name).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            "its bytes are not in the directory of uploads".to_owned()
        } else {
            format!("its bytes cannot be read: {error}")
        }
    })?;
    if !metadata.is_file() {
        return Err("its bytes are not a file".to_owned());
    }
    let max_bytes = UPLOAD_LIMITS.max_bytes;
    if metadata.len() > max_bytes as u64 {
        return Err(format!(
            "it has {} bytes, more than the {max_bytes} allowed",
            metadata.len()
        ));
    }
    let mut bytes = Vec::new();
    let opened = uploads.open(name);
    let read = opened.and_then(|file| file.take(max_bytes as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("its bytes cannot be read: {error}"))?;
    Ok(bytes.into())
}

/// What is stored with the image: the request of a generated one.
fn image_record(source: &SourceFile, meta: &Meta) -> ImageRecord {
    if !source.name.starts_with(GENERATED_NAME) {
        return ImageRecord {
            metadata: "{}".to_owned(),
            gallery: GalleryFields::default(),
        };
    }
    let text = |name: &str| {
        let value = meta.data.get(name).and_then(Value::as_str);
        value.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let metadata = ImageMetadata {
        operation: "generate".to_owned(),
        request: StoredRequest {
            prompt: text("prompt").unwrap_or_default(),
            negative_prompt: text("negative_prompt"),
            model: text("model"),
            size: text("size").filter(|size| is_size(size)),
            count: 1,
            ..StoredRequest::default()
        },
        chat_id: text("chat_id").filter(|id| is_id(id)),
        message_id: text("message_id").filter(|id| is_id(id)),
        ..ImageMetadata::default()
    };
    metadata.into_record()
}

fn is_size(text: &str) -> bool {
    let is_number = |side: &str| side.parse::<u32>().is_ok();
    text.split_once('x')
        .is_some_and(|(width, height)| is_number(width) && is_number(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, meta: &str) -> ImageRecord {
        let source = SourceFile {
            name: name.to_owned(),
            meta: meta.to_owned(),
            ..SourceFile::default()
        };
        image_record(&source, &parse_meta(meta))
    }

    #[test]
    fn record_of_generated_image_has_its_request() {
        let meta = r#"{"name": "generated-image.png", "content_type": "image/png", "size": 9,
            "data": {"prompt": "a fox", "model": "gpt-image-1", "size": "64x48", "n": 2,
                "image": ["data:…"], "chat_id": "c-1", "message_id": "../x"}}"#;
        let ImageRecord { metadata, gallery } = record("generated-image.png", meta);
        let parsed: ImageMetadata = serde_json::from_str(&metadata).unwrap();
        assert_eq!(parsed.sent_prompt(), Some("a fox"));
        assert_eq!(parsed.request.size.as_deref(), Some("64x48"));
        assert_eq!(
            (parsed.chat_id.as_deref(), parsed.message_id),
            (Some("c-1"), None)
        );
        assert!(gallery.is_generated);
        assert_eq!(
            (gallery.model.as_str(), gallery.prompt.as_str()),
            ("gpt-image-1", "a fox")
        );
    }

    #[test]
    fn record_of_upload_has_no_request() {
        let meta = r#"{"content_type": "image/png", "data": {"prompt": "a fox"}}"#;
        let ImageRecord { metadata, gallery } = record("fox.png", meta);
        assert_eq!(
            (metadata.as_str(), gallery),
            ("{}", GalleryFields::default())
        );
    }

    #[test]
    fn damaged_metadata_is_as_none() {
        let deep = "[".repeat(10_000);
        for damaged in [
            "",
            "null",
            "[]",
            "{",
            r#"{"content_type": 5}"#,
            deep.as_str(),
        ] {
            let meta = parse_meta(damaged);
            assert_eq!(
                (meta.content_type, meta.data),
                (None, Value::Null),
                "{damaged:.20}"
            );
        }
    }
}
