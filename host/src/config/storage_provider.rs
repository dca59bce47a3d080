//! `STORAGE_PROVIDER` and the variables of buckets, with Open WebUI's names.
//!
//! Without a key, a bucket is opened with the role or identity of the machine, which the variables of the cloud's own
//! SDKs describe. No error repeats a value that may contain a secret.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use object_store::path::Path;
use pinhole_ground::environment::Environment;
use serde::Deserialize;
use url::{Host, Url};

use crate::files::{
    AzureContainer, AzureCredentials, AzureIdentity, BucketConfig, BucketService, GcsBucket,
    S3Bucket, S3Credentials, S3Role, StorageProvider,
};

/// Length of a bucket's name in bytes.
const BUCKET_NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=222;
/// Length of `S3_KEY_PREFIX` in bytes.
const MAX_PREFIX_BYTES: usize = 500;

/// The provider that `STORAGE_PROVIDER` names, with its variables.
pub(super) fn parse(environment: &Environment) -> Result<StorageProvider> {
    let name = environment.get("STORAGE_PROVIDER").unwrap_or("local");
    let provider = parse_named(name.trim(), environment).context("cannot use STORAGE_PROVIDER")?;
    let is_local = matches!(provider, StorageProvider::Local);
    ensure!(
        !(is_local && has_redirects(environment)?),
        "PINHOLE_FILES_REDIRECT is true, but STORAGE_PROVIDER names no bucket: unset one, or set s3, gcs or azure"
    );
    Ok(provider)
}

/// The provider of this name, with its variables.
pub(super) fn parse_named(name: &str, environment: &Environment) -> Result<StorageProvider> {
    let service = match name {
        "local" => return Ok(StorageProvider::Local),
        "s3" => BucketService::S3(parse_s3(environment)?),
        "gcs" => BucketService::Gcs(parse_gcs(environment)?),
        "azure" => BucketService::Azure(parse_azure(environment)?),
        other => bail!("{other:?} is no provider: use local, s3, gcs or azure"),
    };
    let config = BucketConfig {
        service,
        has_redirects: has_redirects(environment)?,
    };
    Ok(StorageProvider::Bucket(Arc::new(config)))
}

fn has_redirects(environment: &Environment) -> Result<bool> {
    const NAME: &str = "PINHOLE_FILES_REDIRECT";
    match environment.get(NAME) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => bail!("{NAME} is {text:?}: it must be true or false"),
    }
}

fn parse_s3(environment: &Environment) -> Result<S3Bucket> {
    let name = parse_name(environment, "S3_BUCKET_NAME")?;
    let endpoint = match environment.get("S3_ENDPOINT_URL") {
        Some(text) => Some(parse_endpoint("S3_ENDPOINT_URL", text)?),
        None => None,
    };
    let prefix = environment.get("S3_KEY_PREFIX").unwrap_or_default();
    Ok(S3Bucket {
        is_virtual_hosted: is_virtual_hosted(environment, &name, endpoint.as_ref())?,
        region: own(environment, "S3_REGION_NAME")
            .or_else(|| own(environment, "AWS_REGION"))
            .or_else(|| own(environment, "AWS_DEFAULT_REGION")),
        credentials: parse_s3_credentials(environment)?,
        prefix: parse_prefix(prefix)?,
        name,
        endpoint,
    })
}

fn is_virtual_hosted(
    environment: &Environment,
    bucket: &str,
    endpoint: Option<&Url>,
) -> Result<bool> {
    const NAME: &str = "S3_ADDRESSING_STYLE";
    match environment.get(NAME) {
        Some("path") => Ok(false),
        Some("virtual") => {
            let is_domain = endpoint.is_none_or(|it| matches!(it.host(), Some(Host::Domain(_))));
            ensure!(
                is_domain,
                "{NAME} is virtual, but the host of S3_ENDPOINT_URL is an IP address: set path"
            );
            Ok(true)
        }
        // A certificate for all buckets does not match a name with a point.
        None | Some("auto") => Ok(endpoint.is_none() && !bucket.contains('.')),
        Some(other) => bail!("{NAME} is {other:?}: it must be auto, path or virtual"),
    }
}

