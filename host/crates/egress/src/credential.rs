//! The credential of a destination: secrets in headers, query parameters and JSON bodies, and a signer. They never
//! leave this crate except in a request.

mod aws;
mod body_field;
mod google;
mod query_parameter;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use pinhole_ground::guard::Refusal;
use url::Url;

use crate::headers::is_reserved;
use aws::AwsSigner;
use body_field::BodyField;
use query_parameter::QueryParameter;

pub(crate) use aws::SignedRequest;
pub use aws::{AwsKey, check_aws_name};
pub use body_field::{check_body_pointer, insert_body_field};
pub(crate) use google::{GOOGLE_TOKEN_URL, ServiceAccount};
pub use google::{check_scope, service_account_secrets};
pub use query_parameter::check_parameter_name;

/// How the server authenticates to a destination.
#[derive(Clone, Default)]
pub struct Credential {
    headers: HeaderMap,
    parameters: Vec<QueryParameter>,
    fields: Vec<BodyField>,
    signer: Option<Signer>,
}

/// What adds headers that differ between requests.
#[derive(Clone)]
enum Signer {
    Aws(AwsSigner),
    /// Sends a token that expires.
    Google(Arc<ServiceAccount>),
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
        Ok(Self {
            parameters: vec![QueryParameter::new(name, secret)?],
            ..Self::default()
        })
    }

    /// A string at a JSON pointer in every JSON body. Objects that a body lacks are added.
    pub fn body_field(pointer: &str, secret: &str) -> Result<Self, String> {
        Ok(Self {
            fields: vec![BodyField::new(pointer, secret)?],
            ..Self::default()
        })
    }

    /// A signature of AWS (Signature Version 4).
    pub fn aws(key: AwsKey<'_>) -> Result<Self, String> {
        Ok(Self {
            signer: Some(Signer::Aws(AwsSigner::new(key)?)),
            ..Self::default()
        })
    }

    /// `authorization: Bearer` with an OAuth token for this scope, which the server requests with the key file of a
    /// service account.
    pub fn google(service_account: &str, scope: &str) -> Result<Self, String> {
        let account = ServiceAccount::parse(service_account, scope)?;
        Ok(Self {
            signer: Some(Signer::Google(Arc::new(account))),
            ..Self::default()
        })
    }

    /// The same with one more header. Fails if it has this header already.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, String> {
        let name = parse_header_name(name)?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the secret contains characters that a header cannot carry".to_owned())?;
        value.set_sensitive(true);
        if self.uses_header(&name) {
            return Err(format!("the header {name} is set twice"));
        }
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Both credentials together. Fails if both set the same header, parameter or field, or both sign.
    pub fn merge(mut self, other: Self) -> Result<Self, String> {
        let mut headers = self.headers.keys();
        let mut other_headers = other.headers.keys();
        let twice = headers
            .find(|name| other.uses_header(name))
            .or_else(|| other_headers.find(|name| self.uses_header(name)));
        if let Some(name) = twice {
            return Err(format!("the header {name} is set twice"));
        }
        let has_parameter = |name: &str| self.parameters.iter().any(|it| it.name == name);
        if let Some(parameter) = other.parameters.iter().find(|it| has_parameter(&it.name)) {
            return Err(format!(
                "the query parameter {} is set twice",
                parameter.name
            ));
        }
        let has_field = |field: &BodyField| self.fields.iter().any(|it| it.overlaps(field));
        if let Some(field) = other.fields.iter().find(|field| has_field(field)) {
            return Err(format!(
                "the field {} of the body is set twice",
                field.pointer
            ));
        }
        if self.signer.is_some() && other.signer.is_some() {
            return Err("a request cannot have both signatures or tokens".to_owned());
        }
        // The crate that signs logs the URL, at the level trace.
        let has_parameters = !self.parameters.is_empty() || !other.parameters.is_empty();
        let signer = self.signer.as_ref().or(other.signer.as_ref());
        if has_parameters && matches!(signer, Some(Signer::Aws(_))) {
            return Err("a query parameter cannot be combined with a signature of AWS".to_owned());
        }
        self.headers.extend(other.headers);
        self.parameters.extend(other.parameters);
        self.fields.extend(other.fields);
        self.signer = self.signer.or(other.signer);
        Ok(self)
    }

    pub(crate) fn uses_header(&self, header: &HeaderName) -> bool {
        self.headers.contains_key(header)
            || match &self.signer {
                None => false,
                Some(Signer::Aws(_)) => AwsSigner::sets_header(header),
                Some(Signer::Google(_)) => *header == AUTHORIZATION,
            }
    }

    /// The names of its query parameters.
    pub(crate) fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|it| it.name.as_str())
    }

    /// JSON pointers to its fields of bodies.
    pub(crate) fn field_pointers(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|it| it.pointer.as_str())
    }

    /// Is one of the parameters in this query, in any spelling?
    pub(crate) fn uses_parameter_of(&self, query: Option<&str>) -> bool {
        let Some(query) = query else {
            return false;
        };
        let is_parameter = |name: &str| self.parameters.iter().any(|it| it.name == name);
        !self.parameters.is_empty()
            && url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| is_parameter(&name))
    }

    /// The account whose tokens are sent.
    pub(crate) fn service_account(&self) -> Option<&Arc<ServiceAccount>> {
        match &self.signer {
            Some(Signer::Google(account)) => Some(account),
            _ => None,
        }
    }

    /// Sets the credential's headers, except those of a signature and of a token.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }

    /// Adds the credential's query parameters after the others.
    pub(crate) fn add_to_url(&self, url: &mut Url) {
        for parameter in &self.parameters {
            parameter.add_to(url);
        }
    }

    /// True if a part of the credential depends on the body.
    pub(crate) fn reads_body(&self) -> bool {
        !self.fields.is_empty() || matches!(self.signer, Some(Signer::Aws(_)))
    }

    /// The body with the credential's fields, if it is JSON.
    pub(crate) fn add_to_body(
        &self,
        content_type: Option<&HeaderValue>,
        mut body: Bytes,
    ) -> Result<Bytes, Refusal> {
        if !content_type.is_some_and(is_json) {
            return Ok(body);
        }
        for field in &self.fields {
            body = field.insert_into(&body)?;
        }
        Ok(body)
    }

    /// Adds the headers of a signature to those of a complete request.
    pub(crate) fn sign(
        &self,
        request: &SignedRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        match &self.signer {
            Some(Signer::Aws(signer)) => signer.sign(request, headers, SystemTime::now()),
            _ => Ok(()),
        }
    }
}

