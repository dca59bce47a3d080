//! One HTTP request over a plain socket: enough to speak to our own server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the server may stay silent. The engine that the settings name may be a slow one.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A request, always with the key of a user.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Such as `/v1/images/generations`.
    pub(crate) path: &'a str,
    pub(crate) key: &'a str,
    /// JSON; empty for a request without a body.
    pub(crate) body: &'a str,
}

/// Sends the request to `address`, as `http://127.0.0.1:8080`, and returns the answer's body.
///
/// Any status but 2xx is an error, with the beginning of what the server said.
pub(crate) fn send(address: &str, request: &Request<'_>) -> Result<Vec<u8>> {
    let Request { method, path, .. } = request;
    let (status, body) = exchange(address, request)
        .with_context(|| format!("{method} {path} at {address} failed"))?;
    if !(200..300).contains(&status) {
        let said: String = String::from_utf8_lossy(&body).chars().take(500).collect();
        bail!("{method} {path} was answered with status {status}: {said}");
    }
    Ok(body)
}

fn exchange(address: &str, request: &Request<'_>) -> Result<(u16, Vec<u8>)> {
    let host = address
        .strip_prefix("http://")
        .context("the address does not begin with http://")?
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&head_and_body(host, request))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

/// HTTP/1.0, so that the body ends with the connection and never comes in chunks.
fn head_and_body(host: &str, request: &Request<'_>) -> Vec<u8> {
    let Request {
        method,
        path,
        key,
        body,
    } = request;
    let mut head = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {key}\r\n"
    );
    if !body.is_empty() {
        head += &format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// The status and the body, which must be as long as the answer says.
fn parse(answer: &[u8]) -> Result<(u16, Vec<u8>)> {
    const BLANK: &[u8] = b"\r\n\r\n";
    let end = answer
        .windows(BLANK.len())
        .position(|window| window == BLANK)
        .context("the connection ended before the head of the answer")?;
    let (head, rest) = answer.split_at(end);
    let body = rest.strip_prefix(BLANK).unwrap_or_default();
    let head = std::str::from_utf8(head).context("the head of the answer is not text")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .context("the answer has no status")?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer came with transfer encoding{value}, which HTTP/1.0 does not have");
        }
        let length = name.eq_ignore_ascii_case("content-length");
        if length && value.trim().parse() != Ok(body.len()) {
            bail!("the answer broke off after {} bytes", body.len());
        }
    }
    Ok((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_out() {
        let mut request = Request {
            method: "POST",
            path: "/v1/x",
            key: "sk-1",
            body: "{}",
        };
        let text =
            |request: &Request<'_>| String::from_utf8(head_and_body("a:1", request)).unwrap();
        assert_eq!(
            text(&request),
            "POST /v1/x HTTP/1.0\r\nhost: a:1\r\nconnection: close\r\n\
             authorization: Bearer sk-1\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n\r\n{}"
        );
        (request.method, request.body) = ("GET", "");
        assert!(text(&request).ends_with("sk-1\r\n\r\n"));
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x00\r\n";
        assert_eq!(parse(whole).unwrap(), (200, b"\x00\r\n".to_vec()));
        assert_eq!(parse(b"HTTP/1.0 204 \r\n\r\n").unwrap(), (204, vec![]));
    }

    #[test]
    fn a_broken_answer_is_an_error() {
        let check = |answer: &str, expected: &str| {
            assert_eq!(parse(answer.as_bytes()).unwrap_err().to_string(), expected);
        };
        check("", "the connection ended before the head of the answer");
        check("nonsense\r\n\r\n", "the answer has no status");
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            "the answer broke off after 2 bytes",
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "the answer came with transfer encoding chunked, which HTTP/1.0 does not have",
        );
    }
}
