//! A download of several images as one ZIP archive.
//!
//! The archive is written while it is sent, and its images are stored without compression, which they have
//! already. Of each image one chunk is in memory.

use std::collections::HashSet;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use pinhole_ground::memory::MemoryLease;
use pinhole_ground::text::utc_time;
use serde::Deserialize;
use utoipa::IntoParams;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::entry_name::EntryNames;
use crate::app::App;
use crate::files::Files;
use crate::store::{FileRow, GalleryRow};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Query;
use crate::web::files::not_found;

/// Images in one archive.
pub const MAX_ARCHIVE_IMAGES: usize = 100;
/// Memory of an archive while it is sent, in bytes: a chunk of an image, and its copy in the archive.
const ARCHIVE_BYTES: usize = 768 << 10;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ArchiveQuery {
    /// Ids of at most 100 images, separated by commas.
    ids: String,
}

/// `GET /api/v1/gallery/zip?ids=`
#[utoipa::path(
    get,
    path = "/api/v1/gallery/zip",
    tag = "gallery",
    operation_id = "download_images",
    summary = "Download images of the caller as a ZIP archive",
    params(ArchiveQuery),
    responses(
        (status = 200, description = "the archive", content_type = "application/zip", body = [u8]),
        (status = 404, description = "one of the images does not exist, or is of another user"),
        (status = 429, description = "the user's other requests use too much memory; retry later"),
        (status = 503, description = "the server's memory is in use; retry later"),
    ),
)]
pub(super) async fn download(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(query): Query<ArchiveQuery>,
) -> Result<Response, ApiError> {
    let ids = parse_ids(&query.ids)?;
    let lease = app.memory.of(Some(&user.id)).lease(ARCHIVE_BYTES).await?;
    let rows = app.store.gallery_rows(&user.id, &ids).await?;
    if rows.len() < ids.len() {
        return Err(not_found());
    }
    let files: Vec<FileRow> = rows.into_iter().map(without_metadata).collect();
    require_bytes(&app.files, &files).await?;
    let archive = Archive::new(app.files.clone(), files, lease);
    let chunks = stream::try_unfold(archive, async |mut rest: Archive| {
        let chunk = rest.next_chunk().await.inspect_err(|error| {
            tracing::error!("cannot send an archive of images: {error}");
        })?;
        Ok::<_, io::Error>(chunk.map(|chunk| (chunk, rest)))
    });
    let headers = [
        (CONTENT_TYPE, "application/zip"),
        (CONTENT_DISPOSITION, "attachment; filename=\"images.zip\""),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The ids, each once.
fn parse_ids(text: &str) -> Result<Vec<String>, ApiError> {
    let mut seen = HashSet::new();
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<&str> = ids
        .filter(|id| seen.insert(*id))
        .take(MAX_ARCHIVE_IMAGES + 1)
        .collect();
    let problem = match ids.len() {
        0 => "ids is empty: name at least one image".to_owned(),
        1..=MAX_ARCHIVE_IMAGES => return Ok(ids.into_iter().map(str::to_owned).collect()),
        _ => format!("ids has more than {MAX_ARCHIVE_IMAGES} ids: download several archives"),
    };
    Err(ApiError::invalid("ids", problem))
}

/// The metadata is not needed while the archive is sent.
fn without_metadata(row: GalleryRow) -> FileRow {
    FileRow {
        meta: String::new(),
        ..row.file
    }
}

/// Fails if the bytes of an image are missing, as long as the response can say so.
async fn require_bytes(files: &Files, rows: &[FileRow]) -> Result<(), ApiError> {
    for row in rows {
        if files.read(row, 0..1).await?.is_none() {
            let (id, name) = (&row.id, &row.name);
            let detail = format!("the bytes of image {id} ({name}) are missing: leave it out");
            return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
        }
    }
    Ok(())
}

type Chunks = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// An archive that is being written.
struct Archive {
    files: Files,
    waiting: std::vec::IntoIter<FileRow>,
    names: EntryNames,
    /// The rest of the current image.
    chunks: Option<Chunks>,
    /// `None` once the end is written.
    writer: Option<ZipWriter<StreamWriter<Output>>>,
    output: Output,
    _lease: MemoryLease,
}

impl Archive {
    fn new(files: Files, rows: Vec<FileRow>, lease: MemoryLease) -> Self {
        let output = Output::default();
        Self {
            files,
            waiting: rows.into_iter(),
            names: EntryNames::default(),
            chunks: None,
            writer: Some(ZipWriter::new_stream(output.clone())),
            output,
            _lease: lease,
        }
    }

    /// The next bytes of the archive. `None` at its end.
    async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(writer) = &mut self.writer {
            if let Some(chunks) = &mut self.chunks {
                match chunks.try_next().await? {
                    Some(chunk) => writer.write_all(&chunk)?,
                    None => self.chunks = None,
                }
            } else if let Some(row) = self.waiting.next() {
                writer.start_file(self.names.unique_name(&row), options(&row))?;
                self.chunks = Some(open(&self.files, &row).await?);
            } else if let Some(finished) = self.writer.take() {
                finished.finish()?;
            }
            let written = self.output.take();
            if !written.is_empty() {
                return Ok(Some(written.into()));
            }
        }
        Ok(None)
    }
}

async fn open(files: &Files, row: &FileRow) -> io::Result<Chunks> {
    let opened = files.read(row, 0..row.length()).await;
    let chunks = opened.map_err(io::Error::other)?;
    Ok(Box::pin(chunks.ok_or(io::ErrorKind::NotFound)?))
}

fn options(row: &FileRow) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(entry_time(row.created_at).unwrap_or_default())
}

/// A time in UTC. `None` if an archive cannot have it.
fn entry_time(secs: i64) -> Option<DateTime> {
    let text = utc_time(secs);
    let mut numbers = text.split(['-', ' ', ':']);
    let year = numbers.next()?.parse().ok()?;
    let mut next = || numbers.next()?.parse().ok();
    DateTime::from_date_and_time(year, next()?, next()?, next()?, next()?, next()?).ok()
}

/// What the archive's writer wrote and the response has not sent.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_time_is_utc() {
        let time = entry_time(1_700_000_000).unwrap();
        let date = (time.year(), time.month(), time.day());
        let clock = (time.hour(), time.minute(), time.second());
        assert_eq!((date, clock), ((2023, 11, 14), (22, 13, 20)));
        assert!(entry_time(0).is_none());
    }

    #[test]
    fn parse_ids_has_each_id_once_and_a_limit() {
        assert_eq!(parse_ids("a, b,,a").unwrap(), ["a", "b"]);
        let many: Vec<String> = (0..=MAX_ARCHIVE_IMAGES).map(|it| it.to_string()).collect();
        assert!(parse_ids(&many.join(",")).is_err());
        assert!(parse_ids(many[1..].join(",").as_str()).is_ok());
        assert!(parse_ids(" , ").is_err());
    }
}
