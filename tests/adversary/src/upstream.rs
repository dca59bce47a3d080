//! A hostile upstream on loopback: a raw socket that answers whatever a case lays out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Requests that are remembered; later ones are only counted.
const MAX_REMEMBERED: usize = 1000;
/// What is kept of one request's head, in bytes.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// What is kept of one request's body, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    /// Request line and headers, each line ending with CRLF.
    pub(super) head: String,
    /// As long as `content-length` says.
    pub(super) body: Vec<u8>,
    /// The number of its connection, from 0.
    pub(super) connection: usize,
}

/// One thing that an upstream does for a request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes again and again, until the other side hangs up.
    Flood(Bytes),
    /// The same, with a pause after each time.
    Drip(Bytes, Duration),
    /// Says nothing more, and keeps the connection.
    Hold,
    /// Hangs up. Without it the connection waits for another request.
    Close,
}

type Script = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// The upstream. It ends when dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    _accepting: AbortOnDropHandle<()>,
}

struct Seen {
    script: Mutex<Script>,
    requests: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    arrived: watch::Sender<usize>,
    open: watch::Sender<usize>,
}

/// An answer with its length told: `answer("200 OK", "content-type: text/plain\r\n", "…")`.
pub(super) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Step {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    Step::Send([head.as_bytes(), body].concat().into())
}

/// An answer of JSON with status 200.
pub(super) fn json(value: &Value) -> Step {
    answer(
        "200 OK",
        "content-type: application/json\r\n",
        value.to_string(),
    )
}

impl Upstream {
    /// Listens on a free port of loopback and answers everything with `{}`.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            script: Mutex::new(quiet()),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            arrived: watch::Sender::default(),
            open: watch::Sender::default(),
        });
        let accepting = tokio::spawn(accept(listener, seen.clone()));
        Ok(Self {
            address,
            seen,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// Such as `http://127.0.0.1:4711`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on every request gets these steps.
    pub(super) fn answers(&self, steps: Vec<Step>) {
        self.acts(move |_| steps.clone());
    }

    /// From now on every request gets what this makes of it.
    pub(super) fn acts(&self, script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) {
        *lock(&self.seen.script) = Arc::new(script);
    }

    /// Forgets what it saw, and answers everything with `{}` again.
    pub(super) fn reset(&self) {
        *lock(&self.seen.script) = quiet();
        lock(&self.seen.requests).clear();
        self.seen.connections.store(0, Ordering::Relaxed);
        self.seen.arrived.send_replace(0);
    }

    /// The requests since the last reset.
    pub(super) fn requests(&self) -> Vec<Received> {
        lock(&self.seen.requests).clone()
    }

    /// How many connections were made since the last reset.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// Waits until so many requests have come since the last reset.
    pub(super) async fn arrived(&self, requests: usize) {
        let mut arrived = self.seen.arrived.subscribe();
        // The sender lives as long as we do.
        arrived.wait_for(|count| *count >= requests).await.ok();
    }

    /// Waits until no connection is open any more.
    pub(super) async fn left_alone(&self) {
        let mut open = self.seen.open.subscribe();
        open.wait_for(|count| *count == 0).await.ok();
    }
}

fn quiet() -> Script {
    Arc::new(|_| vec![json(&Value::Object(serde_json::Map::new()))])
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let mut serving = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let connection = seen.connections.fetch_add(1, Ordering::Relaxed);
        let seen = seen.clone();
        serving.spawn(async move {
            seen.open.send_modify(|count| *count += 1);
            // An error is the other side hanging up.
            serve(stream, connection, &seen).await.ok();
            seen.open.send_modify(|count| *count -= 1);
        });
        while serving.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, connection: usize, seen: &Seen) -> Result<()> {
    // Small pieces are sent as they are written.
    stream.set_nodelay(true).ok();
    let mut stream = BufReader::new(stream);
    while let Some(mut received) = read(&mut stream).await? {
        received.connection = connection;
        let script = lock(&seen.script).clone();
        let steps = script(&received);
        {
            let mut requests = lock(&seen.requests);
            if requests.len() < MAX_REMEMBERED {
                requests.push(received);
            }
        }
        seen.arrived.send_modify(|count| *count += 1);
        for step in steps {
            match step {
                Step::Send(bytes) => stream.get_mut().write_all(&bytes).await?,
                Step::Flood(bytes) => loop {
                    stream.get_mut().write_all(&bytes).await?;
                },
                Step::Drip(bytes, pause) => loop {
                    stream.get_mut().write_all(&bytes).await?;
                    tokio::time::sleep(pause).await;
                },
                Step::Hold => {
                    // Ends when the other side does.
                    let mut rest = tokio::io::sink();
                    tokio::io::copy(&mut stream, &mut rest).await?;
                    return Ok(());
                }
                Step::Close => return Ok(()),
            }
        }
    }
    Ok(())
}

/// The next request of a connection; nothing where it ended.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Received>> {
    let mut head = String::new();
    loop {
        let mut line = Vec::new();
        let room = (MAX_HEAD_BYTES - head.len().min(MAX_HEAD_BYTES)) as u64;
        let mut limited = (&mut *stream).take(room);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line == b"\r\n" {
            break;
        }
        head.push_str(&String::from_utf8_lossy(&line));
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or(0).min(MAX_BODY_BYTES)];
    stream.read_exact(&mut body).await?;
    Ok(Some(Received {
        head,
        body,
        connection: 0,
    }))
}
