//! `App`: the handles a request may use, built once from [`Config`].

pub mod change;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use serde_json::{Value, json};

use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use crate::chat::event::Events;
use crate::chat::model::Models;
use crate::chat::task::Tasks;
use crate::config::Config;
use crate::files::Files;
use pinhole_ground::data_dir;
use crate::jobs::{Requester, Finished, Jobs};
use crate::accounts::Accounts;
use crate::settings::Stored;
use crate::store::{FileRow, Store, User};

/// Everything that a request may use.
pub struct App {
    /// What was refused, and to whom.
    pub audit: AuditLog,
    /// Makes pictures.
    pub jobs: Jobs,
    /// Keeps them.
    pub files: Files,
    /// The database.
    pub store: Store,
    /// What is set, and by whom it was changed.
    pub settings: Stored,
    /// Knows who asks.
    pub accounts: Accounts,
    /// Tells clients.
    pub events: Events,
    /// Turns that go on after their request was answered.
    pub tasks: Tasks,
    /// The language models that answer chats.
    pub chat_models: Models,
}

/// The config as administrators have changed it, for commands that run no server.
pub async fn as_changed(config: &Config) -> Result<Config> {
    let data = open_folder(config)?;
    if !data.exists(Store::FILE) {
        return Ok(config.clone());
    }
    // Nothing starts here, so nothing is reset.
    let reset = ("RESET_CONFIG_ON_START".to_owned(), String::new());
    let environment = config.environment.overlaid([reset]);
    let store = Store::open(&config.data).await?;
    let settings = Stored::open(&data, store, &environment).await?;
    Ok(changed(config, &settings))
}

fn open_folder(config: &Config) -> Result<Dir> {
    data_dir::create(&config.data).context(
        "the data folder cannot be used: set PINHOLE_DATA to a folder that can be written to",
    )
}

fn changed(config: &Config, settings: &Stored) -> Config {
    Config {
        environment: settings.current().environment().clone(),
        ..config.clone()
    }
}

impl App {
    /// Opens the data folder and admits the engines. The error is one line that says what to do.
    pub async fn open(config: &Config) -> Result<Self> {
        let data = open_folder(config)?;
        // Before any engine is admitted, or not.
        let audit = AuditLog::open(&data)?;
        let store = Store::open(&config.data).await?;
        let settings = Stored::open(&data, store.clone(), &config.environment).await?;
        let config = &changed(config, &settings);
        let decoder = Decoder::default();
        let jobs = Jobs::open(config, audit.clone(), decoder.clone()).await?;
        Ok(Self {
            accounts: Accounts::open(&data, store.clone(), &config.environment)?,
            files: Files::open(&data, store.clone(), decoder)?,
            chat_models: Models::open(&jobs.current().settings.chat_models, &jobs.egress, &audit)
                .map_err(anyhow::Error::msg)?,
            audit,
            events: Events::new(),
            tasks: Tasks::default(),
            store,
            settings,
            jobs,
        })
    }

    /// What decides which bindings a user may use, in a chat of this model.
    pub async fn asker(&self, user: &User, chat_model: Option<&str>) -> sqlx::Result<Requester> {
        Ok(Requester {
            user: Some(user.id.clone()),
            unrestricted: user.role == "admin",
            groups: match self.jobs.current().asks_for_groups() {
                true => self.store.groups_of(&user.id).await?,
                false => Vec::new(),
            },
            chat_model: chat_model.map(str::to_owned),
        })
    }

    /// Keeps a job's pictures for whoever asked for it: all of them or none.
    ///
    /// `place` is what they belong to; the job is added to it. Where it names a stored chat that the
    /// user may write to, by `chat_id` and `message_id`, they are linked to its message in the same
    /// step, and are the chat owner's.
    pub async fn keep(
        &self,
        user: &User,
        finished: &Finished,
        place: Value,
    ) -> Result<Vec<FileRow>> {
        let text = |key: &str| place.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = text("chat_id").zip(text("message_id"));
        let mut meta = json!({
            "job": finished.job,
            "binding": finished.binding,
            "engine": finished.engine,
            "digest": finished.digest,
            "details": serde_json::from_str::<Value>(&finished.details).unwrap_or_default(),
        });
        if let (Some(meta), Value::Object(place)) = (meta.as_object_mut(), place) {
            meta.extend(place);
        }
        let owner = match &message {
            Some((chat_id, _)) => self.store.chat_owner(chat_id).await?,
            None => None,
        };
        let owner = owner.filter(|owner| *owner == user.id || user.role == "admin");
        let message = message.as_ref().filter(|_| owner.is_some());
        let message = message.map(|(chat, message)| (chat.as_str(), message.as_str()));
        let owner = owner.as_deref().unwrap_or(&user.id);
        let images = &finished.images;
        self.files.save_all(owner, images, &meta, message).await
    }
}
