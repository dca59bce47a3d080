//! Stored images: bytes in a directory, a row in the database.
//!
//! The bytes are written before their row and removed after it, so a file with a row is complete.

mod cleanup;
mod data_url;
pub mod lookup;
mod objects;
mod thumbnail;

use std::io;
use std::ops::Range;

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::Dir;
use futures_util::Stream;
use futures_util::future::join_all;
use pinhole_ground::guard::Guard;
use pinhole_ground::memory::MemoryShare;
use pinhole_images::{DecodeError, DecodeFor, Decoder, Image, ImageLimits};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::store::{ChatFilter, FileRow, Store, User, now};
use objects::Objects;

pub use crate::store::MessageLink;
pub use data_url::{encode_data_url, is_data_url};
pub use lookup::MAX_SOURCES;
pub use thumbnail::{THUMBNAIL_SIZES, Thumbnail};

/// Limits of an uploaded image.
pub const UPLOAD_LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};
/// Chats and files that one statement lists for removal.
const BATCH: u32 = 200;

/// The directory of files and their rows. Clones share both.
#[derive(Clone)]
pub struct Files {
    objects: Objects,
    store: Store,
    decoder: Decoder,
}

impl Files {
    /// Opens the directory `files` in the data directory.
    pub fn open(data: &Dir, store: Store, decoder: Decoder) -> Result<Self> {
        Ok(Self {
            objects: Objects::open(data, "files")?,
            store,
            decoder,
        })
    }

    /// Stores the images of a job, all or none.
    ///
    /// With a link, the files are also linked to the message in the same transaction, unless the user has
    /// no such chat.
    pub async fn save_all(
        &self,
        user_id: &str,
        images: &[Image],
        metadata: &Value,
        link: Option<MessageLink<'_>>,
    ) -> Result<Vec<FileRow>> {
        let written = images.iter().map(|image| {
            let name = format!("generated-image.{}", image.extension());
            self.write_bytes(name, user_id, image, metadata)
        });
        self.insert_rows(join_all(written).await, link).await
    }

    /// Stores an image under a name.
    pub async fn save_as(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        metadata: &Value,
    ) -> Result<FileRow> {
        let written = self.write_bytes(name, user_id, image, metadata).await;
        let rows = self.insert_rows(vec![written], None).await?;
        rows.into_iter().next().context("no image was stored")
    }

    /// Writes the bytes of an image. Returns the row to insert.
    async fn write_bytes(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        metadata: &Value,
    ) -> Result<FileRow> {
        let id = uuid::Uuid::new_v4().to_string();
        let hash = self
            .objects
            .create(&id, image.bytes().clone())
            .await
            .with_context(|| format!("cannot write image {id} to the data directory"))?;
        Ok(FileRow {
            name,
            media_type: image.media_type().to_owned(),
            size_bytes: i64::try_from(image.bytes().len()).unwrap_or(i64::MAX),
            hash,
            user_id: user_id.to_owned(),
            meta: metadata.to_string(),
            created_at: now(),
            id,
        })
    }

