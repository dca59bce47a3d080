//! The origins of pages that may call the server from a browser.

use http::HeaderValue;

/// Origins in the list.
const MAX_ORIGINS: usize = 100;

/// `CORS_ALLOW_ORIGIN`: none by default.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    exact: Vec<HeaderValue>,
    /// The list contains `*`.
    allows_any: bool,
}

impl AllowedOrigins {
    /// Parses origins that are separated by semicolons. The error says what is wrong.
    ///
    /// Source: Open WebUI `config.py`, `CORS_ALLOW_ORIGIN`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut origins = Self::default();
        for part in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
            if part == "*" {
                origins.allows_any = true;
                continue;
            }
            origins.exact.push(parse_origin(part)?);
        }
        if origins.exact.len() > MAX_ORIGINS {
            return Err(format!("has more than {MAX_ORIGINS} origins"));
        }
        Ok(origins)
    }

    /// True if no page of another origin may call the server.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && !self.allows_any
    }

    /// May a page of this origin call the server, without the user's cookie?
    #[must_use]
    pub fn allows(&self, origin: &HeaderValue) -> bool {
        self.allows_any || self.lists(origin)
    }

    /// May a page of this origin call the server with the user's cookie? Never because of `*`.
    #[must_use]
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        self.exact.contains(origin)
    }
}

fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let invalid = || {
        format!(
            "contains {text:?}: an origin is a scheme, a host and maybe a port, such as https://images.example.com"
        )
    };
    let origin = text.trim_end_matches('/').to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://").ok_or_else(invalid)?;
    if scheme.is_empty() || host.is_empty() || host.contains(['/', '@', '?', '#', '*', ' ']) {
        return Err(invalid());
    }
    HeaderValue::try_from(&origin).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_exactly_and_any_gives_no_cookie() {
        let origins = AllowedOrigins::parse("https://A.example/; http://b.example:81").unwrap();
        let lists = |text: &'static str| origins.lists(&HeaderValue::from_static(text));
        assert!(lists("https://a.example") && lists("http://b.example:81"));
        for other in [
            "http://a.example",
            "https://a.example.evil",
            "https://b.example",
            "null",
        ] {
            assert!(!lists(other), "{other}");
        }
        let any = AllowedOrigins::parse("*;https://a.example").unwrap();
        let evil = HeaderValue::from_static("https://evil.example");
        assert!(any.allows(&evil) && !any.lists(&evil));
        assert!(any.lists(&HeaderValue::from_static("https://a.example")));
        assert!(AllowedOrigins::parse(" ; ").unwrap().is_empty());
    }

    #[test]
    fn invalid_origins_are_named() {
        for text in [
            "example.com",
            "https://",
            "https://a.example/path",
            "https://*.example",
            "https://user@a.example",
        ] {
            let error = AllowedOrigins::parse(text).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
