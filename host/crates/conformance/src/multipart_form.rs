//! Multipart form bodies.

/// A field of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FormField<'a> {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) content: &'a [u8],
}

/// Parses a body with this content type into its fields, in order. The error says what is invalid.
pub(crate) fn parse_form<'a>(
    content_type: &str,
    body: &'a [u8],
) -> Result<Vec<FormField<'a>>, String> {
    let boundary = content_type
        .strip_prefix("multipart/form-data;")
        .and_then(|rest| rest.split_once("boundary="))
        .map(|(_, boundary)| boundary.trim_matches('"'))
        .ok_or_else(|| format!("content-type {content_type:?} is not a multipart form"))?;
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut rest = body
        .strip_prefix(first.as_bytes())
        .ok_or("the form does not begin with its boundary")?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest
            .strip_prefix(b"\r\n")
            .ok_or("a boundary is followed by other text on its line")?;
        let (head, after) = split_at(part, b"\r\n\r\n").ok_or("a part of the form has no head")?;
        let (content, after) = split_at(after, next.as_bytes()).ok_or("a part has no end")?;
        fields.push(parse_field(head, content)?);
        rest = after;
    }
    if !matches!(rest, b"--" | b"--\r\n") {
        return Err("the form is followed by more bytes".to_owned());
    }
    Ok(fields)
}

fn parse_field<'a>(head: &[u8], content: &'a [u8]) -> Result<FormField<'a>, String> {
    let head = std::str::from_utf8(head).map_err(|_| "the head of a part is not UTF-8")?;
    let mut name = None;
    let mut file_name = None;
    let mut media_type = None;
    for line in head.split("\r\n") {
        let (header, header_value) = line
            .split_once(':')
            .ok_or("a part has a header without a colon")?;
        match header.to_ascii_lowercase().as_str() {
            "content-disposition" => {
                for parameter in header_value.trim().split("; ").skip(1) {
                    match parse_quoted(parameter) {
                        Some(("name", value)) => name = Some(value.to_owned()),
                        Some(("filename", value)) => file_name = Some(value.to_owned()),
                        _ => return Err(format!("a part has the parameter {parameter:?}")),
                    }
                }
            }
            "content-type" => media_type = Some(header_value.trim().to_owned()),
            _ => {}
        }
    }
    Ok(FormField {
        name: name.ok_or("a part has no name")?,
        file_name,
        media_type,
        content,
    })
}

/// Key and value of `key="value"`.
fn parse_quoted(parameter: &str) -> Option<(&str, &str)> {
    let (key, value) = parameter.split_once('=')?;
    Some((key, value.strip_prefix('"')?.strip_suffix('"')?))
}

/// The bytes before and after the first occurrence of a separator.
fn split_at<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = bytes
        .windows(separator.len())
        .position(|window| window == separator)?;
    Some((bytes.get(..start)?, bytes.get(start + separator.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xyz";

    #[test]
    fn form_parser_returns_fields_in_order() {
        let body = b"--xyz\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\n\
            content-type: image/png\r\n\r\n\r\n--x\0\r\n--xyz--\r\n";
        let fields = parse_form(TYPE, body).unwrap();
        let [number, image] = fields.as_slice() else {
            panic!("{fields:?}")
        };
        assert_eq!(
            (number.name.as_str(), number.content),
            ("n", b"2".as_slice())
        );
        assert_eq!((&number.file_name, &number.media_type), (&None, &None));
        assert_eq!(image.name, "image[]");
        assert_eq!(image.file_name.as_deref(), Some("a.png"));
        assert_eq!(image.media_type.as_deref(), Some("image/png"));
        assert_eq!(image.content, b"\r\n--x\0");
    }

    #[test]
    fn form_parser_explains_invalid_form() {
        let good = "--xyz\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n--xyz--\r\n";
        assert!(parse_form(TYPE, good.as_bytes()).is_ok());
        for (content_type, body, expected) in [
            ("application/json", good, "not a multipart form"),
            (TYPE, "{}", "begin"),
            (TYPE, "--xyz\r\n\r\n2", "head"),
            (TYPE, &good.replace("--xyz--\r\n", ""), "no end"),
            (TYPE, &good.replace("; name=\"n\"", ""), "no name"),
            (TYPE, &format!("{good}more"), "followed"),
        ] {
            let error = parse_form(content_type, body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{body:?}: {error}");
        }
    }
}
