//! `wasip2`: an engine that imports WASI 0.2, as any guest with a standard library does, and says
//! what it finds there.
//!
//! It returns a picture of one pixel. The details are a JSON object of what each attempt gave:
//!
//! | key | attempt |
//! |---|---|
//! | `variables`, `arguments` | a list of what the process was given |
//! | `folder` | lists `/` |
//! | `current-folder` | asks where it is |
//! | `write`, `read` | a file called `escaped`, then `/etc/passwd` |
//! | `connect` | a TCP connection to `127.0.0.1:80` |
//! | `listen` | a TCP port of its own |
//! | `lookup` | the addresses of `localhost` |
//! | `clock` | seconds since 1970 |
//!
//! An attempt gives `{"ok": …}` or `{"error": "…"}`.

#![allow(
    clippy::disallowed_methods,
    reason = "this guest is there to try what the host must not let it do"
)]

use std::fmt::Display;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

use pinhole_sdk::{Abilities, Description, Engine, Error, Job, Output, Picture, Settings, images};
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
            settings: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    fn generate(_job: Job, _settings: Settings) -> Result<Output, Error> {
        let image = images::from_bytes(PIXEL).map_err(Error::protocol)?;
        Ok(Output {
            pictures: vec![Picture::Held(image)],
            revised_prompt: None,
            details: attempts().to_string(),
        })
    }
}

pinhole_sdk::export!(Wasip2);

fn attempts() -> Value {
    let variables: Vec<String> = env::vars_os()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    let arguments: Vec<String> = env::args_os()
        .map(|argument| argument.display().to_string())
        .collect();
    json!({
        "variables": variables,
        "arguments": arguments,
        "folder": gave(fs::read_dir("/").map(Iterator::count)),
        "current-folder": gave(env::current_dir().map(|path| path.display().to_string())),
        "write": gave(fs::write("escaped", b"out")),
        "read": gave(fs::read_to_string("/etc/passwd")),
        "connect": gave(TcpStream::connect("127.0.0.1:80").map(drop)),
        "listen": gave(TcpListener::bind("127.0.0.1:0").map(drop)),
        "lookup": gave("localhost:80".to_socket_addrs().map(Iterator::count)),
        "clock": gave(SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs())),
    })
}

fn gave<T: Into<Value>, E: Display>(outcome: Result<T, E>) -> Value {
    match outcome {
        Ok(value) => json!({ "ok": value.into() }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}
