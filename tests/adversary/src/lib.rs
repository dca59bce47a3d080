//! `pinhole adversary`: named attacks against a running server, each of which must fail.
//!
//! A [`Case`] is one attack: a hostile job (engine `hostile`, whose prompt says how it misbehaves),
//! a hostile upstream on loopback, a hostile component or a hostile client. Cases stand in one file
//! for each class of attack, in the order of their numbers:
//!
//! | file | class |
//! |---|---|
//! | `resource` | R: an engine takes more than its share |
//! | `artifact` | M: a component that is none, or not what it says |
//! | `network` | N: where a connection goes |
//! | `message` | H: what goes over it, and what comes back |
//! | `secret` | S: what an engine, an upstream or a person may not learn |
//! | `picture` | I: pictures that come out |
//! | `words` | I: texts that come out |
//!
//! A case gets the `Arena`: the server under attack and how to ask it, two upstreams of its own
//! (`upstream`, whose replies the case lays out, and `trap`, which nobody may ever reach), and the
//! folder of hostile components. It fails by an error that says what happened. Around each case the
//! runner looks for what must hold always: nobody reached the trap, the engine `sketch` still draws,
//! and the audit log has the line that the case [announces](Case::noted).
//!
//! To write one: add a [`Case`] to the table of its class, name the [`Check`]s whose removal it
//! notices, and try it with `cargo xtask adversary --case NAME`.

mod arena;
mod artifact;
mod attacks;
mod message;
mod network;
mod picture;
mod resource;
mod secret;
mod server;
mod upstream;
mod words;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use pinhole_ground::audit::Kind;
use pinhole_ground::guard::Guard;
use pinhole::config::Config;

use arena::Arena;

pub use attacks::{ATTACKS, Attack, CLASSES};

/// Time that one case may take; an attack that is still under way then has succeeded.
const MAX_CASE: Duration = Duration::from_secs(300);

/// One attack, and what must not come of it.
pub struct Case {
    /// Its class and number, and what it is about, such as `N4-loopback`.
    pub name: &'static str,
    /// One sentence: what must not happen.
    pub must_not: &'static str,
    /// The checks whose removal it notices.
    pub guards: &'static [Guard],
    /// What kind of line the audit log must get.
    pub noted: Option<Kind>,
    /// Against which servers it can be run.
    pub place: Place,
    /// The attack. An error says in which way it succeeded.
    attack: for<'a> fn(&'a Arena) -> BoxFuture<'a, Result<()>>,
}

/// Against which servers a case can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any that has the engine `hostile`.
    Anywhere,
    /// Any at all.
    WithoutEngine,
    /// Only one that the command starts itself: it needs the data folder, short times, or none at all.
    ThrowAway,
}

/// What is asked of the command.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only cases whose names begin so.
    pub cases: Vec<String>,
    /// The folder of hostile components.
    pub components: PathBuf,
    /// An installed server and an administrator's key of it.
    pub against: Option<(String, String)>,
}

/// What came of a case.
pub struct Played {
    /// The case.
    pub case: &'static Case,
    /// How it ended.
    pub verdict: Verdict,
}

/// How a case ended.
pub enum Verdict {
    /// The attack failed.
    Held,
    /// It succeeded, or could not be carried out: why.
    Failed(String),
    /// It was not tried: why.
    Skipped(String),
}

/// All cases, in the order of their classes and numbers.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let classes = [
        resource::CASES,
        artifact::CASES,
        network::CASES,
        message::CASES,
        secret::CASES,
        picture::CASES,
        words::CASES,
    ];
    classes.into_iter().flatten()
}

/// Runs the cases one after another and tells of each.
pub async fn run(config: &Config, options: &Options, mut tell: impl FnMut(Played)) -> Result<()> {
    let wanted = |case: &&Case| {
        let mut begins = options.cases.iter();
        options.cases.is_empty() || begins.any(|begin| case.name.starts_with(begin.as_str()))
    };
    let chosen: Vec<_> = cases().filter(wanted).collect();
    ensure!(
        !chosen.is_empty(),
        "no case begins with {}: `pinhole adversary --list` names them all",
        options.cases.join(" or ")
    );
    let arena = match &options.against {
        None => Arena::throw_away(config, &options.components).await?,
        Some((url, key)) => Arena::installed(config, &options.components, url, key).await?,
    };
    for case in chosen {
        let verdict = match arena.cannot(case) {
            Some(why) => Verdict::Skipped(why),
            None => match play(&arena, case).await {
                Ok(()) => Verdict::Held,
                Err(error) => Verdict::Failed(format!("{error:#}")),
            },
        };
        tell(Played { case, verdict });
    }
    arena.close().await
}

async fn play(arena: &Arena, case: &Case) -> Result<()> {
    arena.begin();
    let noted = match case.noted {
        Some(kind) => Some((kind, arena.refusals(kind).await?)),
        None => None,
    };
    let ended = timeout(MAX_CASE, (case.attack)(arena)).await;
    let restored = arena.restore().await;
    let Ok(ended) = ended else {
        bail!("it was not over after {} seconds", MAX_CASE.as_secs())
    };
    ended?;
    restored?;
    let reached = arena.trap.requests();
    ensure!(
        reached.is_empty() && arena.trap.connections() == 0,
        "what nobody may reach was reached: {reached:?}"
    );
    arena
        .still_draws()
        .await
        .context("afterwards another engine draws no more")?;
    if let Some((kind, before)) = noted {
        let after = arena.refusals(kind).await?;
        ensure!(
            after > before,
            "the audit log has no new line of kind {}",
            kind.name()
        );
    }
    Ok(())
}

impl Case {
    /// The kind of attack it is.
    #[must_use]
    pub fn attack(&self) -> Option<&'static Attack> {
        let id = self.name.split('-').next().unwrap_or_default();
        ATTACKS.iter().find(|attack| attack.id == id)
    }
}

impl fmt::Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Case { name, must_not, .. } = self.case;
        match &self.verdict {
            Verdict::Held => write!(f, "held     {name}: {must_not}"),
            Verdict::Skipped(why) => write!(f, "skipped  {name}: {why}"),
            Verdict::Failed(why) => write!(f, "FAILED   {name}: {must_not}\n    {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_have_names_of_their_own_in_their_class() {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(names.insert(case.name), "{} is there twice", case.name);
            assert!(case.attack().is_some(), "{} is of no known kind", case.name);
            assert!(!case.must_not.ends_with('.'), "{}", case.name);
        }
    }
}
