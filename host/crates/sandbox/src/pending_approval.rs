//! A component that waits for an administrator's approval.

use std::collections::BTreeSet;

use crate::grant::Right;

/// A component that serves only after an administrator approves it.
#[derive(Clone, Debug)]
pub struct PendingApproval {
    /// The engine's name.
    pub engine: String,
    /// The name of its file.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// All rights that it declares.
    pub declared_rights: BTreeSet<Right>,
    /// The declared rights that no administrator has allowed or denied.
    pub new_rights: BTreeSet<Right>,
    /// The engine that the same file was before, if it changed its name.
    pub previous_engine: Option<String>,
    /// True if the previously granted component continues to serve.
    pub is_served: bool,
}

impl PendingApproval {
    /// For the operator: what is not granted, and how to review it. Follows the file's name.
    #[must_use]
    pub fn reason(&self) -> String {
        let Self { engine, .. } = self;
        let new_rights: Vec<_> = self
            .new_rights
            .iter()
            .map(|right| format!("+ {right}"))
            .collect();
        let new_name = match &self.previous_engine {
            Some(previous) => format!("the new name {engine} (was {previous}) and "),
            None => String::new(),
        };
        let new_rights = match new_rights.join(", ") {
            none if none.is_empty() => "a new engine".to_owned(),
            rights => format!("new permissions: {rights}"),
        };
        format!(
            "awaiting approval of {new_name}{new_rights}. Review with `pinhole engine grant {engine}`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_approval_names_new_rights_and_previous_engine() {
        let right = Right::DefaultUrl {
            upstream: "api".into(),
            url: "https://draw".into(),
        };
        let mut pending = PendingApproval {
            engine: "draw".into(),
            file: "draw.wasm".into(),
            digest: String::new(),
            declared_rights: [right.clone()].into(),
            new_rights: [right].into(),
            previous_engine: None,
            is_served: false,
        };
        assert_eq!(
            pending.reason(),
            "awaiting approval of new permissions: + api at https://draw, by default. Review with `pinhole engine grant draw`"
        );
        let rights = std::mem::take(&mut pending.new_rights);
        assert!(
            pending
                .reason()
                .starts_with("awaiting approval of a new engine. Review")
        );
        pending.new_rights = rights;
        pending.previous_engine = Some("paint".into());
        assert!(
            pending
                .reason()
                .contains("approval of the new name draw (was paint) and new permissions: +")
        );
    }
}
