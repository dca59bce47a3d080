//! Which nodes of a workflow take what, as Open WebUI's form sends it.
//!
//! The form knows some types of entries and rebuilds its list from those alone, with no nodes where
//! it had none.

use std::collections::BTreeSet;

use serde_json::Value;

/// The types that the form has for generating and for editing.
const TYPES: [&[&str]; 2] = [
    &["prompt", "model", "width", "height", "steps", "seed"],
    &["image", "prompt", "model", "width", "height"],
];

/// What was sent, without entries that name no node; where it is the form's own list, with those
/// entries that were there before and that the form does not know.
pub(super) fn complete(sent: Vec<Value>, shown: &[Value]) -> Vec<Value> {
    let kinds: BTreeSet<&str> = sent.iter().map(kind).collect();
    let form = TYPES
        .iter()
        .find(|types| sent.len() == types.len() && types.iter().all(|kind| kinds.contains(kind)));
    let unknown = |entry: &&Value| form.is_some_and(|types| !types.contains(&kind(entry)));
    let kept: Vec<Value> = shown.iter().filter(unknown).cloned().collect();
    let named = sent.into_iter().filter(|entry| !ids(entry).is_empty());
    named.chain(kept).collect()
}

/// Do both lists say the same? The form sends nodes' ids as texts, and its entries in its own order.
pub(super) fn same(one: &[Value], other: &[Value]) -> bool {
    let plain = |entries: &[Value]| {
        let mut entries: Vec<String> = entries.iter().map(plain).collect();
        entries.sort();
        entries
    };
    plain(one) == plain(other)
}

fn plain(entry: &Value) -> String {
    let mut entry = entry.clone();
    let ids = ids(&entry);
    if let Value::Object(members) = &mut entry {
        members.insert("node_ids".to_owned(), ids.into());
        members.retain(|_, member| !member.is_null() && member != "");
    }
    entry.to_string()
}

fn kind(entry: &Value) -> &str {
    entry
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn ids(entry: &Value) -> Vec<String> {
    let ids = entry.get("node_ids").and_then(Value::as_array);
    let ids = ids.into_iter().flatten().map(|id| match id {
        Value::String(id) => id.trim().to_owned(),
        other => other.to_string(),
    });
    ids.filter(|id| !id.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(value: Value) -> Vec<Value> {
        value.as_array().unwrap().clone()
    }

    /// What the form makes of a list.
    fn form(shown: &[Value]) -> Vec<Value> {
        let entry = |name: &&str| {
            let found = shown.iter().find(|entry| kind(entry) == *name);
            let ids = found.map(ids).unwrap_or_default();
            let key = found.map_or(json!("text"), |found| found["key"].clone());
            json!({"type": name, "key": key, "node_ids": ids})
        };
        TYPES[0].iter().map(entry).collect()
    }

    #[test]
    fn the_form_sent_back_says_what_was_shown() {
        for shown in [
            json!([]),
            json!([{"type": "prompt", "node_ids": [6], "key": "text"}]),
            json!([{"type": "seed", "node_ids": ["3", 4]}, {"type": "prompt", "node_ids": ["6"], "key": "text"}]),
            json!([{"type": "negative_prompt", "node_ids": ["7"]}, {"key": "cfg", "value": 3, "node_ids": ["3"]}]),
        ] {
            let shown = list(shown);
            let sent = complete(form(&shown), &shown);
            assert!(same(&sent, &shown), "{shown:?} became {sent:?}");
        }
    }

    #[test]
    fn what_is_no_form_is_taken_as_it_is() {
        let shown = list(json!([{"type": "negative_prompt", "node_ids": ["7"]}]));
        let sent = list(json!([{"type": "prompt", "node_ids": ["6"]}]));
        assert_eq!(complete(sent.clone(), &shown), sent);
        assert_eq!(complete(Vec::new(), &shown), Vec::<Value>::new());
        assert!(!same(&sent, &shown));
        let other = list(json!([{"type": "prompt", "node_ids": ["5"]}]));
        assert!(!same(&sent, &other));
    }
}
