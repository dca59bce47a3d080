//! Stored images: bytes in a directory or a bucket, a row in the database.
//!
//! The bytes are written before their row and removed after it, so a file with a row is complete.

mod bucket_use;
mod cleanup;
mod component_bucket;
mod copy;
mod data_url;
mod delayed_storage;
mod gallery;
mod identity;
mod import;
mod job_images;
pub mod link;
pub mod lookup;
mod objects;
mod room;
mod saved_job;
mod spool;
mod storage_provider;
mod stored_name;
mod thumbnail;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::Dir;
use futures_util::{Stream, StreamExt, stream};
use pinhole_ground::ballast::Ballast;
use pinhole_ground::disk;
use pinhole_ground::guard::Guard;
use pinhole_ground::memory::MemoryShare;
use pinhole_images::{Decoder, Image, ImageLimits};
use serde_json::{Value, json};

use crate::store::{
    ChatFilter, FileRow, GalleryFields, NewFile, Page, SearchError, Store, User, now,
};
use identity::Identity;
use objects::Objects;
use spool::Spool;

pub use crate::store::MessageLink;
pub use bucket_use::{check_provider, is_bucket_failure};
pub use cleanup::{Confirmation, Sweep};
pub(crate) use component_bucket::ComponentBucket;
pub use copy::{CopyCounts, CopyMode, Storage};
pub use data_url::{encode_data_url, is_data_url};
pub use gallery::UNDO_TIME;
pub use import::{ImportBytes, ImportedImage};
pub use job_images::JobImage;
pub use lookup::MAX_SOURCES;
pub use objects::SignedHeaders;
pub use room::{NoRoom, StorageLimits};
pub use saved_job::{SaveError, SavedFiles};
pub use spool::{MAX_SPOOLED_BYTES, spooled_file_ids};
pub use storage_provider::{
    AzureContainer, AzureCredentials, AzureIdentity, BucketConfig, BucketService, GcsBucket,
    S3Bucket, S3Credentials, S3Role, StorageProvider,
};
pub(crate) use stored_name::stored_name;
pub(crate) use thumbnail::to_jpeg;
pub use thumbnail::{THUMBNAIL_SIZES, Thumbnail};

/// Limits of an uploaded image.
pub const UPLOAD_LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};
/// Length of an object of a bucket in bytes: an image, with what a conversion may have added.
pub const MAX_OBJECT_BYTES: u64 = 64 << 20;
/// Chats and files that one statement lists for removal.
const BATCH: u32 = 200;

/// The columns of an image's row, in addition to those of each file.
#[derive(Clone, Debug, Default)]
pub struct ImageRecord {
    /// JSON.
    pub metadata: String,
    /// The size is that of the image, whatever it is here.
    pub gallery: GalleryFields,
}

/// The bytes of files and their rows. Clones share both.
#[derive(Clone)]
pub struct Files {
    data: Arc<Dir>,
    objects: Objects,
    spool: Spool,
    identity: Identity,
    ballast: Ballast,
    store: Store,
    decoder: Decoder,
    limits: StorageLimits,
}

impl Files {
    /// Opens the directory `files`, or the bucket, and the directory `spool` in the data directory.
    pub async fn open(
        data: &Dir,
        store: Store,
        decoder: Decoder,
        limits: StorageLimits,
        provider: &StorageProvider,
    ) -> Result<Self> {
        let objects = Objects::open(data, provider)?;
        let identity = Identity::new(data.try_clone()?, objects.clone());
        if let Err(error) = identity.open(&store).await {
            tracing::error!("cannot check that the database belongs to the files: {error:#}");
        }
        Ok(Self {
            data: Arc::new(data.try_clone()?),
            objects,
            spool: Spool::open(data)?,
            identity,
            ballast: Ballast::new(data.try_clone()?),
            store,
            decoder,
            limits,
        })
    }

    /// Stores the images of a job, all or none.
    ///
    /// With a link, the files are also linked to the message in the same transaction, unless the user has
    /// no such chat. If they cannot be stored at this moment, they wait in the spool: clients get them, and
    /// [`Self::store_spooled`] stores them later.
    pub async fn save_all(
        &self,
        user_id: &str,
        images: &[Image],
        records: &[ImageRecord],
        link: Option<MessageLink<'_>>,
    ) -> Result<Vec<FileRow>> {
        let saved = self.save_job(user_id, images, records, link, |_| None);
        Ok(saved.await?.rows)
    }

    /// Restores the ballast after it was used, if the disk has space again.
    pub async fn restore_ballast(&self) {
        let (ballast, reserved_bytes) = (self.ballast.clone(), self.limits.reserved_bytes);
        let restored = tokio::task::spawn_blocking(move || ballast.restore(reserved_bytes)).await;
        if let Ok(Err(error)) = restored {
            tracing::debug!("cannot restore the ballast: {error}");
        }
    }

