//! The names of files, thumbnails and images of jobs among the objects of a bucket.

use uuid::Uuid;

use crate::files::{JobImage, THUMBNAIL_SIZES};

/// Is this the name of a file, which is a UUID in lower case, of a thumbnail of it, or of an image that a job edits?
///
/// Names in a bucket may be those of other programs, or invented by a hostile one: any other name is neither read,
/// copied nor removed.
pub(in crate::files) fn is_object_name(name: &str) -> bool {
    let (id, suffix) = match name.split_once('.') {
        Some((id, suffix)) => (id, Some(suffix)),
        None => (name, None),
    };
    let is_id = Uuid::try_parse(id).is_ok_and(|uuid| uuid.to_string() == id);
    let is_size = |text: &str| THUMBNAIL_SIZES.iter().any(|it| it.to_string() == text);
    is_id && suffix.is_none_or(|suffix| is_size(suffix) || JobImage::is_suffix(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_object_name_accepts_only_names_of_this_program() {
        let id = "5f0c1d7e-9f53-4c8e-9a52-0a3b8f4f6a10";
        for (name, expected) in [
            (id.to_owned(), true),
            (format!("{id}.256"), true),
            (format!("{id}.source0"), true),
            (format!("{id}.source15"), true),
            (format!("{id}.mask"), true),
            (format!("{id}.300"), false),
            (format!("{id}.source16"), false),
            (format!("{id}.source00"), false),
            (format!("{id}.source"), false),
            (format!("{id}.256.256"), false),
            (format!("{id}."), false),
            (format!(".{id}.5f5f"), false),
            (format!("{id}_fox.png"), false),
            (format!("{id}/256"), false),
            (format!("../{id}"), false),
            (id.to_uppercase(), false),
            (id.replace('-', ""), false),
            (format!("{{{id}}}"), false),
            ("database-id".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_object_name(&name), expected, "{name}");
        }
    }
}
