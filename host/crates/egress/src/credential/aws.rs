//! Signatures of AWS (Signature Version 4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use pinhole_ground::guard::Refusal;
use url::Url;

/// Length of the name of a region or of a service in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Length of an access key, of its id and of a session token in bytes.
const MAX_KEY_BYTES: usize = 8 << 10;
/// The headers of a signature start so. Others of AWS, such as `x-amzn-trace-id`, do not.
const HEADER_PREFIX: &str = "x-amz-";

/// An access key of AWS, and what it signs for.
#[derive(Clone, Copy)]
pub struct AwsKey<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    /// Of a temporary key.
    pub session_token: Option<&'a str>,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The service's name in signatures, such as `bedrock`.
    pub service: &'a str,
}

/// Signs requests with an access key.
#[derive(Clone)]
pub(super) struct AwsSigner {
    identity: Identity,
    region: String,
    pub(super) service: String,
}

/// Refuses a name that is not one of a region or a service. The error does not repeat it.
pub fn check_aws_name(name: &str) -> Result<(), String> {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "a region or service of AWS has 1 to {MAX_NAME_BYTES} lower-case letters, digits and dashes, such as \
         us-east-1"
    ))
}

impl AwsSigner {
    pub(super) fn new(key: AwsKey<'_>) -> Result<Self, String> {
        check_aws_name(key.region)?;
        check_aws_name(key.service)?;
        let texts = [
            ("the id of the access key", Some(key.access_key_id)),
            ("the access key", Some(key.secret_access_key)),
            ("the session token", key.session_token),
        ];
        let is_valid = |text: &str| {
            (1..=MAX_KEY_BYTES).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some((subject, _)) = texts.iter().find(|(_, it)| !it.is_none_or(is_valid)) {
            return Err(format!(
                "{subject} is empty, too long, or contains spaces or line breaks"
            ));
        }
        let credentials = Credentials::new(
            key.access_key_id,
            key.secret_access_key,
            key.session_token.map(str::to_owned),
            None,
            "pinhole",
        );
        Ok(Self {
            identity: credentials.into(),
            region: key.region.to_owned(),
            service: key.service.to_owned(),
        })
    }

    pub(super) fn sets_header(header: &HeaderName) -> bool {
        *header == AUTHORIZATION || header.as_str().starts_with(HEADER_PREFIX)
    }

    /// Adds the headers of the signature of a request with these headers, of which it covers only those that define
    /// the request.
    pub(super) fn sign(
        &self,
        request: &SignedRequest<'_>,
        headers: &mut HeaderMap,
        time: SystemTime,
    ) -> Result<(), Refusal> {
        let problem = |error: &dyn std::fmt::Display| {
            Refusal::from(format!("the request cannot be signed for AWS: {error}"))
        };
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // S3 names objects by paths in any spelling.
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let params = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(&self.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|error| problem(&error))?
            .into();
        let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let covered = content_type
            .map(|value| (CONTENT_TYPE.as_str(), value))
            .into_iter()
            .chain([(HOST.as_str(), request.host)]);
        let signable = SignableRequest::new(
            request.method.as_str(),
            request.url.as_str(),
            covered,
            SignableBody::Bytes(request.body),
        )
        .map_err(|error| problem(&error))?;
        let signed = sign(signable, &params).map_err(|error| problem(&error))?;
        let (instructions, _) = signed.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::try_from(name).map_err(|error| problem(&error))?;
            let mut value = HeaderValue::try_from(value).map_err(|error| problem(&error))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }
}

/// What a signature covers in addition to headers.
pub(crate) struct SignedRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    /// The header `Host`.
    pub(crate) host: &'a str,
    pub(crate) body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    use super::*;

    fn signed_headers(
        key: AwsKey<'_>,
        request: &SignedRequest<'_>,
        content_type: Option<&'static str>,
        unix_secs: u64,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("not covered"));
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let time = UNIX_EPOCH + Duration::from_secs(unix_secs);
        AwsSigner::new(key)
            .unwrap()
            .sign(request, &mut headers, time)
            .unwrap();
        headers
    }

    /// The examples of "Signature Calculations for the Authorization Header" in the documentation of Amazon S3.
    #[test]
    fn aws_signer_computes_the_documented_signatures() {
        let key = AwsKey {
            access_key_id: "AKIAIOSFODNN7EXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session_token: None,
            region: "us-east-1",
            service: "s3",
        };
        for (query, signature) in [
            (
                "?lifecycle",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "?max-keys=2&prefix=J",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let host = "examplebucket.s3.amazonaws.com";
            let request = SignedRequest {
                method: &Method::GET,
                url: &Url::parse(&format!("https://{host}/{query}")).unwrap(),
                host,
                body: b"",
            };
            // 20130524T000000Z
            let headers = signed_headers(key, &request, None, 1_369_353_600);
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
            );
            assert_eq!(headers[AUTHORIZATION], expected);
            assert!(headers[AUTHORIZATION].is_sensitive());
            assert_eq!(headers["x-amz-date"], "20130524T000000Z");
        }
    }

    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Computed by the steps of "Create a signed AWS API request" in the documentation of IAM.
    #[test]
    fn aws_signer_covers_path_body_type_and_session_token() {
        let key = AwsKey {
            access_key_id: "ASIAEXAMPLE",
            secret_access_key: "secret+/=",
            session_token: Some("token=="),
            region: "eu-west-1",
            service: "bedrock",
        };
        let host = "bedrock-runtime.eu-west-1.amazonaws.com:8443";
        let body = br#"{"prompt":"a red fox"}"#;
        let request = SignedRequest {
            method: &Method::POST,
            url: &Url::parse(&format!(
                "https://{host}/model/a.b-v1%3A0/invoke:x?b=2&a=%20"
            ))
            .unwrap(),
            host,
            body,
        };
        let headers = signed_headers(key, &request, Some("application/json"), 1_440_938_160);
        let body_hash = hex(&Sha256::digest(body));
        let names = "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token";
        let canonical = format!(
            "POST\n/model/a.b-v1%253A0/invoke%3Ax\na=%20&b=2\ncontent-type:application/json\nhost:{host}\n\
             x-amz-content-sha256:{body_hash}\nx-amz-date:20150830T123600Z\nx-amz-security-token:token==\n\n\
             {names}\n{body_hash}"
        );
        let scope = "20150830/eu-west-1/bedrock/aws4_request";
        let text = format!(
            "AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{}",
            hex(&Sha256::digest(canonical))
        );
        let signing_key = ["20150830", "eu-west-1", "bedrock", "aws4_request"]
            .iter()
            .fold(b"AWS4secret+/=".to_vec(), |derived, part| {
                hmac(&derived, part)
            });
        let signature = hex(&hmac(&signing_key, &text));
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        assert_eq!(headers[AUTHORIZATION], expected);
        assert_eq!(headers["x-amz-security-token"], "token==");
        assert_eq!(headers["x-amz-content-sha256"], body_hash);
    }

    #[test]
    fn aws_signer_sets_only_its_own_headers() {
        for (name, expected) in [
            ("authorization", true),
            ("x-amz-date", true),
            ("x-amz-anything", true),
            ("x-amzn-bedrock-accept", false),
            ("content-type", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(AwsSigner::sets_header(&name), expected, "{name}");
        }
    }
}