    /// Stores an image under a name.
    pub async fn save_as(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        metadata: &Value,
    ) -> Result<FileRow> {
        let record = ImageRecord {
            metadata: metadata.to_string(),
            gallery: GalleryFields::default(),
        };
        let written = self.write_bytes(name, user_id, image, record).await;
        written.result?;
        let file = NewFile {
            entry: file_entry(&written.row),
            gallery: written.gallery,
            row: written.row,
        };
        let inserted = self.store.insert_files(std::slice::from_ref(&file), None);
        if let Err(error) = inserted.await {
            self.delete_bytes(&file.row.id).await;
            return Err(error).context("cannot insert images into the database");
        }
        Ok(file.row)
    }

    /// Writes the bytes of an image. Returns the row to insert.
    async fn write_bytes(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        record: ImageRecord,
    ) -> WrittenFile {
        let (width, height) = image.upright_size();
        let gallery = GalleryFields {
            width,
            height,
            ..record.gallery
        };
        let mut row = FileRow {
            id: uuid::Uuid::new_v4().to_string(),
            name,
            media_type: image.media_type().to_owned(),
            size_bytes: i64::try_from(image.bytes().len()).unwrap_or(i64::MAX),
            hash: String::new(),
            user_id: user_id.to_owned(),
            meta: record.metadata,
            created_at: now(),
        };
        let result = match self.create(&row.id, image.bytes().clone()).await {
            Ok(hash) => {
                row.hash = hash;
                Ok(())
            }
            Err(error) => Err(error),
        };
        WrittenFile {
            row,
            gallery,
            result,
        }
    }

    /// Writes the bytes of an image, even if no further file can be opened. Returns their hash.
    async fn create(&self, id: &str, bytes: Bytes) -> Result<String> {
        let mut created = self.objects.create(id, bytes.clone()).await;
        if let Objects::Folder(folder) = &self.objects
            && created.as_ref().is_err_and(disk::is_out_of_files)
            && let Some(spare) = self.spool.take_spare()
        {
            created = folder.create_from(spare, id, bytes).await;
        }
        created.with_context(|| format!("cannot write the bytes of image {id}"))
    }

    /// Removes a file and its thumbnails.
    ///
    /// Fails only if the row remains. Bytes without a row are removed by the cleanup.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.store
            .delete_file(id)
            .await
            .with_context(|| format!("cannot remove image {id} from the database"))?;
        self.spool.remove_file(id);
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

    /// Decodes images, within the limits of the process.
    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The user's share of the process's memory.
    #[must_use]
    pub fn memory_of(&self, user: &User) -> MemoryShare {
        self.decoder.memory().of(Some(&user.id))
    }

    /// A file that the user may read: their own, or any file for an administrator.
    pub async fn find(&self, id: &str, user: &User) -> Result<Option<FileRow>> {
        let row = self.find_linked(id).await?;
        Ok(row.filter(|row| row.user_id == user.id || reads_all_files(user)))
    }

    /// The file of a link that was verified.
    pub async fn find_linked(&self, id: &str) -> Result<Option<FileRow>> {
        let row = self.store.file(id).await;
        let row = row.context("cannot read a file from the database")?;
        Ok(row.or_else(|| self.spool.find(id).map(|file| file.row)))
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
        page: Page,
    ) -> Result<Vec<FileRow>, SearchError> {
        let owner = owner_filter(user);
        self.store
            .search_files(&user.id, owner, pattern, page)
            .await
    }

    /// Removes the files of a user, also those that can be restored.
    pub async fn delete_all_of(&self, user_id: &str) -> Result<()> {
        loop {
            let ids = self.store.file_ids_of(user_id, BATCH).await;
            let ids = ids.context("cannot list the files of the database")?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                self.delete(&id).await?;
            }
        }
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
        if let Some(bytes) = self.spool.find(&file.id).and_then(|file| file.bytes) {
            return Ok(Some(stream::iter([Ok(slice(&bytes, range))]).left_stream()));
        }
        let chunks = self.objects.get_range(&file.id, file.length(), range).await;
        let chunks = chunks.with_context(|| format!("cannot read image {}", file.id))?;
        Ok(chunks.map(|chunks| chunks.right_stream()))
    }
}

/// An image whose bytes were written, or not.
struct WrittenFile {
    row: FileRow,
    gallery: GalleryFields,
    result: Result<()>,
}

/// A range of the bytes, as far as they have it.
fn slice(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let at =
        |position: u64| usize::try_from(position).map_or(bytes.len(), |it| it.min(bytes.len()));
    let (start, end) = (at(range.start), at(range.end));
    bytes.slice(start.min(end)..end)
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
