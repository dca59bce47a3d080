//! A method, and a prefix of the paths that it may be used on.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};

/// A method with a path prefix, such as `POST /images/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Allowed {
    method: String,
    prefix: String,
}

impl Allowed {
    /// From text such as `POST /images/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a method and a path prefix such as \"POST /images/\"");
        let (method, prefix) = text.split_once(' ').ok_or_else(wrong)?;
        let standard = matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE");
        let plain = prefix.starts_with('/')
            && !prefix.contains("//")
            && !prefix.split('/').any(|step| matches!(step, "." | ".."))
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        match standard && plain {
            true => Ok(Self {
                method: method.to_owned(),
                prefix: prefix.to_owned(),
            }),
            false => Err(wrong()),
        }
    }

    /// Is it about this request? `path` carries no query.
    #[must_use]
    pub fn covers(&self, method: &Method, path: &str) -> bool {
        self.method == method.as_str() && self.reaches(path)
    }

    /// Does it allow all that the other allows?
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.method == other.method && self.reaches(&other.prefix)
    }

    /// A prefix reaches itself and what follows it after a `/`.
    fn reaches(&self, path: &str) -> bool {
        match path.strip_prefix(&self.prefix) {
            Some(rest) => rest.is_empty() || self.prefix.ends_with('/') || rest.starts_with('/'),
            None => false,
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.prefix)
    }
}

impl TryFrom<String> for Allowed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Allowed> for String {
    fn from(allowed: Allowed) -> Self {
        allowed.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, path: &str, expected: bool) {
        let allowed = Allowed::parse(&format!("GET {prefix}")).unwrap();
        assert_eq!(
            allowed.covers(&Method::GET, path),
            expected,
            "{prefix} {path}"
        );
        assert!(!allowed.covers(&Method::POST, path));
    }

    #[test]
    fn a_prefix_ends_at_a_step() {
        check("/models", "/models", true);
        check("/models", "/models/x", true);
        check("/models", "/models-private", false);
        check("/models/", "/models/x:generate", true);
        check("/models/", "/models", false);
        check("/", "/anything", true);
    }

    #[test]
    fn one_includes_another_where_it_reaches_as_far() {
        for (wide, narrow, expected) in [
            ("GET /models", "GET /models/x", true),
            ("GET /models", "GET /models", true),
            ("GET /models", "GET /models/", true),
            ("GET /models/", "GET /models", false),
            ("GET /models", "GET /models-private", false),
            ("GET /", "POST /models", false),
            ("GET /models/x", "GET /models", false),
        ] {
            let [one, other] = [wide, narrow].map(|text| Allowed::parse(text).unwrap());
            assert_eq!(one.includes(&other), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_request_rule_is_a_method_and_a_path() {
        for bad in [
            "",
            "GET",
            "GET x",
            "get /x",
            "CONNECT /",
            "GET //x",
            "GET /x/../",
            "GET /x/.",
            "GET /%2e",
            "GET /a b",
        ] {
            assert!(Allowed::parse(bad).is_err(), "{bad}");
        }
    }
}
