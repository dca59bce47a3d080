//! A case: one attack, and what must hold when it is carried out.

use std::fmt;

use anyhow::Result;
use futures_util::future::BoxFuture;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

use crate::attacks::{ATTACKS, Attack};
use crate::target::AttackTarget;

/// Carries out an attack. The error describes how it succeeded.
pub(crate) type RunAttack = for<'a> fn(&'a AttackTarget) -> BoxFuture<'a, Result<()>>;

/// One attack, and what must hold.
pub struct AttackCase {
    /// The id of its [`Attack`] and its subject, such as `N4-loopback`.
    pub name: &'static str,
    /// What must hold, in one sentence.
    pub guarantee: &'static str,
    /// The guards without which the attack succeeds.
    pub guards: &'static [Guard],
    /// The entry that the audit log must get.
    pub audit_entry: Option<ExpectedEntry>,
    /// The servers that the case can attack.
    pub requirement: Requirement,
    pub(crate) run: RunAttack,
}

/// An entry of the audit log that a case expects.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedEntry {
    pub kind: RefusalKind,
    /// The entry must name one of these guards; any if empty.
    pub guards: &'static [Guard],
}

/// What a case needs from the server that it attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The engine `hostile`.
    HostileEngine,
    /// Nothing.
    AnyServer,
    /// A server that the suite started, because the case needs short timeouts, the process or its log.
    OwnServer,
}

impl AttackCase {
    /// A case that needs the engine `hostile` and expects no entry of the audit log.
    pub(crate) const fn new(name: &'static str, guarantee: &'static str, run: RunAttack) -> Self {
        Self {
            name,
            guarantee,
            guards: &[],
            audit_entry: None,
            requirement: Requirement::HostileEngine,
            run,
        }
    }

    pub(crate) const fn guarded_by(self, guards: &'static [Guard]) -> Self {
        Self { guards, ..self }
    }

    /// Expects an entry of this kind in the audit log, with one of the guards named so far.
    pub(crate) const fn audited_as(self, kind: RefusalKind) -> Self {
        let guards = self.guards;
        self.audited_by(kind, guards)
    }

    /// Expects an entry of this kind in the audit log, with one of these guards: they refuse, and the
    /// case's own guards only make them detect the attack.
    pub(crate) const fn audited_by(self, kind: RefusalKind, guards: &'static [Guard]) -> Self {
        Self {
            audit_entry: Some(ExpectedEntry { kind, guards }),
            ..self
        }
    }

    pub(crate) const fn on_any_server(self) -> Self {
        Self {
            requirement: Requirement::AnyServer,
            ..self
        }
    }

    pub(crate) const fn on_own_server(self) -> Self {
        Self {
            requirement: Requirement::OwnServer,
            ..self
        }
    }

    /// The attack that this case is an instance of.
    #[must_use]
    pub fn attack(&self) -> Option<&'static Attack> {
        let id = self.name.split('-').next().unwrap_or_default();
        ATTACKS.iter().find(|attack| attack.id == id)
    }
}

/// The verdict on a case.
pub struct CaseReport {
    pub case: &'static AttackCase,
    pub verdict: Verdict,
}

/// How an attack ended.
pub enum Verdict {
    /// The attack failed.
    Blocked,
    /// The attack succeeded, or the case could not be carried out. The text says why.
    Failed(String),
    /// The case was not tried. The text says why.
    Skipped(String),
}

impl fmt::Display for CaseReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttackCase {
            name, guarantee, ..
        } = self.case;
        // `tests/switch-off` parses these prefixes.
        match &self.verdict {
            Verdict::Blocked => write!(formatter, "held     {name}: {guarantee}"),
            Verdict::Skipped(reason) => write!(formatter, "skipped  {name}: {reason}"),
            Verdict::Failed(reason) => {
                write!(formatter, "FAILED   {name}: {guarantee}\n    {reason}")
            }
        }
    }
}
