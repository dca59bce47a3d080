//! The tokens that a request used.

use serde::Serialize;
use serde_json::Value;

use super::value_at;

/// In tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) total_tokens: u64,
}

impl Usage {
    /// `None` if all counts are missing or 0.
    pub(super) fn from_json(counts: &Value) -> Option<Self> {
        let count = |key| {
            let count = value_at(counts, key);
            let whole = count.and_then(Value::as_u64);
            // Some gateways estimate. The cast saturates.
            whole
                .or_else(|| Some(count?.as_f64()?.round() as u64))
                .unwrap_or(0)
        };
        let usage = Self {
            input_tokens: count("promptTokenCount"),
            output_tokens: count("candidatesTokenCount"),
            total_tokens: count("totalTokenCount"),
        };
        (usage != Self::default()).then_some(usage)
    }

    pub(super) fn saturating_add(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}
