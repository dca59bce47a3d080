//! The commands of the binary.

mod allocator;
pub(crate) mod compile;
pub(crate) mod engine_grant;
pub(crate) mod engine_list;
pub(crate) mod engine_models;
pub(crate) mod engine_test;
pub(crate) mod engine_verify;
pub(crate) mod files_sweep;
pub(crate) mod generate;
pub(crate) mod key;
pub(crate) mod serve;
pub(crate) mod user;

use anyhow::Result;
use pinhole::app;
use pinhole::config::Config;
use pinhole::jobs::{Error, Jobs};
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;

/// Exit code: a valid request failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code: the request is invalid. Clap uses the same.
pub(crate) const WRONG_USE: u8 = 2;

/// Opens the engines with the settings that a server has, without an audit log.
async fn open_jobs(config: &Config) -> Result<Jobs> {
    let config = app::load_stored_settings(config).await?;
    Jobs::open(&config, AuditLog::default(), Decoder::default()).await
}

/// Prints an error in one line and returns the exit code.
fn print_error(error: &Error) -> u8 {
    eprintln!("pinhole: {}", error.for_operator());
    match error {
        Error::Invalid { .. } | Error::Unsupported { .. } => WRONG_USE,
        Error::Disabled(_)
        | Error::QueueFull(_)
        | Error::RateLimited { .. }
        | Error::MemoryFull(_)
        | Error::Engine { .. } => FAILED,
    }
}
