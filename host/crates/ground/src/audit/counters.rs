//! The numbers of refusals since the log was opened.

use std::sync::atomic::{AtomicU64, Ordering};

use super::RefusalKind;
use crate::guard::Guard;
use crate::metrics;

/// The numbers of refusals.
pub(super) struct Counters {
    refusals: ByKind,
    dropped: ByKind,
    /// By kind and guard, in the order of [`RefusalKind::ALL`] and [`Guard::ALL`].
    guards: [[AtomicU64; Guard::ALL.len()]; RefusalKind::ALL.len()],
}

/// In the order of [`RefusalKind::ALL`].
#[derive(Default)]
struct ByKind([AtomicU64; RefusalKind::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self {
            refusals: ByKind::default(),
            dropped: ByKind::default(),
            guards: [const { [const { AtomicU64::new(0) }; Guard::ALL.len()] };
                RefusalKind::ALL.len()],
        }
    }
}

impl Counters {
    pub(super) fn count_refusal(&self, kind: RefusalKind, guard: Option<Guard>) {
        metrics::count_refusal(kind.name());
        self.refusals.increment(kind);
        let of_kind = self.guards.get(kind as usize);
        if let (Some(guard), Some(of_kind)) = (guard, of_kind)
            && let Some(count) = of_kind.get(guard as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a refusal without a line of its own.
    pub(super) fn count_dropped(&self, kind: RefusalKind) {
        metrics::count_dropped_audit_line(kind.name());
        self.dropped.increment(kind);
    }

    pub(super) fn refusals(&self, kind: Option<RefusalKind>) -> u64 {
        self.refusals.sum(kind)
    }

    pub(super) fn dropped(&self, kind: Option<RefusalKind>) -> u64 {
        self.dropped.sum(kind)
    }

    /// The guards that made refusals of a kind, or of all kinds.
    pub(super) fn guards(&self, kind: Option<RefusalKind>) -> impl Iterator<Item = (Guard, u64)> {
        let sum = move |guard: Guard| {
            let kinds = RefusalKind::ALL.into_iter().zip(&self.guards);
            let counts = kinds
                .filter(|(each, _)| kind.is_none_or(|kind| kind == *each))
                .filter_map(|(_, of_kind)| of_kind.get(guard as usize));
            counts.map(|count| count.load(Ordering::Relaxed)).sum()
        };
        let guards = Guard::ALL.iter().map(move |guard| (*guard, sum(*guard)));
        guards.filter(|(_, count)| *count > 0)
    }
}

impl ByKind {
    fn increment(&self, kind: RefusalKind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The count of a kind, or of all kinds.
    fn sum(&self, kind: Option<RefusalKind>) -> u64 {
        RefusalKind::ALL
            .into_iter()
            .zip(&self.0)
            .filter(|(each, _)| kind.is_none_or(|kind| kind == *each))
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum()
    }
}
