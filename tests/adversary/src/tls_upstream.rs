//! An upstream that speaks TLS, with certificates of a test authority.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::network::{RESULT_PATH, result_json};
use crate::target::{AttackTarget, IMAGES_PATH, Response};

/// A binding of the engine `hostile` that trusts the test authority.
const BINDING: &str = "adversary-tls";
/// Last year of a valid certificate, and of an expired one.
pub(crate) const VALID_UNTIL: i32 = 4000;
pub(crate) const EXPIRED_SINCE: i32 = 2001;

/// A certificate authority that no system trusts.
pub(crate) struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// An upstream that speaks TLS and sends the same bytes for every request, except that it names the URL of an
/// image of its own at [`RESULT_PATH`].
pub(crate) struct TlsUpstream {
    port: u16,
    requests: Arc<Mutex<Vec<TlsRequest>>>,
    _accepting: AbortOnDropHandle<()>,
}

/// What an upstream sends.
struct TlsResponses {
    /// The JSON at [`RESULT_PATH`].
    result: String,
    /// All bytes of the response to any other request.
    other: String,
}

/// A request that arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsRequest {
    /// The client presented a certificate.
    pub(crate) has_client_certificate: bool,
}

impl TestAuthority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?);
        Ok(Self(issuer?))
    }

    /// A certificate for a host name, valid until the end of a year.
    pub(crate) fn sign(&self, host: &str, last_year: i32) -> Result<Identity> {
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity { certificate, key })
    }
}

impl TlsUpstream {
    /// Listens with a valid certificate for `localhost`.
    pub(crate) async fn start(authority: &TestAuthority, response: &str) -> Result<Self> {
        let identity = authority.sign("localhost", VALID_UNTIL)?;
        Self::with_identity(authority, &identity, response).await
    }

    /// Listens with this certificate. The authority verifies client certificates.
    pub(crate) async fn with_identity(
        authority: &TestAuthority,
        identity: &Identity,
        response: &str,
    ) -> Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(authority, identity)?));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let requests = Arc::<Mutex<Vec<TlsRequest>>>::default();
        let recorded = requests.clone();
        let responses = TlsResponses {
            result: result_json(&format!("https://localhost:{port}/allowed/picture.png")),
            other: response.to_owned(),
        };
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An error means that the client disconnected.
                serve(&acceptor, stream, &recorded, &responses).await.ok();
            }
        });
        Ok(Self {
            port,
            requests,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Takes the requests that have arrived since the last call.
    pub(crate) fn take_requests(&self) -> Vec<TlsRequest> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *requests)
    }
}

fn server_config(authority: &TestAuthority, identity: &Identity) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()?;
    let key = PrivateKeyDer::try_from(identity.key.serialize_der()).map_err(anyhow::Error::msg)?;
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![identity.certificate.der().clone()], key)?)
}

/// Responds to one request and closes the connection.
async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    requests: &Mutex<Vec<TlsRequest>>,
    responses: &TlsResponses,
) -> Result<()> {
    let tls = acceptor.accept(stream).await?;
    let has_client_certificate = tls.get_ref().1.peer_certificates().is_some();
    let mut reader = BufReader::new(tls);
    let mut first_line = String::new();
    reader.read_line(&mut first_line).await?;
    let mut line = String::new();
    while reader.read_line(&mut line).await? > 2 {
        line.clear();
    }
    requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(TlsRequest {
            has_client_certificate,
        });
    let is_result = first_line.split(' ').nth(1) == Some(RESULT_PATH);
    let response = if is_result {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}",
            responses.result.len(),
            responses.result
        )
    } else {
        responses.other.clone()
    };
    reader.write_all(response.as_bytes()).await?;
    reader.shutdown().await?;
    Ok(())
}

/// Adds a binding of the engine `hostile` with this upstream, which trusts the authority.
pub(crate) async fn set_binding(
    target: &AttackTarget,
    upstream: &TlsUpstream,
    authority: &TestAuthority,
) -> Result<()> {
    set_binding_with(target, upstream, json!({"roots": authority.0.pem()})).await
}

/// The same with a client certificate.
pub(crate) async fn set_binding_with_client_certificate(
    target: &AttackTarget,
    upstream: &TlsUpstream,
    authority: &TestAuthority,
) -> Result<()> {
    let identity = authority.sign("pinhole", VALID_UNTIL)?;
    let tls = json!({
        "roots": authority.0.pem(),
        "certificate": identity.certificate.pem(),
        "key": identity.key.serialize_pem(),
    });
    set_binding_with(target, upstream, tls).await
}

async fn set_binding_with(target: &AttackTarget, upstream: &TlsUpstream, tls: Value) -> Result<()> {
    let settings = json!({"base-url": upstream.url(), "api-key": "a-key-of-the-binding-8842"});
    let binding = json!({"engine": "hostile", "settings": settings, "tls": tls});
    let bindings = Value::Object([(BINDING.to_owned(), binding)].into_iter().collect());
    target
        .set("PINHOLE_BINDINGS", bindings.to_string())
        .await?
        .require_success("setting the binding")
}

/// Generates an image with that binding.
pub(crate) async fn generate_with_binding(target: &AttackTarget, prompt: &str) -> Result<Response> {
    let body = json!({"prompt": prompt, "engine": BINDING});
    target.client.post(IMAGES_PATH, &body).await
}
