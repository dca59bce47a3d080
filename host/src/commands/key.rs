//! `pinhole key`: the API keys of a data directory, also while its server runs.

use anyhow::Result;
use clap::Subcommand;
use pinhole::app;
use pinhole::config::Config;

use super::{WRONG_USE, user};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Replace a user's API keys with a new one and print it once
    Reset {
        /// Email or id of the user
        user: String,
    },
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: KeyCommand) -> Result<u8> {
    let (accounts, store) = app::open_accounts(config).await?;
    let KeyCommand::Reset { user } = command;
    let Some(profile) = user::find(&accounts, &user).await? else {
        return Ok(WRONG_USE);
    };
    let key = store.replace_key(&profile.user.id).await?;
    println!("API key (shown once): {key}");
    Ok(0)
}
