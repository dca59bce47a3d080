//! `pinhole import`: brings users, images and chats from another server.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::app::{self, App};
use pinhole::config::Config;
use pinhole::files::ImportBytes;
use pinhole::import::{Kind, Omissions, OnProgress, OpenWebUiImport, Report};
use pinhole::store::{DatabaseSnapshot, OpenWebUi, SourceDatabase, Store};
use pinhole_ground::data_dir;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{CommandConfig, MissingData, WRONG_USE, print_json, usable_cache};

/// Findings that are printed as text; `--json` prints more.
const MAX_PRINTED_FINDINGS: usize = 100;
/// Time between two frames of the progress.
const FRAME: Duration = Duration::from_millis(100);
/// What a dry run copies of the data directory, in addition to the database.
const COPIED_FILE: &str = "settings-key";
const COPIED_DIRECTORY: &str = "components";

#[derive(Subcommand)]
pub(crate) enum ImportCommand {
    /// Import users, API keys, groups, images, chats and image settings of an Open WebUI server, release 0.6.43 or later
    #[command(name = "open-webui")]
    OpenWebUi(OpenWebUiArguments),
}

#[derive(Args)]
pub(crate) struct OpenWebUiArguments {
    /// Path of webui.db, or DATABASE_URL of the Open WebUI server. The variable PGPASSWORD can have the password of
    /// PostgreSQL
    #[arg(long, value_name = "URL")]
    database: String,
    /// Directory `uploads` in the data directory of the Open WebUI server
    #[arg(long, value_name = "DIR")]
    uploads: PathBuf,
    /// Report what would be imported, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave out API keys
    #[arg(long)]
    skip_keys: bool,
    /// Leave out image settings
    #[arg(long)]
    skip_settings: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command. Returns the exit code.
pub(crate) async fn run(config: &Config, command: ImportCommand) -> Result<u8> {
    let ImportCommand::OpenWebUi(arguments) = command;
    let database = match SourceDatabase::parse(&arguments.database) {
        Ok(database) => database,
        Err(reason) => {
            eprintln!("pinhole: --database cannot be used: {reason}");
            return Ok(WRONG_USE);
        }
    };
    let name = database.name();
    let uploads = data_dir::open(&arguments.uploads);
    let uploads = uploads.with_context(|| {
        format!(
            "cannot open {}: set --uploads to the directory uploads of the Open WebUI server",
            arguments.uploads.display()
        )
    })?;
    let opened = OpenWebUi::open(&database).await;
    let source = opened.with_context(|| {
        format!("cannot open the Open WebUI database {name}: check --database, and that its server can be reached")
    })?;
    let (bar, on_progress) = progress();
    let import = OpenWebUiImport {
        source,
        uploads,
        omissions: Omissions {
            api_keys: arguments.skip_keys,
            settings: arguments.skip_settings,
        },
        bytes: if arguments.dry_run {
            ImportBytes::Omit
        } else {
            ImportBytes::Write
        },
        on_progress,
    };
    let report = if arguments.dry_run {
        try_out(config, import).await?
    } else {
        carry_out(config, import).await?
    };
    bar.finish_and_clear();
    if arguments.json {
        print_json(&to_json(&name, &arguments, &report))?;
    } else {
        print_report(&name, &report);
        if arguments.dry_run {
            println!("dry run: nothing was written");
        }
    }
    Ok(0)
}

/// Imports into the data directory, which no server may use at the same time.
async fn carry_out(config: &Config, import: OpenWebUiImport) -> Result<Report> {
    let CommandConfig { config, .. } = CommandConfig::new(config, MissingData::Create)?;
    let config = app::without_reset(&config);
    let _lock = app::lock_data_dir(&config).context("stop the server before an import")?;
    let app = Arc::new(App::open(&config).await?);
    import.run(&app).await
}

/// Imports into a copy of the database, without the bytes of images.
async fn try_out(config: &Config, import: OpenWebUiImport) -> Result<Report> {
    eprintln!("data directory: {}", config.data.display());
    let copy = DataCopy::new(config).await?;
    let app = Arc::new(App::open(&copy.config).await?);
    import.run(&app).await
}

/// A temporary data directory with a copy of the database, removed when dropped.
struct DataCopy {
    config: Config,
    _directory: TempDir,
}

impl DataCopy {
    async fn new(config: &Config) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot create a temporary directory")?;
        let mut cache = config.cache.clone().or_else(|| usable_cache(config));
        if let Ok(data) = data_dir::open(&config.data)
            && data.exists(Store::FILE)
        {
            let to = directory.path().join(Store::FILE);
            let snapshot = DatabaseSnapshot::create(&config.data, &to).await;
            let snapshot = snapshot.context("cannot copy the database")?;
            snapshot.close().await.context("cannot copy the database")?;
            let copy = data_dir::open(directory.path())?;
            copy_entries(&data, &copy).context("cannot copy the data directory")?;
            // Engines are compiled already.
            cache = config.cache.clone().or_else(|| Some(config.data.clone()));
        }
        let copied = Config {
            data: directory.path().to_owned(),
            cache,
            ..app::without_reset(config)
        };
        Ok(Self {
            config: copied,
            _directory: directory,
        })
    }
}

/// Copies what the settings of the database depend on.
fn copy_entries(data: &Dir, copy: &Dir) -> Result<()> {
    if data.exists(COPIED_FILE) {
        data.copy(COPIED_FILE, copy, COPIED_FILE)?;
    }
    let from = match data.open_dir(COPIED_DIRECTORY) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let to = data_dir::create_in(copy, COPIED_DIRECTORY)?;
    for entry in from.entries()? {
        let name = entry?.file_name();
        from.copy(&name, &to, &name)?;
    }
    Ok(())
}

/// A line for a terminal, and what changes it.
fn progress() -> (ProgressBar, OnProgress) {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(FRAME);
    let changed = bar.clone();
    let on_progress = Arc::new(move |kind: Kind, done: u64| {
        changed.set_message(format!("{}: {done}", kind.plural()));
    });
    (bar, on_progress)
}

fn print_report(name: &str, report: &Report) {
    println!("Open WebUI database: {name}");
    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>9}",
        "", "found", "imported", "exists", "skipped"
    );
    for kind in Kind::ALL {
        let counts = report.counts(kind);
        println!(
            "{:<12} {:>9} {:>9} {:>9} {:>9}",
            kind.plural(),
            counts.found,
            counts.imported,
            counts.exists,
            counts.skipped
        );
    }
    let findings = report.findings();
    for finding in findings.iter().take(MAX_PRINTED_FINDINGS) {
        println!("{finding}");
    }
    let more = findings.len().saturating_sub(MAX_PRINTED_FINDINGS) as u64;
    let more = more + report.omitted_findings();
    if more > 0 {
        println!("and {more} more: --json names the first thousand");
    }
}

fn to_json(name: &str, arguments: &OpenWebUiArguments, report: &Report) -> Value {
    let counts = Kind::ALL.map(|kind| (json!(kind), json!(report.counts(kind))));
    let counts: Map<String, Value> = counts
        .into_iter()
        .filter_map(|(kind, counts)| Some((kind.as_str()?.to_owned(), counts)))
        .collect();
    json!({
        "database": name,
        "dry_run": arguments.dry_run,
        "counts": counts,
        "findings": report.findings(),
        "omitted_findings": report.omitted_findings(),
    })
}
