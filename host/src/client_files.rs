//! The files of a web client, which the operator brings as a directory.
//!
//! Anyone who reaches the server may read them. So a path from a request names only a visible file, and the
//! directory is a capability: neither `..` nor a symbolic link leads out of it.

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

/// The page of the client.
const PAGE: &str = "index.html";
/// Length of the page, in bytes.
const MAX_PAGE_BYTES: u64 = 1 << 20;
/// First segments of the paths of APIs, also of those that the server does not have.
const API_SEGMENTS: [&str; 8] = [
    "api",
    "docs",
    "health",
    "ollama",
    "openai",
    "openapi.json",
    "v1",
    "ws",
];

/// The directory of a web client. Clones share it.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    directory: Arc<Dir>,
}

/// An open file of a web client.
#[derive(Debug)]
pub struct ClientFile {
    pub(crate) file: File,
    pub length: u64,
    /// Differs between two versions of the file.
    pub version: String,
}

impl ClientFiles {
    /// Opens the directory. The error is one line and names the variable.
    pub fn open(path: &Path, data: &Path) -> Result<Self> {
        let variable = format!("PINHOLE_WEB_CLIENT is {path:?}");
        let remedy = format!("set it to the directory that contains the client's {PAGE}");
        let directory = data_dir::open(path)
            .map_err(|error| anyhow!("{variable}: cannot open the directory: {error}; {remedy}"))?;
        ensure!(
            directory.is_file(PAGE),
            "{variable}: the directory has no {PAGE}; {remedy}"
        );
        let contains_data = data_dir::contains(path, data)?;
        ensure!(
            !Guard::ClientFiles.applies(contains_data),
            "{variable}: the directory contains the data directory {}, whose files would be public; set it to a directory with only the client's files",
            data.display()
        );
        Ok(Self {
            directory: Arc::new(directory),
        })
    }

    /// Opens the file that the path of a request names.
    pub async fn find(&self, path: &str) -> io::Result<Option<ClientFile>> {
        let Some(name) = file_name(path) else {
            return Ok(None);
        };
        let directory = self.directory.clone();
        blocking(move || open_file(&directory, &name)).await
    }

    /// The client's page. It may change while the server runs.
    pub async fn page(&self) -> io::Result<String> {
        let directory = self.directory.clone();
        blocking(move || {
            let page = open_file(&directory, PAGE)?.ok_or(ErrorKind::NotFound)?;
            let mut text = String::new();
            page.file.take(MAX_PAGE_BYTES).read_to_string(&mut text)?;
            Ok(text)
        })
        .await
    }
}

/// Does the path belong to an API, whatever the client's directory contains?
#[must_use]
pub fn is_api_path(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    let first = percent_decode_str(first.unwrap_or_default()).decode_utf8_lossy();
    API_SEGMENTS
        .iter()
        .any(|name| first.eq_ignore_ascii_case(name))
}

/// The name of a file in the directory. `None` if the path names no file that a client has: a segment is empty,
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

/// `None` if there is no such regular file inside the directory.
fn open_file(directory: &Dir, name: &str) -> io::Result<Option<ClientFile>> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its writer.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = match directory.open_with(name, &options) {
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
    Ok(Some(ClientFile {
        version: format!("{length:x}-{:x}", nanos(modified)),
        length,
        file,
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
