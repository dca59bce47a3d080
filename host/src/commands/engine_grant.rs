//! `pinhole engine grant`: shows the permissions that an engine declares, and grants them.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use pinhole::config::Config;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::grant::{FirstUse, Grant, RequestRule, Right};
use pinhole_sandbox::{Component, Engines, PendingApproval};

use super::{CommandConfig, FAILED, MissingData, WRONG_USE};

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
    let options = config.engine_options(AuditLog::default(), Decoder::default());
    let engines = Engines::open(&options).await?;
    let name = &arguments.engine;
    let components = Components {
        served: engines.get(name).map(|component| &**component),
        pending: engines.pending().iter().find(|it| it.engine == *name),
    };
    if components.served.is_none() && components.pending.is_none() {
        eprintln!(
            "pinhole: unknown engine {name}: {}",
            known_engines(&engines)
        );
        return Ok(WRONG_USE);
    }
    if !arguments.allow.is_empty() || !arguments.deny.is_empty() {
        return Ok(match change(&engines, &arguments, components) {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("pinhole: {why}");
                WRONG_USE
            }
        });
    }
    print_rights(&engines, name, components)?;
    let Some(pending) = components.pending else {
        println!("nothing to grant");
        return Ok(0);
    };
    if !arguments.yes && !confirm()? {
        return Ok(FAILED);
    }
    if let Err(why) = engines.approve(pending) {
        eprintln!("pinhole: {} {why}", pending.file);
        return Ok(FAILED);
    }
    println!("granted; restart the server to apply");
    Ok(0)
}

/// The names of all engines and the rejected files, for the error about an unknown engine.
fn known_engines(engines: &Engines) -> String {
    let mut names: BTreeSet<&str> = engines
        .admitted()
        .map(|component| component.description.name.as_str())
        .collect();
    names.extend(engines.pending().iter().map(|it| it.engine.as_str()));
    let mut text = if names.is_empty() {
        "there are no engines".to_owned()
    } else {
        let names: Vec<_> = names.into_iter().collect();
        format!("use one of {}", names.join(", "))
    };
    for rejected in engines.rejected_files() {
        text.push_str(&format!("; {} {}", rejected.file, rejected.reason));
    }
    text
}

/// Prints a line for each right: `=` is declared and granted, `+` is declared and not granted, `!` is
/// declared and denied, `-` is granted and no longer declared.
fn print_rights(engines: &Engines, name: &str, components: Components<'_>) -> Result<()> {
    let grant = load_grant(engines, name)?;
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

fn load_grant(engines: &Engines, name: &str) -> Result<Grant> {
    let grant = engines.grants().load(name).map_err(anyhow::Error::msg)?;
    Ok(grant.unwrap_or_default())
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

/// Allows and denies requests. The error is one sentence.
fn change(
    engines: &Engines,
    arguments: &EngineGrant,
    components: Components<'_>,
) -> Result<(), String> {
    let name = &arguments.engine;
    let grant = engines.grants().load(name);
    let Some(mut grant) = grant.map_err(|refusal| refusal.to_string())? else {
        return Err(format!(
            "engine {name} has no grant yet: run `pinhole engine grant {name}` first"
        ));
    };
    let mut known = grant.denies.clone();
    known.extend(
        components
            .served
            .iter()
            .flat_map(|it| it.declared_rights.clone()),
    );
    known.extend(
        components
            .pending
            .iter()
            .flat_map(|it| it.declared_rights.clone()),
    );
    for text in &arguments.allow {
        let right = parse_request(text, name, &known)?;
        grant.denies.remove(&right);
        println!("= {right}");
        grant.allows.insert(right);
    }
    for text in &arguments.deny {
        let right = parse_request(text, name, &known)?;
        grant.allows.remove(&right);
        println!("! {right}");
        grant.denies.insert(right);
    }
    engines.grants().save(name, &grant)?;
    println!("changed; restart the server to apply");
    Ok(())
}

/// Parses a request such as `api POST /images/`. Fails unless it is known.
fn parse_request(text: &str, engine: &str, known: &BTreeSet<Right>) -> Result<Right, String> {
    let right = text.split_once(' ').and_then(|(upstream, request)| {
        Some(Right::Request {
            upstream: upstream.to_owned(),
            request: RequestRule::parse(request).ok()?,
        })
    });
    if let Some(right) = right
        && known.contains(&right)
    {
        return Ok(right);
    }
    let requests: Vec<_> = known
        .iter()
        .filter(|it| matches!(it, Right::Request { .. }))
        .map(|it| format!("'{it}'"))
        .collect();
    Err(format!(
        "engine {engine} does not declare {text:?}: its requests are {}",
        requests.join(", ")
    ))
}
