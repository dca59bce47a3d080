//! `pinhole key`: the API keys of a data directory, also while its server runs.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Subcommand;
use pinhole::app;
use pinhole::config::Config;
use pinhole::store::{ApiKey, MAX_KEYS, NewKey, Store, UserProfile};
use pinhole_ground::duration::parse_duration_secs;
use pinhole_ground::text::{is_plain, plain};

use super::{FAILED, WRONG_USE, print_json, user};

/// Length of the name of a key, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// How long a key that expires works.
const MAX_LIFETIME_SECS: i64 = 10 * 365 * 24 * 3600;

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// List a user's API keys: id, creation, last use, expiry (seconds since 1970, or -), first characters and name
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
        /// Name of the key [default: none, and then a client of Open WebUI may replace it]
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// How long the key works, such as 12h, 30d or 52w [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
        expires: Option<i64>,
    },
    /// Replace a user's API keys with a new one and print it once
    Reset {
        /// Email or id of the user
        user: String,
    },
    /// Revoke a user's API keys, and end the sessions that began with them
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
    | KeyCommand::Create { user, .. }
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
            keys.iter().for_each(print_key);
        }
        KeyCommand::Create { name, expires, .. } => {
            let new = NewKey {
                name: &name,
                expires_at: expires.map(|secs| unix_time().saturating_add(secs)),
            };
            return create(&store, &profile, new).await;
        }
        KeyCommand::Reset { .. } => {
            let key = store.replace_keys(user_id).await?;
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

async fn create(store: &Store, profile: &UserProfile, new: NewKey<'_>) -> Result<u8> {
    if !is_plain(new.name, MAX_NAME_BYTES) {
        eprintln!(
            "pinhole: the name of a key must be a line of text of at most {MAX_NAME_BYTES} bytes: choose another --name"
        );
        return Ok(WRONG_USE);
    }
    let Some(created) = store.add_key(&profile.user.id, new).await? else {
        eprintln!(
            "pinhole: the user {} has {MAX_KEYS} API keys: revoke one with `pinhole key revoke`",
            profile.user.id
        );
        return Ok(FAILED);
    };
    println!("API key (shown once): {}", created.key);
    Ok(0)
}

fn print_key(key: &ApiKey) {
    let time = |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    println!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        key.id,
        key.created_at,
        time(key.last_used_at),
        time(key.expires_at),
        if key.prefix.is_empty() {
            "-"
        } else {
            &key.prefix
        },
        plain(&key.name, MAX_NAME_BYTES)
    );
}

/// Seconds of a duration such as 30d.
fn parse_lifetime(text: &str) -> Result<i64, String> {
    let secs = parse_duration_secs(text).filter(|secs| (1..=MAX_LIFETIME_SECS).contains(secs));
    secs.ok_or_else(|| "use a time of at most ten years such as 12h, 30d or 52w".to_owned())
}

/// The current time in seconds since 1970.
pub(super) fn unix_time() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
