//! `pinhole engine grant`: shows what an engine declares and what it is granted, and accepts the
//! difference.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use pinhole::app;
use pinhole::config::Config;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::{Component, Engines, PendingApproval};
use pinhole_sandbox::grant::{RequestRule, FirstUse, Grant, Right};

use crate::{FAILED, WRONG_USE};

/// What a changed grant means to a server that runs.
const WHEN: &str = "it holds from the next start of the server on";

/// What `pinhole engine grant` is told.
#[derive(Args)]
pub(crate) struct EngineGrant {
    /// The engine's name
    engine: String,
    /// Accept what is shown without being asked
    #[arg(long)]
    yes: bool,
    /// Give a request back that was taken away, such as 'api POST /images/'; may be repeated
    #[arg(long, value_name = "UPSTREAM METHOD PREFIX")]
    allow: Vec<String>,
    /// Take a request away that the engine declares; may be repeated
    #[arg(long, value_name = "UPSTREAM METHOD PREFIX")]
    deny: Vec<String>,
}

/// Shows, and changes what was asked for. The exit code.
pub(crate) async fn grant(config: &Config, asked: EngineGrant) -> Result<u8> {
    // Looking at an engine grants it nothing.
    let config = Config {
        first_use: FirstUse::Explicit,
        ..app::as_changed(config).await?
    };
    let engines = Engines::open(&config.engine_options(AuditLog::default(), Decoder::default())).await?;
    let name = &asked.engine;
    let served = engines.get(name).map(|it| &**it);
    let pending = engines.pending().iter().find(|it| it.engine == *name);
    if served.is_none() && pending.is_none() {
        eprintln!("pinhole: there is no engine {name}: {}", absent(&engines));
        return Ok(WRONG_USE);
    }
    if !asked.allow.is_empty() || !asked.deny.is_empty() {
        return Ok(match change(&engines, &asked, served, pending) {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("pinhole: {why}");
                WRONG_USE
            }
        });
    }
    show(&engines, name, served, pending)?;
    let Some(pending) = pending else {
        println!("nothing waits to be granted");
        return Ok(0);
    };
    if !asked.yes && !agreed()? {
        return Ok(FAILED);
    }
    if let Err(why) = engines.approve(pending) {
        eprintln!("pinhole: {} {why}", pending.file);
        return Ok(FAILED);
    }
    println!("granted: {WHEN}");
    Ok(0)
}

/// What there is instead.
fn absent(engines: &Engines) -> String {
    let named = engines.admitted().map(|it| it.description.name.clone());
    let mut names: BTreeSet<String> = named.collect();
    names.extend(engines.pending().iter().map(|it| it.engine.clone()));
    let refused = engines.rejected_files().iter();
    let refused = refused.map(|it| format!("; {} {}", it.file, it.reason));
    match names.is_empty() {
        true => format!("there is none{}", refused.collect::<String>()),
        false => {
            let names: Vec<_> = names.into_iter().collect();
            format!(
                "there is {}{}",
                names.join(", "),
                refused.collect::<String>()
            )
        }
    }
}

/// One line for each right: `+` is declared and not granted, `-` is granted and no longer declared,
/// `!` was taken away, and `=` is both declared and granted.
fn show(
    engines: &Engines,
    name: &str,
    served: Option<&Component>,
    pending: Option<&PendingApproval>,
) -> Result<()> {
    let grant = granted(engines, name)?;
    let declared = match (pending, served) {
        (Some(pending), _) => &pending.declared_rights,
        (None, Some(served)) => &served.declared_rights,
        (None, None) => return Ok(()),
    };
    println!("engine {name}");
    match grant.digest.is_empty() {
        true => println!("  granted   nothing yet"),
        false => println!("  granted   sha256:{} ({})", grant.digest, grant.file),
    }
    if let Some(pending) = pending {
        println!("  pending   sha256:{} ({})", pending.digest, pending.file);
        if let Some(was) = &pending.previous_engine {
            println!(
                "  was       engine {was}, which {} was until now",
                pending.file
            );
        }
    }
    for right in declared.union(&grant.allows) {
        let included = |list: &BTreeSet<Right>| list.iter().any(|it| it.includes(right));
        let mark = match (declared.contains(right), included(&grant.denies)) {
            (false, _) => '-',
            (true, true) => '!',
            (true, false) if included(&grant.allows) => '=',
            (true, false) => '+',
        };
        println!("{mark} {right}");
    }
    Ok(())
}

fn granted(engines: &Engines, name: &str) -> Result<Grant> {
    let grant = engines.grants().load(name).map_err(anyhow::Error::msg)?;
    Ok(grant.unwrap_or_default())
}

/// Asks a person. Where there is none to ask, says what to do.
fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        eprintln!(
            "pinhole: nothing is granted: look at the lines with +, and add --yes to accept them"
        );
        return Ok(false);
    }
    print!("accept? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        println!("nothing is granted");
    }
    Ok(agreed)
}

/// Gives requests back and takes requests away; nothing else changes. The error is one sentence.
fn change(
    engines: &Engines,
    asked: &EngineGrant,
    served: Option<&Component>,
    pending: Option<&PendingApproval>,
) -> Result<(), String> {
    let name = &asked.engine;
    let Some(mut grant) = engines.grants().load(name).map_err(|refusal| refusal.to_string())? else {
        return Err(format!(
            "engine {name} is granted nothing yet: grant it with: pinhole engine grant {name}"
        ));
    };
    let declared = served.iter().flat_map(|it| &it.declared_rights);
    let declared = declared.chain(pending.iter().flat_map(|it| &it.declared_rights));
    let known: BTreeSet<Right> = declared.chain(&grant.denies).cloned().collect();
    for text in &asked.allow {
        let right = request(text, name, &known)?;
        grant.denies.remove(&right);
        println!("= {right}");
        grant.allows.insert(right);
    }
    for text in &asked.deny {
        let right = request(text, name, &known)?;
        grant.allows.remove(&right);
        println!("! {right}");
        grant.denies.insert(right);
    }
    engines.grants().save(name, &grant)?;
    println!("changed: {WHEN}");
    Ok(())
}

/// A request that the engine declares, from `api POST /images/`.
fn request(text: &str, engine: &str, known: &BTreeSet<Right>) -> Result<Right, String> {
    let asked = text.split_once(' ').and_then(|(upstream, request)| {
        Some(Right::Request {
            upstream: upstream.to_owned(),
            request: RequestRule::parse(request).ok()?,
        })
    });
    match asked.filter(|right| known.contains(right)) {
        Some(right) => Ok(right),
        None => {
            let requests = known.iter();
            let requests = requests.filter(|right| matches!(right, Right::Request { .. }));
            let requests: Vec<_> = requests.map(|right| format!("'{right}'")).collect();
            Err(format!(
                "engine {engine} does not declare {text:?}; it declares {}",
                requests.join(", ")
            ))
        }
    }
}
