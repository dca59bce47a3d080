//! Pictures, kept: bytes in a folder, a row in the store.
//!
//! Bytes are written before their row and removed after it, so a file that can be found is whole.

pub mod lookup;
mod objects;
mod sweep;
mod thumbnail;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cap_std::fs::Dir;
use futures_util::Stream;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use pinhole_ground::guard::Guard;
use pinhole_images::{DecodeFor, Decoder, Image, ImageLimits};
use crate::store::{ChatFilter, FileRow, Store, User, now};
use objects::Objects;

pub use thumbnail::THUMBNAIL_SIZES;

/// What a picture that somebody brings along may be.
pub const UPLOAD_LIMITS: ImageLimits = ImageLimits {
    max_bytes: 32 << 20,
    max_pixels: 64 << 20,
};
/// Length of the pictures that are being uploaded, of all users together, in bytes. What does not fit
/// is refused.
const MAX_UPLOADING_BYTES: usize = 64 << 20;
/// Chats and files that are looked up at a time to be removed.
const BATCH: u32 = 200;

/// The folder of files and the store beside it.
#[derive(Clone)]
pub struct Files {
    objects: Objects,
    store: Store,
    uploads: Arc<Semaphore>,
    decoder: Decoder,
}

/// What an upload takes of the memory that there is for all of them, until it is dropped.
#[derive(Debug)]
pub struct UploadRoom {
    uploads: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl UploadRoom {
    /// Takes room for so many bytes more. False where there is none.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> bool {
        let permits = u32::try_from(bytes).ok();
        let more = permits.and_then(|it| self.uploads.clone().try_acquire_many_owned(it).ok());
        match (more, &mut self.taken) {
            (None, _) => return false,
            (Some(more), Some(taken)) => taken.merge(more),
            (more, taken) => *taken = more,
        }
        true
    }
}

/// What came of asking for a thumbnail.
#[derive(Debug)]
pub enum Thumbnail {
    /// It is here.
    Made(Image),
    /// The picture's bytes are gone.
    Gone,
    /// There can be none. Says for a person why.
    Impossible(String),
}

impl Files {
    /// Keeps files in a folder of the data folder.
    pub fn open(data: &Dir, store: Store, decoder: Decoder) -> Result<Self> {
        Ok(Self {
            objects: Objects::open(data, "files")?,
            store,
            uploads: Arc::new(Semaphore::new(MAX_UPLOADING_BYTES)),
            decoder,
        })
    }

    /// For an upload to take room as its bytes come.
    #[must_use]
    pub fn upload_room(&self) -> UploadRoom {
        UploadRoom {
            uploads: self.uploads.clone(),
            taken: None,
        }
    }

    /// Keeps a job's images for their owner, all of them or none. `meta` says what they belong to.
    ///
    /// `place` is a message of one of the owner's chats, by chat and message: the files are linked to
    /// it in the same step. Where that chat is not there, they are only files.
    pub async fn save_all(
        &self,
        user_id: &str,
        images: &[Image],
        meta: &Value,
        place: Option<(&str, &str)>,
    ) -> Result<Vec<FileRow>> {
        let put = images.iter().map(|image| {
            let name = format!("generated-image.{}", image.extension());
            self.put(name, user_id, image, meta)
        });
        self.insert(join_all(put).await, place).await
    }

    /// Keeps an image under a name for people. `meta` is what is known of it.
    pub async fn save_as(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        meta: &Value,
    ) -> Result<FileRow> {
        let put = self.put(name, user_id, image, meta).await;
        let kept = self.insert(vec![put], None).await?;
        kept.into_iter().next().context("no picture was kept")
    }

    /// Keeps an image's bytes. Its row is still to be added.
    async fn put(
        &self,
        name: String,
        user_id: &str,
        image: &Image,
        meta: &Value,
    ) -> Result<FileRow> {
        let id = uuid::Uuid::new_v4().to_string();
        let hash = self.objects.add(&id, image.bytes().clone()).await;
        let hash = hash.with_context(|| format!("cannot keep picture {id} in the data folder"))?;
        Ok(FileRow {
            name,
            media_type: image.media_type().to_owned(),
            size_bytes: i64::try_from(image.bytes().len()).unwrap_or(i64::MAX),
            hash,
            user_id: user_id.to_owned(),
            meta: meta.to_string(),
            created_at: now(),
            id,
        })
    }

    /// Adds the rows of images whose bytes are kept, all of them or none.
    async fn insert(
        &self,
        put: Vec<Result<FileRow>>,
        place: Option<(&str, &str)>,
    ) -> Result<Vec<FileRow>> {
        let (mut rows, mut failed) = (Vec::with_capacity(put.len()), None);
        for put in put {
            match put {
                Ok(row) => {
                    let entry = in_event(&row);
                    rows.push((row, entry));
                }
                Err(error) => failed = Some(error),
            }
        }
        if failed.is_none() {
            let inserted = self.store.insert_files(&rows, place).await;
            failed = inserted.context("cannot keep the rows of pictures").err();
        }
        match failed {
            None => Ok(rows.into_iter().map(|(row, _)| row).collect()),
            Some(error) => {
                for (row, _) in &rows {
                    self.delete_bytes(&row.id).await;
                }
                Err(error)
            }
        }
    }

