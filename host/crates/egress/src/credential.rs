//! The credential of a destination: headers and a query parameter with secrets, which never leave this crate
//! except in a request.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::headers::is_reserved;

/// Length of the name of a query parameter in bytes.
const MAX_PARAMETER_BYTES: usize = 64;

/// How the server authenticates to a destination.
#[derive(Clone, Default)]
pub struct Credential {
    headers: HeaderMap,
    parameter: Option<Parameter>,
}

#[derive(Clone)]
struct Parameter {
    name: String,
    /// Percent-encoded.
    value: String,
}

impl Credential {
    /// `authorization: Bearer <secret>`
    pub fn bearer(secret: &str) -> Result<Self, String> {
        Self::header(AUTHORIZATION.as_str(), &format!("Bearer {secret}"))
    }

    /// `authorization: Basic <base64 of user:password>`
    pub fn basic(secret: &str) -> Result<Self, String> {
        let encoded = base64_simd::STANDARD.encode_to_string(secret);
        Self::header(AUTHORIZATION.as_str(), &format!("Basic {encoded}"))
    }

    /// A header with this name and value.
    pub fn header(name: &str, value: &str) -> Result<Self, String> {
        Self::default().with_header(name, value)
    }

    /// A query parameter of every request.
    pub fn query(name: &str, secret: &str) -> Result<Self, String> {
        check_parameter_name(name)?;
        // A space is `+` in forms only.
        let value = byte_serialize(secret.as_bytes()).collect::<String>();
        Ok(Self {
            headers: HeaderMap::new(),
            parameter: Some(Parameter {
                name: name.to_owned(),
                value: value.replace('+', "%20"),
            }),
        })
    }

    /// The same with one more header. Fails if it has this header already.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, String> {
        let name = parse_header_name(name)?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the secret contains characters that a header cannot carry".to_owned())?;
        value.set_sensitive(true);
        if self.headers.contains_key(&name) {
            return Err(format!("the header {name} is set twice"));
        }
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Both together. Fails if both have the same header, or a query parameter each.
    pub fn merge(mut self, other: Self) -> Result<Self, String> {
        for (name, value) in other.headers {
            let Some(name) = name else { continue };
            if self.headers.insert(name.clone(), value).is_some() {
                return Err(format!("the header {name} is set twice"));
            }
        }
        match (&self.parameter, other.parameter) {
            (Some(_), Some(_)) => return Err("the query has two secrets".to_owned()),
            (None, Some(parameter)) => self.parameter = Some(parameter),
            (_, None) => {}
        }
        Ok(self)
    }

    pub(crate) fn uses_header(&self, header: &HeaderName) -> bool {
        self.headers.contains_key(header)
    }

    /// The name of its query parameter.
    pub(crate) fn parameter_name(&self) -> Option<&str> {
        self.parameter.as_ref().map(|it| it.name.as_str())
    }

    /// Is it a parameter of this query, in any spelling?
    pub(crate) fn uses_parameter_of(&self, query: Option<&str>) -> bool {
        let (Some(parameter), Some(query)) = (&self.parameter, query) else {
            return false;
        };
        url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == parameter.name)
    }

    /// Sets the credential's headers.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Adds the credential's query parameter after the others.
    pub(crate) fn add_to_url(&self, url: &mut Url) {
        let Some(Parameter { name, value }) = &self.parameter else {
            return;
        };
        let query = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{name}={value}"),
            _ => format!("{name}={value}"),
        };
        url.set_query(Some(&query));
    }
}

/// A header that can carry a credential: every valid one but those that the server itself sets.
pub fn parse_header_name(name: &str) -> Result<HeaderName, String> {
    let parsed =
        HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name"))?;
    if parsed != AUTHORIZATION && is_reserved(&parsed) {
        return Err(format!(
            "the header {parsed} is set by the server itself and cannot carry a credential"
        ));
    }
    Ok(parsed)
}

/// Refuses the name of a query parameter that would need an encoding.
pub fn check_parameter_name(name: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if (1..=MAX_PARAMETER_BYTES).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "the name of a query parameter has 1 to {MAX_PARAMETER_BYTES} letters, digits, dashes and underscores"
    ))
}

/// Shows names only.
impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameter = self.parameter.as_ref().map(|it| it.name.as_str());
        let names = self.headers.keys().map(HeaderName::as_str);
        formatter.write_str("Credential")?;
        formatter
            .debug_list()
            .entries(names.chain(parameter))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_adds_its_headers_and_its_parameter() {
        let credential = Credential::query("key", "a b&c=+%/é")
            .and_then(|it| it.with_header("CF-Access-Client-Id", "id"))
            .and_then(|it| it.with_header("authorization", "Key k"))
            .unwrap();
        let mut headers = HeaderMap::new();
        credential.add_to(&mut headers);
        assert_eq!(headers["cf-access-client-id"], "id");
        assert_eq!(headers["authorization"], "Key k");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        for (url, expected) in [
            ("http://h/x", "http://h/x?key=a%20b%26c%3D%2B%25%2F%C3%A9"),
            (
                "http://h/x?a=b%20c",
                "http://h/x?a=b%20c&key=a%20b%26c%3D%2B%25%2F%C3%A9",
            ),
        ] {
            let mut url = Url::parse(url).unwrap();
            credential.add_to_url(&mut url);
            assert_eq!(url.as_str(), expected);
        }
        assert_eq!(
            format!("{credential:?}"),
            r#"Credential["cf-access-client-id", "authorization", "key"]"#
        );
    }

    #[test]
    fn credential_finds_its_parameter_in_any_spelling() {
        let credential = Credential::query("key", "k").unwrap();
        for (query, uses) in [
            (None, false),
            (Some(""), false),
            (Some("keys=1&a=key"), false),
            (Some("a=1&key=2"), true),
            (Some("%6bey=2"), true),
            (Some("key"), true),
        ] {
            assert_eq!(credential.uses_parameter_of(query), uses, "{query:?}");
            assert!(!Credential::default().uses_parameter_of(query));
        }
    }

    #[test]
    fn credential_refuses_headers_that_the_server_sets_and_line_breaks() {
        for name in [
            "host",
            "Content-Length",
            "transfer-encoding",
            "connection",
            "cookie",
            "proxy-authorization",
            "sec-websocket-key",
            "x-forwarded-for",
            "upgrade",
        ] {
            let problem = Credential::header(name, "k").unwrap_err();
            assert!(problem.contains("is set by the server itself"), "{problem}");
        }
        for name in ["", "a b", "x:y", "x\r\nhost", "é"] {
            let problem = Credential::header(name, "k").unwrap_err();
            assert!(problem.contains("is not a header name"), "{problem}");
        }
        for secret in ["k\r\nhost: evil", "k\n", "k\0"] {
            let problem = Credential::header("x-key", secret).unwrap_err();
            assert!(problem.contains("cannot carry"), "{problem}");
            assert!(!problem.contains("evil"), "{problem}");
        }
        let twice = Credential::bearer("k").and_then(|it| it.with_header("Authorization", "k"));
        assert_eq!(twice.unwrap_err(), "the header authorization is set twice");
        for name in ["", "a b", "a&b", "a=b", "k#", "é", &"k".repeat(65)] {
            assert!(Credential::query(name, "k").is_err(), "{name}");
        }
    }
}
