//! Secrets that change while the server runs, such as OAuth tokens.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Redactor, WINDOW_BYTES};

/// Secrets that are searched: the newest, and earlier ones that may still be valid.
const MAX_SECRETS: usize = 3;

/// A list of secrets that its owner extends. Clones share it.
#[derive(Clone, Default)]
pub struct LiveSecrets(Arc<RwLock<VecDeque<Arc<Redactor>>>>);

impl LiveSecrets {
    /// Adds a secret. The oldest is removed if they are too many.
    pub(crate) fn push(&self, secret: &str) {
        // Google pads tokens with dots, which text contains too.
        let is_padding = |window: &[u8]| window.iter().all(|byte| window.first() == Some(byte));
        let redactor = Redactor::with_windows([secret], WINDOW_BYTES, |window| !is_padding(window));
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        secrets.push_front(Arc::new(redactor));
        secrets.truncate(MAX_SECRETS);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    /// One redactor for each secret.
    pub(super) fn current(&self) -> Vec<Arc<Redactor>> {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().cloned().collect()
    }
}

impl std::fmt::Debug for LiveSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LiveSecrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_secrets_are_found_from_the_moment_that_they_are_known() {
        let live = LiveSecrets::default();
        let redactor = Redactor::new(["first-secret"]).with_live([live.clone()]);
        let token = "ya29.c0AXy-Zb_19Qk........................";
        assert_eq!(redactor.redact_text(token), token);
        live.push(token);
        assert_eq!(redactor.redact_text("ya29.c0AXy-Zb_19Qk"), "*".repeat(18));
        assert_eq!(
            redactor.redact_text("wait ............ first-secret"),
            "wait ............ ************"
        );
        for encoded in [
            base64_simd::STANDARD.encode_to_string(token),
            token.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        ] {
            assert!(redactor.finds_secret(encoded.as_bytes()), "{encoded}");
        }
        live.push("second-token-1234");
        assert!(redactor.finds_secret(token.as_bytes()));
        assert!(redactor.finds_secret(b"second-token-1234"));
        for number in 0..MAX_SECRETS {
            live.push(&format!("{number}-other-token"));
        }
        assert!(!redactor.finds_secret(token.as_bytes()));
        assert!(!Redactor::default().with_live([live.clone()]).is_empty());
        assert_eq!(format!("{live:?}"), "LiveSecrets");
    }
}
