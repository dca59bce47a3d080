//! `pinhole backup`: writes a backup of a data directory, also while its server runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cap_std::fs::{Dir, File};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use pinhole::app;
use pinhole::backup::{Backup, OnProgress, Totals, write_backup};
use pinhole::config::Config;
use pinhole::files::StorageProvider;
use pinhole::store::DatabaseLocation;
use pinhole_ground::data_dir;
use pinhole_ground::text::utc_time;

use super::find_file_name;
use super::key::unix_time;
use super::serve::shutdown_signal;

/// Names standard output, and in `pinhole restore` standard input.
pub(super) const STANDARD_STREAM: &str = "-";

#[derive(Args)]
pub(crate) struct BackupArguments {
    /// File to write, directory in which to create one that is named by the time, or - for standard output
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

/// The file of a backup. Until it is complete, it has another name, and is removed when dropped.
struct BackupFile {
    directory: Dir,
    file: File,
    temporary: String,
    name: String,
    /// As a person names it.
    path: PathBuf,
}

/// Writes a backup. Returns the exit code.
pub(crate) async fn backup(config: &Config, arguments: BackupArguments) -> Result<u8> {
    eprintln!("data directory: {}", config.data.display());
    require_data_dir(config)?;
    app::require_database(config)?;
    if arguments.to.as_os_str() == STANDARD_STREAM {
        let work = tempfile::tempdir().context("cannot create a temporary directory")?;
        let output = Box::new(std::io::stdout());
        let backup = run(config, work.path(), output).await?;
        eprintln!("backup: {}", describe(&backup.totals));
        report_problems(&backup);
        return Ok(0);
    }
    let target = BackupFile::create(&arguments.to)?;
    let (parent, _) = find_file_name(&target.path)?;
    // Next to the backup, where there must be space for more than the database.
    let work = tempfile::Builder::new()
        .prefix(".pinhole-backup.")
        .tempdir_in(parent);
    let work =
        work.with_context(|| format!("cannot create a directory in {}", parent.display()))?;
    let output = Box::new(target.file.try_clone()?);
    let backup = run(config, work.path(), output).await?;
    let path = target.complete()?;
    println!("{}: {}", path.display(), describe(&backup.totals));
    println!("it contains keys, password hashes and prompts: only its owner can read it");
    report_problems(&backup);
    Ok(0)
}

/// Fails if database or files are elsewhere.
fn require_data_dir(config: &Config) -> Result<()> {
    if !matches!(config.database, DatabaseLocation::DataDirectory) {
        bail!(
            "DATABASE_URL names another database than that of the data directory: back it up with its own tools, such as pg_dump"
        );
    }
    if !matches!(config.storage_provider, StorageProvider::Local) {
        bail!(
            "STORAGE_PROVIDER names a bucket: back it up with its own tools, or copy it with pinhole files copy"
        );
    }
    Ok(())
}

async fn run(config: &Config, work: &Path, output: Box<dyn Write + Send>) -> Result<Backup> {
    let (bar, on_progress) = progress("backup");
    let written = tokio::select! {
        written = write_backup(&config.data, work, output, on_progress) => written,
        () = shutdown_signal() => bail!("interrupted: no backup was written"),
    };
    bar.finish_and_clear();
    written.context("cannot write the backup")
}

/// A bar for a terminal, and what moves it.
pub(super) fn progress(prefix: &'static str) -> (ProgressBar, OnProgress) {
    let bar = ProgressBar::new(0);
    let template = "{prefix} {wide_bar} {bytes} of {total_bytes}";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(prefix);
    let moved = bar.clone();
    let on_progress = Arc::new(move |done: u64, all: u64| {
        moved.set_length(all.max(done));
        moved.set_position(done);
    });
    (bar, on_progress)
}

pub(super) fn describe(totals: &Totals) -> String {
    let Totals {
        users,
        chats,
        images,
        components,
        bytes,
        ..
    } = totals;
    format!(
        "{users} user(s), {chats} chat(s), {images} image(s), {components} engine component(s), {} MiB",
        bytes.div_ceil(1 << 20)
    )
}

/// Prints what the server had lost already.
fn report_problems(backup: &Backup) {
    for problem in &backup.problems {
        eprintln!("pinhole: warning: {problem}");
    }
    let missing = backup.totals.missing;
    if missing > 0 {
        eprintln!(
            "pinhole: warning: {missing} part(s) of the data directory were missing or damaged before the backup"
        );
    }
}

impl BackupFile {
    fn create(to: &Path) -> Result<Self> {
        let path = if data_dir::open(to).is_ok() {
            let time = utc_time(unix_time()).replace(' ', "-").replace(':', "");
            to.join(format!("pinhole-{time}.tar"))
        } else {
            to.to_owned()
        };
        let context = || format!("cannot write {}", path.display());
        let (parent, name) = find_file_name(&path).with_context(context)?;
        let directory = data_dir::open(parent).with_context(context)?;
        let temporary = format!(".{name}.{}", uuid::Uuid::new_v4().simple());
        let mut options = data_dir::private_file();
        let file = directory
            .open_with(&temporary, options.write(true).create_new(true))
            .with_context(context)?;
        let name = name.to_owned();
        Ok(Self {
            directory,
            file,
            temporary,
            name,
            path,
        })
    }

    /// Gives the file its name, and replaces an earlier one. Returns its path.
    fn complete(self) -> Result<PathBuf> {
        let context = || format!("cannot write {}", self.path.display());
        self.file.sync_all().with_context(context)?;
        self.directory
            .rename(&self.temporary, &self.directory, &self.name)
            .with_context(context)?;
        Ok(self.path.clone())
    }
}

impl Drop for BackupFile {
    fn drop(&mut self) {
        // Has another name, if it is complete.
        self.directory.remove_file(&self.temporary).ok();
    }
}