    /// Removes a file and all that was made from it. Fails only while it can still be found: bytes
    /// without a row are swept later.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let deleted = self.store.delete_file(id).await;
        deleted.with_context(|| format!("cannot remove the row of picture {id}"))?;
        self.delete_bytes(id).await;
        Ok(())
    }

    /// Removes a chat with its files: those of its owner that are in no other chat. False where the
    /// chat is not there.
    pub async fn delete_chat(&self, chat_id: &str) -> Result<bool> {
        let deleted = self.store.delete_chat(chat_id).await;
        let Some(files) = deleted.context("cannot remove a chat from the database")? else {
            return Ok(false);
        };
        for id in files {
            self.delete_bytes(&id).await;
        }
        Ok(true)
    }

    /// Removes all chats of a user, each as [`Files::delete_chat`] does. Where one fails, those before
    /// it are gone and the others whole.
    pub async fn delete_chats(&self, user_id: &str) -> Result<()> {
        loop {
            let chats = self.store.chats(user_id, ChatFilter::default(), BATCH, 0);
            let chats = chats.await.context("cannot list chats of the database")?;
            if chats.is_empty() {
                return Ok(());
            }
            for chat in chats {
                self.delete_chat(&chat.id).await?;
            }
        }
    }

    /// Removes the bytes of a file that has no row, and all that was made from them.
    async fn delete_bytes(&self, id: &str) {
        let thumbnails = THUMBNAIL_SIZES.map(|size| thumbnail_name(id, size));
        for name in thumbnails.into_iter().chain([id.to_owned()]) {
            if let Err(error) = self.objects.delete(&name).await {
                tracing::error!("picture {name} is left over until files are swept: {error}");
            }
        }
    }

    /// A file that this user may have: an own one, or any for an administrator.
    pub async fn find(&self, id: &str, user: &User) -> Result<Option<FileRow>> {
        let row = self.store.file(id).await;
        let row = row.context("cannot look for a file in the database")?;
        Ok(row.filter(|row| row.user_id == user.id || has_all(user)))
    }

    /// The files that this user may have, the newest first, `limit` after the first `offset`.
    pub async fn list(&self, user: &User, limit: u32, offset: u64) -> Result<Vec<FileRow>> {
        let owner = (!has_all(user)).then_some(user.id.as_str());
        let rows = self.store.files(owner, limit, offset).await;
        rows.context("cannot list files of the database")
    }

    /// The same, of those whose name is like a pattern: `*` stands for any text and `?` for one
    /// character; in ASCII, upper and lower case are one.
    pub async fn search(
        &self,
        user: &User,
        pattern: &str,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<FileRow>> {
        let owner = (!has_all(user)).then_some(user.id.as_str());
        let rows = self.store.files_named(owner, pattern, limit, offset).await;
        rows.context("cannot search files of the database")
    }

    /// Removes every file that there is, whoever it belongs to. One that comes meanwhile stays.
    pub async fn delete_all(&self) -> Result<()> {
        let end = now().saturating_add(1);
        loop {
            let ids = self.store.files_before(end, BATCH).await;
            let ids = ids.context("cannot list files of the database")?;
            if ids.is_empty() {
                return Ok(());
            }
            for id in ids {
                self.delete(&id).await?;
            }
        }
    }

    /// Some of a file's bytes, a chunk at a time. `None` when they are gone.
    pub async fn read(
        &self,
        file: &FileRow,
        range: Range<u64>,
    ) -> Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        let read = self.objects.get_range(&file.id, file.length(), range).await;
        read.with_context(|| format!("cannot read picture {}", file.id))
    }

    /// A small picture of a file, `size` being one of [`THUMBNAIL_SIZES`]. It is made once, and
    /// kept beside the file.
    pub async fn thumbnail(&self, file: &FileRow, size: u32) -> Result<Thumbnail> {
        let name = thumbnail_name(&file.id, size);
        let named = || format!("cannot make thumbnail {name}");
        if let Some(bytes) = self.objects.get(&name).await.with_context(named)? {
            return Ok(thumbnail(bytes));
        }
        let Some(bytes) = self.objects.get(&file.id).await.with_context(named)? else {
            return Ok(Thumbnail::Gone);
        };
        let io = Handle::current();
        match self.decoder.run(DecodeFor::Person, &io, move || {
            thumbnail::shrink(bytes, size)
        })
        .await
        {
            Ok(bytes) => {
                if let Err(error) = self.objects.put(&name, bytes.clone()).await {
                    tracing::warn!("thumbnail {name} is not kept: {error}");
                }
                Ok(thumbnail(bytes))
            }
            Err(why) => Ok(Thumbnail::Impossible(why)),
        }
    }
}

fn thumbnail(bytes: Bytes) -> Thumbnail {
    match Image::from_bytes(bytes, UPLOAD_LIMITS) {
        Ok(image) => Thumbnail::Made(image),
        Err(why) => Thumbnail::Impossible(why),
    }
}

/// Begins with the file's id: what is swept is known by it.
fn thumbnail_name(id: &str, size: u32) -> String {
    format!("{id}.{size}")
}

/// An administrator has everybody's files.
fn has_all(user: &User) -> bool {
    user.role == "admin" || !Guard::OwnFiles.holds()
}

impl FileRow {
    /// Where a client gets the bytes.
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

/// A file as it stands in a `files` event.
///
/// Source: Open WebUI 0.6.43 has `type` and `url`; later releases add the others.
#[must_use]
pub fn in_event(file: &FileRow) -> Value {
    json!({
        "type": "image",
        "id": file.id,
        "url": file.url(),
        "name": file.name,
        "content_type": file.media_type,
    })
}
