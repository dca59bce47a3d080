//! Secrets that an upstream repeats: kept from the guest, and from whoever reads what it says.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use serde_json::Number;

use pinhole_ground::audit::{AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;
use pinhole_egress::Redactor;

/// Takes secrets out of what passes between one call's guest and everybody else. `place` is always
/// the check of where it passes.
pub(crate) struct Echo {
    redactor: Arc<Redactor>,
    audit: AuditLog,
    engine: String,
    job: String,
    noted: Cell<bool>,
}

impl Echo {
    pub(super) fn new(redactor: Arc<Redactor>, audit: AuditLog, engine: &str, job: &str) -> Self {
        Self {
            redactor,
            audit,
            engine: engine.to_owned(),
            job: job.to_owned(),
            noted: Cell::new(false),
        }
    }

    /// The text, with a `*` for each byte of a secret.
    pub(super) fn text<'a>(&self, text: &'a str, place: Guard) -> Cow<'a, str> {
        if !place.holds() {
            return Cow::Borrowed(text);
        }
        let redacted = self.redactor.text(text);
        self.note(matches!(redacted, Cow::Owned(_)));
        redacted
    }

    /// The part of the bytes that exists, with a `*` for each byte of a secret.
    pub(super) fn part<'a>(
        &self,
        bytes: &'a [u8],
        offset: u64,
        length: u32,
        place: Guard,
    ) -> Cow<'a, [u8]> {
        let length = length as usize;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let start = start.min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        if !place.holds() {
            return Cow::Borrowed(bytes.get(start..end).unwrap_or_default());
        }
        let redacted = self.redactor.part(bytes, start..end);
        self.note(matches!(redacted, Cow::Owned(_)));
        redacted
    }

    /// The text of a number that holds a secret, with `*` for its digits.
    pub(super) fn number(&self, number: &Number, place: Guard) -> Option<String> {
        let redacted = self.redactor.number(number).filter(|_| place.holds());
        self.note(redacted.is_some());
        redacted
    }

    /// JSON text whose strings, names and numbers hold no secret.
    pub(super) fn json(&self, text: String, place: Guard) -> String {
        let redacted = self.redactor.json(&text).filter(|_| place.holds());
        self.note(redacted.is_some());
        redacted.unwrap_or(text)
    }

    /// Is a secret in there? Whoever asks leaves out what it was in.
    pub(super) fn finds(&self, bytes: &[u8]) -> bool {
        let found = self.redactor.finds(bytes);
        self.note(found);
        found
    }

    /// Once a call: whoever repeats a secret once does so again.
    fn note(&self, found: bool) {
        if !found || self.noted.replace(true) {
            return;
        }
        let what = format!(
            "engine {}: a secret of its settings came back, and was blotted out",
            self.engine
        );
        self.audit.record(&Event { kind: RefusalKind::Secret, guard: None, engine: &self.engine, job: &self.job, message: &what });
    }
}
