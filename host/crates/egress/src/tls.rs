//! Whom a destination's TLS trusts, and what it shows of itself.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};
use serde::Deserialize;

/// Length of each of the texts, in bytes.
const MAX_PEM_BYTES: usize = 256 << 10;

/// What an operator adds to a binding's TLS. Empty is what every destination has: the system's
/// certificate authorities, and no certificate of its own.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Authorities that are trusted besides the system's, in PEM.
    roots: Option<String>,
    /// The certificate that the host shows, with those between it and its authority, in PEM.
    certificate: Option<String>,
    /// Its private key, in PEM.
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
    /// The private key, which nobody may be shown.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Does the host show a certificate?
    pub(super) fn shows_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// The same without what the host shows.
    pub(super) fn anonymous(&self) -> Self {
        Self {
            roots: self.roots.clone(),
            ..Self::default()
        }
    }

    /// The configuration of one destination. Sessions are its own, so that none that began with
    /// another's certificate is resumed here.
    pub(super) fn config(&self, system: &ClientConfig) -> Result<ClientConfig, String> {
        let mut config = match self == &Self::default() {
            true => system.clone(),
            false => self.own_config()?,
        };
        config.resumption = Resumption::default();
        Ok(config)
    }

    fn own_config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = self
            .roots
            .as_deref()
            .map(|text| certificates(text, "roots"));
        let roots = roots.transpose()?.unwrap_or_default();
        let verifier = Verifier::new_with_extra_roots(roots, provider.clone())
            .map_err(|error| format!("the roots of tls cannot be used: {error}"))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(chain), Some(key)) => {
                let chain = certificates(chain, "certificate")?;
                let wrong = "the key of tls is no private key in PEM".to_owned();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong)?;
                builder.with_client_auth_cert(chain, key).map_err(|_| {
                    "the certificate and the key of tls do not belong together".to_owned()
                })
            }
            _ => Err("tls has one of certificate and key: it needs both, or neither".to_owned()),
        }
    }
}

/// The certificates of a text. The error never repeats it: a key may have been pasted there.
fn certificates(text: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if text.len() > MAX_PEM_BYTES {
        return Err(format!(
            "the {name} of tls is longer than {MAX_PEM_BYTES} bytes"
        ));
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("the {name} of tls is no certificate in PEM")),
    }
}

/// What trusts the system's authorities. Without any, only `http` upstreams work.
pub(super) fn system() -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!("no system certificates ({error}): https upstreams will be refused");
            builder()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    })
}
