//! `pinhole engine verify`: checks whether an engine works.

use anyhow::Result;
use pinhole::config::Config;

use super::{open_jobs, print_error};

/// Checks the settings, and whether the upstream accepts the key. Returns the exit code.
pub(crate) async fn verify(config: &Config, engine: Option<&str>) -> Result<u8> {
    let jobs = open_jobs(config).await?;
    let snapshot = jobs.snapshot();
    let verified = match snapshot.operator_binding(engine) {
        Ok(binding) => jobs.verify(binding).await.map(|()| &binding.name),
        Err(error) => Err(error),
    };
    match verified {
        Ok(name) => {
            println!("engine {name} works");
            Ok(0)
        }
        Err(error) => Ok(print_error(&error)),
    }
}
