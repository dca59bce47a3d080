//! How the host authenticates, as an operator chose it: the form in which an engine's key is sent, and further
//! headers with secrets.
//!
//! The choice replaces what the engine declares. It belongs to the connection: headers that were set for one
//! URL never go to another one.

use std::collections::BTreeMap;

use pinhole_egress::{Credential, check_parameter_name, parse_header_name};
use pinhole_ground::environment::Environment;
use pinhole_ground::text::plain;
use serde_json::{Map, Value};

use super::own_variable;
use crate::contract::{self, Description, SecretHeader};

/// The operator's settings of every engine with an upstream, and none that an engine declares.
pub const CREDENTIAL_KEY: &str = "credential";
pub const HEADERS_KEY: &str = "headers";
/// The same for editing, if editing has a connection of its own.
pub const EDIT_CREDENTIAL_KEY: &str = "edit-credential";
pub const EDIT_HEADERS_KEY: &str = "edit-headers";

/// Headers that an operator may add.
const MAX_HEADERS: usize = 8;
/// Length of the value of such a header in bytes.
const MAX_VALUE_BYTES: usize = 8 << 10;
/// Length of a header's name or prefix in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Schemes that people write before a key.
const SCHEMES: [&str; 5] = ["Bearer", "Basic", "Key", "Token", "ApiKey"];
/// What the form of a credential can be.
const FORMS: &str = "none, bearer, basic, header NAME, header NAME PREFIX or query NAME";

/// The form in which an engine's key is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialForm {
    None,
    /// `authorization: Bearer KEY`
    Bearer,
    /// `authorization: Basic` with the base64 of the key, which is `user:password`.
    Basic,
    /// `NAME: KEY` or `NAME: PREFIX KEY`
    Header {
        name: String,
        prefix: Option<String>,
    },
    /// `?NAME=KEY`
    Query {
        name: String,
    },
}

/// The operator's choice for one connection.
#[derive(Clone, Default, PartialEq)]
pub(super) struct ConnectionCredential {
    /// `None`: as the engine declares it.
    pub(super) form: Option<CredentialForm>,
    /// Values by name.
    pub(super) headers: BTreeMap<String, String>,
}

impl CredentialForm {
    /// Parses a form. The error continues a sentence about the value and does not repeat it: it may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, names) = words.split_first().unwrap_or((&"", &[]));
        match (kind.to_ascii_lowercase().as_str(), names) {
            ("none", []) => Ok(Self::None),
            ("bearer", []) => Ok(Self::Bearer),
            ("basic", []) => Ok(Self::Basic),
            ("header", [name]) => Ok(Self::Header {
                name: parse_name(name)?,
                prefix: None,
            }),
            ("header", [name, prefix]) if is_prefix(prefix) => Ok(Self::Header {
                name: parse_name(name)?,
                prefix: Some((*prefix).to_owned()),
            }),
            ("header", [_, _]) => Err(
                "must have a PREFIX of letters and dashes after the name of the header".to_owned(),
            ),
            ("query", [name]) => {
                check_parameter_name(name).map_err(|why| format!("cannot be used: {why}"))?;
                Ok(Self::Query {
                    name: (*name).to_owned(),
                })
            }
            _ => Err(format!("must be {FORMS}")),
        }
    }

    pub(super) fn credential(&self, secret: &str) -> Result<Credential, String> {
        match self {
            Self::None => Ok(Credential::default()),
            Self::Bearer => Credential::bearer(without_scheme(secret, "Bearer")),
            Self::Basic if !secret.contains(':') => Err("must be user:password".to_owned()),
            Self::Basic => Credential::basic(secret),
            Self::Header { name, prefix: None } => Credential::header(name, secret),
            Self::Header {
                name,
                prefix: Some(prefix),
            } => Credential::header(
                name,
                &format!("{prefix} {}", without_scheme(secret, prefix)),
            ),
            Self::Query { name } => Credential::query(name, secret),
        }
    }
}

