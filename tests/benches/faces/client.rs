//! The client: one request at a time over one connection that is kept, the same for every side.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a side may stay silent.
const SILENCE: Duration = Duration::from_secs(60);
/// Room for the head of an answer, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// A connection to one side. What it reads stays in one buffer, which grows to the longest answer.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Self {
            stream,
            buffer: vec![0; HEAD_BYTES],
        })
    }

    /// Sends a request that was written out before, and waits for the whole answer: its status and
    /// its body.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.send(request)?;
        self.receive()
    }

    /// The first half of an exchange.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// The second half.
    pub(crate) fn receive(&mut self) -> io::Result<(u16, &[u8])> {
        let mut filled = 0;
        let start = loop {
            filled += self.read(filled)?;
            if let Some(end) = find(&self.buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, length) = head(&self.buffer[..start])?;
        let end = start + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += self.read(filled)?;
        }
        Ok((status, &self.buffer[start..end]))
    }

    /// Has something come that nobody has read yet, or the connection ended? Does not wait.
    #[allow(dead_code, reason = "only the benchmark of tenants asks")]
    pub(crate) fn has_come(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let waits = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !waits.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads on until the text has come, of an answer that does not end. Starts behind `seen`.
    pub(crate) fn wait_for(&mut self, seen: usize, text: &str) -> io::Result<usize> {
        let mut filled = seen;
        loop {
            if let Some(place) = find(&self.buffer[seen..filled], text.as_bytes()) {
                return Ok(seen + place);
            }
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            filled += self.read(filled)?;
        }
    }

    fn read(&mut self, filled: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.buffer[filled..])? {
            0 => Err(io::Error::other("the connection ended within an answer")),
            read => Ok(read),
        }
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The status, and the length of the body, which an answer has to tell.
fn head(head: &[u8]) -> io::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse().ok())?
    });
    let both = status.and_then(|status| status.parse().ok()).zip(length);
    both.ok_or_else(|| io::Error::other(format!("the answer has no status or length: {head}")))
}

/// Where a text stands first.
pub(crate) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
