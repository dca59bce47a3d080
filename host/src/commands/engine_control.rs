//! The engines that a command inspects and changes: those of the running server, or without one those of the data
//! directory.

use std::time::Duration;

use anyhow::Result;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pinhole::app;
use pinhole::config::Config;
use pinhole::control::CommandLine;
use pinhole::releases::{
    EngineDetails, EngineList, EngineStatus, HistoryEntry, Install, InstallReport, ReleaseError,
};
use pinhole_ground::waiting::Reports;
use pinhole_sandbox::PROGRESS_TARGET;
use serde::Deserialize;
use serde_json::json;

use super::control_client::{CommandError, ControlClient, NOTHING, Payload, engine_path};
use super::{CommandEngines, FAILED, MissingData, WRONG_USE};

/// Lines while a running server installs a component.
const INSTALL_REPORTS: Reports = Reports {
    first: Duration::from_secs(2),
    interval: Duration::from_secs(5),
};

/// The engines of the running server, or of a data directory without one.
pub(crate) enum EngineControl {
    Server(ControlClient),
    Directory(Box<CommandEngines>),
}

/// A change of an engine.
pub(crate) enum Change {
    RollBack { to: Option<String>, why: String },
    Promote,
    Abort,
    Pin,
    Unpin,
    Remove { is_forced: bool, is_now: bool },
}

/// The engine that generates by default, and why.
#[derive(Deserialize)]
pub(crate) struct DefaultEngine {
    pub(crate) engine: String,
    pub(crate) reason: String,
}

impl From<ReleaseError> for CommandError {
    fn from(error: ReleaseError) -> Self {
        let code = match &error {
            ReleaseError::Unknown(_) => WRONG_USE,
            _ => FAILED,
        };
        let message = match &error {
            ReleaseError::Internal(ours) => format!("{ours:#}"),
            ReleaseError::Database(ours) => format!("{error}: {ours}"),
            other => other.to_string(),
        };
        Self { message, code }
    }
}

impl EngineControl {
    /// Prints which data directory is used.
    pub(crate) async fn open(config: &Config, missing: MissingData) -> Result<Self> {
        if let Some(server) = ControlClient::of_running_server(config) {
            eprintln!("data directory: {}", config.data.display());
            return Ok(Self::Server(server));
        }
        let engines = CommandEngines::open(config, missing).await?;
        Ok(Self::Directory(Box::new(engines)))
    }

    /// The engines of the running server, or of an existing data directory.
    pub(crate) async fn open_existing(config: &Config) -> Result<Self> {
        if ControlClient::of_running_server(config).is_none() {
            app::require_database(config)?;
        }
        Self::open(config, MissingData::Create).await
    }

    pub(crate) async fn list(&self) -> Result<EngineList, CommandError> {
        /// The part of the response that only administrators get.
        #[derive(Deserialize)]
        struct Listed {
            releases: EngineList,
        }
        match self {
            Self::Server(server) => {
                let Listed { releases } = server.get("/api/v1/engines").await?;
                Ok(releases)
            }
            Self::Directory(directory) => Ok(directory.releases.list()),
        }
    }

    /// The engines of this list in detail.
    pub(crate) async fn details_of_all(
        &self,
        list: &EngineList,
    ) -> Result<Vec<EngineDetails>, CommandError> {
        let names = list.engines.iter().map(|it| &it.name);
        let mut details = Vec::new();
        match self {
            Self::Server(server) => {
                for name in names {
                    details.push(server.get(&engine_path(name, "")).await?);
                }
            }
            Self::Directory(directory) => {
                let snapshot = directory.snapshot().await?;
                for name in names {
                    details.push(directory.releases.details(name, snapshot).await?);
                }
            }
        }
        Ok(details)
    }

    pub(crate) async fn details(&self, engine: &str) -> Result<EngineDetails, CommandError> {
        match self {
            Self::Server(server) => server.get(&engine_path(engine, "")).await,
            Self::Directory(directory) => {
                let snapshot = directory.snapshot().await?;
                Ok(directory.releases.details(engine, snapshot).await?)
            }
        }
    }

    pub(crate) async fn default_engine(&self) -> Result<DefaultEngine, CommandError> {
        /// The part of the settings that is printed.
        #[derive(Deserialize)]
        struct Effective {
            generation: DefaultEngine,
        }
        match self {
            Self::Server(server) => {
                let Effective { generation } = server.get("/api/v1/settings/effective").await?;
                Ok(generation)
            }
            Self::Directory(directory) => {
                let settings = &directory.snapshot().await?.settings;
                Ok(DefaultEngine {
                    engine: settings.engine.clone(),
                    reason: settings.engine_reason.to_string(),
                })
            }
        }
    }

    pub(crate) async fn history(&self, engine: &str) -> Result<Vec<HistoryEntry>, CommandError> {
        match self {
            Self::Server(server) => server.get(&engine_path(engine, "history")).await,
            Self::Directory(directory) => {
                let entries = directory.releases.history(engine).await?;
                Ok(entries.into_iter().map(HistoryEntry::from).collect())
            }
        }
    }

