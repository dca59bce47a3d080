//! The server as a library; `main.rs` is the binary around it.
//!
//! A request descends through these modules. A lower one never names a higher one:
//!
//! ```text
//! web ─► chat ─► jobs ─► sandbox (pinhole-sandbox) ─► engine, a WebAssembly component
//!                           ▲                            │ upstream.send("api", …)
//!              settings, grants                          ▼
//!                           └──────────── egress (pinhole-egress) ─► the upstream
//! ```
//!
//! Start reading in [`chat`]. Only `pinhole-sandbox` uses wasmtime, only `pinhole-egress` opens
//! connections for engines, only [`cluster`] knows Redis, only [`store`] contains SQL, only [`web`] knows HTTP statuses, and only [`config`] reads the
//! process's environment.

pub mod web;
pub mod app;
pub mod backup;
pub mod import;
pub mod chat;
mod chat_copy;
pub mod releases;
pub mod jobs;
pub mod accounts;
pub mod clients;
pub mod control;
mod crash_point;
mod file_chunks;
pub mod files;
pub mod settings;
pub mod site;
pub mod store;
pub mod event;
pub mod cluster;
pub mod config;
pub mod conformance_host;
