//! A multipart form, taken apart.

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FormField<'a> {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) content: &'a [u8],
}

/// The parts of a body with this content type, in their order. The error says what is wrong.
pub(crate) fn fields<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<FormField<'a>>, String> {
    let boundary = content_type
        .strip_prefix("multipart/form-data;")
        .and_then(|rest| rest.split_once("boundary="))
        .map(|(_, boundary)| boundary.trim_matches('"'))
        .ok_or_else(|| format!("content-type {content_type:?} is no multipart form"))?;
    let first = format!("--{boundary}");
    let next = format!("\r\n--{boundary}");
    let mut rest = body
        .strip_prefix(first.as_bytes())
        .ok_or("the form does not begin with its boundary")?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest
            .strip_prefix(b"\r\n")
            .ok_or("a boundary's line goes on")?;
        let (head, after) = split(part, b"\r\n\r\n").ok_or("a part of the form has no head")?;
        let (content, after) = split(after, next.as_bytes()).ok_or("a part has no end")?;
        fields.push(field(head, content)?);
        rest = after;
    }
    match rest {
        b"--" | b"--\r\n" => Ok(fields),
        _ => Err("something follows the form's end".to_owned()),
    }
}

fn field<'a>(head: &[u8], content: &'a [u8]) -> Result<FormField<'a>, String> {
    let head = std::str::from_utf8(head).map_err(|_| "the head of a part is no text")?;
    let mut field = FormField {
        name: String::new(),
        file_name: None,
        media_type: None,
        content,
    };
    let mut named = false;
    for line in head.split("\r\n") {
        let (name, value) = line
            .split_once(':')
            .ok_or("a part has a line without a colon")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" => {
                for parameter in value.split("; ").skip(1) {
                    let quoted = parameter.split_once('=').and_then(|(key, value)| {
                        Some((key, value.strip_prefix('"')?.strip_suffix('"')?))
                    });
                    match quoted {
                        Some(("name", name)) => {
                            field.name = name.to_owned();
                            named = true;
                        }
                        Some(("filename", name)) => field.file_name = Some(name.to_owned()),
                        _ => return Err(format!("a part is described by {parameter:?}")),
                    }
                }
            }
            "content-type" => field.media_type = Some(value.to_owned()),
            _ => {}
        }
    }
    match named {
        true => Ok(field),
        false => Err("a part has no name".to_owned()),
    }
}

/// What lies before and after the first of these bytes.
fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = bytes.windows(at.len()).position(|window| window == at)?;
    Some((bytes.get(..place)?, bytes.get(place + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xyz";

    #[test]
    fn a_form_is_its_parts() {
        let body = b"--xyz\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"image[]\"; filename=\"a.png\"\r\n\
            content-type: image/png\r\n\r\n\r\n--x\0\r\n--xyz--\r\n";
        let fields = fields(TYPE, body).unwrap();
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
    fn what_is_no_form_is_said() {
        let good = "--xyz\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n2\r\n--xyz--\r\n";
        assert!(fields(TYPE, good.as_bytes()).is_ok());
        for (content_type, body, expected) in [
            ("application/json", good, "no multipart form"),
            (TYPE, "{}", "begin"),
            (TYPE, "--xyz\r\n\r\n2", "head"),
            (TYPE, &good.replace("--xyz--\r\n", ""), "no end"),
            (TYPE, &good.replace("; name=\"n\"", ""), "no name"),
            (TYPE, &format!("{good}more"), "follows"),
        ] {
            let error = fields(content_type, body.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{body:?}: {error}");
        }
    }
}