fn parse_s3_credentials(environment: &Environment) -> Result<S3Credentials> {
    for (id, secret, token) in [
        ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", None),
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            Some("AWS_SESSION_TOKEN"),
        ),
    ] {
        match (own(environment, id), own(environment, secret)) {
            (None, None) => {}
            (Some(id), Some(secret)) => {
                let token = token.and_then(|token| own(environment, token));
                return Ok(S3Credentials::Key { id, secret, token });
            }
            (Some(_), None) => bail!("{id} is set without {secret}: set both or neither"),
            (None, Some(_)) => bail!("{secret} is set without {id}: set both or neither"),
        }
    }
    Ok(S3Credentials::Role(S3Role {
        web_identity_token_file: own(environment, "AWS_WEB_IDENTITY_TOKEN_FILE"),
        arn: own(environment, "AWS_ROLE_ARN"),
        session_name: own(environment, "AWS_ROLE_SESSION_NAME"),
        container_relative_uri: own(environment, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        container_full_uri: own(environment, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        container_token_file: own(environment, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    }))
}

fn parse_prefix(text: &str) -> Result<Path> {
    let prefix = Path::parse(text.trim_matches('/')).ok();
    prefix
        .filter(|_| text.len() <= MAX_PREFIX_BYTES)
        .with_context(|| {
            format!(
                "S3_KEY_PREFIX is no prefix of at most {MAX_PREFIX_BYTES} bytes: use names separated by single \
                 slashes, such as images/pinhole"
            )
        })
}

fn parse_gcs(environment: &Environment) -> Result<GcsBucket> {
    const KEY: &str = "GOOGLE_APPLICATION_CREDENTIALS_JSON";
    let service_account = own(environment, KEY);
    if let Some(key) = &service_account {
        let parsed: Option<ServiceAccount> = serde_json::from_str(key).ok();
        let kind = parsed.map(|account| account.kind);
        ensure!(
            kind.as_deref() == Some("service_account"),
            "{KEY} is not the key of a service account: set the JSON that Google returned for the key, or unset it on \
             a machine with a service account"
        );
    }
    Ok(GcsBucket {
        name: parse_name(environment, "GCS_BUCKET_NAME")?,
        service_account,
    })
}

#[derive(Deserialize)]
struct ServiceAccount {
    #[serde(rename = "type")]
    kind: String,
}

fn parse_azure(environment: &Environment) -> Result<AzureContainer> {
    const ENDPOINT: &str = "AZURE_STORAGE_ENDPOINT";
    let endpoint = required(environment, ENDPOINT)?;
    let endpoint = parse_endpoint(ENDPOINT, endpoint)?;
    let credentials = match own(environment, "AZURE_STORAGE_KEY") {
        Some(key) => AzureCredentials::Key(key),
        None => AzureCredentials::Identity(AzureIdentity {
            client_id: own(environment, "AZURE_CLIENT_ID"),
            client_secret: own(environment, "AZURE_CLIENT_SECRET"),
            tenant_id: own(environment, "AZURE_TENANT_ID"),
            federated_token_file: own(environment, "AZURE_FEDERATED_TOKEN_FILE"),
            authority: own(environment, "AZURE_AUTHORITY_HOST"),
            endpoint: own(environment, "IDENTITY_ENDPOINT"),
        }),
    };
    Ok(AzureContainer {
        name: parse_name(environment, "AZURE_STORAGE_CONTAINER_NAME")?,
        account: account_name(&endpoint).with_context(|| {
            format!(
                "{ENDPOINT} names no storage account: set https://ACCOUNT.blob.core.windows.net"
            )
        })?,
        endpoint,
        credentials,
    })
}

/// The storage account of an endpoint: the first label of its host, or the path of an emulator's.
fn account_name(endpoint: &Url) -> Option<String> {
    let in_path = endpoint.path_segments()?.find(|it| !it.is_empty());
    let name = match (in_path, endpoint.host()?) {
        (Some(name), _) => name,
        (None, Host::Domain(host)) => host.split('.').next().filter(|name| *name != host)?,
        (None, _) => return None,
    };
    Some(name.to_owned())
}

/// A name that neither changes the URL nor the host that it becomes a part of.
fn parse_name(environment: &Environment, variable: &str) -> Result<String> {
    let name = required(environment, variable)?;
    let is_name = BUCKET_NAME_BYTES.contains(&name.len())
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it))
        && !name.starts_with('.')
        && !name.contains("..");
    ensure!(
        is_name,
        "{variable} is {name:?}: a name has {} to {} letters, digits, hyphens and points",
        BUCKET_NAME_BYTES.start(),
        BUCKET_NAME_BYTES.end()
    );
    Ok(name.to_owned())
}

/// The error does not repeat the URL, which may contain a password.
fn parse_endpoint(variable: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| {
        anyhow!("{variable} is no URL of a bucket's service: set http(s)://HOST[:PORT], without user and query")
    })
}

fn required<'a>(environment: &'a Environment, variable: &str) -> Result<&'a str> {
    let value = environment.get(variable);
    value.with_context(|| format!("{variable} is not set: set it, or unset STORAGE_PROVIDER"))
}

