//! How the host authenticates, as an operator chose it: the form in which an engine's key is sent, and further
//! headers with secrets.
//!
//! The choice replaces what the engine declares. It belongs to the connection: headers that were set for one
//! URL never go to another one.

mod form;

use std::collections::BTreeMap;

use pinhole_egress::{AwsKey, Credential, service_account_secrets};
use pinhole_ground::environment::Environment;
use pinhole_ground::text::plain;
use serde_json::{Map, Value};

use super::own_variable;
use crate::contract::{self, Description, SecretHeader};

pub use form::CredentialForm;

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

/// The operator's choice for one connection.
#[derive(Clone, Default, PartialEq)]
pub(super) struct ConnectionCredential {
    /// `None`: as the engine declares it.
    pub(super) form: Option<CredentialForm>,
    /// Values by name.
    pub(super) headers: BTreeMap<String, String>,
}

/// A secret that begins with a scheme, such as `Bearer abc`: the whole value of the header `authorization`.
fn has_scheme(secret: &str) -> bool {
    let first = secret.split_once(' ').map(|(first, _)| first);
    first.is_some_and(|first| SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(first)))
}

/// The credential of a declared form; `None` if a setting that it needs is unset. `text` is the value of a setting. A
/// secret that has a scheme of its own is sent with that one.
pub(super) fn declared_credential<'s>(
    declared: &contract::Credential,
    text: impl Fn(&str) -> Option<&'s str>,
) -> Result<Option<Credential>, String> {
    let Some(secret) = text(declared.secret_key()) else {
        return Ok(None);
    };
    let credential = match declared {
        contract::Credential::Bearer(_)
        | contract::Credential::Basic(_)
        | contract::Credential::Header(_)
            if has_scheme(secret) =>
        {
            Credential::header("authorization", secret)
        }
        contract::Credential::Bearer(_) => Credential::bearer(secret),
        contract::Credential::Basic(_) => Credential::basic(secret),
        contract::Credential::Header(SecretHeader { name, prefix, .. }) => match prefix {
            Some(prefix) => Credential::header(name, &format!("{prefix} {secret}")),
            None => Credential::header(name, secret),
        },
        contract::Credential::Query(field) => Credential::query(&field.name, secret),
        contract::Credential::Body(field) => Credential::body_field(&field.name, secret),
        contract::Credential::Google(google) => Credential::google(secret, &google.scope),
        contract::Credential::Aws(aws) => {
            let (Some(access_key_id), Some(region)) = (text(&aws.access_key_id), text(&aws.region))
            else {
                return Ok(None);
            };
            Credential::aws(AwsKey {
                access_key_id,
                secret_access_key: secret,
                session_token: aws.session_token.as_deref().and_then(&text),
                region,
                service: &aws.service,
            })
        }
    };
    credential.map(Some)
}

/// Refuses credentials that cannot be sent together.
pub(crate) fn check_declared(all: &[contract::Credential]) -> Result<(), String> {
    let placeholder = |declared: &contract::Credential| match declared {
        contract::Credential::Google(_) => Credential::bearer("x"),
        other => declared_credential(other, |_| Some("x")).map(Option::unwrap_or_default),
    };
    all.iter()
        .try_fold(Credential::default(), |sum, it| sum.merge(placeholder(it)?))
        .map(drop)
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

/// What of a secret setting is secret: the whole and its parts, or, of a key file, the key.
pub(super) fn secrets_of_setting(value: &str) -> Vec<String> {
    service_account_secrets(value).unwrap_or_else(|| {
        let mut secrets = secrets_of(value);
        secrets.push(value.to_owned());
        secrets
    })
}

/// A secret as it is sent, and the user and password that a `Basic` value encodes.
fn secrets_of(value: &str) -> Vec<String> {
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

    const ACCOUNT: &str = include_str!("../../../egress/testdata/service_account.json");

    fn field(name: &str) -> contract::SecretField {
        contract::SecretField {
            name: name.to_owned(),
            secret: "key".to_owned(),
        }
    }

    fn aws(session_token: Option<&str>) -> contract::Credential {
        contract::Credential::Aws(contract::AwsCredential {
            access_key_id: "id".to_owned(),
            secret_access_key: "key".to_owned(),
            session_token: session_token.map(str::to_owned),
            region: "region".to_owned(),
            service: "bedrock".to_owned(),
        })
    }

    #[test]
    fn declared_credential_needs_all_its_settings() {
        let signed = Some(r#"Credential["AWS signature (bedrock)"]"#);
        for (declared, set, expected) in [
            (
                contract::Credential::Query(field("q")),
                &["key"][..],
                Some(r#"Credential["q"]"#),
            ),
            (contract::Credential::Query(field("q")), &[], None),
            (
                contract::Credential::Body(field("/a")),
                &["key"],
                Some(r#"Credential["/a"]"#),
            ),
            (contract::Credential::Body(field("/a")), &["region"], None),
            (aws(None), &["id", "key", "region"], signed),
            (aws(Some("token")), &["id", "key", "region"], signed),
            (
                aws(Some("token")),
                &["id", "key", "region", "token"],
                signed,
            ),
            (aws(None), &["id", "key"], None),
            (aws(None), &["id", "region"], None),
            (aws(None), &["key", "region"], None),
        ] {
            let text = |key: &str| set.contains(&key).then_some("x");
            let credential = declared_credential(&declared, text).unwrap();
            let shown = credential.map(|it| format!("{it:?}"));
            assert_eq!(shown.as_deref(), expected, "{declared:?} {set:?}");
        }
        let google = contract::Credential::Google(contract::GoogleCredential {
            service_account: "key".to_owned(),
            scope: "s".to_owned(),
        });
        assert!(
            declared_credential(&google, |_| Some(ACCOUNT))
                .unwrap()
                .is_some()
        );
        assert!(declared_credential(&google, |_| Some("sk-secret")).is_err());
        assert!(declared_credential(&google, |_| None).unwrap().is_none());
    }

    #[test]
    fn check_declared_refuses_credentials_that_exclude_each_other() {
        let bearer = || contract::Credential::Bearer("key".to_owned());
        let query = || contract::Credential::Query(field("q"));
        let body = || contract::Credential::Body(field("/a"));
        assert_eq!(check_declared(&[]), Ok(()));
        assert_eq!(check_declared(&[bearer(), query(), body()]), Ok(()));
        assert_eq!(check_declared(&[aws(None), body()]), Ok(()));
        for (all, expected) in [
            (
                vec![bearer(), bearer()],
                "the header authorization is set twice",
            ),
            (
                vec![bearer(), aws(None)],
                "the header authorization is set twice",
            ),
            (vec![query(), query()], "the query parameter q is set twice"),
            (
                vec![body(), body()],
                "the field /a of the body is set twice",
            ),
        ] {
            assert_eq!(check_declared(&all), Err(expected.to_owned()));
        }
    }

    #[test]
    fn secrets_of_a_key_file_are_those_of_its_key() {
        let secrets = secrets_of_setting(ACCOUNT);
        assert!(secrets.iter().all(|secret| !secret.contains("googleapis")));
        assert_eq!(secrets_of_setting("Bearer abc"), ["abc", "Bearer abc"]);
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
