//! `cargo xtask run`: the server, and a first picture made with it.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::http::{self, Request};
use crate::server::Server;
use crate::workspace::{self, Workspace};

const PROMPT: &str = "a fox at a quiet lake, early morning";
const GENERATIONS: &str = "/v1/images/generations";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the first picture; uses a fresh data folder unless PINHOLE_DATA names one
    #[arg(long)]
    once: bool,
    /// For `pinhole serve`, such as `--listen 127.0.0.1:9000`
    #[arg(last = true, value_name = "SERVE ARGS")]
    serve: Vec<OsString>,
}

/// The whole workspace, though only one program of it: so the server's dependencies have the
/// same features here as in `cargo test --workspace`, and wasmtime is built once for both.
const BUILD: [&str; 4] = ["build", "--workspace", "--bin", "pinhole"];

/// Builds the program `pinhole`.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    workspace.build("the server", &BUILD)
}

/// The same as it ships.
pub(crate) fn build_optimised(workspace: &Workspace) -> Result<()> {
    let build = [&BUILD[..], &["--release"]].concat();
    workspace.build("the optimised server", &build)
}

/// Builds the server, starts it and makes a picture. The engines are there already.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    build(workspace)?;
    let data = Data::choose(workspace, options.once)?;
    let pinhole = || pinhole(workspace, &data.folder);

    let mut command = pinhole();
    command.arg("serve").args(serve_arguments(options));
    let server = Server::start(command)?;

    let file = workspace.target.join("first-picture.png");
    let made = match &server.facts.key {
        Some(key) => over_http(&server.facts.address, key, &file),
        None => by_command(pinhole(), &file),
    };
    match made {
        Ok(how) => print!("\n{}", report(workspace, &server, &file, how)?),
        // Nothing is wrong with the server when an upstream is: it stays for its operator.
        Err(error) if !options.once => eprintln!("no first picture: {error:#}"),
        Err(error) => return Err(error.context("no first picture")),
    }
    if options.once {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nCtrl-C ends the server");
    server.wait().map(workspace::as_exit_code)
}

/// The program that was just built, told where its engines and data are.
fn pinhole(workspace: &Workspace, data: &Path) -> Command {
    let mut command = Command::new(workspace.program());
    let engines = workspace.engines();
    command
        .current_dir(&workspace.root)
        .env("PINHOLE_ENGINES", workspace.relative(&engines))
        .env("PINHOLE_DATA", data);
    command
}

fn serve_arguments(options: &Options) -> Vec<OsString> {
    let mut arguments = options.serve.clone();
    let says_where = |argument: &OsString| argument.to_string_lossy().starts_with("--listen");
    if !arguments.iter().any(says_where) {
        let port = if options.once { "0" } else { "8080" };
        arguments.push(format!("--listen=127.0.0.1:{port}").into());
    }
    arguments
}

/// Where the server keeps what it makes.
struct Data {
    /// As the server is told: from the root of the repository where it lies in there.
    folder: PathBuf,
    /// Removed in the end.
    fresh: Option<PathBuf>,
}

impl Data {
    fn choose(workspace: &Workspace, once: bool) -> Result<Self> {
        let kept = |folder| Self {
            folder,
            fresh: None,
        };
        if let Some(folder) = std::env::var_os("PINHOLE_DATA").filter(|name| !name.is_empty()) {
            // A relative one is meant from where the command was typed.
            let folder = std::path::absolute(&folder).context("PINHOLE_DATA is no path")?;
            return Ok(kept(workspace.relative(&folder).into()));
        }
        if !once {
            return Ok(kept("data".into()));
        }
        let fresh = workspace
            .target
            .join(format!("run-once-{}", std::process::id()));
        let folder = workspace.relative(&fresh).into();
        Ok(Self {
            folder,
            fresh: Some(fresh),
        })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(folder) = &self.fresh
            && let Err(error) = fs::remove_dir_all(folder)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", folder.display());
        }
    }
}

