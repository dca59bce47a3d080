//! A TCP proxy whose network fails as a test decides.

use std::net::SocketAddr;
use std::path::PathBuf;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Open,
    /// Connections end, and new ones end at once.
    Cut,
    /// Connections remain, and nothing arrives.
    BlackHole,
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum ServerAddress {
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(PathBuf),
}

/// A TCP proxy in front of a server of this machine.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    network: watch::Sender<Network>,
    server: watch::Sender<ServerAddress>,
}

/// A connection to a server.
trait ServerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ServerStream for S {}

impl ServerAddress {
    /// The address of a PostgreSQL server, from its URL.
    pub(crate) fn of_postgres(url: &str) -> Self {
        let options: PgConnectOptions = url.parse().unwrap();
        let port = options.get_port();
        match options.get_socket() {
            Some(directory) => Self::Unix(directory.join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(format!("{}:{port}", options.get_host()).parse().unwrap()),
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn ServerStream>> {
        Ok(match self {
            Self::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

impl From<SocketAddr> for ServerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl Proxy {
    pub(crate) async fn start(server: impl Into<ServerAddress>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = watch::Sender::new(Network::Open);
        let server = watch::Sender::new(server.into());
        let (state, servers) = (network.subscribe(), server.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, servers.clone(), state.clone()));
            }
        });
        Self {
            address,
            network,
            server,
        }
    }

    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Leads new connections to another server. Those to the one before end.
    pub(crate) fn turn_to(&self, server: ServerAddress) {
        self.server.send_replace(server);
    }
}

/// Passes bytes on in both directions until the network is cut, or the proxy turns to another server.
async fn forward(
    client: TcpStream,
    mut servers: watch::Receiver<ServerAddress>,
    mut network: watch::Receiver<Network>,
) {
    if *network.borrow() == Network::Cut {
        return;
    }
    let server = servers.borrow_and_update().clone();
    let Ok(server) = server.connect().await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    let there = copy(from_client, to_server, network.clone());
    let back = copy(from_server, to_client, network.clone());
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = network.wait_for(|it| *it == Network::Cut) => {}
        _ = servers.changed() => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let is_open = network.wait_for(|it| *it == Network::Open).await.is_ok();
        if !is_open || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
