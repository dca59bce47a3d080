//! `docs/open-webui.md` names places that are there.

use std::path::Path;

/// What a place may be meant from: the repository, its pages, the server.
const ROOTS: [&str; 4] = ["..", "../docs", "../host/src", "../host/src/web"];

/// Is there a file or folder of this name, or one that begins with it where it ends in `…`?
fn is_there(place: &str) -> bool {
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
fn every_place_that_is_named_is_there() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/open-webui.md");
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
        assert!(["same", "better", "not ours"].contains(&kind), "{row}");
        let mut folder = String::new();
        for place in places.split(", ").map(str::trim) {
            let linked = place
                .split_once("](")
                .map(|(_, rest)| rest.trim_end_matches(')'));
            let place = linked.unwrap_or(place.trim_matches('`'));
            if place.is_empty() || place.contains(' ') {
                continue;
            }
            // A name alone is in the folder of the one before.
            let in_folder = format!("{folder}{place}");
            assert!(
                is_there(place) || is_there(&in_folder),
                "{section}: {place} is not there"
            );
            if let Some((start, _)) = place.rsplit_once('/') {
                folder = format!("{start}/");
            }
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} places are named");
}
