//! The form in which an engine's key is sent, as an operator chose it.

use http::HeaderName;
use pinhole_egress::{
    AwsKey, Credential, check_aws_name, check_body_pointer, check_parameter_name, check_scope,
    parse_header_name,
};

use super::MAX_NAME_BYTES;

/// What the form of a credential can be.
const FORMS: &str = "none, bearer, basic, header NAME, header NAME PREFIX, query NAME, body POINTER, \
                     aws REGION SERVICE or google SCOPE";

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
    /// The key at this JSON pointer of every JSON body.
    Body {
        pointer: String,
    },
    /// A signature of AWS. The key is `ACCESS_KEY_ID:SECRET` or `ACCESS_KEY_ID:SECRET:SESSION_TOKEN`.
    Aws {
        region: String,
        service: String,
    },
    /// `authorization: Bearer` with an OAuth token. The key is the key file of a service account.
    Google {
        scope: String,
    },
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
            ("body", [pointer]) => {
                check_body_pointer(pointer).map_err(|why| format!("cannot be used: {why}"))?;
                Ok(Self::Body {
                    pointer: (*pointer).to_owned(),
                })
            }
            ("aws", [region, service]) => {
                check_aws_name(region)
                    .and_then(|()| check_aws_name(service))
                    .map_err(|why| format!("cannot be used: {why}"))?;
                Ok(Self::Aws {
                    region: (*region).to_owned(),
                    service: (*service).to_owned(),
                })
            }
            ("google", [_, ..]) => {
                let scope = names.join(" ");
                check_scope(&scope).map_err(|why| format!("cannot be used: {why}"))?;
                Ok(Self::Google { scope })
            }
            _ => Err(format!("must be {FORMS}")),
        }
    }

    pub(in crate::engine_settings) fn credential(
        &self,
        secret: &str,
    ) -> Result<Credential, String> {
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
            Self::Body { pointer } => Credential::body_field(pointer, secret),
            Self::Aws { region, service } => {
                let parts: Vec<&str> = secret.trim().splitn(3, ':').collect();
                let (access_key_id, secret_access_key, session_token) = match parts[..] {
                    [id, key] => (id, key, None),
                    [id, key, token] => (id, key, Some(token)),
                    _ => {
                        return Err(
                            "must be ACCESS_KEY_ID:SECRET_ACCESS_KEY, with a temporary key also :SESSION_TOKEN"
                                .to_owned(),
                        );
                    }
                };
                Credential::aws(AwsKey {
                    access_key_id,
                    secret_access_key,
                    session_token,
                    region,
                    service,
                })
            }
            Self::Google { scope } => Credential::google(secret, scope),
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
    if HeaderName::try_from(name).is_err() {
        return Err("must have a NAME that is the name of a header".to_owned());
    }
    let header = parse_header_name(name)
        .map_err(|_| "must have another NAME: the server sets this header itself".to_owned())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = include_str!("../../../../egress/testdata/service_account.json");

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
            (
                "body /extra_data/api_key",
                CredentialForm::Body {
                    pointer: "/extra_data/api_key".to_owned(),
                },
            ),
            (
                "aws us-east-1 bedrock",
                CredentialForm::Aws {
                    region: "us-east-1".to_owned(),
                    service: "bedrock".to_owned(),
                },
            ),
            (
                "Google https://a/b  openid",
                CredentialForm::Google {
                    scope: "https://a/b openid".to_owned(),
                },
            ),
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
            ("header host", "the server sets this header itself"),
            ("header transfer-encoding", "sets this header itself"),
            ("header sec-secret-1234", "sets this header itself"),
            ("header x-a\u{0}b", "is the name of a header"),
            ("header sk-secret@1234", "is the name of a header"),
            ("query a&b", "letters, digits"),
            ("body", "must be none, bearer"),
            ("body sk-secret-1234", "JSON pointer"),
            ("aws us-east-1", "must be none, bearer"),
            ("aws us-east-1 sk-secret(1234)", "lower-case letters"),
            ("google", "must be none, bearer"),
            ("google sk-secret*1234", "a scope of Google"),
        ] {
            let problem = CredentialForm::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
            assert!(!problem.contains("secret-1234"), "{problem}");
        }
    }

    #[test]
    fn credential_form_of_each_kind_takes_a_key() {
        let credential = |form: &str, key: &str| {
            let credential = CredentialForm::parse(form).unwrap().credential(key);
            credential.map(|it| format!("{it:?}"))
        };
        let names = |names: &str| Ok(format!("Credential[{names}]"));
        assert_eq!(credential("body /a/b", "k"), names(r#""/a/b""#));
        let aws = "aws us-east-1 bedrock";
        for key in ["AKIA:secret", "AKIA:secret:token"] {
            assert_eq!(credential(aws, key), names(r#""AWS signature (bedrock)""#));
        }
        for (key, expected) in [
            ("AKIA", "must be ACCESS_KEY_ID:SECRET_ACCESS_KEY, with"),
            ("AKIA:", "the access key is empty"),
            (":secret", "the id of the access key is empty"),
            ("AKIA:sec ret", "the access key is empty, too long, or"),
        ] {
            let problem = credential(aws, key).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
        assert_eq!(
            credential("google s", ACCOUNT),
            names(r#""Google token (s)""#)
        );
        let problem = credential("google s", "sk-secret").unwrap_err();
        assert!(problem.contains("create a key of type JSON"), "{problem}");
        assert!(!problem.contains("sk-secret"), "{problem}");
    }
}
