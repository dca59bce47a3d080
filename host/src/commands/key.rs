//! `pinhole key`: the API keys of a data directory, also while its server runs.

use anyhow::Result;
use clap::Subcommand;
use pinhole::app;
use pinhole::config::Config;

use super::{FAILED, WRONG_USE, print_json, user};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// List a user's API keys: id and time of creation in seconds since 1970
    List {
        /// Email or id of the user
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Create another API key for a user and print it once
    Create {
        /// Email or id of the user
        user: String,
    },
    /// Replace a user's API keys with a new one and print it once
    Reset {
        /// Email or id of the user
        user: String,
    },
    /// Revoke a user's API keys
    Revoke {
        /// Email or id of the user
        user: String,
        /// Revoke only the key with this id
        #[arg(long)]
        id: Option<String>,
    },
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: KeyCommand) -> Result<u8> {
    eprintln!("data directory: {}", config.data.display());
    let (accounts, store) = app::open_accounts(config).await?;
    let (KeyCommand::List { user, .. }
    | KeyCommand::Create { user }
    | KeyCommand::Reset { user }
    | KeyCommand::Revoke { user, .. }) = &command;
    let Some(profile) = user::find(&accounts, user).await? else {
        return Ok(WRONG_USE);
    };
    let user_id = &profile.user.id;
    match command {
        KeyCommand::List { json, .. } => {
            let keys = store.keys(user_id).await?;
            if json {
                print_json(&keys)?;
                return Ok(0);
            }
            for key in keys {
                println!("{}\t{}", key.id, key.created_at);
            }
        }
        KeyCommand::Create { .. } => match store.add_key(user_id).await? {
            Some(key) => println!("API key (shown once): {key}"),
            None => {
                eprintln!(
                    "pinhole: {user} has too many API keys: revoke one with `pinhole key revoke`"
                );
                return Ok(FAILED);
            }
        },
        KeyCommand::Reset { .. } => {
            let key = store.replace_key(user_id).await?;
            println!("API key (shown once): {key}");
        }
        KeyCommand::Revoke { id, .. } => {
            let revoked = store.revoke_keys(user_id, id.as_deref()).await?;
            if let (0, Some(id)) = (revoked, id) {
                eprintln!("pinhole: unknown key {id}: list the keys with `pinhole key list`");
                return Ok(WRONG_USE);
            }
            println!("revoked {revoked} API key(s)");
        }
    }
    Ok(0)
}
