//! URLs and paths that are spelled as they will be used: nothing is repaired.

use url::Url;

/// Length of a path with its query, in bytes.
const MAX_PATH_BYTES: usize = 8 * 1024;

/// A URL whose host is spelled as it will be used: nothing is repaired.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "a URL of {:?} is neither http nor https",
            url.scheme()
        ));
    }
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "the URL of {host} carries a user name: put credentials in their own setting"
        ));
    }
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let default = if url.scheme() == "https" { 443 } else { 80 };
    let spellings = match url.port() {
        Some(port) => [format!("{host}:{port}"), String::new()],
        None => [host.to_owned(), format!("{host}:{default}")],
    };
    if !spellings.contains(&authority.to_ascii_lowercase()) || host.ends_with('.') {
        return Err(format!(
            "{authority:?} is not the plain spelling of a host and port: write {}",
            spellings[0]
        ));
    }
    Ok(url)
}

pub(super) fn parse_base(text: &str) -> Result<Url, String> {
    let url = parse_url(text)?;
    match url.query().is_some() || url.fragment().is_some() {
        true => Err(format!(
            "the base URL of {} has a query or a fragment: it ends with its path",
            url.host_str().unwrap_or_default()
        )),
        false => Ok(url),
    }
}

/// A path under a base: absolute, without steps up, empty steps or hidden separators.
pub(super) fn check_path(path: &str, query: Option<&str>) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("path {path:?} {why}"));
    if path.len() + query.map_or(0, str::len) > MAX_PATH_BYTES {
        return Err(format!("a path is longer than {MAX_PATH_BYTES} bytes"));
    }
    if !path.starts_with('/') || path.contains("//") {
        return refuse("must begin with one slash and have no empty step");
    }
    let visible = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"#\\\"<>`{}".contains(&byte))
    };
    if !visible(path) || !query.is_none_or(visible) {
        return refuse("holds a character that must be percent-encoded");
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    if plain.contains("%2f") || plain.contains("%5c") || plain.contains("%00") {
        return refuse("hides a separator");
    }
    match plain.split('/').any(|step| matches!(step, "." | "..")) {
        true => refuse("steps up"),
        false => Ok(()),
    }
}
