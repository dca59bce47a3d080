//! `pinhole migrate` and `pinhole db`: the tables of the database.

use std::io::Write;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use pinhole::app;
use pinhole::config::Config;
use pinhole::store::{CopiedTable, DatabaseLocation, SchemaVersions, copy_database};

#[derive(Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Copy all rows into an empty database, such as from SQLite to PostgreSQL
    ///
    /// The files of the data directory are not copied: the server continues with them. Stop the server first.
    Copy {
        /// The database to read: sqlite:PATH or postgres://USER@HOST/DATABASE
        #[arg(long, value_name = "URL")]
        from: String,
        /// The empty database to write. Leave the password out and set PGPASSWORD, so that other users cannot see it
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

/// Migrates the tables, and prints from which version to which.
pub(crate) async fn migrate(config: &Config) -> Result<()> {
    let store = app::open_database(config).await?;
    let SchemaVersions { before, after } = store.schema_versions();
    let mut out = std::io::stdout();
    match before {
        None => writeln!(out, "created the tables of version {after}")?,
        Some(before) if before == after => {
            writeln!(out, "the tables have version {after} already")?
        }
        Some(before) => writeln!(out, "migrated the tables from version {before} to {after}")?,
    }
    Ok(())
}

pub(crate) async fn run(command: DatabaseCommand) -> Result<()> {
    let DatabaseCommand::Copy { from, to } = command;
    let parse =
        |name: &str, url: &str| DatabaseLocation::parse(url).map_err(|why| anyhow!("{name} {why}"));
    let (source, target) = (parse("--from", &from)?, parse("--to", &to)?);
    let copied = copy_database(&source, &target).await?;
    print_report(&copied)?;
    if target.is_postgres() && !source.is_postgres() {
        writeln!(
            std::io::stdout(),
            "hint: set DATABASE_URL, WEBUI_SECRET_KEY and PINHOLE_SETTINGS_KEY and start the server with the same data \
             directory; the settings key of the data directory DIR, without which secrets must be set again: \
             od -An -vtx1 DIR/settings-key | tr -d ' \\n'"
        )?;
    }
    Ok(())
}

fn print_report(copied: &[CopiedTable]) -> Result<()> {
    let mut out = std::io::stdout();
    for CopiedTable { name, rows } in copied {
        if *rows > 0 {
            writeln!(out, "{name}: {rows}")?;
        }
    }
    let total: i64 = copied.iter().map(|table| table.rows).sum();
    writeln!(out, "copied {total} row(s) of {} tables", copied.len())?;
    Ok(())
}
