//! A rule for requests: a method and a path prefix, in which a segment can have a `*`.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};

/// A method and a path prefix, such as `POST /images/` or `POST /predictions/*/cancel`.
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
                .split('/')
                .all(|segment| segment.matches('*').count() <= 1)
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.*".contains(&byte));
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

    /// A prefix covers itself, and longer paths that continue with a `/`. The path can be another prefix.
    fn covers_path(&self, path: &str) -> bool {
        let mut rest = path.split('/');
        let mut own = self.prefix.split('/').peekable();
        while let Some(pattern) = own.next() {
            match rest.next() {
                // A slash at the end of the prefix: any segment may follow.
                Some(_) if pattern.is_empty() && own.peek().is_none() => return true,
                Some(segment) if covers_segment(pattern, segment) => {}
                _ => return false,
            }
        }
        true
    }
}

/// True if the pattern covers the segment. If the segment is a pattern too, true if all that it covers is covered.
fn covers_segment(pattern: &str, segment: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else {
        return pattern == segment;
    };
    // A `*` stands for at least one character.
    segment.len() > start.len() + end.len() && segment.starts_with(start) && segment.ends_with(end)
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
    fn request_rule_star_stays_in_its_segment() {
        check("/v1/flux-*", "/v1/flux-pro", true);
        check("/v1/flux-*", "/v1/flux-pro/x", true);
        check("/v1/flux-*", "/v1/flux-", false);
        check("/v1/flux-*", "/v1/other", false);
        check("/predictions/*/cancel", "/predictions/a1/cancel", true);
        check("/predictions/*/cancel", "/predictions/a1/b/cancel", false);
        check("/predictions/*/cancel", "/predictions//cancel", false);
        check("/predictions/*/cancel", "/predictions/a1", false);
        check("/a*b", "/ab", false);
        check("/a*b", "/a/b", false);
        check("/*", "/", false);
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
            ("GET /models", "GET /models/*", true),
            ("GET /models/*", "GET /models/x", true),
            ("GET /models/*", "GET /models/", false),
            ("GET /models/*", "GET /models", false),
            ("GET /v1/flux-*", "GET /v1/flux-pro-*", true),
            ("GET /v1/flux-pro-*", "GET /v1/flux-*", false),
            ("GET /v1/*", "GET /v1/*-pro", true),
            ("GET /v1/*-pro", "GET /v1/*", false),
            ("GET /v1/x", "GET /v1/*", false),
            ("GET /a*a", "GET /a*", false),
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
            "GET /a**",
            "GET /*a*",
        ] {
            assert!(RequestRule::parse(bad).is_err(), "{bad}");
        }
    }
}
