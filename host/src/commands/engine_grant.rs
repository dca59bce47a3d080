//! `pinhole engine grant`: shows the permissions that an engine declares, and grants them.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole::releases::{EngineDetails, RightState};
use serde_json::json;

use super::control_client::CommandError;
use super::engine_control::EngineControl;
use super::{FAILED, MissingData, WRONG_USE, print_json};

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
    /// Print JSON; grants only with --yes
    #[arg(long)]
    json: bool,
}

/// Shows the permissions and makes the requested change. Returns the exit code.
pub(crate) async fn grant(config: &Config, arguments: EngineGrant) -> Result<u8, CommandError> {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let missing = if arguments.yes || is_terminal {
        MissingData::Create
    } else {
        MissingData::Temporary
    };
    let control = EngineControl::open(config, missing).await?;
    let EngineGrant {
        engine,
        yes,
        allow,
        deny,
        json,
    } = &arguments;
    if !allow.is_empty() || !deny.is_empty() {
        let changed = control.change_requests(engine, allow, deny).await;
        changed.map_err(|error| CommandError {
            code: WRONG_USE,
            ..error
        })?;
        if *json {
            print_json(&control.details(engine).await?.rights)?;
        } else {
            print_changes(allow, deny);
        }
        return Ok(0);
    }
    let details = control.details(engine).await?;
    if !json {
        print_rights(&details);
    }
    let Some(pending) = &details.pending else {
        if *json {
            print_json(&json!({"granted": null, "rights": details.rights}))?;
        } else {
            println!("nothing to grant");
        }
        return Ok(0);
    };
    if !yes && *json {
        print_json(&json!({"pending": pending, "rights": details.rights}))?;
        return Ok(FAILED);
    }
    if !yes && !confirm()? {
        return Ok(FAILED);
    }
    let report = control.approve(engine, &pending.digest).await?;
    if *json {
        print_json(&json!({"granted": report, "rights": details.rights}))?;
    } else {
        println!("granted; version {} serves", report.version);
    }
    Ok(0)
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

/// Prints a line for each right: `=` is declared and granted, `+` is declared and not granted, `!` is
/// declared and denied, `-` is granted and no longer declared.
fn print_rights(details: &EngineDetails) {
    println!("engine {}", details.engine.name);
    match &details.granted {
        Some(granted) => println!("  granted   sha256:{} ({})", granted.digest, granted.file),
        None => println!("  granted   nothing"),
    }
    if let Some(pending) = &details.pending {
        println!("  pending   sha256:{} ({})", pending.digest, pending.file);
        if !pending.previous_engine.is_empty() {
            let previous = &pending.previous_engine;
            println!("  previous  engine {previous}, in the same file");
        }
    }
    for right in &details.rights {
        let mark = match right.state {
            RightState::Granted => '=',
            RightState::New => '+',
            RightState::Denied => '!',
            RightState::Unused => '-',
        };
        println!("{mark} {}", right.right);
    }
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
