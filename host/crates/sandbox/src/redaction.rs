//! Redaction: secrets that an upstream reflects never reach the guest, and secrets that a guest returns
//! never reach a reader.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use serde_json::Number;

use pinhole_egress::Redactor;
use pinhole_ground::audit::{Actor, AuditLog, Event, RefusalKind};
use pinhole_ground::guard::Guard;

use crate::job_context::JobContext;

/// Redacts the secrets of one call's settings, with a `*` for each byte.
///
/// Each method takes the guard of the place where the text passes. The first secret found is recorded in the
/// audit log.
pub struct CallRedactor {
    redactor: Arc<Redactor>,
    audit: AuditLog,
    engine: String,
    job: String,
    user: Option<String>,
    is_recorded: Cell<bool>,
}

impl CallRedactor {
    /// A redactor that records what it finds under the names of the engine, the job and its user.
    #[must_use]
    pub fn new(
        redactor: Arc<Redactor>,
        audit: AuditLog,
        engine: &str,
        context: &JobContext,
    ) -> Self {
        Self {
            redactor,
            audit,
            engine: engine.to_owned(),
            job: context.job.clone(),
            user: context.user.clone(),
            is_recorded: Cell::new(false),
        }
    }

    pub(crate) fn redact_text<'a>(&self, text: &'a str, guard: Guard) -> Cow<'a, str> {
        let redacted = self.redactor.redact_text(text);
        if self.applies(matches!(redacted, Cow::Owned(_)), guard) {
            redacted
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Redacts the existing part of a range of the bytes. A secret is found even if the range cuts it.
    pub(crate) fn redact_range<'a>(
        &self,
        bytes: &'a [u8],
        offset: u64,
        length: u32,
        guard: Guard,
    ) -> Cow<'a, [u8]> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let start = offset.min(bytes.len());
        let end = start.saturating_add(length as usize).min(bytes.len());
        let redacted = self.redactor.redact_range(bytes, start..end);
        if self.applies(matches!(redacted, Cow::Owned(_)), guard) {
            redacted
        } else {
            Cow::Borrowed(bytes.get(start..end).unwrap_or_default())
        }
    }

    /// Redacts a number as text; `None` if it contains no secret.
    pub(crate) fn redact_number(&self, number: &Number, guard: Guard) -> Option<String> {
        let redacted = self.redactor.redact_number(number)?;
        self.applies(true, guard).then_some(redacted)
    }

    /// Redacts the strings, keys and numbers of a JSON text.
    pub(crate) fn redact_json(&self, text: String, guard: Guard) -> String {
        match self.redactor.redact_json(&text) {
            Some(redacted) if self.applies(true, guard) => redacted,
            _ => text,
        }
    }

    /// Does the text contain a secret? For a caller that refuses it as a whole.
    pub(crate) fn contains_secret_text(&self, text: &str, guard: Guard) -> bool {
        matches!(self.redact_text(text, guard), Cow::Owned(_))
    }

    /// Do the bytes contain a secret? For a caller that removes them as a whole.
    pub(crate) fn contains_secret(&self, bytes: &[u8], guard: Guard) -> bool {
        let found = self.redactor.finds_secret(bytes);
        if found {
            self.record(guard);
        }
        found
    }

    /// True if a secret was found and the guard is active. Records it.
    fn applies(&self, found: bool, guard: Guard) -> bool {
        let applies = guard.applies(found);
        if applies {
            self.record(guard);
        }
        applies
    }

    /// Records one refusal for each call, because a guest that returns a secret usually repeats it.
    fn record(&self, guard: Guard) {
        if self.is_recorded.replace(true) {
            return;
        }
        let message = format!(
            "engine {}: redacted a secret of its settings that was reflected",
            self.engine
        );
        self.audit.record(&Event {
            kind: RefusalKind::Secret,
            guard: Some(guard),
            actor: Actor::of_job(self.user.as_deref()),
            engine: &self.engine,
            job: &self.job,
            message: &message,
        });
    }
}