fn own(environment: &Environment, variable: &str) -> Option<String> {
    environment
        .get(variable)
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3: [(&str, &str); 2] = [("STORAGE_PROVIDER", "s3"), ("S3_BUCKET_NAME", "pictures")];
    const AZURE: [(&str, &str); 3] = [
        ("STORAGE_PROVIDER", "azure"),
        ("AZURE_STORAGE_CONTAINER_NAME", "pictures"),
        (
            "AZURE_STORAGE_ENDPOINT",
            "https://fox.blob.core.windows.net/",
        ),
    ];

    fn parse_pairs(pairs: &[&[(&str, &str)]]) -> Result<StorageProvider> {
        let pairs = pairs.iter().copied().flatten();
        let owned = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(&Environment::new(owned))
    }

    fn bucket_service(pairs: &[&[(&str, &str)]]) -> BucketService {
        match parse_pairs(pairs).unwrap() {
            StorageProvider::Bucket(config) => config.service.clone(),
            StorageProvider::Local => panic!("not a bucket"),
        }
    }

    fn s3(pairs: &[(&str, &str)]) -> S3Bucket {
        match bucket_service(&[&S3, pairs]) {
            BucketService::S3(bucket) => bucket,
            _ => panic!("not S3"),
        }
    }

    #[test]
    fn errors_name_the_variable_and_repeat_no_secret() {
        for (pairs, expected) in [
            (&[("STORAGE_PROVIDER", "ftp")][..], "\"ftp\" is no provider"),
            (&[("STORAGE_PROVIDER", "s3")], "S3_BUCKET_NAME is not set"),
            (
                &[S3[0], ("S3_BUCKET_NAME", "a/b?c")],
                "S3_BUCKET_NAME is \"a/b?c\"",
            ),
            (
                &[
                    S3[0],
                    S3[1],
                    ("S3_ENDPOINT_URL", "http://u:secret-4711@host"),
                ],
                "S3_ENDPOINT_URL is no URL",
            ),
            (
                &[S3[0], S3[1], ("S3_SECRET_ACCESS_KEY", "secret-4711")],
                "S3_SECRET_ACCESS_KEY is set without S3_ACCESS_KEY_ID",
            ),
            (
                &[S3[0], S3[1], ("S3_KEY_PREFIX", "a//b")],
                "S3_KEY_PREFIX is no prefix",
            ),
            (
                &[S3[0], S3[1], ("S3_ADDRESSING_STYLE", "host")],
                "it must be auto, path or virtual",
            ),
            (
                &[
                    S3[0],
                    S3[1],
                    ("S3_ADDRESSING_STYLE", "virtual"),
                    ("S3_ENDPOINT_URL", "http://127.0.0.1:9000"),
                ],
                "is an IP address: set path",
            ),
            (
                &[S3[0], S3[1], ("PINHOLE_FILES_REDIRECT", "yes")],
                "PINHOLE_FILES_REDIRECT is \"yes\"",
            ),
            (
                &[("PINHOLE_FILES_REDIRECT", "true")],
                "STORAGE_PROVIDER names no bucket",
            ),
            (
                &[
                    ("STORAGE_PROVIDER", "gcs"),
                    ("GCS_BUCKET_NAME", "pictures"),
                    (
                        "GOOGLE_APPLICATION_CREDENTIALS_JSON",
                        "{\"type\": \"secret-4711\"}",
                    ),
                ],
                "is not the key of a service account",
            ),
            (
                &[
                    AZURE[0],
                    AZURE[1],
                    ("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:10000"),
                ],
                "AZURE_STORAGE_ENDPOINT names no storage account",
            ),
        ] {
            let error = format!("{:#}", parse_pairs(&[pairs]).err().unwrap());
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("4711") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn s3_has_the_bucket_in_the_host_only_at_amazon_or_if_asked() {
        let endpoint = ("S3_ENDPOINT_URL", "https://s3.example/");
        for (pairs, expected) in [
            (&[][..], true),
            (&[endpoint], false),
            (&[("S3_BUCKET_NAME", "a.pictures")], false),
            (&[endpoint, ("S3_ADDRESSING_STYLE", "virtual")], true),
            (&[("S3_ADDRESSING_STYLE", "path")], false),
        ] {
            assert_eq!(s3(pairs).is_virtual_hosted, expected, "{pairs:?}");
        }
    }

    #[test]
    fn s3_reads_open_webuis_keys_before_those_of_aws() {
        let aws = [
            ("AWS_ACCESS_KEY_ID", "aws"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION", "eu-north-1"),
        ];
        let own = [("S3_ACCESS_KEY_ID", "own"), ("S3_SECRET_ACCESS_KEY", "x")];
        let id = |pairs: &[(&str, &str)]| match s3(pairs).credentials {
            S3Credentials::Key { id, .. } => Some(id),
            S3Credentials::Role(_) => None,
        };
        assert_eq!(id(&[]), None);
        assert_eq!(id(&aws).as_deref(), Some("aws"));
        assert_eq!(
            id(&[aws, [own[0], own[1], aws[2]]].concat()).as_deref(),
            Some("own")
        );
        assert_eq!(s3(&aws).region.as_deref(), Some("eu-north-1"));
        assert_eq!(s3(&[("S3_KEY_PREFIX", "/a/b/")]).prefix.as_ref(), "a/b");
    }

    #[test]
    fn azure_account_is_in_the_host_or_in_an_emulators_path() {
        for (endpoint, expected) in [
            ("https://fox.blob.core.windows.net", "fox"),
            (
                "http://127.0.0.1:10000/devstoreaccount1",
                "devstoreaccount1",
            ),
        ] {
            let pairs = [AZURE[0], AZURE[1], ("AZURE_STORAGE_ENDPOINT", endpoint)];
            let BucketService::Azure(container) = bucket_service(&[&pairs]) else {
                panic!("not Azure");
            };
            assert_eq!(container.account, expected);
        }
    }
}