/// The name of a header, as people write it: also with a colon.
fn parse_name(name: &str) -> Result<String, String> {
    let name = name.strip_suffix(':').unwrap_or(name);
    if name.len() > MAX_NAME_BYTES {
        return Err(format!(
            "must have a NAME of at most {MAX_NAME_BYTES} bytes"
        ));
    }
    let header = parse_header_name(name).map_err(|why| format!("cannot be used: {why}"))?;
    Ok(header.as_str().to_owned())
}

fn is_prefix(prefix: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
    prefix.len() <= MAX_NAME_BYTES && prefix.bytes().all(is_allowed)
}

/// A secret without the scheme that is sent before it anyway.
fn without_scheme<'a>(secret: &'a str, scheme: &str) -> &'a str {
    match secret.split_once(' ') {
        Some((first, rest)) if first.eq_ignore_ascii_case(scheme) => rest.trim_start(),
        _ => secret,
    }
}

/// A secret that begins with a scheme, such as `Bearer abc`: the whole value of the header `authorization`.
fn has_scheme(secret: &str) -> bool {
    let first = secret.split_once(' ').map(|(first, _)| first);
    first.is_some_and(|first| SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(first)))
}

/// The credential of a declared form. A secret that has a scheme of its own is sent with that one.
pub(super) fn declared_credential(
    declared: &contract::Credential,
    secret: &str,
) -> Result<Credential, String> {
    if has_scheme(secret) {
        return Credential::header("authorization", secret);
    }
    match declared {
        contract::Credential::Bearer(_) => Credential::bearer(secret),
        contract::Credential::Basic(_) => Credential::basic(secret),
        contract::Credential::Header(SecretHeader { name, prefix, .. }) => match prefix {
            Some(prefix) => Credential::header(name, &format!("{prefix} {secret}")),
            None => Credential::header(name, secret),
        },
        contract::Credential::Query(field) => Credential::query(&field.name, secret),
        contract::Credential::Body(_)
        | contract::Credential::Aws(_)
        | contract::Credential::Google(_) => Err("this host cannot send it yet".to_owned()),
    }
}

impl ConnectionCredential {
    /// The choice of an operator for an engine: for generating, or for editing.
    ///
    /// The error names the variable.
    pub(super) fn from_environment(
        description: &Description,
        environment: &Environment,
        [form_key, headers_key]: [&str; 2],
    ) -> Result<Self, String> {
        if description.upstreams.is_empty() {
            return Ok(Self::default());
        }
        let (form_variable, headers_variable) = (
            own_variable(&description.name, form_key),
            own_variable(&description.name, headers_key),
        );
        let form = environment
            .for_engine(&form_variable)
            .map(CredentialForm::parse)
            .transpose()
            .map_err(|problem| format!("cannot use variable {form_variable}: it {problem}"))?;
        let headers = environment
            .for_engine(&headers_variable)
            .map(|text| {
                serde_json::from_str(text)
                    .map_err(|_| "must be a JSON object of header names and values".to_owned())
                    .and_then(|headers| check_headers(&headers))
            })
            .transpose()
            .map_err(|problem| format!("cannot use variable {headers_variable}: it {problem}"))?;
        Ok(Self {
            form,
            headers: headers.unwrap_or_default(),
        })
    }

    /// What of the headers is secret: each value, and what base64 hides in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> {
        self.headers.values().flat_map(|value| secrets_of(value))
    }
}

/// A secret as it is sent, and the user and password that a `Basic` value encodes.
pub(super) fn secrets_of(value: &str) -> Vec<String> {
    let mut secrets = vec![value.to_owned()];
    if let Some((scheme, rest)) = value.split_once(' ')
        && SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(scheme))
    {
        let rest = rest.trim_start();
        secrets = vec![rest.to_owned()];
        let decoded = base64_simd::STANDARD.decode_to_vec(rest.trim_end());
        if scheme.eq_ignore_ascii_case("basic")
            && let Some(decoded) = decoded.ok().and_then(|it| String::from_utf8(it).ok())
        {
            secrets.push(decoded);
        }
    }
    secrets
}

