//! The files of a site: those of a directory, or those in the program.
//!
//! Anyone who reaches the server may read them. So a path from a request names only a visible file, and the
//! directory is a capability: neither `..` nor a symbolic link leads out of it.
//!
//! A file can have compressed copies with the suffixes `.br` and `.gz`. A copy that is older than its file is stale and
//! not used.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, ensure};
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use percent_encoding::percent_decode_str;
use pinhole_ground::data_dir;
use pinhole_ground::guard::Guard;

use crate::file_chunks::blocking;

/// The page of a site.
const PAGE: &str = "index.html";
/// Length of the page, in bytes.
const MAX_PAGE_BYTES: u64 = 1 << 20;
/// First segments of the paths of APIs, also of those that the server does not have.
const API_SEGMENTS: [&str; 9] = [
    "api",
    "docs",
    "health",
    "ollama",
    "openai",
    "openapi.json",
    "ready",
    "v1",
    "ws",
];

/// The files of a site. Clones share them.
#[derive(Clone, Debug)]
pub struct SiteFiles(Source);

#[derive(Clone, Debug)]
enum Source {
    Directory(Arc<Dir>),
    #[cfg(feature = "ui")]
    Program,
}

/// A file of a site.
#[derive(Debug)]
pub struct SiteFile {
    pub content: FileContent,
    pub length: u64,
    /// Differs between two versions of the file, and between its encodings.
    pub version: String,
    /// `None` if the content is the file itself.
    pub encoding: Option<ContentEncoding>,
}

/// The bytes of a file.
#[derive(Debug)]
pub enum FileContent {
    File(File),
    Bytes(Cow<'static, [u8]>),
}

/// The encoding of a compressed copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    Brotli,
    Gzip,
}

impl ContentEncoding {
    /// The better one is first.
    pub const ALL: [Self; 2] = [Self::Brotli, Self::Gzip];

    /// Its name in HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The end of a copy's name.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
        }
    }
}

impl SiteFiles {
    /// Opens the directory that the variable names. The error is one line.
    pub fn open(variable: &str, path: &Path, data: &Path) -> Result<Self> {
        let setting = format!("{variable} is {path:?}");
        let remedy = format!("set it to the directory that contains {PAGE}");
        let directory = data_dir::open(path)
            .map_err(|error| anyhow!("{setting}: cannot open the directory: {error}; {remedy}"))?;
        ensure!(
            directory.is_file(PAGE),
            "{setting}: the directory has no {PAGE}; {remedy}"
        );
        let contains_data = data_dir::contains(path, data)?;
        ensure!(
            !Guard::ClientFiles.applies(contains_data),
            "{setting}: the directory contains the data directory {}, whose files would be public; set it to a directory with only the client's files",
            data.display()
        );
        Ok(Self(Source::Directory(Arc::new(directory))))
    }

    /// The pages in the program. `None` if it was built without them.
    #[must_use]
    pub fn embedded() -> Option<Self> {
        #[cfg(feature = "ui")]
        return Some(Self(Source::Program));
        #[cfg(not(feature = "ui"))]
        None
    }

    /// The file that the path of a request names, or the first of these copies that exists.
    pub async fn find(
        &self,
        path: &str,
        encodings: &[ContentEncoding],
    ) -> io::Result<Option<SiteFile>> {
        let Some(name) = file_name(path) else {
            return Ok(None);
        };
        let encodings = encodings.to_vec();
        match &self.0 {
            Source::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || open_best(&directory, &name, &encodings)).await
            }
            #[cfg(feature = "ui")]
            Source::Program => {
                let copies = encodings.into_iter().map(Some).chain([None]);
                let mut found = copies.filter_map(|copy| super::embedded::find(&name, copy));
                Ok(found.next())
            }
        }
    }

    /// The text of the site's page. It may change while the server runs.
    pub async fn page(&self) -> io::Result<String> {
        let path = format!("/{PAGE}");
        let page = self.find(&path, &[]).await?.ok_or(ErrorKind::NotFound)?;
        match page.content {
            FileContent::File(file) => {
                blocking(move || {
                    let mut text = String::new();
                    file.take(MAX_PAGE_BYTES).read_to_string(&mut text)?;
                    Ok(text)
                })
                .await
            }
            FileContent::Bytes(bytes) => {
                String::from_utf8(bytes.into_owned()).map_err(io::Error::other)
            }
        }
    }
}

