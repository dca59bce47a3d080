//! Integration tests: host, components and upstreams together. Run with `cargo xtask test`.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the bans and the care for errors shape the server; here a failure is a failed test"
)]

mod accounts;
mod admission;
mod adversary;
mod api;
mod audit;
mod authors;
mod bindings;
mod cases;
mod chat;
mod chats;
mod client_files;
mod clients;
mod cluster;
mod comfyui;
mod command;
mod compile;
mod contract_page;
mod cut;
mod databases;
mod deploy;
mod dialects;
mod egress;
mod engine_start;
mod engines_api;
mod engines_page;
mod events;
mod figures;
mod files;
mod gallery;
mod gemini;
mod grants;
mod image_api;
mod image_formats;
mod images;
mod jobs_api;
mod limits_page;
mod memory;
mod open_webui_page;
mod openai;
mod pages;
mod rollouts;
mod sandbox;
mod second_order;
mod secrets;
mod settings;
mod tasks;
mod traffic;
