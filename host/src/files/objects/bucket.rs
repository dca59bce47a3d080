//! Byte objects in a bucket: S3, Google Cloud Storage or Azure Blob Storage.
//!
//! A bucket may be slow, wrong or hostile. Every request has a time limit, every response has a length limit, and what
//! a list contains is used only if its name is one of ours. Its errors reach the operator as status and code.

use std::future::ready;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::Method;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions,
};
use pinhole_ground::text::hex;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use url::Url;

use super::bucket_connector::BucketConnector;
use super::bucket_error::{
    BucketError, BucketProblem, is_beyond_end, is_missing, is_unsupported, to_io_error,
};
use super::bucket_health::{BucketHealth, CHECK_TIMEOUT};
use super::{ObjectEntry, is_object_name};
use crate::file_chunks::blocking;
use crate::files::storage_provider::BucketConfig;

/// Objects of a bucket, of this and of other programs, that one list reads.
const MAX_LISTED_OBJECTS: usize = 10_000_000;
/// Written and read to check the bucket. No file has this name.
const CHECK_NAME: &str = "pinhole-check";
const CHECK_BYTES: &[u8] = b"pinhole writes and reads this object to check the bucket\n";
/// The media type of bytes that are no image of a known format.
const UNKNOWN_MEDIA_TYPE: &str = "application/octet-stream";

/// A bucket, or the part of it below a prefix. Clones share the connections.
#[derive(Clone)]
pub(in crate::files) struct Bucket {
    store: Arc<dyn ObjectStore>,
    signer: Arc<dyn Signer>,
    prefix: Path,
    config: Arc<BucketConfig>,
    /// A `PUT` can fail if its object exists.
    has_create: Arc<AtomicBool>,
    health: Arc<BucketHealth>,
}

/// What a signed URL of an object returns in addition to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SignedHeaders<'a> {
    pub media_type: &'a str,
    /// A value of `Content-Disposition`.
    pub disposition: &'a str,
}

/// How a check of the bucket is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::files) enum BucketCheck {
    Read,
    WriteAndRead,
}

impl Bucket {
    /// Sends no request.
    pub(in crate::files) fn open(config: &Arc<BucketConfig>) -> Result<Self> {
        let opened = config.service.open(&BucketConnector::new()?)?;
        Ok(Self {
            store: opened.store,
            signer: opened.signer,
            prefix: opened.prefix,
            config: config.clone(),
            has_create: Arc::new(AtomicBool::new(true)),
            health: Arc::default(),
        })
    }

    /// Writes and reads a small object. The error is for the operator, with a remedy.
    pub(in crate::files) async fn require_usable(&self) -> Result<()> {
        self.check(BucketCheck::WriteAndRead)
            .await
            .map_err(|error| self.config.service.explain(&error))
    }

    /// Checks the bucket again, and records the result. A check after a failed write writes.
    pub(in crate::files) async fn check_health(&self) {
        let check = if self.health.needs_write() {
            BucketCheck::WriteAndRead
        } else {
            BucketCheck::Read
        };
        let late = format!(
            "it did not respond within {} seconds",
            CHECK_TIMEOUT.as_secs()
        );
        let checked = timeout(CHECK_TIMEOUT, self.check(check)).await;
        let checked =
            checked.unwrap_or_else(|_| Err(BucketError::new(BucketProblem::Unreachable, late)));
        match checked {
            Ok(()) => self.health.record_success(),
            Err(error) => {
                tracing::warn!("a check of the bucket of the files failed: {error}");
                let is_write = check == BucketCheck::WriteAndRead;
                self.health.record_failure(&error, is_write);
            }
        }
    }