/// Asks the server for a picture and fetches it; says how it was made.
fn over_http(address: &str, key: &str, file: &Path) -> Result<String> {
    let body = json!({ "prompt": PROMPT, "response_format": "url" }).to_string();
    let answer = http::send(
        address,
        &Request {
            method: "POST",
            path: GENERATIONS,
            key,
            body: &body,
        },
    )?;
    let path = picture_path(&answer)?;
    let picture = http::send(
        address,
        &Request {
            method: "GET",
            path: &path,
            key,
            body: "",
        },
    )?;
    fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(format!(
        "made by POST {GENERATIONS}, kept as {address}{path}"
    ))
}

/// The path of the one picture in `{"created": …, "data": [{"url": …}]}`.
fn picture_path(answer: &[u8]) -> Result<String> {
    let json: Value = serde_json::from_slice(answer)
        .with_context(|| format!("POST {GENERATIONS} was not answered with JSON"))?;
    match json.pointer("/data/0/url").and_then(Value::as_str) {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => bail!("POST {GENERATIONS} was answered without the path of a picture: {json}"),
    }
}

/// Makes the picture beside the server, which keeps only a hash of the key it showed once.
fn by_command(mut pinhole: Command, file: &Path) -> Result<String> {
    let output = pinhole
        .args(["generate", PROMPT, "--out"])
        .arg(file)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start pinhole generate")?;
    if !output.status.success() {
        bail!("pinhole generate failed: its message above says why");
    }
    Ok("made by pinhole generate".into())
}

/// Where the picture lies, and how to make the next.
fn report(workspace: &Workspace, server: &Server, file: &Path, how: String) -> Result<String> {
    let shown = workspace.shown(file);
    let bytes = fs::metadata(file)
        .with_context(|| format!("cannot find {shown}"))?
        .len();
    let address = &server.facts.address;
    let next = match &server.facts.key {
        Some(key) => format!(
            "address: {address}\nkey: {key}\n\n\
             curl {address}{GENERATIONS} -H 'authorization: Bearer {key}' \
             -H 'content-type: application/json' \
             -d '{{\"prompt\":\"{PROMPT}\",\"response_format\":\"url\"}}'\n"
        ),
        None => format!(
            "address: {address}\n\
             the key was shown at the first start: PINHOLE_DATA=new-folder cargo xtask run starts afresh\n"
        ),
    };
    Ok(format!(
        "first picture: {shown} ({bytes} bytes), {how}\n{next}"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A server that gives one answer (status line, body) to each connection, and then returns
    /// the requests it got: head, an empty line, body.
    fn upstream(answers: &'static [(&str, &[u8])]) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |(status, body): &(&str, &[u8])| {
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
            address,
            thread::spawn(move || answers.iter().map(answer).collect()),
        )
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("pinhole-xtask-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_picture_is_asked_for_and_fetched() {
        let (address, requests) = upstream(&[
            (
                "200 OK",
                br#"{"created":1,"data":[{"url":"/api/v1/files/7/content"}]}"#,
            ),
            ("200 OK", b"\x89PNG\r\n\r\n"),
        ]);
        let file = scratch("picture.png");
        let how = over_http(&address, "sk-1", &file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"\x89PNG\r\n\r\n");
        fs::remove_file(&file).unwrap();
        assert!(how.ends_with("/api/v1/files/7/content"), "{how}");

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
    fn a_refusal_is_shown_in_the_servers_words() {
        let (address, requests) = upstream(&[("400 Bad Request", b"no such size")]);
        let error = over_http(&address, "sk-1", &scratch("none.png")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "POST /v1/images/generations was answered with status 400: no such size"
        );
        requests.join().unwrap();
    }

    #[test]
    fn an_answer_without_a_picture_is_an_error() {
        let error = picture_path(br#"{"data":[]}"#).unwrap_err().to_string();
        assert!(error.ends_with(r#"without the path of a picture: {"data":[]}"#));
        assert!(picture_path(b"<html>").is_err());
        assert!(picture_path(br#"{"data":[{"url":"https://elsewhere/"}]}"#).is_err());
    }

    #[test]
    fn an_address_of_ones_own_replaces_ours() {
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
