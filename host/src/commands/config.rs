//! `pinhole config`: the settings of a data directory.
//!
//! A running server has its settings in memory, so they change only through its API while it runs.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Subcommand;
use pinhole::app::{self, App, ChangeError};
use pinhole::config::Config;
use pinhole::settings::{Change, MAX_SETTING_BYTES, Overlay, SettingKey, setting_keys};
use pinhole::store::User;
use pinhole_ground::data_dir;
use pinhole_ground::text::plain;
use serde::Serialize;
use serde_json::Value;

use super::{CommandJobs, FAILED, MissingData, WRONG_USE, print_json};

/// Length of a value in a list, in bytes; a longer one is cut.
const MAX_LISTED_BYTES: usize = 200;
/// Edits of a name with which it is still taken for that of a setting.
const MAX_EDITS: usize = 3;

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// List the settings: name, origin and value, without secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the value of a setting, or ******** for a secret
    Get {
        /// Variable or path of the setting
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Store a value, which overrides the environment. The server must not run
    Set {
        /// Variable or path of the setting
        name: String,
        /// The value, @FILE to read it from a file, or - to read it from standard input
        value: String,
    },
    /// Remove a stored value, so that the environment applies. The server must not run
    Unset {
        /// Variable or path of the setting
        name: String,
    },
}

/// A setting, as lists show it.
#[derive(Serialize)]
struct ListedSetting {
    name: String,
    path: String,
    source: &'static str,
    value: Option<Value>,
    kind: &'static str,
    description: String,
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: ConfigCommand) -> Result<u8> {
    match command {
        ConfigCommand::List { json } => list(config, json).await,
        ConfigCommand::Get { name, json } => get(config, &name, json).await,
        ConfigCommand::Set { name, value } => {
            let text = read_value(&value)?;
            change(config, &name, |key| {
                let json = Value::from(text);
                let change = Change::new(key, &json);
                change.map_err(|reason| format!("{} {reason}", key.name))
            })
            .await
        }
        ConfigCommand::Unset { name } => {
            change(config, &name, |key| Ok(Some(Change::remove(key)))).await
        }
    }
}

async fn list(config: &Config, json: bool) -> Result<u8> {
    let settings = read_settings(config).await?;
    if json {
        print_json(&settings)?;
        return Ok(0);
    }
    for setting in settings {
        let value = setting.value.as_ref().map(to_text).unwrap_or_default();
        let value = plain(&value, MAX_LISTED_BYTES);
        println!("{}\t{}\t{value}", setting.name, setting.source);
    }
    Ok(0)
}

async fn get(config: &Config, name: &str, json: bool) -> Result<u8> {
    let settings = read_settings(config).await?;
    let is_named = |it: &&ListedSetting| it.name == name || it.path == name;
    let Some(setting) = settings.iter().find(is_named) else {
        let names = settings.iter().map(|it| it.name.as_str());
        return Ok(print_unknown(name, names));
    };
    if json {
        print_json(setting)?;
        return Ok(0);
    }
    let Some(value) = &setting.value else {
        eprintln!("pinhole: {} is not set", setting.name);
        return Ok(FAILED);
    };
    println!("{}", to_text(value));
    Ok(0)
}

/// The settings that a server of the data directory would have.
async fn read_settings(config: &Config) -> Result<Vec<ListedSetting>> {
    let opened = CommandJobs::open(config, MissingData::Temporary).await?;
    let snapshot = opened.jobs.snapshot();
    let engines = snapshot.engines.admitted();
    let keys = setting_keys(engines.map(|component| &component.description));
    let overlay = app::read_overlay(&opened.config).await?;
    Ok(keys
        .into_iter()
        .map(|key| ListedSetting::new(key, &overlay))
        .collect())
}

impl ListedSetting {
    fn new(key: SettingKey, overlay: &Overlay) -> Self {
        let default = || Some(key.kind.parse(key.default.as_deref()?));
        Self {
            source: overlay.origin(&key).name(),
            value: overlay.masked_value(&key).or_else(default),
            name: key.name,
            path: key.path,
            kind: key.kind.name(),
            description: key.description,
        }
    }
}

/// Makes one change with all checks of the server, whose place this process takes.
async fn change(
    config: &Config,
    name: &str,
    change_of: impl FnOnce(&SettingKey) -> Result<Option<Change>, String>,
) -> Result<u8> {
    eprintln!("data directory: {}", config.data.display());
    let config = &app::require_database(config)?;
    let _lock = app::lock_data_dir(config).context(
        "change settings with POST /api/v1/settings while the server runs, or stop it first",
    )?;
    let app = Arc::new(App::open(config).await?);
    let keys = app.setting_keys().await?;
    let has_name =
        |key: &&SettingKey| key.path == name || key.variables.iter().any(|it| it == name);
    let Some(key) = keys.iter().find(has_name) else {
        return Ok(print_unknown(
            name,
            keys.iter().map(|key| key.name.as_str()),
        ));
    };
    let change = match change_of(key) {
        Ok(change) => change,
        Err(reason) => {
            eprintln!("pinhole: {reason}");
            return Ok(WRONG_USE);
        }
    };
    let user = User {
        id: String::new(),
        name: "pinhole config".to_owned(),
        role: "admin".to_owned(),
    };
    match app
        .change_settings(&user, change.into_iter().collect())
        .await
    {
        Ok(()) => {
            let setting = ListedSetting::new(key.clone(), &app.settings.overlay());
            let value = setting.value.as_ref().map(to_text).unwrap_or_default();
            let value = plain(&value, MAX_LISTED_BYTES);
            println!("{}\t{}\t{value}", setting.name, setting.source);
            Ok(0)
        }
        Err(ChangeError::Refused(reason)) => {
            eprintln!("pinhole: {reason}");
            Ok(WRONG_USE)
        }
        Err(ChangeError::Internal(error)) => Err(error),
    }
}

/// The value on the command line, in a file, or on standard input.
fn read_value(value: &str) -> Result<String> {
    let text = match (value, value.strip_prefix('@')) {
        ("-", _) => {
            let mut text = String::new();
            let most = MAX_SETTING_BYTES as u64 + 1;
            let stdin = std::io::stdin().lock();
            let read = stdin.take(most).read_to_string(&mut text);
            read.context("cannot read the value from standard input")?;
            text
        }
        (_, Some(path)) => {
            let context = || format!("cannot read the value from {path}");
            let bytes = data_dir::read_whole(Path::new(path), MAX_SETTING_BYTES);
            String::from_utf8(bytes.with_context(context)?).with_context(context)?
        }
        (text, None) => return Ok(text.to_owned()),
    };
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A text without quotes, and other values as JSON.
fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Prints an error about an unknown setting. Returns the exit code.
fn print_unknown<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> u8 {
    let nearest = names
        .map(|it| (strsim::osa_distance(name, it), it))
        .filter(|(edits, _)| *edits <= MAX_EDITS)
        .min();
    let remedy = match nearest {
        Some((_, nearest)) => format!("did you mean {nearest}?"),
        None => "list the settings with `pinhole config list`".to_owned(),
    };
    let name = plain(name, MAX_LISTED_BYTES);
    eprintln!("pinhole: unknown setting {name}: {remedy}");
    WRONG_USE
}