    async fn check(&self, check: BucketCheck) -> Result<(), BucketError> {
        let path = self.path(CHECK_NAME);
        let write = async || {
            let payload = Bytes::from_static(CHECK_BYTES).into();
            self.store.put(&path, payload).await
        };
        if check == BucketCheck::WriteAndRead {
            write().await.map_err(|error| BucketError::from(&error))?;
        }
        let mut found = self.store.get(&path).await;
        if found.as_ref().is_err_and(is_missing) && check == BucketCheck::Read {
            // Someone has removed it.
            write().await.map_err(|error| BucketError::from(&error))?;
            found = self.store.get(&path).await;
        }
        let found = found.map_err(|error| BucketError::from(&error))?;
        let is_same = match collect(found, CHECK_BYTES.len() as u64).await {
            Ok(bytes) => bytes == CHECK_BYTES,
            Err(_) => false,
        };
        if is_same {
            return Ok(());
        }
        let reason = format!("the object {CHECK_NAME} has other bytes than were written");
        Err(BucketError::new(BucketProblem::Other, reason))
    }

    /// Fails while the bucket is lost.
    pub(in crate::files) fn require_available(&self) -> Result<(), BucketError> {
        self.health.require_available()
    }

    /// Creates or replaces an object.
    pub(in crate::files) async fn put(&self, name: &str, bytes: Bytes) -> io::Result<()> {
        self.write(name, bytes, PutMode::Overwrite).await
    }

    /// Creates an object, or fails if the name is taken. Returns the SHA-256 of the bytes in hexadecimal.
    ///
    /// If a bucket cannot check that, it replaces an object, which is safe: names are random.
    pub(in crate::files) async fn create(&self, name: &str, bytes: Bytes) -> io::Result<String> {
        let hashed = bytes.clone();
        let hash = blocking(move || Ok(hex(&Sha256::digest(&hashed)))).await?;
        match self.write(name, bytes.clone(), PutMode::Create).await {
            Ok(()) => Ok(hash),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // An earlier attempt may have succeeded without its response.
                match self.get(name, bytes.len() as u64).await {
                    Ok(Some(existing)) if existing == bytes => Ok(hash),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&self, name: &str, bytes: Bytes, mode: PutMode) -> io::Result<()> {
        self.require_available()?;
        let path = self.path(name);
        let media_type =
            image::guess_format(&bytes).map_or(UNKNOWN_MEDIA_TYPE, |format| format.to_mime_type());
        let put = |put_mode: PutMode| {
            let options = PutOptions {
                mode: put_mode,
                attributes: Attributes::from_iter([(Attribute::ContentType, media_type)]),
                ..PutOptions::default()
            };
            self.store.put_opts(&path, bytes.clone().into(), options)
        };
        let must_create = mode == PutMode::Create && self.has_create.load(Ordering::Relaxed);
        let mut written = if must_create {
            put(PutMode::Create).await
        } else {
            put(PutMode::Overwrite).await
        };
        if must_create && written.as_ref().is_err_and(is_unsupported) {
            self.has_create.store(false, Ordering::Relaxed);
            written = put(PutMode::Overwrite).await;
        }
        match written {
            Ok(_) => {
                self.health.record_success();
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::AlreadyExists { .. }) {
                    self.health.record_failure(&BucketError::from(&error), true);
                }
                Err(to_io_error(&error))
            }
        }
    }

    /// True if the bucket has no file or thumbnail.
    pub(in crate::files) async fn is_empty(&self) -> io::Result<bool> {
        let mut batches = pin!(self.list(1));
        Ok(batches.try_next().await?.is_none())
    }

    /// All bytes of an object. `None` if it does not exist. Fails if it has more than `max_bytes`.
    pub(in crate::files) async fn get(
        &self,
        name: &str,
        max_bytes: u64,
    ) -> io::Result<Option<Bytes>> {
        match self.request(name, GetOptions::default()).await? {
            Some(found) => Ok(Some(collect(found, max_bytes).await?)),
            None => Ok(None),
        }
    }

    /// A range of an object's bytes, in chunks as they arrive. `None` if the object does not exist.
    ///
    /// Fails if the object does not have exactly `length` bytes.
    pub(in crate::files) async fn get_range(
        &self,
        name: &str,
        length: u64,
        range: Range<u64>,
    ) -> io::Result<Option<impl Stream<Item = io::Result<Bytes>> + use<>>> {
        if range.is_empty() {
            return Ok(None);
        }
        let bytes = range.end.saturating_sub(range.start);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let Some(found) = self.request(name, options).await? else {
            return Ok(None);
        };
        if found.meta.size != length {
            let actual = found.meta.size;
            let message = format!("{name} has {actual} bytes instead of {length}");
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        Ok(Some(exact_chunks(found, bytes)))
    }

    async fn request(&self, name: &str, options: GetOptions) -> io::Result<Option<GetResult>> {
        self.require_available()?;
        match self.store.get_opts(&self.path(name), options).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) if is_beyond_end(&error) => {
                let message = format!("{name} is shorter than its row says");
                Err(io::Error::new(ErrorKind::InvalidData, message))
            }
            Err(error) => Err(to_io_error(&error)),
        }
    }

