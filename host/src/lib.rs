//! The server, as a library; `main.rs` is the small binary around it.
//!
//! A request descends through these modules, and a lower one never names a higher one:
//!
//! ```text
//! web ─► chat ─► jobs ─► engine ─► component in its sandbox
//!                           ▲           │ upstream.send("api", …)
//!              settings, grant          ▼
//!                           └──────── egress ─► the upstream
//! ```
//!
//! `chat` is the place to start reading. Only `engine` knows wasmtime, only `egress` opens
//! connections, only `store` has SQL, and only `web` knows statuses. Beside them, `kit` plays
//! conformance cases against a component, through `jobs`, and `adversary` attacks a server.

pub mod config;
pub mod app;
pub mod web;
pub mod chat;
pub mod source;
pub mod jobs;
pub mod engine;
pub mod grant;
pub mod egress;
pub mod settings;
pub mod images;
pub mod files;
pub mod folder;
pub mod audit;
pub mod metrics;
pub mod check;
pub mod text;
pub mod people;
pub mod store;
pub mod kit;
pub mod adversary;
#[doc(hidden)]
pub mod fuzz;
