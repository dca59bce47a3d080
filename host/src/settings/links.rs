//! The settings of the links to images that leave the server.

use http::Uri;
use pinhole_ground::duration::parse_duration_secs;
use pinhole_ground::environment::Environment;

const DAY_SECS: i64 = 24 * 3600;
/// How long a link works by default.
const DEFAULT_LINK_SECS: i64 = DAY_SECS;
/// The longest time that a link can work.
pub const MAX_LINK_SECS: i64 = 3660 * DAY_SECS;

/// `WEBUI_URL` without a slash at its end. `None` if it is not set.
pub(super) fn public_url(environment: &Environment) -> Result<Option<String>, String> {
    let Some(text) = environment.get("WEBUI_URL").map(str::trim) else {
        return Ok(None);
    };
    let invalid = || {
        format!(
            "WEBUI_URL is {text:?}: it must be an http or https URL without a path, such as https://images.example"
        )
    };
    let uri: Uri = text.parse().map_err(|_| invalid())?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.path() == "/"
        && uri.query().is_none()
        && uri.authority().is_some_and(|it| !it.as_str().contains('@'));
    if !is_origin {
        return Err(invalid());
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// `PINHOLE_LINK_LIFETIME` in seconds.
pub(super) fn link_secs(environment: &Environment) -> Result<i64, String> {
    let Some(text) = environment.get("PINHOLE_LINK_LIFETIME").map(str::trim) else {
        return Ok(DEFAULT_LINK_SECS);
    };
    match parse_duration_secs(text) {
        Some(secs) if (1..=MAX_LINK_SECS).contains(&secs) => Ok(secs),
        _ => Err(format!(
            "PINHOLE_LINK_LIFETIME is {text:?}: it must be a duration of at most ten years such as 30m, 12h or 4w"
        )),
    }
}

/// `PINHOLE_RESPONSE_FORMAT`: true for `url`.
pub(super) fn prefers_urls(environment: &Environment) -> Result<bool, String> {
    match environment.get("PINHOLE_RESPONSE_FORMAT") {
        None | Some("b64_json") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => Err(format!(
            "PINHOLE_RESPONSE_FORMAT is {other:?}: it must be b64_json or url"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str, value: &str) -> Environment {
        Environment::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn public_url_is_an_origin() {
        let url = |text| public_url(&environment("WEBUI_URL", text));
        assert_eq!(url(""), Ok(None));
        for (text, expected) in [
            ("https://images.example", "https://images.example"),
            (" http://10.0.0.5:8080/ ", "http://10.0.0.5:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(url(text), Ok(Some(expected.to_owned())));
        }
        for text in [
            "images.example",
            "ftp://images.example",
            "https://images.example/chat",
            "https://images.example?x=1",
            "https://ada:secret@images.example",
            "/",
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains("WEBUI_URL"), "{error}");
        }
    }

    #[test]
    fn link_lifetime_is_a_duration() {
        let secs = |text| link_secs(&environment("PINHOLE_LINK_LIFETIME", text));
        assert_eq!(secs(""), Ok(DAY_SECS));
        assert_eq!(secs("90s"), Ok(90));
        for text in ["0s", "-1", "3", "11000w", "never"] {
            let error = secs(text).unwrap_err();
            assert!(error.contains("PINHOLE_LINK_LIFETIME"), "{error}");
        }
    }

    #[test]
    fn response_format_has_two_values() {
        let urls = |text| prefers_urls(&environment("PINHOLE_RESPONSE_FORMAT", text));
        assert_eq!(urls(""), Ok(false));
        assert_eq!(urls("b64_json"), Ok(false));
        assert_eq!(urls("url"), Ok(true));
        let error = urls("base64").unwrap_err();
        assert!(error.contains("PINHOLE_RESPONSE_FORMAT"), "{error}");
    }
}
