//! `pinhole engine models`: lists the models of an engine.

use anyhow::Result;
use pinhole::config::Config;
use serde_json::{Value, json};

use super::{CommandJobs, MissingData, print_error, print_json};

/// Prints a line with id and display name for each model. Returns the exit code.
pub(crate) async fn models(config: &Config, engine: Option<&str>, as_json: bool) -> Result<u8> {
    let CommandJobs { jobs, .. } = &CommandJobs::open(config, MissingData::Temporary).await?;
    let snapshot = jobs.snapshot();
    let models = match snapshot.operator_binding(engine) {
        Ok(binding) => jobs.models(binding).await,
        Err(error) => Err(error),
    };
    match models {
        Ok(models) if as_json => {
            let models = models.iter();
            let models = models.map(|model| json!({"id": model.id, "name": model.name}));
            print_json(&models.collect::<Vec<Value>>())?;
            Ok(0)
        }
        Ok(models) => {
            for model in models {
                println!("{}\t{}", model.id, model.name);
            }
            Ok(0)
        }
        Err(error) => Ok(print_error(&error)),
    }
}