    pub(crate) async fn install(&self, install: Install) -> Result<InstallReport, CommandError> {
        match self {
            Self::Server(server) => {
                let mut path = format!("/api/v1/engines/install?force={}", install.is_forced);
                if let Some(strategy) = install.strategy {
                    path.push_str(&format!("&strategy={}", strategy.name()));
                }
                if let Some(prompt) = &install.probe {
                    let prompt = utf8_percent_encode(prompt, NON_ALPHANUMERIC);
                    path.push_str(&format!("&probe={prompt}"));
                }
                let payload: Payload<'_, ()> = Payload::Component(install.bytes);
                let installed = server.send(Method::POST, &path, payload);
                INSTALL_REPORTS.until_done(installed, report_install).await
            }
            Self::Directory(directory) => {
                if install.probe.is_some() {
                    return Err(CommandError {
                        message: "--probe needs a running server: start it first".to_owned(),
                        code: WRONG_USE,
                    });
                }
                let install = Install {
                    by: by(),
                    ..install
                };
                Ok(directory.releases.install(install).await?)
            }
        }
    }

    /// Changes an engine. Returns it as it is afterwards.
    pub(crate) async fn change(
        &self,
        engine: &str,
        change: &Change,
    ) -> Result<EngineStatus, CommandError> {
        match self {
            Self::Server(server) => change_in_server(server, engine, change).await,
            Self::Directory(directory) => {
                change_in_directory(directory, engine, change).await?;
                Ok(directory.releases.status_of(engine))
            }
        }
    }

    /// Grants the component with this digest what it declares.
    pub(crate) async fn approve(
        &self,
        engine: &str,
        digest: &str,
    ) -> Result<InstallReport, CommandError> {
        match self {
            Self::Server(server) => {
                let body = json!({"digest": digest});
                server.post(&engine_path(engine, "grant"), &body).await
            }
            Self::Directory(directory) => {
                let releases = &directory.releases;
                Ok(releases.approve(engine, Some(digest), &by()).await?)
            }
        }
    }

    pub(crate) async fn change_requests(
        &self,
        engine: &str,
        allow: &[String],
        deny: &[String],
    ) -> Result<(), CommandError> {
        match self {
            Self::Server(server) => {
                let body = json!({"allow": allow, "deny": deny});
                let path = engine_path(engine, "requests");
                let _: EngineDetails = server.post(&path, &body).await?;
                Ok(())
            }
            Self::Directory(directory) => {
                let releases = &directory.releases;
                Ok(releases.change_requests(engine, allow, deny, &by()).await?)
            }
        }
    }
}

async fn change_in_server(
    server: &ControlClient,
    engine: &str,
    change: &Change,
) -> Result<EngineStatus, CommandError> {
    let action = match change {
        Change::RollBack { to, why } => {
            let body = json!({"to": to, "why": why});
            return server.post(&engine_path(engine, "rollback"), &body).await;
        }
        Change::Remove { is_forced, is_now } => {
            let path = engine_path(engine, "");
            let path = format!("{path}?force={is_forced}&now={is_now}");
            return server.send(Method::DELETE, &path, NOTHING).await;
        }
        Change::Promote => "promote",
        Change::Abort => "abort",
        Change::Pin => "pin",
        Change::Unpin => "unpin",
    };
    let path = engine_path(engine, action);
    server.send(Method::POST, &path, NOTHING).await
}

async fn change_in_directory(
    directory: &CommandEngines,
    engine: &str,
    change: &Change,
) -> Result<(), CommandError> {
    let (releases, by) = (&directory.releases, by());
    match change {
        Change::RollBack { to, why } => {
            let to = to.as_deref();
            releases.roll_back(engine, to, why, &by).await.map(drop)?;
        }
        Change::Promote => releases.promote(engine, &by).await.map(drop)?,
        Change::Abort => releases.abort(engine, &by).await.map(drop)?,
        Change::Pin => releases.set_pinned(engine, true, &by).await?,
        Change::Unpin => releases.set_pinned(engine, false, &by).await?,
        // No job runs without a server.
        Change::Remove { is_forced, .. } => {
            if !is_forced {
                let needs = directory.snapshot().await?.settings_that_need(engine);
                ReleaseError::refuse_if_needed(engine, &needs)?;
            }
            releases.remove(engine, &by).await?;
        }
    }
    Ok(())
}

/// Shows a person that the server works on the component.
fn report_install(elapsed: Duration) {
    let secs = elapsed.as_secs();
    tracing::info!(
        target: PROGRESS_TARGET,
        "the server checks and compiles the component: {secs} s so far; it serves its other engines meanwhile"
    );
}

/// Who changes an engine, in its history.
fn by() -> String {
    CommandLine::of_this_process().name()
}
