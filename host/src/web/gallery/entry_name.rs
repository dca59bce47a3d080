//! Names of the images in an archive: one safe file name each, on every operating system.

use std::collections::HashSet;

use crate::store::FileRow;

/// Length of a name without its extension, in bytes.
const MAX_STEM_BYTES: usize = 150;
/// The name of an image whose own name has no usable character.
const DEFAULT_STEM: &str = "image";
/// Names that Windows does not allow, in any case and with any extension.
const RESERVED: [&str; 22] = [
    "aux", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "con", "lpt1",
    "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "nul", "prn",
];

/// The names of an archive so far.
#[derive(Default)]
pub(super) struct EntryNames {
    /// In lower case: some systems do not distinguish the case.
    taken: HashSet<String>,
}

impl EntryNames {
    /// The image's name without a path, with the extension of its media type, and with a number if another
    /// image has the name.
    pub(super) fn unique_name(&mut self, file: &FileRow) -> String {
        let extension = extension(&file.media_type);
        let stem = safe_stem(&file.name, extension);
        let mut name = format!("{stem}.{extension}");
        let mut number = 2;
        while !self.taken.insert(name.to_lowercase()) {
            name = format!("{stem} ({number}).{extension}");
            number += 1;
        }
        name
    }
}

/// The last part of a path without characters that have a meaning somewhere, and without the extension.
fn safe_stem(name: &str, extension: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = match last.rsplit_once('.') {
        Some((stem, end)) if is_same_type(end, extension) => stem,
        _ => last,
    };
    let plain = pinhole_ground::text::plain(stem, MAX_STEM_BYTES);
    let replace = |c: char| match c {
        ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
        c => c,
    };
    let safe: String = plain.chars().map(replace).collect();
    let safe = safe.trim_matches(['.', ' ']);
    let first = safe.split('.').next().unwrap_or_default();
    if safe.is_empty() {
        DEFAULT_STEM.to_owned()
    } else if RESERVED.contains(&first.to_lowercase().as_str()) {
        format!("_{safe}")
    } else {
        safe.to_owned()
    }
}

fn is_same_type(end: &str, extension: &str) -> bool {
    let end = end.to_ascii_lowercase();
    end == extension || (extension == "jpg" && end == "jpeg")
}

fn extension(media_type: &str) -> &'static str {
    match media_type {
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "image/avif" => "avif",
        _ => "png",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, media_type: &str) -> FileRow {
        FileRow {
            id: "fox".to_owned(),
            user_id: String::new(),
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            size_bytes: 1,
            hash: String::new(),
            meta: String::new(),
            created_at: 0,
        }
    }

    #[test]
    fn unique_name_is_one_safe_name_with_the_extension_of_the_type() {
        for (name, expected) in [
            ("fox.png", "fox.png"),
            ("Füchse 🦊.PNG", "Füchse 🦊.png"),
            ("fox", "fox.png"),
            ("fox.html", "fox.html.png"),
            ("../../etc/passwd", "passwd.png"),
            ("..\\..\\x.png", "x.png"),
            ("/absolute/", "image.png"),
            ("C:\\x\\y.png", "y.png"),
            ("a:b*c?.png", "a_b_c_.png"),
            ("..png", "image.png"),
            ("...", "image.png"),
            ("", "image.png"),
            ("CON.png", "_CON.png"),
            ("nul.tar.png", "_nul.tar.png"),
            (" x . .png", "x.png"),
        ] {
            let actual = EntryNames::default().unique_name(&file(name, "image/png"));
            assert_eq!(actual, expected, "{name}");
        }
        for hidden in ["a\u{202e}gnp.exe", "a\nb", "a\0b"] {
            let name = EntryNames::default().unique_name(&file(hidden, "image/png"));
            let is_safe = |c: char| !c.is_control() && c != '\u{202e}';
            assert!(name.chars().all(is_safe), "{name:?}");
        }
        let long = EntryNames::default().unique_name(&file(&"ü".repeat(500), "image/png"));
        assert!(long.len() <= MAX_STEM_BYTES + 4, "{long}");
    }

    #[test]
    fn unique_name_numbers_repetitions_in_any_case() {
        let mut names = EntryNames::default();
        let mut next = |name: &str, media_type: &str| names.unique_name(&file(name, media_type));
        assert_eq!(next("fox.jpeg", "image/jpeg"), "fox.jpg");
        assert_eq!(next("Fox.jpg", "image/jpeg"), "Fox (2).jpg");
        assert_eq!(next("fox (2).jpg", "image/jpeg"), "fox (2) (2).jpg");
        assert_eq!(next("fox.jpg", "image/jpeg"), "fox (3).jpg");
        assert_eq!(next("fox.jpg", "image/gif"), "fox.jpg.gif");
    }
}
