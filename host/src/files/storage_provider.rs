//! Where the bytes of files are stored, as the operator configured it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::objects::{BucketConnector, BucketError, BucketProblem};

/// Attempts after the first one of a request that failed.
const MAX_RETRIES: usize = 2;
/// No further attempt starts after this time.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
/// Time before the second attempt.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest time between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Where the bytes of files are stored.
#[derive(Clone, Default)]
pub enum StorageProvider {
    /// In the directory `files` of the data directory.
    #[default]
    Local,
    Bucket(Arc<BucketConfig>),
}

/// A bucket and how it is used.
#[derive(Clone)]
pub struct BucketConfig {
    pub service: BucketService,
    /// Clients read images at signed URLs of the bucket.
    pub has_redirects: bool,
}

/// A bucket of one of the services.
#[derive(Clone)]
pub enum BucketService {
    S3(S3Bucket),
    Gcs(GcsBucket),
    Azure(AzureContainer),
}

/// A bucket of Amazon S3 or of a server that speaks its protocol.
#[derive(Clone)]
pub struct S3Bucket {
    pub name: String,
    pub region: Option<String>,
    /// `None` for Amazon's own.
    pub endpoint: Option<Url>,
    pub credentials: S3Credentials,
    /// In front of each object's name. May be empty.
    pub prefix: Path,
    /// The bucket's name is in the host and not in the path.
    pub is_virtual_hosted: bool,
}

/// Who the server is for S3.
#[derive(Clone)]
pub enum S3Credentials {
    Key {
        id: String,
        secret: String,
        /// Of a key that expires.
        token: Option<String>,
    },
    /// A role of the machine, container or pod.
    Role(S3Role),
}

/// What AWS's environment says about a role. Without anything, the role is that of the machine.
#[derive(Clone, Default)]
pub struct S3Role {
    pub web_identity_token_file: Option<String>,
    pub arn: Option<String>,
    pub session_name: Option<String>,
    pub container_relative_uri: Option<String>,
    pub container_full_uri: Option<String>,
    pub container_token_file: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Clone)]
pub struct GcsBucket {
    pub name: String,
    /// JSON with the key of a service account. `None` for that of the machine.
    pub service_account: Option<String>,
}

/// A container of Azure Blob Storage.
#[derive(Clone)]
pub struct AzureContainer {
    pub name: String,
    pub account: String,
    pub endpoint: Url,
    pub credentials: AzureCredentials,
}

/// Who the server is for Azure.
#[derive(Clone)]
pub enum AzureCredentials {
    /// The key of the storage account, in base64.
    Key(String),
    /// A managed identity, or what the platform's environment says about one.
    Identity(AzureIdentity),
}

/// What Azure's environment says about an identity.
#[derive(Clone, Default)]
pub struct AzureIdentity {
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
    pub tenant_id: Option<String>,
    pub federated_token_file: Option<String>,
    pub authority: Option<String>,
    pub endpoint: Option<String>,
}

/// The client of a bucket.
pub(super) struct OpenBucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) prefix: Path,
}

impl OpenBucket {
    fn new<S: ObjectStore + Signer>(store: S, prefix: Path) -> Self {
        let store = Arc::new(store);
        Self {
            store: store.clone(),
            signer: store,
            prefix,
        }
    }
}

impl BucketService {
    /// Prepares the client. Sends no request.
    pub(super) fn open(&self, connector: &BucketConnector) -> Result<OpenBucket> {
        let connector = connector.clone();
        // The library's error may repeat a part of a key.
        let failure = || self.explain_unusable();
        match self {
            Self::S3(bucket) => {
                let store = bucket.builder().with_http_connector(connector);
                let store = store.build().ok().with_context(failure)?;
                Ok(OpenBucket::new(store, bucket.prefix.clone()))
            }
            Self::Gcs(bucket) => {
                let store = bucket.builder().with_http_connector(connector);
                let store = store.build().ok().with_context(failure)?;
                Ok(OpenBucket::new(store, Path::default()))
            }
            Self::Azure(container) => {
                let store = container.builder().with_http_connector(connector);
                let store = store.build().ok().with_context(failure)?;
                Ok(OpenBucket::new(store, Path::default()))
            }
        }
    }

    /// Can a signed URL set headers of its response?
    pub(super) fn signs_headers(&self) -> bool {
        matches!(self, Self::S3(_) | Self::Gcs(_))
    }

