//! Validation of the upstreams that a component declares.

use pinhole_egress::headers::is_reserved;
use pinhole_egress::{
    ImageHost, check_aws_name, check_body_pointer, check_parameter_name, check_scope,
};
use pinhole_ground::guard::Refusal;

use super::{MAX_ENTRIES, MAX_NAME_BYTES, MAX_TITLE_BYTES, check_text, require};
use crate::contract::{Credential, SecretHeader, Setting, SettingKind, Upstream};
use crate::engine_settings::check_declared;
use crate::grant::RequestRule;

/// Credentials of an upstream.
const MAX_CREDENTIALS: usize = 4;
/// Length of an image host in bytes: `*.` and a host name.
const MAX_HOST_BYTES: usize = 255;

pub(super) fn check_upstream(settings: &[Setting], upstream: &Upstream) -> Result<(), Refusal> {
    let kind_of = |key: &str| {
        let setting = settings.iter().find(|setting| setting.key == key)?;
        Some(&setting.kind)
    };
    let base_url = &upstream.base_url;
    require(matches!(kind_of(base_url), Some(SettingKind::Url)), || {
        format!("its base URL {base_url:?} is not a setting of kind url")
    })?;
    let credentials = upstream.credentials.len();
    require(credentials <= MAX_CREDENTIALS, || {
        format!("it has {credentials} credentials; {MAX_CREDENTIALS} are allowed")
    })?;
    for credential in &upstream.credentials {
        check_credential(credential, kind_of)?;
    }
    let clash = check_declared(&upstream.credentials).err();
    require(clash.is_none(), || {
        format!("its credentials: {}", clash.unwrap_or_default())
    })?;
    let count = upstream.requests.len();
    require((1..=MAX_ENTRIES).contains(&count), || {
        format!("it has {count} requests, not 1 to {MAX_ENTRIES}")
    })?;
    for request in &upstream.requests {
        check_text("a request", request, MAX_TITLE_BYTES)?;
        let problem = RequestRule::parse(request).err();
        require(problem.is_none(), || problem.unwrap_or_default())?;
    }
    for (what, list) in [
        ("host", &upstream.hosts),
        ("image host", &upstream.image_hosts),
    ] {
        let hosts = list.len();
        require(hosts <= MAX_ENTRIES, || {
            format!("it has {hosts} {what}s; {MAX_ENTRIES} are allowed")
        })?;
        for host in list {
            check_text(&format!("its {what}"), host, MAX_HOST_BYTES)?;
            let problem = ImageHost::parse(host).err();
            require(problem.is_none(), || problem.unwrap_or_default())?;
        }
    }
    // The credential would reach every host.
    let names_any = upstream
        .hosts
        .iter()
        .any(|host| ImageHost::parse(host) == Ok(ImageHost::Any));
    require(!names_any, || {
        "its hosts may not be any host: name them, such as *.example.com".to_owned()
    })
}

