//! `pinhole engine grant`: shows the permissions that an engine declares, and grants them.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use pinhole::app;
use pinhole::config::Config;
use pinhole::config::FirstUse;
use pinhole::releases::Releases;
use pinhole_sandbox::grant::Right;
use pinhole_sandbox::{Component, Engines, PendingApproval};

use super::{CommandConfig, FAILED, MissingData, WRONG_USE};

/// Who changes a grant, in the history.
const BY: &str = "command line";

#[derive(Args)]
pub(crate) struct EngineGrant {
    /// Name of the engine
    engine: String,
    /// Grant without confirmation
    #[arg(long)]
    yes: bool,
    /// Allow a request that was denied, such as 'api POST /images/' (repeatable)
    #[arg(long, value_name = "UPSTREAM METHOD PREFIX")]
    allow: Vec<String>,
    /// Deny a request that the engine declares (repeatable)
    #[arg(long, value_name = "UPSTREAM METHOD PREFIX")]
    deny: Vec<String>,
}

/// The components of one engine.
#[derive(Clone, Copy)]
struct Components<'a> {
    served: Option<&'a Component>,
    pending: Option<&'a PendingApproval>,
}

/// Shows the permissions and makes the requested change. Returns the exit code.
pub(crate) async fn grant(config: &Config, arguments: EngineGrant) -> Result<u8> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let missing = if arguments.yes || is_terminal {
        MissingData::Create
    } else {
        MissingData::Temporary
    };
    let CommandConfig { config, .. } = &CommandConfig::new(config, missing)?;
    // Opening the engines must grant nothing.
    let config = Config {
        first_use: FirstUse::Explicit,
        ..config.clone()
    };
    let releases = app::open_releases(&config).await?;
    let engines = releases.engines();
    let name = &arguments.engine;
    let components = Components {
        served: engines.get(name).map(|component| &**component),
        pending: engines.pending.iter().find(|it| it.engine == *name),
    };
    if components.served.is_none() && components.pending.is_none() {
        eprintln!(
            "pinhole: unknown engine {name}: {}",
            known_engines(&engines)
        );
        return Ok(WRONG_USE);
    }
    if !arguments.allow.is_empty() || !arguments.deny.is_empty() {
        let EngineGrant { allow, deny, .. } = &arguments;
        return Ok(
            match releases.change_requests(name, allow, deny, BY).await {
                Ok(()) => {
                    print_changes(allow, deny);
                    0
                }
                Err(error) => {
                    eprintln!("pinhole: {error}");
                    WRONG_USE
                }
            },
        );
    }
    print_rights(&releases, name, components)?;
    let Some(pending) = components.pending else {
        println!("nothing to grant");
        return Ok(0);
    };
    if !arguments.yes && !confirm()? {
        return Ok(FAILED);
    }
    match releases.approve(name, Some(&pending.digest), BY).await {
        Ok(_) => {
            println!("granted");
            Ok(0)
        }
        Err(error) => {
            eprintln!("pinhole: {error}");
            Ok(FAILED)
        }
    }
}

fn print_changes(allow: &[String], deny: &[String]) {
    for right in allow {
        println!("= {right}");
    }
    for right in deny {
        println!("! {right}");
    }
    println!("changed");
}

/// The names of all engines and the rejected files, for the error about an unknown engine.
fn known_engines(engines: &Engines) -> String {
    let mut names: BTreeSet<&str> = engines
        .admitted()
        .map(|component| component.description.name.as_str())
        .collect();
    names.extend(engines.pending.iter().map(|it| it.engine.as_str()));
    let mut text = if names.is_empty() {
        "there are no engines".to_owned()
    } else {
        let names: Vec<_> = names.into_iter().collect();
        format!("use one of {}", names.join(", "))
    };
    for rejected in &engines.rejected {
        text.push_str(&format!("; {} {}", rejected.file, rejected.reason));
    }
    text
}

/// Prints a line for each right: `=` is declared and granted, `+` is declared and not granted, `!` is
/// declared and denied, `-` is granted and no longer declared.
fn print_rights(releases: &Releases, name: &str, components: Components<'_>) -> Result<()> {
    let grant = releases.grant(name).unwrap_or_default();
    let declared = match components {
        Components {
            pending: Some(pending),
            ..
        } => &pending.declared_rights,
        Components {
            served: Some(served),
            ..
        } => &served.declared_rights,
        Components { .. } => return Ok(()),
    };
    println!("engine {name}");
    if grant.digest.is_empty() {
        println!("  granted   nothing");
    } else {
        println!("  granted   sha256:{} ({})", grant.digest, grant.file);
    }
    if let Some(pending) = components.pending {
        println!("  pending   sha256:{} ({})", pending.digest, pending.file);
        if let Some(previous) = &pending.previous_engine {
            println!("  previous  engine {previous}, in the same file");
        }
    }
    for right in declared.union(&grant.allows) {
        let includes = |rights: &BTreeSet<Right>| rights.iter().any(|it| it.includes(right));
        let mark = if !declared.contains(right) {
            '-'
        } else if includes(&grant.denies) {
            '!'
        } else if includes(&grant.allows) {
            '='
        } else {
            '+'
        };
        println!("{mark} {right}");
    }
    Ok(())
}

/// Asks for confirmation. Without a terminal, prints how to confirm.
fn confirm() -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        eprintln!(
            "pinhole: nothing was granted: review the lines marked +, then add --yes to grant them"
        );
        return Ok(false);
    }
    print!("grant? [y/N] ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let is_confirmed = matches!(line.trim(), "y" | "Y" | "yes");
    if !is_confirmed {
        println!("nothing was granted");
    }
    Ok(is_confirmed)
}
