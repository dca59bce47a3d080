//! Texts with placeholders in braces.

/// A piece of a text.
pub(super) enum Piece<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
}

/// Splits a text at its placeholders.
pub(super) fn parse_template(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut literal_start, mut search_start) = (0, 0);
    while let Some(offset) = text.get(search_start..).and_then(|rest| rest.find('{')) {
        let open = search_start + offset;
        search_start = open + 1;
        let inside = text.get(search_start..).unwrap_or_default();
        let Some((name, _)) = inside.split_once('}') else {
            break;
        };
        if !is_name(name) {
            continue;
        }
        if literal_start < open {
            pieces.extend(text.get(literal_start..open).map(Piece::Literal));
        }
        pieces.push(Piece::Placeholder(name));
        search_start += name.len() + 1;
        literal_start = search_start;
    }
    if literal_start < text.len() {
        pieces.extend(text.get(literal_start..).map(Piece::Literal));
    }
    pieces
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
