//! The HTTP client: one request at a time on a kept-alive connection, the same for every side.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a side may send nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Space for the head of a response, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// A connection to one side. Its buffer grows to the longest response.
pub(crate) struct HttpConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpConnection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            stream,
            buffer: vec![0; HEAD_BYTES],
        })
    }

    /// Sends an encoded request, and returns status and body of the response.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.send(request)?;
        self.receive()
    }

    /// The first half of an exchange.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// The second half of an exchange.
    pub(crate) fn receive(&mut self) -> io::Result<(u16, &[u8])> {
        let mut filled = 0;
        let start = loop {
            filled += self.read_more(filled)?;
            if let Some(end) = find(&self.buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
        };
        let (status, length) = parse_head(&self.buffer[..start])?;
        let end = start + length;
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        while filled < end {
            filled += self.read_more(filled)?;
        }
        Ok((status, &self.buffer[start..end]))
    }

    /// Whether bytes or the end of the connection have arrived. Does not wait.
    #[allow(dead_code, reason = "only the benchmark of tenants uses it")]
    pub(crate) fn is_readable(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads an endless response until it contains this text after the first `skipped` bytes. Returns the
    /// position of the text.
    pub(crate) fn read_until(&mut self, skipped: usize, text: &str) -> io::Result<usize> {
        let mut filled = skipped;
        loop {
            if let Some(offset) = find(&self.buffer[skipped..filled], text.as_bytes()) {
                return Ok(skipped + offset);
            }
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            filled += self.read_more(filled)?;
        }
    }

    fn read_more(&mut self, filled: usize) -> io::Result<usize> {
        match self.stream.read(&mut self.buffer[filled..])? {
            0 => Err(io::Error::other("the connection closed within a response")),
            length => Ok(length),
        }
    }
}

/// Encodes a request.
pub(crate) fn encode_request(method: &str, path: &str, key: &str, body: &str) -> Vec<u8> {
    encode_request_with(method, path, key, "", body)
}

/// Encodes a request with further header lines, each with its line break.
pub(crate) fn encode_request_with(
    method: &str,
    path: &str,
    key: &str,
    headers: &str,
    body: &str,
) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\
         {headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The status and the content length. Both are required.
fn parse_head(bytes: &[u8]) -> io::Result<(u16, usize)> {
    let head = std::str::from_utf8(bytes).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if !name.eq_ignore_ascii_case("content-length") {
            return None;
        }
        value.trim().parse().ok()
    });
    status
        .zip(length)
        .ok_or_else(|| io::Error::other(format!("the response has no status or length: {head}")))
}

/// The position of the first occurrence of a text.
pub(crate) fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