    /// The value of `STORAGE_PROVIDER`.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gcs",
            Self::Azure(_) => "azure",
        }
    }

    /// The name of the bucket.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::S3(bucket) => &bucket.name,
            Self::Gcs(bucket) => &bucket.name,
            Self::Azure(container) => &container.name,
        }
    }

    /// The failure with the variables that may be wrong.
    pub(super) fn explain(&self, error: &BucketError) -> anyhow::Error {
        let name_variable = match self {
            Self::S3(_) => "S3_BUCKET_NAME",
            Self::Gcs(_) => "GCS_BUCKET_NAME",
            Self::Azure(_) => "AZURE_STORAGE_CONTAINER_NAME",
        };
        let remedy = match error.problem {
            BucketProblem::Unreachable => format!("check {}", self.address_variables()),
            BucketProblem::NoBucket => format!("create it, or correct {name_variable}"),
            BucketProblem::Credentials => format!("check {}", self.credential_variables()),
            BucketProblem::Permission => format!(
                "let the credentials read, write, list and delete objects, or check {}",
                self.credential_variables()
            ),
            BucketProblem::Other => format!(
                "check {name_variable} and {}, and the service's own log",
                self.address_variables()
            ),
        };
        anyhow!(
            "cannot use bucket {} (STORAGE_PROVIDER={}): {}; {remedy}",
            self.name(),
            self.provider(),
            error.reason
        )
    }

    fn explain_unusable(&self) -> String {
        format!(
            "cannot use bucket {} (STORAGE_PROVIDER={}): its configuration is invalid; check {}",
            self.name(),
            self.provider(),
            self.credential_variables()
        )
    }

    fn address_variables(&self) -> &'static str {
        match self {
            Self::S3(S3Bucket {
                credentials: S3Credentials::Role(_),
                ..
            }) => {
                "S3_ENDPOINT_URL, S3_REGION_NAME and the network, and set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY if \
                 the machine has no IAM role"
            }
            Self::S3(_) => "S3_ENDPOINT_URL, S3_REGION_NAME and the network",
            Self::Gcs(GcsBucket {
                service_account: None,
                ..
            }) => {
                "the network, and set GOOGLE_APPLICATION_CREDENTIALS_JSON if the machine has no service account"
            }
            Self::Gcs(_) => "GOOGLE_APPLICATION_CREDENTIALS_JSON and the network",
            Self::Azure(AzureContainer {
                credentials: AzureCredentials::Identity(_),
                ..
            }) => {
                "AZURE_STORAGE_ENDPOINT and the network, and set AZURE_STORAGE_KEY if the machine has no managed identity"
            }
            Self::Azure(_) => "AZURE_STORAGE_ENDPOINT and the network",
        }
    }

    fn credential_variables(&self) -> &'static str {
        match self {
            Self::S3(_) => "S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_REGION_NAME",
            Self::Gcs(_) => "GOOGLE_APPLICATION_CREDENTIALS_JSON",
            Self::Azure(_) => "AZURE_STORAGE_KEY and AZURE_STORAGE_ENDPOINT",
        }
    }
}

impl S3Bucket {
    fn builder(&self) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_virtual_hosted_style_request(self.is_virtual_hosted)
            // Not every server has deletion in bulk, and we delete one by one.
            .with_disable_bulk_delete(true)
            .with_retry(retries());
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(self.bucket_endpoint(endpoint));
        }
        match &self.credentials {
            S3Credentials::Key { id, secret, token } => {
                builder = builder
                    .with_access_key_id(id)
                    .with_secret_access_key(secret);
                if let Some(token) = token {
                    builder = builder.with_token(token);
                }
            }
            S3Credentials::Role(role) => builder = role.configure(builder),
        }
        builder
    }

    /// The library wants the bucket's name in the host if requests have it there.
    fn bucket_endpoint(&self, endpoint: &Url) -> String {
        let mut endpoint = endpoint.clone();
        if self.is_virtual_hosted
            && let Some(host) = endpoint.host_str()
        {
            let host = format!("{}.{host}", self.name);
            // An IP address remains, and the requests fail with its error.
            endpoint.set_host(Some(&host)).ok();
        }
        endpoint.as_str().trim_end_matches('/').to_owned()
    }
}

impl S3Role {
    fn configure(&self, mut builder: AmazonS3Builder) -> AmazonS3Builder {
        use object_store::aws::AmazonS3ConfigKey as Key;
        for (key, value) in [
            (Key::WebIdentityTokenFile, &self.web_identity_token_file),
            (Key::RoleArn, &self.arn),
            (Key::RoleSessionName, &self.session_name),
            (
                Key::ContainerCredentialsRelativeUri,
                &self.container_relative_uri,
            ),
            (Key::ContainerCredentialsFullUri, &self.container_full_uri),
            (
                Key::ContainerAuthorizationTokenFile,
                &self.container_token_file,
            ),
        ] {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        builder
    }
}

impl GcsBucket {
    fn builder(&self) -> GoogleCloudStorageBuilder {
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.name)
            .with_retry(retries());
        match &self.service_account {
            Some(key) => builder.with_service_account_key(key),
            None => builder,
        }
    }
}

impl AzureContainer {
    fn builder(&self) -> MicrosoftAzureBuilder {
        use object_store::azure::AzureConfigKey as Key;
        let mut builder = MicrosoftAzureBuilder::new()
            .with_container_name(&self.name)
            .with_account(&self.account)
            .with_endpoint(self.endpoint.as_str().trim_end_matches('/').to_owned())
            .with_retry(retries());
        let identity = match &self.credentials {
            AzureCredentials::Key(key) => return builder.with_access_key(key),
            AzureCredentials::Identity(identity) => identity,
        };
        for (key, value) in [
            (Key::ClientId, &identity.client_id),
            (Key::ClientSecret, &identity.client_secret),
            (Key::AuthorityId, &identity.tenant_id),
            (Key::FederatedTokenFile, &identity.federated_token_file),
            (Key::AuthorityHost, &identity.authority),
            (Key::MsiEndpoint, &identity.endpoint),
        ] {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        builder
    }
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: FIRST_BACKOFF,
            max_backoff: MAX_BACKOFF,
            ..BackoffConfig::default()
        },
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}
