//! Reads the command line and the config, starts the host or runs one command.

mod commands;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use commands::{engine_grant, engine_test, generate, serve};
use pinhole::app;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole::config::Config;
use pinhole_sandbox::{ResolvedSettings, CompileLimits, Component, compile_input};
use pinhole::jobs::{Binding, Jobs};
use pinhole_conformance::Lines;
use pinhole_sandbox::engine_settings::own_variable;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Image engines as sandboxed components, behind the APIs that image clients already speak.
#[derive(Parser)]
#[command(name = "pinhole", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server
    Serve {
        /// Address and port to listen on; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Make a picture here and now, and write it to a file
    Generate(Generate),
    /// Look at the engines
    Engine {
        #[command(subcommand)]
        command: EngineCommand,
    },
    /// Compile a component from standard input: a server starts this for itself
    #[command(hide = true)]
    Compile(Compile),
}

/// What `pinhole compile` is told.
#[derive(Args)]
struct Compile {
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    cpu_secs: u64,
}

/// What `pinhole generate` is told.
#[derive(Args)]
struct Generate {
    /// What to draw
    prompt: String,
    /// A picture to change; several where the engine takes them
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// A PNG of the picture's size, transparent where it may change
    #[arg(long, value_name = "FILE", requires = "image")]
    mask: Option<PathBuf>,
    /// The engine's name; the settings' one when left out
    #[arg(long)]
    engine: Option<String>,
    /// A model of the engine
    #[arg(long)]
    model: Option<String>,
    /// What to leave out of the picture
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// Width and height in pixels, such as 1024x768
    #[arg(long, value_name = "WxH")]
    size: Option<String>,
    /// How many pictures
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// Inference steps, where the engine has them
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// The engine's own parameters, such as '{"quality": "high"}'
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,
    /// The same seed draws the same picture, where the engine has seeds
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where to write it; a name made from the prompt when left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum EngineCommand {
    /// List the engines: what each is, may do and may reach, and why any was refused
    List,
    /// List the models that an engine's upstream offers: what to ask for, and what a person reads
    Models {
        /// The engine's name; the settings' one when left out
        engine: Option<String>,
    },
    /// Ask an engine whether its settings can work, and its upstream is there and accepts the key
    Verify {
        /// The engine's name; the settings' one when left out
        engine: Option<String>,
    },
    /// Show what an engine declares and is granted, and accept the difference
    Grant(engine_grant::EngineGrant),
    /// Run an engine's conformance cases against a component
    Test(engine_test::EngineTest),
}

/// Lines of the log that wait to be written.
const MAX_LINES: usize = 4096;
/// Something failed that was asked for rightly.
const FAILED: u8 = 1;
/// What was asked for makes no sense. Clap uses the same.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    keep_memory_private();
    let cli = Cli::parse();
    // Before anything else is opened or started: what it reads is hostile.
    if let Command::Compile(limits) = cli.command {
        return ExitCode::from(compile_input(CompileLimits {
            memory_bytes: limits.memory_bytes,
            cpu_secs: limits.cpu_secs,
        }));
    }
    let done = Config::from_environment().and_then(|config| {
        let (lines, _written) = log_to_stderr(&config, &cli.command);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(run(cli.command, config, lines))
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("pinhole: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// No dump of the memory, which holds keys, and no words of a panic, which may quote what an engine,
/// an upstream or a person sent.
fn keep_memory_private() {
    // Of one byte no file is written, and a limit of 1 keeps the kernel from piping a dump to a
    // program too, which 0 does not.
    rlimit::setrlimit(rlimit::Resource::CORE, 1, 1).ok();
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", fault(panic))));
}

fn fault(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    format!("pinhole: the program itself failed at {place}: please report this")
}

async fn run(command: Command, config: Config, lines: Lines) -> Result<u8> {
    match command {
        Command::Serve { listen } => serve::serve(&config, listen).await.map(|()| 0),
        Command::Generate(asked) => generate::generate(&config, asked).await,
        Command::Compile(_) => unreachable!("done before anything was opened"),
        Command::Engine { command } => match command {
            EngineCommand::List => list_engines(&config).await.map(|()| 0),
            EngineCommand::Models { engine } => list_models(&config, engine.as_deref()).await,
            EngineCommand::Verify { engine } => verify(&config, engine.as_deref()).await,
            EngineCommand::Grant(asked) => engine_grant::grant(&config, asked).await,
            EngineCommand::Test(asked) => engine_test::test(&config, asked, lines).await,
        },
    }
}

/// What a server would make pictures with.
pub(crate) async fn open(config: &Config) -> Result<Jobs> {
    Jobs::open(
        &app::as_changed(config).await?,
        AuditLog::default(),
        Decoder::default(),
    )
    .await
}

async fn list_models(config: &Config, engine: Option<&str>) -> Result<u8> {
    let jobs = open(config).await?;
    let models = jobs.models(engine, None).await;
    Ok(match models {
        Ok(models) => {
            for model in models {
                println!("{}\t{}", model.id, model.name);
            }
            0
        }
        Err(error) => generate::tell(&error),
    })
}

async fn verify(config: &Config, engine: Option<&str>) -> Result<u8> {
    let jobs = open(config).await?;
    let current = jobs.current();
    let name = engine.unwrap_or(&current.settings.engine);
    Ok(match jobs.verify(engine).await {
        Ok(()) => {
            println!("{name} can be used");
            0
        }
        Err(error) => generate::tell(&error),
    })
}

/// The server logs what it does; the other commands speak for themselves. What is logged is kept
/// where secrets are looked for in it.
///
/// The server never waits for who reads it: a line that finds too many before it is dropped. What is
/// left is written when the guard is dropped.
fn log_to_stderr(config: &Config, command: &Command) -> (Lines, Option<WorkerGuard>) {
    let (writer, guard) = match command {
        Command::Serve { .. } => {
            let (writer, guard) = NonBlockingBuilder::default()
                .buffered_lines_limit(MAX_LINES)
                .lossy(true)
                .finish(std::io::stderr());
            (BoxMakeWriter::new(writer), Some(guard))
        }
        // In order with what they say themselves.
        _ => (BoxMakeWriter::new(std::io::stderr), None),
    };
    let default = match command {
        Command::Serve { .. } => "info",
        _ => "off",
    };
    let filter = config.environment.get("PINHOLE_LOG").unwrap_or(default);
    let plain = config.environment.get("NO_COLOR").is_some();
    let colours = std::io::stderr().is_terminal() && !plain;
    let shown = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .with_filter(tracing_subscriber::EnvFilter::new(filter));
    let lines = Lines::default();
    let tests = matches!(
        command,
        Command::Engine {
            command: EngineCommand::Test(_)
        }
    );
    tracing_subscriber::registry()
        .with(shown)
        .with(tests.then(|| lines.layer()))
        .init();
    (lines, guard)
}

async fn list_engines(config: &Config) -> Result<()> {
    let jobs = open(config).await?;
    let current = jobs.current();
    for component in jobs.engines.admitted() {
        print_engine(component);
        let named = |it: &&Arc<Binding>| it.component.digest == component.digest;
        for binding in current.bindings().filter(named) {
            print_binding(binding);
        }
    }
    for pending in jobs.engines.pending() {
        println!("{}: {}", pending.file, pending.reason());
    }
    for refused in jobs.engines.rejected_files() {
        println!(
            "{}: not admitted, because it {}",
            refused.file, refused.reason
        );
    }
    if jobs.engines.admitted().next().is_none()
        && jobs.engines.rejected_files().is_empty()
        && jobs.engines.pending().is_empty()
    {
        println!("no engines in {}", config.engines.display());
    }
    Ok(())
}

fn print_engine(component: &Component) {
    let description = &component.description;
    println!(
        "{} {} ({}, {})",
        description.name, description.version, description.title, component.file
    );
    println!("  digest     sha256:{}", component.digest);
    println!("  imports    {}", or_none(component.imports.join(", ")));
    let abilities = &description.abilities;
    let named = [
        ("edit", abilities.edit),
        ("mask", abilities.mask),
        ("progress", abilities.progress),
        ("cancel", abilities.cancel),
        ("negative prompt", abilities.negative_prompt),
        ("seed", abilities.seed),
        ("steps", abilities.steps),
    ];
    let mut able: Vec<String> = vec!["generate".to_owned()];
    able.extend(
        named
            .iter()
            .filter(|(_, able)| *able)
            .map(|(name, _)| (*name).to_owned()),
    );
    able.push(format!("up to {} pictures a job", abilities.max_count));
    if abilities.edit {
        able.push(match abilities.max_sources {
            1 => "changes one picture".to_owned(),
            most => format!("changes up to {most} pictures at once"),
        });
    }
    println!("  abilities  {}", able.join(", "));
    if description.upstreams.is_empty() {
        println!("  upstreams  none");
    }
    for right in &component.grant.denies {
        println!("  denied     {right}");
    }
    for right in component.grant.new_rights(&component.declared_rights) {
        println!("  ungranted  {right}");
    }
}

/// Where it leads, and what is wrong with its settings.
fn print_binding(binding: &Binding) {
    let component = &binding.component;
    if binding.name != component.description.name {
        println!("  binding    {}", binding.name);
    }
    let (generating, editing) = (binding.generating().ok(), binding.editing().ok());
    for upstream in &component.description.upstreams {
        let origin = |bound: Option<&ResolvedSettings>| {
            let open = bound?.upstreams.get(&upstream.name)?;
            Some(open.destination.origin())
        };
        let address = origin(generating).unwrap_or_else(|| {
            let variables = variables(component, &upstream.base_url);
            format!("no address yet: set {variables}")
        });
        println!(
            "  upstream   {} at {address}: {}",
            upstream.name,
            upstream.requests.join(", ")
        );
        if let Some(editing) = origin(editing).filter(|editing| *editing != address) {
            println!("  upstream   {} when editing at {editing}", upstream.name);
        }
    }
    for problem in binding.problems() {
        println!("  problem    {problem}");
    }
}

fn variables(component: &Component, key: &str) -> String {
    let mut settings = component.description.settings.iter();
    let setting = settings.find(|setting| setting.key == key);
    let declared = setting.map(|setting| setting.generate_variables.join(" or "));
    let own = || own_variable(&component.description.name, key);
    declared.filter(|text| !text.is_empty()).unwrap_or_else(own)
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{catch_unwind, set_hook, take_hook};
    use std::sync::{Arc, Mutex};

    use super::fault;

    #[test]
    fn a_panic_tells_where_it_was_and_not_what_it_says() {
        let told = Arc::new(Mutex::new(String::new()));
        let heard = told.clone();
        set_hook(Box::new(move |panic| *heard.lock().unwrap() = fault(panic)));
        let caught = catch_unwind(|| panic!("the key is {}", "key-4711"));
        drop(take_hook());
        assert!(caught.is_err());
        let told = told.lock().unwrap();
        assert!(
            told.contains("main.rs:") && !told.contains("4711"),
            "{told}"
        );
    }
}
