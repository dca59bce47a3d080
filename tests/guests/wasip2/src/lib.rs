//! `wasip2`: an engine that imports WASI 0.2, as every guest with a standard library does, and
//! reports what the host provides.
//!
//! It returns an image of one pixel. The details are a JSON object with the result of each attempt:
//!
//! | key | attempt |
//! |---|---|
//! | `variables`, `arguments` | list environment variables and arguments |
//! | `folder` | list `/` |
//! | `current-folder` | get the current directory |
//! | `write`, `read` | write a file `escaped`, then read `/etc/passwd` |
//! | `connect` | open a TCP connection to `127.0.0.1:80` |
//! | `listen` | listen on a TCP port |
//! | `lookup` | resolve `localhost` |
//! | `clock` | get the seconds since 1970 |
//!
//! `variables` and `arguments` are lists; every other value is `{"ok": …}` or `{"error": "…"}`.
//!
//! Other prompts write to the standard streams first: `print N` and `complain N` write N lines of a KiB to the
//! output or the error, `crash TEXT` writes both and aborts, as a Python guest does with an exception.

#![allow(
    clippy::disallowed_methods,
    reason = "this guest attempts what the host must refuse"
)]

use std::fmt::Display;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use pinhole_sdk::{Abilities, Description, Engine, Error, Job, Output, Settings, images};
use serde_json::{Value, json};

const PIXEL: &[u8] = include_bytes!("../../pixel.png");

struct Wasip2;

impl Engine for Wasip2 {
    fn describe() -> Description {
        Description {
            name: "wasip2".into(),
            title: "WASI 0.2".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities::default(),
            ..Description::default()
        }
    }

    fn generate(job: Job, _settings: Settings) -> Result<Output, Error> {
        write_streams(&job.prompt);
        let image = images::from_bytes(PIXEL).map_err(Error::protocol)?;
        Ok(Output {
            details: run_attempts().to_string(),
            ..Output::new([image])
        })
    }
}

pinhole_sdk::export!(Wasip2);

fn write_streams(prompt: &str) {
    let (action, rest) = prompt.split_once(' ').unwrap_or((prompt, ""));
    let lines = 0..rest.parse().unwrap_or(0);
    let line = "x".repeat(1 << 10);
    match action {
        "print" => lines.for_each(|_| println!("{line}")),
        "complain" => lines.for_each(|_| eprintln!("{line}")),
        "crash" => {
            println!("before {rest}");
            eprint!(
                "Traceback (most recent call last):\n  File \"app.py\", line 7\nValueError: {rest}"
            );
            std::process::abort();
        }
        _ => {}
    }
}

fn run_attempts() -> Value {
    let variables: Vec<String> = env::vars_os()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    let arguments: Vec<String> = env::args_os()
        .map(|argument| argument.display().to_string())
        .collect();
    json!({
        "variables": variables,
        "arguments": arguments,
        "folder": outcome(fs::read_dir("/").map(Iterator::count)),
        "current-folder": outcome(env::current_dir().map(|path| path.display().to_string())),
        "write": outcome(fs::write("escaped", b"out")),
        "read": outcome(fs::read_to_string("/etc/passwd")),
        "connect": outcome(TcpStream::connect("127.0.0.1:80").map(drop)),
        "listen": outcome(TcpListener::bind("127.0.0.1:0").map(drop)),
        "lookup": outcome("localhost:80".to_socket_addrs().map(Iterator::count)),
        "clock": outcome(SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs())),
    })
}

fn outcome<T: Into<Value>, E: Display>(result: Result<T, E>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value.into() }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
