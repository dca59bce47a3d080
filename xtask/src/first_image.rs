//! `cargo xtask run`: starts the server and generates a first image.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http::{self, Request};
use crate::pages;
use crate::server::Server;
use crate::steps::announce;
use crate::workspace::{self, Workspace};

const PROMPT: &str = "a fox at a quiet lake, early morning";
const GENERATIONS: &str = "/v1/images/generations";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Stop after the first image; use a fresh data directory unless PINHOLE_DATA names one
    #[arg(long)]
    once: bool,
    /// For `pinhole serve`, such as `--listen 127.0.0.1:9000`
    #[arg(last = true, value_name = "SERVE ARGS")]
    serve: Vec<OsString>,
}

/// Starts the server, which is built already, and generates an image.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let data = DataDirectory::choose(workspace, options.once)?;
    let is_first_start = !workspace.root.join(&data.path).join("compiled").exists();
    announce(if is_first_start {
        "starting the server (the first start compiles the engines: some seconds)"
    } else {
        "starting the server"
    });
    let mut command = pinhole(workspace, &data.path);
    command.arg("serve").args(serve_arguments(options));
    let server = Server::start(command)?;

    announce("generating the first image");
    let file = workspace.target.join("first-image.png");
    let generated = match &server.access.key {
        Some(key) => generate_over_http(&server.access.url, key, &file),
        None => generate_by_command(pinhole(workspace, &data.path), &file),
    };
    match generated {
        Ok(method) => print!("\n{}", report(workspace, &server, &file, &method)?),
        // The upstream may be at fault: the server keeps running for its operator.
        Err(error) if !options.once => eprintln!("cannot generate the first image: {error:#}"),
        Err(error) => return Err(error.context("cannot generate the first image")),
    }
    if options.once {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nCtrl-C stops the server");
    server.wait().map(workspace::exit_code)
}

/// The server's program with its engines and data directory.
fn pinhole(workspace: &Workspace, data: &Path) -> Command {
    let mut command = Command::new(workspace.server_program());
    let engines = workspace.engines();
    command
        .current_dir(&workspace.root)
        .env("PINHOLE_ENGINES", workspace.relative(&engines))
        .env("PINHOLE_DATA", data);
    // A person may name another directory.
    if std::env::var_os(pages::VARIABLE).is_none() {
        pages::serve(&mut command, workspace);
    }
    command
}

fn serve_arguments(options: &Options) -> Vec<OsString> {
    let mut arguments = options.serve.clone();
    let is_listen = |argument: &OsString| argument.to_string_lossy().starts_with("--listen");
    if !arguments.iter().any(is_listen) {
        let port = if options.once { "0" } else { "8080" };
        arguments.push(format!("--listen=127.0.0.1:{port}").into());
    }
    arguments
}

/// The server's data directory.
struct DataDirectory {
    /// Relative to the root of the repository if it is in the repository.
    path: PathBuf,
    /// A directory to remove at the end.
    temporary: Option<PathBuf>,
}

impl DataDirectory {
    fn choose(workspace: &Workspace, once: bool) -> Result<Self> {
        let permanent = |path| Self {
            path,
            temporary: None,
        };
        if let Some(path) = std::env::var_os("PINHOLE_DATA").filter(|name| !name.is_empty()) {
            // A relative path is relative to the directory where the command was typed.
            let path = std::path::absolute(&path).context("PINHOLE_DATA is not a path")?;
            return Ok(permanent(workspace.relative(&path).into()));
        }
        if !once {
            return Ok(permanent("data".into()));
        }
        let temporary = workspace
            .target
            .join(format!("run-once-{}", std::process::id()));
        Ok(Self {
            path: workspace.relative(&temporary).into(),
            temporary: Some(temporary),
        })
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary
            && let Err(error) = fs::remove_dir_all(directory)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", directory.display());
        }
    }
}

/// Generates an image with the API and downloads it. Returns how, for the report.
fn generate_over_http(url: &str, key: &str, file: &Path) -> Result<String> {
    let body = json!({ "prompt": PROMPT, "response_format": "url" }).to_string();
    let generation = Request {
        method: "POST",
        path: GENERATIONS,
        key,
        body: &body,
    };
    let path = image_path(url, &http::send(url, &generation)?)?;
    let download = Request {
        method: "GET",
        path: &path,
        key,
        body: "",
    };
    let image = http::send(url, &download)?;
    fs::write(file, image).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(format!(
        "generated by POST {GENERATIONS}, stored as {url}{path}"
    ))
}

/// The path on the server of the one image in `{"created": …, "data": [{"url": …}]}`.
fn image_path(server: &str, response: &[u8]) -> Result<String> {
    let json: Value = serde_json::from_slice(response)
        .with_context(|| format!("the response to POST {GENERATIONS} is not JSON"))?;
    let link = json.pointer("/data/0/url").and_then(Value::as_str);
    match link.map(|link| link.strip_prefix(server).unwrap_or(link)) {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => bail!("the response to POST {GENERATIONS} has no path of an image: {json}"),
    }
}

