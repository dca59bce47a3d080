//! The built pages, if `cargo xtask test` could build them.

use std::path::{Path, PathBuf};

use super::*;

/// The files that a first visit loads, compressed: bytes.
const MAX_FIRST_BYTES: u64 = 60 << 10;

/// The names and media types that a build may write.
const MEDIA_TYPES: [(&str, &str); 9] = [
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".txt", "text/plain; charset=utf-8"),
    (".svg", "image/svg+xml"),
    (".png", "image/png"),
    (".ico", "image/vnd.microsoft.icon"),
    (".woff2", "font/woff2"),
    (".webmanifest", "application/manifest+json"),
];

/// The directory of the built pages. Prints a line if they were not built.
fn built_pages() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/ui/dist");
    if !directory.join("index.html").is_file() {
        eprintln!("skipped: host/ui/dist was not built");
        return None;
    }
    Some(directory.canonicalize().unwrap())
}

/// The files below a directory, as paths of URLs.
fn paths(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap();
            found.push(format!("/{}", name.to_str().unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_built_file_has_type_policy_and_tag() {
    let Some(directory) = built_pages() else {
        return;
    };
    let variables = [("PINHOLE_UI_DIR", directory.to_str().unwrap())];
    let server = TestServer::with_engine("sketch", &variables).await;
    let mut all = Vec::new();
    paths(&directory, &directory, &mut all);
    let is_copy = |path: &&String| path.ends_with(".br") || path.ends_with(".gz");
    for path in all.iter().filter(|path| !is_copy(path)) {
        let file = get(&server, path, &[]).await;
        assert_eq!(file.status, 200, "{path}");
        let mut types = MEDIA_TYPES.iter();
        let expected = types.find(|(end, _)| path.ends_with(end));
        let (_, media_type) = expected.unwrap_or_else(|| panic!("{path} has no known type"));
        assert_eq!(file.header("content-type"), *media_type, "{path}");
        let is_immutable = file.header("cache-control").contains("immutable");
        assert_eq!(is_immutable, path.starts_with("/ui/"), "{path}");
        check_headers(&file, path);
        let tag = file.header("etag").to_owned();
        let again = get(&server, path, &[("if-none-match", &tag)]).await;
        assert_eq!(again.status, 304, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn built_page_names_only_files_that_exist_and_is_small() {
    let Some(directory) = built_pages() else {
        return;
    };
    let page = std::fs::read_to_string(directory.join("index.html")).unwrap();
    for forbidden in ["style=", "onload=", "<style", "http://", "https://"] {
        assert!(!page.contains(forbidden), "{forbidden}: {page}");
    }
    assert!(
        !page
            .replace("<script type=\"module\" src=", "")
            .contains("<script"),
        "{page}"
    );
    let named: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(named.len() >= 2, "{page}");
    let mut first_bytes = 0;
    for name in named {
        let file = directory.join(name.strip_prefix('/').unwrap());
        let length = std::fs::metadata(&file).unwrap_or_else(|_| panic!("{name} is missing"));
        let copy = std::fs::metadata(format!("{}.br", file.display()));
        first_bytes += copy.unwrap_or(length).len();
    }
    assert!(first_bytes <= MAX_FIRST_BYTES, "{first_bytes} bytes");
}