/// True for `application/json` and types such as `application/problem+json`.
fn is_json(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
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

/// Shows names only.
impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers = self.headers.keys().map(HeaderName::to_string);
        let parameters = self.parameters.iter().map(|it| it.name.clone());
        let fields = self.fields.iter().map(|it| it.pointer.clone());
        let signer = self.signer.iter().map(|signer| match signer {
            Signer::Aws(signer) => format!("AWS signature ({})", signer.service),
            Signer::Google(account) => format!("Google token ({})", account.scope),
        });
        formatter.write_str("Credential")?;
        formatter
            .debug_list()
            .entries(headers.chain(parameters).chain(fields).chain(signer))
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

    const AWS: AwsKey<'static> = AwsKey {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "aws-secret-4711",
        session_token: None,
        region: "us-east-1",
        service: "bedrock",
    };

    #[test]
    fn credential_merges_all_forms_and_refuses_what_is_set_twice() {
        let header = |name: &str| Credential::header(name, "k").unwrap();
        let query = |name: &str| Credential::query(name, "k").unwrap();
        let field = |pointer: &str| Credential::body_field(pointer, "k").unwrap();
        let aws = || Credential::aws(AWS).unwrap();
        let combined = [query("a"), query("b"), field("/c"), field("/d/e"), aws()]
            .into_iter()
            .try_fold(header("x-key"), Credential::merge);
        assert_eq!(
            combined.map(|it| format!("{it:?}")),
            Err("a query parameter cannot be combined with a signature of AWS".to_owned())
        );
        let merged = [header("x-b"), field("/c"), field("/d/e"), aws()]
            .into_iter()
            .try_fold(header("x-a"), Credential::merge)
            .unwrap();
        assert_eq!(
            format!("{merged:?}"),
            r#"Credential["x-a", "x-b", "/c", "/d/e", "AWS signature (bedrock)"]"#
        );
        let bearer = || Credential::bearer("k").unwrap();
        for (one, other, expected) in [
            (header("x-a"), header("X-A"), "the header x-a is set twice"),
            (bearer(), aws(), "the header authorization is set twice"),
            (
                aws(),
                header("x-amz-date"),
                "the header x-amz-date is set twice",
            ),
            (query("a"), query("a"), "the query parameter a is set twice"),
            (
                field("/a/b"),
                field("/a"),
                "the field /a of the body is set twice",
            ),
            (
                aws(),
                aws(),
                "a request cannot have both signatures or tokens",
            ),
        ] {
            assert_eq!(one.merge(other).unwrap_err(), expected);
        }
        let with_header = aws().with_header("X-Amz-Target", "x");
        assert_eq!(
            with_header.unwrap_err(),
            "the header x-amz-target is set twice"
        );
    }

    #[test]
    fn credential_adds_all_parameters_and_fields() {
        let credential = Credential::query("a", "1")
            .and_then(|it| it.merge(Credential::query("b", "2")?))
            .and_then(|it| it.merge(Credential::body_field("/key", "3")?))
            .and_then(|it| it.merge(Credential::body_field("/x/key", "4")?))
            .unwrap();
        let mut url = Url::parse("http://h/x?y").unwrap();
        credential.add_to_url(&mut url);
        assert_eq!(url.as_str(), "http://h/x?y&a=1&b=2");
        for query in ["a=1", "c&%62"] {
            assert!(credential.uses_parameter_of(Some(query)), "{query}");
        }
        let body = |media_type: Option<&'static str>, body: &'static str| {
            let media_type = media_type.map(HeaderValue::from_static);
            credential.add_to_body(media_type.as_ref(), Bytes::from_static(body.as_bytes()))
        };
        for media_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/x+json",
        ] {
            let json = body(Some(media_type), "{}").unwrap();
            assert_eq!(json, r#"{"x":{"key":"4"},"key":"3"}"#, "{media_type}");
            assert!(body(Some(media_type), "[]").is_err());
        }
        for media_type in [
            None,
            Some("text/plain"),
            Some("multipart/form-data; boundary=json"),
        ] {
            assert_eq!(body(media_type, "{}").unwrap(), "{}");
        }
    }

    #[test]
    fn credential_debug_output_and_errors_contain_no_secret() {
        let account = include_str!("../testdata/service_account.json");
        let google = Credential::google(account, "https://scope").unwrap();
        let credential = google
            .merge(Credential::query("q", "query-secret").unwrap())
            .and_then(|it| it.merge(Credential::body_field("/f", "field-secret")?))
            .unwrap();
        assert_eq!(
            format!("{credential:?}"),
            r#"Credential["q", "/f", "Google token (https://scope)"]"#
        );
        for key in [
            AwsKey {
                access_key_id: "aws secret",
                ..AWS
            },
            AwsKey {
                secret_access_key: "aws\nsecret",
                ..AWS
            },
            AwsKey {
                session_token: Some(""),
                ..AWS
            },
            AwsKey {
                region: "aws secret",
                ..AWS
            },
            AwsKey {
                service: "AWS",
                ..AWS
            },
        ] {
            let problem = Credential::aws(key).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
