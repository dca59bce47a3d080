//! The binary: command line, logging and the start of one command.

mod commands;
mod logging;

use std::io::Write;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use pinhole::config::{Config, ListenAddress, LogFormat};
use pinhole_conformance::CapturedLog;

use commands::backup::{self, BackupArguments};
use commands::compile::{self, Compile};
use commands::config::{self, ConfigCommand};
use commands::database::{self, DatabaseCommand};
use commands::doctor::{self, Doctor};
use commands::engine::{self, EngineCommand};
use commands::files_copy::{self, FilesCopy};
use commands::generate::{self, Generate};
use commands::import::{self, ImportCommand};
use commands::key::{self, KeyCommand};
use commands::restore::{self, RestoreArguments};
use commands::user::{self, UserCommand};
use commands::{FAILED, files_sweep, print_json, serve};
use logging::LogMode;

/// The exit code of a shell's command that a closed pipe stops.
const BROKEN_PIPE: i32 = 128 + libc::SIGPIPE;

#[derive(Parser)]
#[command(name = "pinhole", version, about)]
struct Cli {
    /// Data directory [default: PINHOLE_DATA, or data in the current directory]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    Serve {
        /// Where to listen: HOST:PORT, [IPV6]:PORT, :PORT for all interfaces, or PORT for this machine only; port 0
        /// selects a free port
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: ListenAddress,
    },
    /// Generate or edit images without a server, and write them to files
    Generate(Generate),
    /// Check the configuration, the data directory, the engines and their upstreams
    Doctor(Doctor),
    /// Read and change the settings of a data directory
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// List and add users, and reset a password
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// List, create and revoke API keys
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Install, replace, inspect, approve and test engines, also while the server runs
    Engine {
        #[command(subcommand)]
        command: EngineCommand,
    },
    /// Create or migrate the tables of the database, as the start of a server does
    Migrate,
    /// Copy a database
    Db {
        #[command(subcommand)]
        command: DatabaseCommand,
    },
    /// Maintain the stored images
    Files {
        #[command(subcommand)]
        command: FilesCommand,
    },
    /// Import users, images and chats of another server
    Import {
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Write a backup of the data directory: database, images, engine components and keys, also while the server runs
    Backup(BackupArguments),
    /// Restore a backup into a new data directory, or check one
    Restore(RestoreArguments),
    /// Print the OpenAPI document of the server's API
    Openapi,
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write a page for each command to a directory
    Man {
        /// Directory of the pages
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Compile a component from standard input; used by the server
    #[command(hide = true)]
    Compile(Compile),
}

#[derive(Subcommand)]
enum FilesCommand {
    /// Remove expired and orphaned images, as the server does every hour
    Sweep {
        /// Remove them even if there are many, the clock has jumped or the database is another one
        #[arg(long)]
        confirm: bool,
    },
    /// Copy the stored images between the data directory and a bucket
    ///
    /// Images that the destination has with the same length are skipped, so that an interrupted copy continues.
    Copy(FilesCopy),
}

fn main() -> ExitCode {
    prevent_leaks();
    let cli = Cli::parse();
    let result = match cli.command {
        // A compilation opens and starts nothing else, because its input is hostile.
        Command::Compile(arguments) => return ExitCode::from(compile::run(&arguments)),
        Command::Openapi => print_openapi(),
        Command::Completions { shell } => print_completions(shell),
        Command::Man { out } => print_manual(out),
        command => start(command, cli.data),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pinhole: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn start(command: Command, data: Option<PathBuf>) -> Result<u8> {
    let config = Config::from_environment(data);
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
    };
    if let Command::Doctor(arguments) = command {
        return runtime()?.block_on(doctor::doctor(config, arguments));
    }
    let config = config?;
    let mode = log_mode(&command);
    let logging = logging::init(&config, mode)?;
    let is_logged = mode == LogMode::Server && config.log_format == LogFormat::Json;
    let result = runtime()?.block_on(run(command, config, logging.lines.clone()));
    match result {
        // Each line of a log in JSON is JSON.
        Err(error) if is_logged => {
            tracing::error!("{error:#}");
            Ok(FAILED)
        }
        result => result,
    }
}

fn log_mode(command: &Command) -> LogMode {
    match command {
        Command::Serve { .. } => LogMode::Server,
        Command::Engine {
            command: EngineCommand::Test(_),
        } => LogMode::Cases,
        Command::Engine {
            command: EngineCommand::Dev(_),
        } => LogMode::Development,
        _ => LogMode::Command,
    }
}

async fn run(command: Command, config: Config, lines: CapturedLog) -> Result<u8> {
    match command {
        Command::Serve { listen } => serve::serve(&config, &listen).await.map(|()| 0),
        Command::Generate(arguments) => generate::generate(&config, arguments).await,
        Command::Doctor(arguments) => doctor::doctor(Ok(config), arguments).await,
        Command::Import { command } => import::run(&config, command).await,
        Command::Backup(arguments) => backup::backup(&config, arguments).await,
        Command::Restore(arguments) => restore::restore(&config, arguments).await,
        Command::Openapi => print_openapi(),
        Command::Completions { shell } => print_completions(shell),
        Command::Man { out } => print_manual(out),
        Command::Compile(arguments) => Ok(compile::run(&arguments)),
        Command::Migrate => database::migrate(&config).await.map(|()| 0),
        Command::Db { command } => database::run(command).await.map(|()| 0),
        Command::Config { command } => config::run(&config, command).await,
        Command::Files {
            command: FilesCommand::Sweep { confirm },
        } => files_sweep::sweep(&config, confirm).await.map(|()| 0),
        Command::Files {
            command: FilesCommand::Copy(arguments),
        } => files_copy::copy(&config, &arguments).await,
        Command::User { command } => user::run(&config, command).await,
        Command::Key { command } => key::run(&config, command).await,
        Command::Engine { command } => engine::run(&config, command, lines).await,
    }
}

fn print_openapi() -> Result<u8> {
    print_json(&pinhole::web::openapi_document())?;
    Ok(0)
}

fn print_completions(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pinhole", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(0)
}

fn print_manual(out: Option<PathBuf>) -> Result<u8> {
    match out {
        Some(directory) => clap_mangen::generate_to(Cli::command(), directory)?,
        None => clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?,
    }
    Ok(0)
}

/// Disables core dumps, because memory contains keys, and panic messages, because they may quote what an
/// engine, an upstream or a user sent.
fn prevent_leaks() {
    // With a limit of 1 byte, no file is written and the kernel does not pipe a dump to a program. With 0,
    // it would.
    rlimit::setrlimit(rlimit::Resource::CORE, 1, 1).ok();
    std::panic::set_hook(Box::new(|panic| {
        if is_broken_pipe(panic) {
            std::process::exit(BROKEN_PIPE);
        }
        eprintln!("{}", panic_message(panic));
    }));
}

/// Was standard output closed, as `| head` does? The standard library panics then.
fn is_broken_pipe(panic: &PanicHookInfo<'_>) -> bool {
    panic
        .payload_as_str()
        .is_some_and(|message| message.starts_with("failed printing to std"))
}

/// The location of a panic, without its message.
fn panic_message(panic: &PanicHookInfo<'_>) -> String {
    let location = match panic.location() {
        Some(location) => location.to_string(),
        None => "an unknown location".to_owned(),
    };
    format!("pinhole: internal error at {location}; please report this bug")
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use super::panic_message;

    #[test]
    fn panic_message_contains_location_and_no_panic_text() {
        let message = Arc::new(Mutex::new(String::new()));
        let written = message.clone();
        set_hook(Box::new(move |panic| {
            *written.lock().unwrap() = panic_message(panic);
        }));
        let result = catch_unwind(|| panic!("the key is {}", "key-4711"));
        drop(take_hook());
        assert!(result.is_err());
        let message = message.lock().unwrap();
        assert!(
            message.contains("main.rs:") && !message.contains("4711"),
            "{message}"
        );
    }
}
