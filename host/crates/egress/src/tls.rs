//! TLS of a destination: trusted certificate authorities and an optional client certificate.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use serde::Deserialize;

/// Length of each PEM text in bytes.
const MAX_PEM_BYTES: usize = 256 << 10;

/// TLS options of a binding. The default trusts the system's certificate authorities and has no client
/// certificate.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificate authorities in addition to the system's, in PEM.
    roots: Option<String>,
    /// The client certificate with its intermediate certificates, in PEM.
    certificate: Option<String>,
    /// The private key of the client certificate, in PEM.
    key: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("roots", &self.roots.is_some())
            .field("certificate", &self.certificate.is_some())
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// The private key in PEM: a secret.
    #[must_use]
    pub fn private_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The same options without the client certificate.
    pub(crate) fn without_certificate(&self) -> Self {
        Self {
            roots: self.roots.clone(),
            ..Self::default()
        }
    }

    /// The configuration of one destination. It has a session cache of its own, so that it never resumes
    /// a session that started with another destination's certificate.
    pub(crate) fn client_config(&self, system: &ClientConfig) -> Result<ClientConfig, String> {
        let mut config = if self == &Self::default() {
            system.clone()
        } else {
            self.build_config()?
        };
        config.resumption = Resumption::default();
        Ok(config)
    }

    fn build_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = match &self.roots {
            Some(pem) => parse_certificates(pem, "roots")?,
            None => Vec::new(),
        };
        let verifier = Verifier::new_with_extra_roots(roots, provider.clone())
            .map_err(|error| format!("tls.roots cannot be used: {error}"))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(chain), Some(key)) => {
                let chain = parse_certificates(chain, "certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|_| "tls.key is not a private key in PEM".to_owned())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| "tls.key does not belong to tls.certificate".to_owned())
            }
            _ => Err(
                "only one of tls.certificate and tls.key is set: set both or neither".to_owned(),
            ),
        }
    }
}

/// Parses certificates. The error does not repeat the text, which may be a misplaced key.
fn parse_certificates(pem: &str, field: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(format!("tls.{field} is longer than {MAX_PEM_BYTES} bytes"));
    }
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match parsed {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("tls.{field} contains no certificate in PEM")),
    }
}

/// A configuration that trusts the system's certificate authorities. If the system has none, only `http`
/// upstreams work.
pub(crate) fn system_client_config() -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let new_builder = || {
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()
    };
    match new_builder()?.with_platform_verifier() {
        Ok(builder) => Ok(builder.with_no_client_auth()),
        Err(error) => {
            tracing::warn!(
                "cannot load the system's certificates, so https upstreams fail: {error}"
            );
            Ok(new_builder()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth())
        }
    }
}