/// Generates the image with a second process: the server stores only a hash of its key.
fn generate_by_command(mut pinhole: Command, file: &Path) -> Result<String> {
    let status = pinhole
        .args(["generate", PROMPT, "--out"])
        .arg(file)
        .stdout(Stdio::null())
        .status()
        .context("cannot start pinhole generate")?;
    if !status.success() {
        bail!("pinhole generate failed: see its message above");
    }
    Ok("generated by pinhole generate".into())
}

/// The path of the image, and how to generate the next one.
fn report(workspace: &Workspace, server: &Server, file: &Path, method: &str) -> Result<String> {
    let name = workspace.display(file);
    let bytes = fs::metadata(file)
        .with_context(|| format!("cannot find {name}"))?
        .len();
    let url = &server.access.url;
    // The key itself is not printed: this output may become a log.
    let next = match &server.access.key_file {
        Some(key_file) => format!(
            "URL: {url}\nkey: in {key_file}\n\n\
             curl {url}{GENERATIONS} -H \"authorization: Bearer $(cat '{key_file}')\" \
             -H 'content-type: application/json' \
             -d '{{\"prompt\":\"{PROMPT}\",\"response_format\":\"url\"}}'\n"
        ),
        None => format!(
            "URL: {url}\n\
             the key was shown at the first start; for a new one: pinhole user list, then pinhole key reset ID\n"
        ),
    };
    Ok(format!(
        "first image: {name} ({bytes} bytes), {method}\n{next}"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Starts a server that sends one response (status line, body) on each connection. The thread
    /// returns the requests: head, blank line, body.
    fn start_fake_server(responses: &'static [(&str, &[u8])]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let respond = move |(status, body): &(&str, &[u8])| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut length) = (String::new(), 0);
            let mut reader = BufReader::new(&stream);
            while !request.ends_with("\r\n\r\n") {
                let start = request.len();
                reader.read_line(&mut request).unwrap();
                if let Some(value) = request[start..].strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            reader.take(length).read_to_string(&mut request).unwrap();
            let head = format!(
                "HTTP/1.0 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
            request
        };
        (
            url,
            thread::spawn(move || responses.iter().map(respond).collect()),
        )
    }

    fn temporary_file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("pinhole-xtask-{}-{name}", std::process::id()))
    }

    #[test]
    fn first_image_is_generated_and_downloaded() {
        let (url, requests) = start_fake_server(&[
            (
                "200 OK",
                br#"{"created":1,"data":[{"url":"/api/v1/files/7/content"}]}"#,
            ),
            ("200 OK", b"\x89PNG\r\n\r\n"),
        ]);
        let file = temporary_file("image.png");
        let method = generate_over_http(&url, "sk-1", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"\x89PNG\r\n\r\n");
        fs::remove_file(&file).unwrap();
        assert!(method.ends_with("/api/v1/files/7/content"), "{method}");

        let requests = requests.join().unwrap();
        assert!(requests[0].starts_with("POST /v1/images/generations HTTP/1.0\r\n"));
        let (_, body) = requests[0].split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({ "prompt": PROMPT, "response_format": "url" }));
        assert!(requests[1].starts_with("GET /api/v1/files/7/content HTTP/1.0\r\n"));
        for request in requests {
            assert!(request.contains("\r\nauthorization: Bearer sk-1\r\n"));
        }
    }

    #[test]
    fn error_quotes_the_servers_response() {
        let (url, requests) = start_fake_server(&[("400 Bad Request", b"no such size")]);
        let error = generate_over_http(&url, "sk-1", &temporary_file("none.png")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "POST /v1/images/generations failed with status 400: no such size"
        );
        requests.join().unwrap();
    }

    #[test]
    fn response_without_an_image_is_an_error() {
        let error = image_path("", br#"{"data":[]}"#).unwrap_err().to_string();
        assert!(error.ends_with(r#"has no path of an image: {"data":[]}"#));
        assert!(image_path("", b"<html>").is_err());
        assert!(image_path("http://here", br#"{"data":[{"url":"https://elsewhere/"}]}"#).is_err());
    }

    #[test]
    fn listen_argument_replaces_the_default() {
        let check = |once: bool, serve: &[&str], expected: &[&str]| {
            let serve = serve.iter().map(OsString::from).collect();
            assert_eq!(serve_arguments(&Options { once, serve }), expected);
        };
        check(false, &[], &["--listen=127.0.0.1:8080"]);
        check(true, &["--x"], &["--x", "--listen=127.0.0.1:0"]);
        check(true, &["--listen", "[::1]:1"], &["--listen", "[::1]:1"]);
        check(false, &["--listen=[::1]:1"], &["--listen=[::1]:1"]);
    }
}