    /// Length of an object in bytes. `None` if it does not exist.
    pub(in crate::files) async fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.require_available()?;
        match self.store.head(&self.path(name)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(to_io_error(&error)),
        }
    }

    /// Removes an object if it exists.
    pub(in crate::files) async fn delete(&self, name: &str) -> io::Result<()> {
        self.require_available()?;
        match self.store.delete(&self.path(name)).await {
            Err(error) if !is_missing(&error) => Err(to_io_error(&error)),
            _ => Ok(()),
        }
    }

    /// The objects with names of files and thumbnails, in batches.
    pub(in crate::files) fn list(
        &self,
        batch: usize,
    ) -> impl Stream<Item = io::Result<Vec<ObjectEntry>>> + use<> {
        let prefix = self.prefix.clone();
        let below = Some(&prefix).filter(|prefix| !prefix.is_root());
        self.store
            .list(below)
            .take(MAX_LISTED_OBJECTS)
            .map_err(|error| to_io_error(&error))
            .try_filter_map(move |found| ready(Ok(entry(&prefix, &found))))
            .try_chunks(batch)
            .map_err(|error| error.1)
    }

    /// A URL at which anyone reads an object until the lifetime ends. `None` if the operator has not allowed it.
    pub(in crate::files) async fn signed_url(
        &self,
        name: &str,
        headers: SignedHeaders<'_>,
        lifetime: Duration,
    ) -> io::Result<Option<Url>> {
        let signs_headers = self.config.service.signs_headers();
        // Without them, the stored media type applies, and the bytes are shown.
        let is_possible = signs_headers || headers.disposition.starts_with("inline");
        if !self.config.has_redirects || !is_possible {
            return Ok(None);
        }
        self.require_available()?;
        let mut options = SignedUrlOptions::new();
        if signs_headers {
            options = options.with_query([
                ("response-content-type", headers.media_type),
                ("response-content-disposition", headers.disposition),
            ]);
        }
        let path = self.path(name);
        let signed = self
            .signer
            .signed_url_opts(Method::GET, &path, lifetime, &options)
            .await;
        signed.map(Some).map_err(|error| to_io_error(&error))
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }
}

/// The object as one of ours. `None` if its name is not that of a file or thumbnail directly below the prefix.
fn entry(prefix: &Path, found: &ObjectMeta) -> Option<ObjectEntry> {
    let mut parts = found.location.prefix_match(prefix)?;
    let name = parts.next()?.as_ref().to_owned();
    if parts.next().is_some() || !is_object_name(&name) {
        return None;
    }
    Some(ObjectEntry {
        name,
        length: found.size,
        modified: SystemTime::from(found.last_modified),
    })
}

/// All bytes of an object that claims at most `max_bytes`, and exactly as many as it claims.
async fn collect(found: GetResult, max_bytes: u64) -> io::Result<Bytes> {
    let length = found.meta.size;
    if length > max_bytes {
        let message = format!("an object has {length} bytes, more than the {max_bytes} allowed");
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    let mut chunks = pin!(exact_chunks(found, length));
    while let Some(chunk) = chunks.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// The chunks of an object, which fail unless they have exactly this number of bytes.
fn exact_chunks(found: GetResult, bytes: u64) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    let start = (found.into_stream(), bytes);
    stream::try_unfold(start, |(mut chunks, left)| async move {
        let next = chunks.try_next().await;
        match next.map_err(|error| to_io_error(&error))? {
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (chunks, left)))),
                None => Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "the bucket sent more bytes than were requested",
                )),
            },
            None if left == 0 => Ok(None),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    })
}
