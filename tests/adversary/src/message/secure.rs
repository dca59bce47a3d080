//! Upstreams that speak TLS, with certificates that nobody should trust.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::arena::{Answer, Arena};

/// A binding of the engine `hostile` that knows the authority of these cases.
const BINDING: &str = "adversary-tls";
const FOREVER: i32 = 4000;
const PAST: i32 = 2001;

/// An authority that no system knows.
pub(in crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM and as the server wants them.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// An upstream that speaks TLS. It answers every request with the same bytes.
pub(in crate) struct Secure {
    port: u16,
    /// For each request: did its connection show a certificate?
    asked: Arc<Mutex<Vec<bool>>>,
    _accepting: AbortOnDropHandle<()>,
}

impl Authority {
    pub(in crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?);
        Ok(Self(issuer?))
    }

    /// A certificate for a name, until the end of a year.
    fn sign(&self, name: &str, until: i32) -> Result<Identity> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity { certificate, key })
    }
}

impl Secure {
    /// Listens with a good certificate for `localhost`.
    pub(in crate) async fn start(authority: &Authority, answer: &str) -> Result<Self> {
        Self::with(authority, &authority.sign("localhost", FOREVER)?, answer).await
    }

    async fn with(authority: &Authority, own: &Identity, answer: &str) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone())?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let key = PrivateKeyDer::try_from(own.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients.allow_unauthenticated().build()?)
            .with_single_cert(vec![own.certificate.der().clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let asked = Arc::<Mutex<Vec<bool>>>::default();
        let (memory, answer) = (asked.clone(), answer.to_owned());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An error is the other side hanging up.
                serve(&acceptor, stream, &memory, &answer).await.ok();
            }
        });
        Ok(Self {
            port,
            asked,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// By its name.
    pub(in crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// For each request since the last time: did its connection show a certificate?
    fn asked(&self) -> Vec<bool> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *asked)
    }
}

/// Answers one request and hangs up.
async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    asked: &Mutex<Vec<bool>>,
    answer: &str,
) -> Result<()> {
    let stream = acceptor.accept(stream).await?;
    let showed = stream.get_ref().1.peer_certificates().is_some();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(showed);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

/// Names a binding of the engine `hostile` at this place, with these certificates.
pub(in crate) async fn bind(
    arena: &Arena,
    secure: &Secure,
    authority: &Authority,
    shows: bool,
) -> Result<()> {
    let roots = authority.0.pem();
    let tls = match shows {
        false => json!({"roots": roots}),
        true => {
            let own = authority.sign("pinhole", FOREVER)?;
            let (certificate, key) = (own.certificate.pem(), own.key.serialize_pem());
            json!({"roots": roots, "certificate": certificate, "key": key})
        }
    };
    let settings = json!({"base-url": secure.url(), "api-key": "a-key-of-the-binding-8842"});
    let binding = json!({"engine": "hostile", "settings": settings, "tls": tls});
    let bindings = Value::Object([(BINDING.to_owned(), binding)].into_iter().collect());
    let answer = arena.set("PINHOLE_BINDINGS", bindings.to_string()).await?;
    ensure!(answer.status.is_success(), "{}", answer.text());
    Ok(())
}

/// A job of that binding.
pub(in crate) async fn draw(arena: &Arena, prompt: &str) -> Result<Answer> {
    let body = json!({"prompt": prompt, "engine": BINDING});
    arena.post("/v1/images/generations", &body).await
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";

pub(super) async fn untrusted_certificates(arena: &Arena) -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    for (own, good, what) in [
        (authority.sign("localhost", FOREVER)?, true, "a good one"),
        (
            other.sign("localhost", FOREVER)?,
            false,
            "of an unknown authority",
        ),
        (
            authority.sign("elsewhere", FOREVER)?,
            false,
            "for another name",
        ),
        (authority.sign("localhost", PAST)?, false, "expired"),
    ] {
        let secure = Secure::with(&authority, &own, EMPTY).await?;
        bind(arena, &secure, &authority, false).await?;
        let answer = draw(arena, "ask").await?;
        let (taken, asked) = (answer.status.is_success(), secure.asked().len());
        ensure!(
            (taken, asked) == (good, usize::from(good)),
            "a certificate {what}: {asked} requests came, {}",
            answer.text()
        );
    }
    // Without an authority of the binding's, nobody vouches for the first either.
    let secure = Secure::start(&authority, EMPTY).await?;
    let set = arena.set("HOSTILE_BASE_URL", secure.url()).await?;
    ensure!(set.status.is_success(), "{}", set.text());
    let answer = arena.draw("ask").await?;
    ensure!(!answer.status.is_success(), "{}", answer.text());
    ensure!(secure.asked().is_empty(), "it was asked all the same");
    Ok(())
}

pub(super) async fn certificate_of_a_binding(arena: &Arena) -> Result<()> {
    let authority = Authority::new()?;
    let secure = Secure::start(&authority, EMPTY).await?;
    for shows in [true, false, true] {
        bind(arena, &secure, &authority, shows).await?;
        let answer = draw(arena, "ask").await?;
        ensure!(answer.status.is_success(), "{}", answer.text());
        let showed = secure.asked();
        ensure!(
            showed == [shows],
            "shown were {showed:?} in place of {shows}"
        );
    }
    draw(arena, &format!("address {}/picture.png", secure.url())).await?;
    let showed = secure.asked();
    let showed = showed.first().context("the picture was not asked for")?;
    ensure!(!showed, "it was shown with a picture's address");
    Ok(())
}