/// Checks the headers of an operator. The error continues a sentence about the setting and names the header,
/// never a value.
pub fn check_headers(headers: &Map<String, Value>) -> Result<BTreeMap<String, String>, String> {
    if headers.len() > MAX_HEADERS {
        return Err(format!("must have at most {MAX_HEADERS} headers"));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in headers {
        let shown = plain(name, MAX_NAME_BYTES);
        let text = value
            .as_str()
            .filter(|text| !text.trim().is_empty() && text.len() <= MAX_VALUE_BYTES)
            .ok_or_else(|| {
                format!("must give header {shown:?} a text of 1 to {MAX_VALUE_BYTES} bytes")
            })?
            .trim();
        Credential::header(name, text)
            .map_err(|why| format!("has a header {shown:?} that cannot be used: {why}"))?;
        if checked
            .insert(name.to_ascii_lowercase(), text.to_owned())
            .is_some()
        {
            return Err(format!("has the header {shown:?} twice"));
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn header(name: &str, prefix: Option<&str>) -> CredentialForm {
        CredentialForm::Header {
            name: name.to_owned(),
            prefix: prefix.map(str::to_owned),
        }
    }

    #[test]
    fn credential_form_parses_each_form() {
        let query = CredentialForm::Query {
            name: "key".to_owned(),
        };
        for (text, form) in [
            ("none", CredentialForm::None),
            ("Bearer", CredentialForm::Bearer),
            (" basic ", CredentialForm::Basic),
            ("header x-api-key", header("x-api-key", None)),
            (
                "header Authorization: Key",
                header("authorization", Some("Key")),
            ),
            ("query key", query),
        ] {
            assert_eq!(CredentialForm::parse(text), Ok(form), "{text}");
        }
    }

    #[test]
    fn credential_form_refuses_others_without_repeating_them() {
        for (text, expected) in [
            ("", "must be none, bearer"),
            ("sk-secret-1234", "must be none, bearer"),
            ("bearer sk-secret-1234", "must be none, bearer"),
            ("header", "must be none, bearer"),
            ("header x-key Key sk-secret-1234", "must be none, bearer"),
            ("header x-key sk-secret-1234", "PREFIX of letters"),
            ("header host", "the header host is set by the server itself"),
            ("header transfer-encoding", "set by the server itself"),
            ("header x-a\u{0}b", "is not a header name"),
            ("query a&b", "letters, digits"),
        ] {
            let problem = CredentialForm::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(!problem.contains("sk-secret"), "{problem}");
        }
    }

    #[test]
    fn check_headers_names_the_invalid_header() {
        let check = |headers: Value| check_headers(headers.as_object().unwrap());
        let checked =
            check(json!({"CF-Access-Client-Id": " id ", "cf-aig-authorization": "Bearer x"}));
        let names: Vec<_> = checked.unwrap().into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            names,
            [
                pair("cf-access-client-id", "id"),
                pair("cf-aig-authorization", "Bearer x")
            ]
        );
        for (headers, expected) in [
            (json!({"x-a": 1}), "must give header \"x-a\" a text"),
            (json!({"x-a": ""}), "must give header \"x-a\" a text"),
            (
                json!({"host": "secret"}),
                "the header host is set by the server itself",
            ),
            (json!({"x a": "secret"}), "is not a header name"),
            (
                json!({"x-a": "secret\r\nhost: evil"}),
                "has a header \"x-a\" that cannot be used",
            ),
            (json!({"x-a": "secret", "X-A": "secret"}), "twice"),
        ] {
            let problem = check(headers).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains("secret\r"), "{problem}");
        }
        let many = (0..=MAX_HEADERS).map(|it| (format!("x-{it}"), json!("v")));
        assert!(check_headers(&many.collect()).is_err());
    }

    #[test]
    fn secrets_of_a_basic_header_contain_user_and_password() {
        assert_eq!(
            secrets_of("Basic dXNlcjpwYXNz"),
            ["dXNlcjpwYXNz", "user:pass"]
        );
        assert_eq!(secrets_of("Bearer abc"), ["abc"]);
        assert_eq!(secrets_of("two words"), ["two words"]);
    }
}
