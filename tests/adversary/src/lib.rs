//! Named attacks against a running server. Each must fail.
//!
//! An [`AttackCase`] is one attack: a hostile job (the prompt of engine `hostile` selects how it misbehaves),
//! a hostile upstream on loopback, a hostile component or a hostile client. Each class of attacks has its own
//! file, and its cases are ordered by number:
//!
//! | file | class |
//! |---|---|
//! | `resource` | R: an engine uses more than its share |
//! | `artifact` | M: a file that is not a component, or a component that misdescribes itself |
//! | `network` | N: the destination of a connection |
//! | `message` | H: requests and responses |
//! | `secret` | S: what an engine, an upstream or a user must not learn |
//! | `image` | I: images that reach a client |
//! | `text` | I: texts that reach a client |
//! | `access`, `fairness`, `storage`, `accounts`, `held_memory` | T: what users and clients do to a server |
//!
//! A case gets the `AttackTarget`: the server under attack with a client for it, the upstream of engine
//! `hostile`, whose responses the case scripts, a second upstream (`trap`) that no connection may reach, and
//! the directory of hostile components. A case fails with an error that describes how the attack succeeded.
//! After each case the runner checks what must always hold: no connection reached the trap, the engine
//! `sketch` still generates images, and the audit log has the entry that the case [expects](AttackCase::audit_entry),
//! with the name of the guard that refused.
//!
//! To add a case: add an [`AttackCase`] to the table of its class, name the [`Guard`]s without which the attack
//! succeeds, and run it with `cargo xtask adversary --case NAME`.
//!
//! [`Guard`]: pinhole_ground::guard::Guard

mod access;
mod accounts;
mod artifact;
mod attacks;
mod case;
mod fairness;
mod held_memory;
mod image;
mod message;
mod network;
mod resource;
mod runner;
mod secret;
mod storage;
mod target;
mod text;
mod tls_upstream;
mod wasi_guest;
mod web_socket;

use std::path::PathBuf;

pub use attacks::{ATTACKS, Attack, AttackClass, CLASSES};
pub use case::{AttackCase, CaseReport, ExpectedEntry, Requirement, Verdict};
pub use runner::run;

/// What to attack, and with which cases.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only cases whose names start with one of these; all if empty.
    pub cases: Vec<String>,
    /// The program `pinhole`.
    pub program: PathBuf,
    /// The directory of hostile components.
    pub components: PathBuf,
    /// The server to attack; without one, the suite starts its own.
    pub against: Option<InstalledServer>,
}

/// A server that runs already.
#[derive(Clone, Debug)]
pub struct InstalledServer {
    pub url: String,
    /// An administrator's key.
    pub key: String,
}

/// All cases, ordered by class and number.
pub fn cases() -> impl Iterator<Item = &'static AttackCase> {
    let classes = [
        resource::CASES,
        artifact::CASES,
        network::CASES,
        message::CASES,
        secret::CASES,
        image::CASES,
        text::CASES,
        held_memory::CASES,
        access::CASES,
        storage::CASES,
        fairness::CASES,
        accounts::CASES,
    ];
    classes.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn case_names_are_unique_and_belong_to_an_attack() {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(names.insert(case.name), "{} occurs twice", case.name);
            assert!(case.attack().is_some(), "{} has no attack", case.name);
            assert!(!case.guarantee.ends_with('.'), "{}", case.name);
        }
    }

    #[test]
    fn suite_has_at_least_as_many_cases_as_before() {
        assert!(cases().count() >= 175);
    }
}