/// Does the path belong to an API, whatever the site contains?
#[must_use]
pub fn is_api_path(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    let first = percent_decode_str(first.unwrap_or_default()).decode_utf8_lossy();
    API_SEGMENTS
        .iter()
        .any(|name| first.eq_ignore_ascii_case(name))
}

/// The name of a file in the directory. `None` if the path names no file that a site has: a segment is empty,
/// hidden, `..`, or contains a separator or a control character.
fn file_name(path: &str) -> Option<String> {
    let mut name = String::with_capacity(path.len());
    for segment in path.strip_prefix('/')?.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        let is_visible = !segment.is_empty()
            && !segment.starts_with('.')
            && !segment.contains(|c: char| c == '/' || c == '\\' || c.is_control());
        if Guard::ClientFiles.applies(!is_visible) {
            return None;
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(&segment);
    }
    Some(name)
}

/// The file, or the first of its copies that is not older.
fn open_best(
    directory: &Dir,
    name: &str,
    encodings: &[ContentEncoding],
) -> io::Result<Option<SiteFile>> {
    let Some(whole) = open_file(directory, name, None)? else {
        return Ok(None);
    };
    for encoding in encodings {
        if let Some(copy) = open_file(directory, name, Some(*encoding))?
            && copy.modified >= whole.modified
        {
            return Ok(Some(copy.file));
        }
    }
    Ok(Some(whole.file))
}

struct OpenFile {
    file: SiteFile,
    modified: SystemTime,
}

/// `None` if there is no such regular file inside the directory.
fn open_file(
    directory: &Dir,
    name: &str,
    encoding: Option<ContentEncoding>,
) -> io::Result<Option<OpenFile>> {
    let suffix = encoding.map_or("", ContentEncoding::suffix);
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its writer.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = match directory.open_with(format!("{name}{suffix}"), &options) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let modified = metadata.modified()?.into_std();
    let length = metadata.len();
    Ok(Some(OpenFile {
        file: SiteFile {
            version: format!("{length:x}-{:x}{suffix}", nanos(modified)),
            length,
            content: FileContent::File(file),
            encoding,
        },
        modified,
    }))
}

/// A link that leads out of the directory or in a circle is absent too, and so is a socket.
fn is_absent(error: &io::Error) -> bool {
    let is_known = matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
    );
    is_known || [Some(libc::ELOOP), Some(libc::ENXIO)].contains(&error.raw_os_error())
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since_epoch| since_epoch.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_is_a_visible_path_inside_the_directory() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(file_name(path).as_deref(), expected, "{path}");
        };
        check("/user.png", Some("user.png"));
        check("/_app/immutable/a%20b.js", Some("_app/immutable/a b.js"));
        check("/a..b/c", Some("a..b/c"));
        for path in [
            "",
            "/",
            "x",
            "/a/",
            "//etc/passwd",
            "/..",
            "/../x",
            "/a/../x",
            "/%2e%2e/x",
            "/.%2e/x",
            "/..%2fx",
            "/a%2f..%2fx",
            "/a%5cx",
            "/a\\x",
            "/.env",
            "/a/.git/config",
            "/%2egit/config",
            "/a%00.js",
            "/a%0a",
            "/%ff",
            "/./x",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn api_path_is_found_by_its_first_segment() {
        for path in [
            "/api",
            "/api/v1/x",
            "/API/config",
            "/%61pi/config",
            "//api/x",
            "/v1/models",
            "/openapi.json",
            "/ws/socket.io/",
            "/ollama/api/version",
        ] {
            assert!(is_api_path(path), "{path}");
        }
        for path in ["/", "/apis", "/c/api", "/auth", "/static/api/x"] {
            assert!(!is_api_path(path), "{path}");
        }
    }
}
