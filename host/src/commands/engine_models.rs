//! `pinhole engine models`: lists the models of an engine.

use anyhow::Result;
use pinhole::config::Config;

use super::{open_jobs, print_error};

/// Prints a line with id and display name for each model. Returns the exit code.
pub(crate) async fn models(config: &Config, engine: Option<&str>) -> Result<u8> {
    let jobs = open_jobs(config).await?;
    let snapshot = jobs.snapshot();
    let models = match snapshot.operator_binding(engine) {
        Ok(binding) => jobs.models(binding).await,
        Err(error) => Err(error),
    };
    match models {
        Ok(models) => {
            for model in models {
                println!("{}\t{}", model.id, model.name);
            }
            Ok(0)
        }
        Err(error) => Ok(print_error(&error)),
    }
}