    /// Inserts the rows of images whose bytes were written. If one write failed, removes all bytes.
    async fn insert_rows(
        &self,
        written: Vec<Result<FileRow>>,
        link: Option<MessageLink<'_>>,
    ) -> Result<Vec<FileRow>> {
        let (mut rows, mut failure) = (Vec::with_capacity(written.len()), None);
        for result in written {
            match result {
                Ok(row) => {
                    let entry = file_entry(&row);
                    rows.push((row, entry));
                }
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_none() {
            let inserted = self.store.insert_files(&rows, link).await;
            failure = inserted
                .context("cannot insert images into the database")
                .err();
        }
        let Some(error) = failure else {
            return Ok(rows.into_iter().map(|(row, _)| row).collect());
        };
        for (row, _) in &rows {
            self.delete_bytes(&row.id).await;
        }
        Err(error)
    }

    /// Removes a file and its thumbnails.
    ///
    /// Fails only if the row remains. Bytes without a row are removed by the cleanup.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.store
            .delete_file(id)
            .await
            .with_context(|| format!("cannot remove image {id} from the database"))?;
        self.delete_bytes(id).await;
        Ok(())
    }

    /// Removes a chat and those of its owner's files that no other chat contains. Returns false if the
    /// chat does not exist.
    pub async fn delete_chat(&self, chat_id: &str) -> Result<bool> {
        let deleted = self.store.delete_chat(chat_id).await;
        let Some(file_ids) = deleted.context("cannot remove a chat from the database")? else {
            return Ok(false);
        };
        for id in file_ids {
            self.delete_bytes(&id).await;
        }
        Ok(true)
    }

    /// Removes all chats of a user, each like [`Self::delete_chat`]. A failure stops between two chats.
    pub async fn delete_chats(&self, user_id: &str) -> Result<()> {
        loop {
            let chats = self
                .store
                .chats(user_id, ChatFilter::default(), BATCH, 0)
                .await
                .context("cannot list the chats of the database")?;
            if chats.is_empty() {
                return Ok(());
            }
            for chat in chats {
                self.delete_chat(&chat.id).await?;
            }
        }
    }

    /// Removes the bytes of a file without a row, and its thumbnails.
    async fn delete_bytes(&self, id: &str) {
        let thumbnails = THUMBNAIL_SIZES.map(|size| thumbnail_name(id, size));
        for name in thumbnails.into_iter().chain([id.to_owned()]) {
            if let Err(error) = self.objects.delete(&name).await {
                tracing::error!("cannot remove image {name}, the cleanup will retry: {error}");
            }
        }
    }

    /// The user's share of the process's memory.
    #[must_use]
    pub fn memory_of(&self, user: &User) -> MemoryShare {
        self.decoder.memory().of(Some(&user.id))
    }

    /// A file that the user may read: their own, or any file for an administrator.
    pub async fn find(&self, id: &str, user: &User) -> Result<Option<FileRow>> {
        let row = self.store.file(id).await;
        let row = row.context("cannot read a file from the database")?;
        Ok(row.filter(|row| row.user_id == user.id || reads_all_files(user)))
    }

    /// A page of the files that the user may read, newest first.
    pub async fn list(&self, user: &User, limit: u32, offset: u64) -> Result<Vec<FileRow>> {
        let rows = self.store.files(owner_filter(user), limit, offset).await;
        rows.context("cannot list the files of the database")
    }

    /// A page of the files that the user may read and whose name matches a pattern, newest first.
    ///
    /// In the pattern, `*` matches any text and `?` one character. ASCII letters match in upper and lower
    /// case.
    pub async fn search(
        &self,
        user: &User,
        pattern: &str,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<FileRow>> {
        let owner = owner_filter(user);
        let rows = self.store.search_files(owner, pattern, limit, offset).await;
        rows.context("cannot search the files of the database")
    }

    /// Removes the files of all users, except those that are created meanwhile.
    pub async fn delete_all(&self) -> Result<()> {
        let end = now().saturating_add(1);
        loop {
            let ids = self.store.file_ids_before(end, BATCH).await;
            let ids = ids.context("cannot list the files of the database")?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                self.delete(&id).await?;
            }
        }
    }

    /// A range of a file's bytes, in chunks. `None` if the bytes are missing.
    pub async fn read(
        &self,
        file: &FileRow,
        range: Range<u64>,
    ) -> Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        let chunks = self.objects.get_range(&file.id, file.length(), range).await;
        chunks.with_context(|| format!("cannot read image {}", file.id))
    }

    /// The thumbnail of a file, in one of [`THUMBNAIL_SIZES`]. It is created once and stored.
    pub async fn thumbnail(&self, file: &FileRow, size: u32) -> Result<Thumbnail> {
        let name = thumbnail_name(&file.id, size);
        let name_thumbnail = || format!("cannot create thumbnail {name}");
        if let Some(bytes) = self.objects.get(&name).await.with_context(name_thumbnail)? {
            return Ok(Thumbnail::from_bytes(bytes));
        }
        let length = usize::try_from(file.length()).unwrap_or(usize::MAX);
        let share = self.decoder.memory().of(Some(&file.user_id));
        let lease = match share.lease(length).await {
            Ok(lease) => lease,
            Err(full) => return Ok(Thumbnail::MemoryFull(full)),
        };
        let Some(original) = self
            .objects
            .get(&file.id)
            .await
            .with_context(name_thumbnail)?
        else {
            return Ok(Thumbnail::FileMissing);
        };
        let original = lease.attach(original);
        let original = match thumbnail::parse(original) {
            Ok(image) => image,
            Err(refusal) => return Ok(Thumbnail::Impossible(refusal.reason)),
        };
        let decoding_bytes = original.decoding_bytes();
        let create = move || thumbnail::create(&original, size);
        let created = self
            .decoder
            .run(DecodeFor::User, &Handle::current(), decoding_bytes, create)
            .await;
        let bytes = match created {
            Ok(bytes) => bytes,
            Err(DecodeError::Refused(refusal)) => {
                return Ok(Thumbnail::Impossible(refusal.reason));
            }
            Err(DecodeError::MemoryFull(full)) => return Ok(Thumbnail::MemoryFull(full)),
        };
        if let Err(error) = self.objects.put(&name, bytes.clone()).await {
            tracing::warn!("cannot store thumbnail {name}: {error}");
        }
        Ok(Thumbnail::from_bytes(bytes))
    }
}

/// Starts with the file's id, by which the cleanup finds the file.
fn thumbnail_name(id: &str, size: u32) -> String {
    format!("{id}.{size}")
}

fn reads_all_files(user: &User) -> bool {
    !Guard::OwnFiles.applies(user.role != "admin")
}

/// The owner whose files the user may read. `None` if the user may read all files.
fn owner_filter(user: &User) -> Option<&str> {
    (!reads_all_files(user)).then_some(user.id.as_str())
}

impl FileRow {
    /// Where clients download the bytes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("/api/v1/files/{}/content", self.id)
    }

    /// Length of the bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        u64::try_from(self.size_bytes).unwrap_or_default()
    }
}

/// A file as an entry of a `files` event and of `message.files`.
///
/// Source: Open WebUI 0.6.43 has `type` and `url`; later releases add the others.
#[must_use]
pub fn file_entry(file: &FileRow) -> Value {
    json!({
        "type": "image",
        "id": file.id,
        "url": file.url(),
        "name": file.name,
        "content_type": file.media_type,
    })
}