fn check_credential<'a>(
    credential: &Credential,
    kind_of: impl Fn(&str) -> Option<&'a SettingKind>,
) -> Result<(), Refusal> {
    let is_secret = |key: &str| matches!(kind_of(key), Some(SettingKind::Secret));
    require(is_secret(credential.secret_key()), || {
        "its credential is not a setting of kind secret".to_owned()
    })?;
    match credential {
        Credential::Bearer(_) | Credential::Basic(_) => Ok(()),
        Credential::Header(SecretHeader { name, prefix, .. }) => {
            let can_send = http::HeaderName::try_from(name.as_str())
                .is_ok_and(|name| name == "authorization" || !is_reserved(&name));
            require(can_send, || {
                "its credential uses a header that cannot be sent".to_owned()
            })?;
            let prefix = prefix.as_deref().unwrap_or("Key");
            let is_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
            let is_prefix =
                (1..=MAX_NAME_BYTES).contains(&prefix.len()) && prefix.bytes().all(is_word);
            require(is_prefix, || {
                "its credential has a prefix that is not one word of letters".to_owned()
            })
        }
        Credential::Query(field) => {
            let problem = check_parameter_name(&field.name).err();
            require(problem.is_none(), || problem.unwrap_or_default())
        }
        Credential::Body(field) => {
            let problem = check_body_pointer(&field.name).err();
            require(problem.is_none(), || problem.unwrap_or_default())
        }
        Credential::Aws(aws) => {
            let token = aws.session_token.as_deref();
            require(token.is_none_or(is_secret), || {
                "its session token is not a setting of kind secret".to_owned()
            })?;
            let is_id =
                |key: &str| matches!(kind_of(key), Some(SettingKind::Text | SettingKind::Secret));
            let is_region = |key: &str| {
                matches!(
                    kind_of(key),
                    Some(SettingKind::Text | SettingKind::Choice(_))
                )
            };
            require(is_id(&aws.access_key_id), || {
                "the id of its access key is not a setting of kind text or secret".to_owned()
            })?;
            require(is_region(&aws.region), || {
                "its region is not a setting of kind text or choice".to_owned()
            })?;
            let problem = check_aws_name(&aws.service).err();
            require(problem.is_none(), || problem.unwrap_or_default())
        }
        Credential::Google(google) => {
            let problem = check_scope(&google.scope).err();
            require(problem.is_none(), || problem.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{AwsCredential, GoogleCredential, SecretField};

    /// Asserts why an upstream with these credentials is refused; accepted if the reason is empty.
    fn check(credentials: Vec<Credential>, expected: &str) {
        let setting = |key: &str, kind| Setting {
            key: key.into(),
            title: String::new(),
            description: String::new(),
            kind,
            default: None,
            generate_variables: Vec::new(),
            edit_variables: Vec::new(),
        };
        let settings = [
            setting("base-url", SettingKind::Url),
            setting("key", SettingKind::Secret),
            setting("region", SettingKind::Text),
        ];
        let upstream = Upstream {
            name: "api".into(),
            base_url: "base-url".into(),
            credentials,
            requests: vec!["POST /x".into()],
            hosts: vec!["*.example.com".into()],
            image_hosts: Vec::new(),
        };
        let checked = check_upstream(&settings, &upstream);
        let reason = checked
            .err()
            .map_or(String::new(), |refusal| refusal.reason);
        assert!(
            reason.contains(expected) && reason.is_empty() == expected.is_empty(),
            "{reason:?} {expected:?}"
        );
    }

    fn field(name: &str) -> SecretField {
        SecretField {
            name: name.into(),
            secret: "key".into(),
        }
    }

    fn aws(access_key_id: &str, region: &str, service: &str, token: Option<&str>) -> Credential {
        Credential::Aws(AwsCredential {
            access_key_id: access_key_id.into(),
            secret_access_key: "key".into(),
            session_token: token.map(str::to_owned),
            region: region.into(),
            service: service.into(),
        })
    }

    fn google(scope: &str) -> Credential {
        Credential::Google(GoogleCredential {
            service_account: "key".into(),
            scope: scope.into(),
        })
    }

    #[test]
    fn check_upstream_accepts_each_credential() {
        let bearer = || Credential::Bearer("key".into());
        check(vec![], "");
        check(vec![bearer(), Credential::Query(field("key"))], "");
        check(vec![bearer(), Credential::Body(field("/a/key"))], "");
        check(
            vec![google("https://www.googleapis.com/auth/cloud-platform")],
            "",
        );
        check(vec![aws("region", "region", "bedrock", None)], "");
        check(vec![aws("key", "region", "bedrock", Some("key"))], "");
    }

    #[test]
    fn check_upstream_refuses_credentials_that_cannot_be_sent() {
        let bearer = || Credential::Bearer("key".into());
        check(vec![Credential::Basic("region".into())], "kind secret");
        check(
            vec![Credential::Query(field("a b"))],
            "the name of a query parameter",
        );
        check(vec![Credential::Body(field("key"))], "is a JSON pointer");
        check(
            vec![aws("base-url", "region", "bedrock", None)],
            "the id of its access key",
        );
        check(
            vec![aws("key", "key", "bedrock", None)],
            "its region is not a setting",
        );
        check(
            vec![aws("key", "region", "Bed rock", None)],
            "a region or service of AWS",
        );
        check(
            vec![aws("key", "region", "bedrock", Some("region"))],
            "its session token",
        );
        check(vec![google("a) from (b")], "a scope of Google");
        check(
            vec![google("s"), bearer()],
            "the header authorization is set twice",
        );
        check(
            vec![aws("key", "region", "s3", None), bearer()],
            "authorization is set twice",
        );
        check(
            vec![
                Credential::Query(field("q")),
                aws("key", "region", "s3", None),
            ],
            "cannot be combined with a signature",
        );
    }
}
