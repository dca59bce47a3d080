//! TLS trusts the system's authorities, and a binding's own ones for its destination.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use pinhole_egress::{BaseUrl, Credential, Destination, Egress, Error, Request, Tls};
use pinhole_tests::TestServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{ImageRoute, KEY, deadline, egress, generate, image_json, parse_url};

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    certificate: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name, valid until the end of the year `until`.
    fn sign(&self, name: &str, until: i32) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            certificate: certificate.pem(),
            key,
        }
    }
}

/// A TLS server that responds to each request with the same JSON.
struct TlsUpstream {
    address: SocketAddr,
    /// The head of each request, and whether the client sent a certificate.
    requests: Arc<Mutex<Vec<(String, bool)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl TlsUpstream {
    /// Requests a client certificate of the authority `clients`, but does not require one.
    async fn start(identity: &Identity, clients: &Authority, body: String) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(identity.chain.clone(), key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<_>>> = Arc::default();
        let memory = requests.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, memory, body) = (acceptor.clone(), memory.clone(), body.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    let mut stream = BufReader::new(stream);
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    memory.lock().unwrap().push((head, has_certificate));
                    let response = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    stream.write_all(response.as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                });
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// For each request since the last call, whether the client sent a certificate.
    fn sent_certificates(&self) -> Vec<bool> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap());
        requests
            .into_iter()
            .map(|(_, certificate)| certificate)
            .collect()
    }
}

impl Drop for TlsUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tls(value: serde_json::Value) -> Tls {
    serde_json::from_value(value).unwrap()
}

fn open_destination(egress: &Egress, base: &str, tls: &Tls) -> Result<Destination, String> {
    let base_url = BaseUrl {
        url: base,
        allows_private: true,
        setting: "DRAW_BASE_URL",
    };
    egress
        .destination(base_url, Credential::bearer(KEY).unwrap(), tls)
        .map_err(|refusal| refusal.reason)
}

async fn get(destination: &Destination) -> Result<u16, Error> {
    let request = Request {
        path: "/x".to_owned(),
        ..Request::default()
    };
    let response = destination.send(request, 1000, deadline()).await;
    response.map(|response| response.status.as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_accepts_only_trusted_valid_certificate_for_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let trusting = tls(json!({"roots": authority.pem()}));
    let system = Tls::default();
    for (identity, tls, accepted) in [
        (authority.sign("localhost", 2100), &trusting, true),
        (authority.sign("localhost", 2100), &system, false),
        (other.sign("localhost", 2100), &trusting, false),
        (authority.sign("elsewhere", 2100), &trusting, false),
        (authority.sign("localhost", 2001), &trusting, false),
    ] {
        let secure = TlsUpstream::start(&identity, &authority, "{}".to_owned()).await;
        let destination = open_destination(&egress(), &secure.url(), tls).unwrap();
        let response = get(&destination).await;
        let socket = destination.connect("/ws", deadline()).await.err();
        let socket = socket.expect("the upgrade must fail").to_string();
        if accepted {
            assert_eq!(response.unwrap(), 200);
            assert!(socket.contains("refused the WebSocket"), "{socket}");
            assert_eq!(secure.sent_certificates(), [false, false]);
            continue;
        }
        let error = response.unwrap_err();
        assert!(
            matches!(&error, Error::Connect(reason) if reason.contains("certificate")),
            "{error}"
        );
        assert!(socket.contains("cannot start TLS"), "{socket}");
        // The key was not sent to the untrusted server.
        assert!(secure.sent_certificates().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_sends_client_certificate_to_its_destination_only() {
    let authority = Authority::new();
    let own = authority.sign("client", 2100);
    let showing = tls(json!({
        "roots": authority.pem(),
        "certificate": own.certificate,
        "key": own.key.serialize_pem(),
    }));
    let trusting = tls(json!({"roots": authority.pem()}));
    let identity = authority.sign("localhost", 2100);
    let secure = TlsUpstream::start(&identity, &authority, "{}".to_owned()).await;
    let egress = egress();
    let bound = open_destination(&egress, &secure.url(), &showing).unwrap();
    let unbound = open_destination(&egress, &secure.url(), &trusting).unwrap();
    // In turns, so that the second destination could resume a TLS session of the first.
    for (destination, shows) in [
        (&bound, true),
        (&unbound, false),
        (&bound, true),
        (&unbound, false),
    ] {
        assert_eq!(get(destination).await.unwrap(), 200);
        destination.connect("/ws", deadline()).await.err().unwrap();
        assert_eq!(secure.sent_certificates(), [shows, shows]);
    }
    // Image URLs are fetched without credentials, also without the client certificate.
    let url = parse_url(&format!("{}/x.png", secure.url())).unwrap();
    bound
        .get_image(&url, ImageRoute::Own, 1000, deadline())
        .await
        .unwrap();
    assert_eq!(secure.sent_certificates(), [false]);
    let debug = format!("{showing:?} {bound:?}");
    assert!(!debug.contains("BEGIN") && debug.len() < 200, "{debug}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_tls_setting_error_has_no_key_material() {
    let authority = Authority::new();
    let (own, other) = (authority.sign("a", 2100), authority.sign("b", 2100));
    let (certificate, key) = (&own.certificate, own.key.serialize_pem());
    for (value, expected) in [
        (
            json!({"roots": "secret words"}),
            "tls.roots contains no certificate",
        ),
        (json!({"roots": key}), "tls.roots contains no certificate"),
        (json!({"roots": "x".repeat(300_000)}), "longer than"),
        (json!({"certificate": certificate}), "set both or neither"),
        (json!({"key": key}), "set both or neither"),
        (
            json!({"certificate": "secret words", "key": key}),
            "tls.certificate contains no certificate",
        ),
        (
            json!({"certificate": certificate, "key": "secret words"}),
            "tls.key is not a private key",
        ),
        (
            json!({"certificate": certificate, "key": other.key.serialize_pem()}),
            "tls.key does not belong to tls.certificate",
        ),
    ] {
        let why = open_destination(&egress(), "https://localhost", &tls(value)).unwrap_err();
        assert!(why.contains(expected), "{why}");
        assert!(
            !why.contains("secret words") && !why.contains("BEGIN"),
            "{why}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_has_its_own_certificates() {
    let authority = Authority::new();
    let own = authority.sign("client", 2100);
    let identity = authority.sign("localhost", 2100);
    let secure = TlsUpstream::start(&identity, &authority, image_json()).await;
    let settings = json!({"base-url": secure.url(), "api-key": KEY});
    let bindings = json!({
        "plain": {"engine": "openai", "settings": settings},
        "secure": {
            "engine": "openai",
            "settings": settings,
            "tls": {
                "roots": authority.pem(),
                "certificate": own.certificate,
                "key": own.key.serialize_pem(),
            },
        },
    });
    for (engine, status, has_certificate) in [("secure", 200, &[true][..]), ("plain", 503, &[])] {
        let variables = [
            ("PINHOLE_BINDINGS", &*bindings.to_string()),
            ("IMAGE_GENERATION_ENGINE", engine),
        ];
        let server = TestServer::with_engine("openai", &variables).await;
        let (response, body) = generate(&server).await;
        assert_eq!(response, status, "{body}");
        assert_eq!(secure.sent_certificates(), has_certificate, "{engine}");
    }
}
