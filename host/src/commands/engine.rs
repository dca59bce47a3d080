//! `pinhole engine`: the engines of a server, their versions and permissions.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use pinhole::config::{Config, Strategy};
use pinhole::releases::Install;
use pinhole_conformance::CapturedLog;
use pinhole_sandbox::LogLevel;

use super::control_client::CommandError;
use super::engine_changes;
use super::engine_control::Change;
use super::engine_dev::{self, EngineDev};
use super::engine_encode::{self, EngineEncode};
use super::engine_grant::{self, EngineGrant};
use super::engine_new::{self, EngineNew};
use super::engine_record::{self, EngineRecord};
use super::engine_test::{self, EngineTest};
use super::{engine_list, engine_log, engine_models, engine_show, engine_verify};

#[derive(Subcommand)]
pub(crate) enum EngineCommand {
    /// List the engines with the versions that serve or wait, and the rejected files
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an engine: versions, abilities, upstreams, permissions and problems
    Show {
        /// Name of the engine
        engine: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what happened to an engine, newest first
    History {
        /// Name of the engine
        engine: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the last lines that an engine has logged in the running server
    Log {
        /// Name of the engine
        engine: String,
        /// Continue with new lines
        #[arg(long)]
        follow: bool,
        /// Least level of the lines
        #[arg(long, value_name = "LEVEL", default_value = "debug")]
        level: LevelName,
        /// Print each line as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Install a component file: a new engine, or a new version of one
    Install {
        /// Component file
        file: PathBuf,
        /// How it replaces the version that serves [default: PINHOLE_ROLLOUT]
        #[arg(long, value_name = "STRATEGY")]
        strategy: Option<StrategyName>,
        /// Install a version that was rolled back, or replace a pinned one
        #[arg(long)]
        force: bool,
        /// Make an image with this prompt before it serves; an upstream may charge for it
        #[arg(long, value_name = "PROMPT")]
        probe: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the engine directory now, also at files that were rejected
    Update {
        /// Print only these engines
        engines: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let an earlier version of an engine serve again
    Rollback {
        /// Name of the engine
        engine: String,
        /// Digest of the version, or its beginning [default: the version before]
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
        /// Reason, for the history
        #[arg(long, value_name = "TEXT", default_value = "")]
        why: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let all users have the new version of an engine, and watch it no longer
    Promote(Target),
    /// Drop the new version of an engine: the one that is watched, or waits for approval
    Abort(Target),
    /// Ignore new files of an engine, until it is unpinned
    Pin(Target),
    /// Let files of the engine directory replace the engine again
    Unpin(Target),
    /// Stop an engine; its permissions, newest versions and history stay
    Remove {
        /// Name of the engine
        engine: String,
        /// Stop it also if a setting needs it
        #[arg(long)]
        force: bool,
        /// Stop its running jobs too, and wait until they have ended
        #[arg(long)]
        now: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the permissions that an engine declares, and grant them
    Grant(EngineGrant),
    /// List an engine's models (id and display name)
    Models {
        /// Engine to use [default: the engine of the settings]
        engine: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check an engine's settings and its upstream, and show where the values of a job go
    Verify {
        /// Engine to use [default: the engine of the settings]
        engine: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show how an engine understands its settings: where the values of a job go
    Explain {
        /// Engine to use [default: the engine of the settings]
        engine: Option<String>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Create a folder with a new engine, its build script and its cases
    New(EngineNew),
    /// Build an engine on each change, run it in a private server, and run its cases
    Dev(EngineDev),
    /// Run one real job, and write its traffic as a conformance case
    Record(EngineRecord),
    /// Run an engine's conformance cases against a component
    Test(EngineTest),
    /// Make a component from a core module, as C compilers write it
    Encode(EngineEncode),
}

#[derive(clap::Args)]
pub(crate) struct Target {
    /// Name of the engine
    engine: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How important a line of a log is.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LevelName {
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LevelName> for LogLevel {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Debug => Self::Debug,
            LevelName::Info => Self::Info,
            LevelName::Warn => Self::Warn,
            LevelName::Error => Self::Error,
        }
    }
}

/// How a version replaces another one.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StrategyName {
    /// All users get it at once, and it is rolled back if it fails
    Watch,
    /// A growing share of users gets it
    Canary,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Watch => Self::Watch,
            StrategyName::Canary => Self::Canary,
        }
    }
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: EngineCommand, lines: CapturedLog) -> Result<u8> {
    let code = match command {
        EngineCommand::Models { engine, json } => {
            return engine_models::models(config, engine.as_deref(), json).await;
        }
        EngineCommand::Verify { engine, json } => {
            return engine_verify::verify(config, engine.as_deref(), json).await;
        }
        EngineCommand::Explain { engine, json } => {
            return engine_verify::explain(config, engine.as_deref(), json).await;
        }
        EngineCommand::Dev(arguments) => return engine_dev::develop(config, arguments).await,
        EngineCommand::Record(arguments) => return engine_record::record(config, arguments).await,
        EngineCommand::Test(arguments) => {
            return engine_test::test(config, arguments, lines).await;
        }
        EngineCommand::New(arguments) => return engine_new::create(&arguments),
        EngineCommand::Encode(arguments) => return engine_encode::encode(&arguments),
        EngineCommand::List { json } => engine_list::list(config, json).await,
        EngineCommand::Show { engine, json } => engine_show::show(config, &engine, json).await,
        EngineCommand::History { engine, json } => {
            engine_show::history(config, &engine, json).await
        }
        EngineCommand::Log {
            engine,
            follow,
            level,
            json,
        } => engine_log::log(config, &engine, level.into(), follow, json).await,
        EngineCommand::Grant(arguments) => engine_grant::grant(config, arguments).await,
        EngineCommand::Install {
            file,
            strategy,
            force,
            probe,
            json,
        } => {
            let install = Install {
                strategy: strategy.map(Strategy::from),
                is_forced: force,
                probe,
                ..Install::default()
            };
            engine_changes::install(config, &file, install, json).await
        }
        EngineCommand::Update { engines, json } => {
            engine_changes::update(config, &engines, json).await
        }
        EngineCommand::Rollback {
            engine,
            to,
            why,
            json,
        } => engine_changes::change(config, &engine, Change::RollBack { to, why }, json).await,
        EngineCommand::Promote(Target { engine, json }) => {
            engine_changes::change(config, &engine, Change::Promote, json).await
        }
        EngineCommand::Abort(Target { engine, json }) => {
            engine_changes::change(config, &engine, Change::Abort, json).await
        }
        EngineCommand::Pin(Target { engine, json }) => {
            engine_changes::change(config, &engine, Change::Pin, json).await
        }
        EngineCommand::Unpin(Target { engine, json }) => {
            engine_changes::change(config, &engine, Change::Unpin, json).await
        }
        EngineCommand::Remove {
            engine,
            force,
            now,
            json,
        } => {
            let change = Change::Remove {
                is_forced: force,
                is_now: now,
            };
            engine_changes::change(config, &engine, change, json).await
        }
    };
    match code {
        Ok(code) => Ok(code),
        Err(CommandError { message, code }) => {
            eprintln!("pinhole: {message}");
            Ok(code)
        }
    }
}
