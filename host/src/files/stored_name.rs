//! Names of stored files, made from names that others chose.

use pinhole_images::Image;

/// Length of a file name, in bytes; a longer one is cut.
const MAX_NAME_BYTES: usize = 200;

/// The last part of a path on another machine, or a default name.
pub(crate) fn stored_name(file_name: &str, image: &Image) -> String {
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    match name.trim() {
        "" | "." | ".." => format!("upload.{}", image.extension()),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file_name: &str, expected: &str) {
        let image = Image::sample(1, 0);
        assert_eq!(stored_name(file_name, &image), expected, "{file_name:?}");
    }

    #[test]
    fn stored_name_is_one_line_without_path() {
        check("fox.png", "fox.png");
        check(" Füchse 🦊.png ", "Füchse 🦊.png");
        check("../../etc/fox.png", "fox.png");
        check("C:\\pictures\\fox.png", "fox.png");
        check("a\r\nset-cookie: x\0.png", "aset-cookie: x.png");
        for nothing in ["", " ", "..", ".", "a/", "\u{7}"] {
            check(nothing, "upload.png");
        }
        check(&"ü".repeat(150), &"ü".repeat(100));
        check(
            &format!("x{}", "ü".repeat(150)),
            &format!("x{}", "ü".repeat(99)),
        );
    }
}
