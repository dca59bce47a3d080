//! A rule for requests: a method and a path prefix.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};

/// A method and a path prefix, such as `POST /images/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestRule {
    method: String,
    prefix: String,
}

impl RequestRule {
    /// Parses text such as `POST /images/`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid =
            || format!("{text:?} is not a method and a path prefix such as \"POST /images/\"");
        let (method, prefix) = text.split_once(' ').ok_or_else(invalid)?;
        let is_known_method =
            matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE");
        let is_canonical = prefix.starts_with('/')
            && !prefix.contains("//")
            && !prefix
                .split('/')
                .any(|segment| matches!(segment, "." | ".."))
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
        if !is_known_method || !is_canonical {
            return Err(invalid());
        }
        Ok(Self {
            method: method.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// True if the rule is about this request. `path` has no query.
    #[must_use]
    pub fn covers(&self, method: &Method, path: &str) -> bool {
        self.method == method.as_str() && self.covers_path(path)
    }

    /// True if the rule covers all requests that the other covers.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.method == other.method && self.covers_path(&other.prefix)
    }

    /// A prefix covers itself, and longer paths that continue with a `/`.
    fn covers_path(&self, path: &str) -> bool {
        match path.strip_prefix(&self.prefix) {
            Some(rest) => rest.is_empty() || self.prefix.ends_with('/') || rest.starts_with('/'),
            None => false,
        }
    }
}

impl fmt::Display for RequestRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.prefix)
    }
}

impl TryFrom<String> for RequestRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<RequestRule> for String {
    fn from(rule: RequestRule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, path: &str, expected: bool) {
        let rule = RequestRule::parse(&format!("GET {prefix}")).unwrap();
        assert_eq!(rule.covers(&Method::GET, path), expected, "{prefix} {path}");
        assert!(!rule.covers(&Method::POST, path));
    }

    #[test]
    fn request_rule_prefix_ends_at_a_segment() {
        check("/models", "/models", true);
        check("/models", "/models/x", true);
        check("/models", "/models-private", false);
        check("/models/", "/models/x:generate", true);
        check("/models/", "/models", false);
        check("/", "/anything", true);
    }

    #[test]
    fn request_rule_includes_narrower_rules() {
        for (wide, narrow, expected) in [
            ("GET /models", "GET /models/x", true),
            ("GET /models", "GET /models", true),
            ("GET /models", "GET /models/", true),
            ("GET /models/", "GET /models", false),
            ("GET /models", "GET /models-private", false),
            ("GET /", "POST /models", false),
            ("GET /models/x", "GET /models", false),
        ] {
            let [one, other] = [wide, narrow].map(|text| RequestRule::parse(text).unwrap());
            assert_eq!(one.includes(&other), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn request_rule_parse_refuses_other_text() {
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
            assert!(RequestRule::parse(bad).is_err(), "{bad}");
        }
    }
}
