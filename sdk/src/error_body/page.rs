//! Pages and XML documents in place of JSON.

use crate::upstream_text::truncate;

/// Length of the beginning of a page in which its title is looked for, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Length of a page's title in bytes.
const MAX_TITLE_BYTES: usize = 200;

/// The title of an HTML page, or the message of an XML document; `None` if the text is neither or has none.
///
/// ```
/// use pinhole_sdk::error_body::page_title;
///
/// assert_eq!(page_title("<html><title>502 Bad Gateway</title>").as_deref(), Some("502 Bad Gateway"));
/// ```
#[must_use]
pub fn page_title(text: &str) -> Option<String> {
    let text = text.trim_start();
    if !is_markup(text) {
        return None;
    }
    let head = text.get(..text.floor_char_boundary(MAX_HEAD_BYTES))?;
    let lower = head.to_ascii_lowercase();
    ["title", "h1", "message"]
        .iter()
        .find_map(|name| element_text(head, &lower, name))
}

/// True for HTML and XML.
pub(crate) fn is_markup(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

fn element_text(text: &str, lower: &str, name: &str) -> Option<String> {
    let opening = lower.find(&format!("<{name}"))?;
    let start = opening + lower.get(opening..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find(&format!("</{name}"))?;
    let words: Vec<&str> = text.get(start..end)?.split_whitespace().collect();
    (!words.is_empty()).then(|| truncate(&words.join(" "), MAX_TITLE_BYTES))
}
