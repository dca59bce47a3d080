//! One HTTP request over a plain socket, for the server that xtask starts.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the server may send nothing. The engine that the settings name may be slow.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How much of a response's body an error quotes, in characters.
const MAX_QUOTE_CHARS: usize = 500;

/// A request with a user's key.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Such as `/v1/images/generations`.
    pub(crate) path: &'a str,
    pub(crate) key: &'a str,
    /// JSON; empty for a request without a body.
    pub(crate) body: &'a str,
}

/// Sends the request to a server, such as `http://127.0.0.1:8080`. Returns the response's body.
///
/// Any status other than 2xx is an error that quotes the start of the body.
pub(crate) fn send(server_url: &str, request: &Request<'_>) -> Result<Vec<u8>> {
    let Request { method, path, .. } = request;
    let (status, body) = exchange(server_url, request)
        .with_context(|| format!("{method} {path} at {server_url} failed"))?;
    if !(200..300).contains(&status) {
        let body = String::from_utf8_lossy(&body);
        let quote: String = body.chars().take(MAX_QUOTE_CHARS).collect();
        bail!("{method} {path} failed with status {status}: {quote}");
    }
    Ok(body)
}

fn exchange(server_url: &str, request: &Request<'_>) -> Result<(u16, Vec<u8>)> {
    let host = server_url
        .strip_prefix("http://")
        .context("the URL does not start with http://")?
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&serialize_request(host, request))?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    parse_response(&response)
}

/// Uses HTTP/1.0, so that the body ends with the connection and is never chunked.
fn serialize_request(host: &str, request: &Request<'_>) -> Vec<u8> {
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

/// The status and the body, whose length must match `content-length`.
fn parse_response(response: &[u8]) -> Result<(u16, Vec<u8>)> {
    const BLANK_LINE: &[u8] = b"\r\n\r\n";
    let end = response
        .windows(BLANK_LINE.len())
        .position(|window| window == BLANK_LINE)
        .context("the connection closed before the end of the response's head")?;
    let (head, rest) = response.split_at(end);
    let body = rest.strip_prefix(BLANK_LINE).unwrap_or_default();
    let head = std::str::from_utf8(head).context("the response's head is not text")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .context("the response has no status")?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the response has transfer encoding{value}, which HTTP/1.0 does not have");
        }
        let is_length = name.eq_ignore_ascii_case("content-length");
        if is_length && value.trim().parse() != Ok(body.len()) {
            bail!("the response is incomplete: received {} bytes", body.len());
        }
    }
    Ok((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_serialized() {
        let mut request = Request {
            method: "POST",
            path: "/v1/x",
            key: "sk-1",
            body: "{}",
        };
        let text = |sent: &Request<'_>| String::from_utf8(serialize_request("a:1", sent)).unwrap();
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
    fn response_is_parsed() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x00\r\n";
        assert_eq!(parse_response(whole).unwrap(), (200, b"\x00\r\n".to_vec()));
        let empty = parse_response(b"HTTP/1.0 204 \r\n\r\n").unwrap();
        assert_eq!(empty, (204, vec![]));
    }

    #[test]
    fn malformed_response_is_an_error() {
        let check = |response: &str, expected: &str| {
            let error = parse_response(response.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            "",
            "the connection closed before the end of the response's head",
        );
        check("nonsense\r\n\r\n", "the response has no status");
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            "the response is incomplete: received 2 bytes",
        );
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "the response has transfer encoding chunked, which HTTP/1.0 does not have",
        );
    }
}
