//! A bucket of a provider, and the variables with which the server uses it.

use std::time::SystemTime;

use base64_simd::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pinhole_tests::http_client;
use sha2::Sha256;

use super::fake_gcs::{BUCKET, FakeGcs};

/// The account of Azurite, and its key, which Microsoft publishes.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const AZURE_VERSION: &str = "2021-12-02";

/// An empty bucket of its own.
pub(crate) struct TestBucket {
    variables: Vec<(String, String)>,
    /// Runs as long as the bucket is used.
    service: Option<FakeGcs>,
}

impl TestBucket {
    fn new(variables: &[(&str, &str)], service: Option<FakeGcs>) -> Self {
        let owned = variables.iter();
        Self {
            variables: owned
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            service,
        }
    }

    pub(crate) async fn gcs() -> Self {
        Self::of_gcs(FakeGcs::start().await)
    }

    pub(super) fn of_gcs(service: FakeGcs) -> Self {
        Self::new(
            &[
                ("STORAGE_PROVIDER", "gcs"),
                ("GCS_BUCKET_NAME", BUCKET),
                (
                    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
                    &service.service_account(),
                ),
            ],
            Some(service),
        )
    }

    /// `None` if moto is not installed.
    pub(super) async fn s3() -> Option<Self> {
        let endpoint = std::env::var("PINHOLE_TEST_S3").ok()?;
        let name = unique_name();
        let created = http_client().put(format!("{endpoint}/{name}")).send();
        assert_eq!(created.await.unwrap().status(), 200);
        Some(Self::new(
            &[
                ("STORAGE_PROVIDER", "s3"),
                ("S3_BUCKET_NAME", &name),
                ("S3_ENDPOINT_URL", &endpoint),
                ("S3_REGION_NAME", "us-east-1"),
                ("S3_ACCESS_KEY_ID", "fox"),
                ("S3_SECRET_ACCESS_KEY", "secret-4711"),
            ],
            None,
        ))
    }

    /// `None` if Azurite is not installed.
    pub(super) async fn azure() -> Option<Self> {
        let url = std::env::var("PINHOLE_TEST_AZURE").ok()?;
        let (name, endpoint) = (unique_name(), format!("{url}/{AZURE_ACCOUNT}"));
        create_container(&endpoint, &name).await;
        Some(Self::new(
            &[
                ("STORAGE_PROVIDER", "azure"),
                ("AZURE_STORAGE_CONTAINER_NAME", &name),
                ("AZURE_STORAGE_ENDPOINT", &endpoint),
                ("AZURE_STORAGE_KEY", AZURE_KEY),
            ],
            None,
        ))
    }

    /// The same bucket with another variable.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut variables = self.variables.clone();
        variables.push((name.to_owned(), value.to_owned()));
        Self {
            variables,
            service: self.service.clone(),
        }
    }

    pub(crate) fn variables(&self) -> Vec<(&str, &str)> {
        let variables = self.variables.iter();
        variables
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// Other programs have changed the components in the bucket, until [`Self::restore`].
    pub(crate) fn falsify_components(&self) {
        self.service.as_ref().unwrap().falsify("wasm");
    }

    pub(crate) fn restore(&self) {
        self.service.as_ref().unwrap().upstream.reset();
    }

    /// The value of `STORAGE_PROVIDER`.
    pub(super) fn provider(&self) -> &str {
        &self.variables[0].1
    }
}

fn unique_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!("test-{}-{}", std::process::id(), now.unwrap().as_nanos())
}

/// Source: Microsoft's "Authorize with Shared Key".
async fn create_container(endpoint: &str, name: &str) {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{AZURE_VERSION}\n\
         /{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{name}\nrestype:container"
    );
    let key = STANDARD.decode_to_vec(AZURE_KEY).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode_to_string(mac.finalize().into_bytes());
    let request = http_client()
        .put(format!("{endpoint}/{name}?restype=container"))
        .header("x-ms-date", date)
        .header("x-ms-version", AZURE_VERSION)
        .header(
            "authorization",
            format!("SharedKey {AZURE_ACCOUNT}:{signature}"),
        )
        .header("content-length", "0");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
}
