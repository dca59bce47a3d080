//! `docs/guides/open-webui.md` names only files that exist.

use std::path::Path;

/// Directories that a path can be relative to: the repository, the page, the server.
const ROOTS: [&str; 4] = ["..", "../docs/guides", "../host/src", "../host/src/web"];

/// Whether the path exists. A path that ends in `…` matches every name that starts with it.
fn exists(place: &str) -> bool {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    ROOTS.iter().any(|root| {
        let path = here.join(root).join(place.trim_end_matches('…'));
        if !place.ends_with('…') {
            return path.exists();
        }
        let start = path.file_name().unwrap().to_str().unwrap();
        let mut entries = std::fs::read_dir(path.parent().unwrap())
            .into_iter()
            .flatten();
        entries.any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .starts_with(start)
        })
    })
}

#[test]
fn open_webui_page_names_only_existing_files() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/open-webui.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| here |"));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [section, kind, _, places] = cells[..] else {
            panic!("{row}");
        };
        assert!(["same", "better", "not supported"].contains(&kind), "{row}");
        let mut directory = String::new();
        for place in places.split(", ").map(str::trim) {
            let linked = place
                .split_once("](")
                .map(|(_, rest)| rest.trim_end_matches(')'));
            let place = linked.unwrap_or(place.trim_matches('`'));
            if place.is_empty() || place.contains(' ') {
                continue;
            }
            // A file name without a directory is in the directory of the previous path.
            let in_directory = format!("{directory}{place}");
            assert!(
                exists(place) || exists(&in_directory),
                "{section}: {place} does not exist"
            );
            if let Some((start, _)) = place.rsplit_once('/') {
                directory = format!("{start}/");
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} files are named");
}
