//! The node mapping of a ComfyUI workflow, as Open WebUI's form submits it.
//!
//! The form knows some types of entries. It submits exactly one entry for each of them, without nodes
//! if the setting has none. The engine finds the nodes of such an entry itself.

use std::collections::BTreeSet;

use serde_json::Value;

/// The types of the form's entries, for generating and for editing.
const FORM_TYPES: [&[&str]; 2] = [
    &["prompt", "model", "width", "height", "steps", "seed"],
    &["image", "prompt", "model", "width", "height"],
];

/// The submitted entries; none if no entry names a node. If they come from the form, the displayed entries
/// of types that the form does not know are added.
pub(super) fn complete_nodes(submitted: Vec<Value>, displayed: &[Value]) -> Vec<Value> {
    let types: BTreeSet<&str> = submitted.iter().map(entry_type).collect();
    let form = FORM_TYPES.iter().find(|form| {
        submitted.len() == form.len() && form.iter().all(|entry| types.contains(entry))
    });
    let is_unknown = |entry: &&Value| form.is_some_and(|form| !form.contains(&entry_type(entry)));
    let unknown: Vec<Value> = displayed.iter().filter(is_unknown).cloned().collect();
    if unknown.is_empty() && !submitted.iter().any(names_node) {
        return Vec::new();
    }
    submitted.into_iter().chain(unknown).collect()
}

fn names_node(entry: &Value) -> bool {
    !node_ids(entry).is_empty()
}

/// Are both lists equal? The form submits ids of nodes as strings, and entries in its own order, also
/// those without nodes.
pub(super) fn has_same_nodes(left: &[Value], right: &[Value]) -> bool {
    let canonical = |entries: &[Value]| {
        let named = entries.iter().filter(|entry| names_node(entry));
        let mut texts: Vec<String> = named.map(canonical_entry).collect();
        texts.sort();
        texts
    };
    canonical(left) == canonical(right)
}

fn canonical_entry(entry: &Value) -> String {
    let mut entry = entry.clone();
    let ids = node_ids(&entry);
    if let Value::Object(members) = &mut entry {
        members.insert("node_ids".to_owned(), ids.into());
        members.retain(|_, member| !member.is_null() && member != "");
    }
    entry.to_string()
}

fn entry_type(entry: &Value) -> &str {
    entry
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn node_ids(entry: &Value) -> Vec<String> {
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

    /// The entries that the form submits for a displayed list.
    fn form(displayed: &[Value]) -> Vec<Value> {
        let entry = |name: &&str| {
            let found = displayed.iter().find(|entry| entry_type(entry) == *name);
            let ids = found.map(node_ids).unwrap_or_default();
            let key = found.map_or(json!("text"), |found| found["key"].clone());
            json!({"type": name, "key": key, "node_ids": ids})
        };
        FORM_TYPES[0].iter().map(entry).collect()
    }

    #[test]
    fn unchanged_form_equals_displayed_nodes() {
        for displayed in [
            json!([]),
            json!([{"type": "prompt", "node_ids": [6], "key": "text"}]),
            json!([{"type": "seed", "node_ids": ["3", 4]}, {"type": "prompt", "node_ids": ["6"], "key": "text"}]),
            json!([{"type": "negative_prompt", "node_ids": ["7"]}, {"key": "cfg", "value": 3, "node_ids": ["3"]}]),
        ] {
            let displayed = list(displayed);
            let submitted = complete_nodes(form(&displayed), &displayed);
            assert!(
                has_same_nodes(&submitted, &displayed),
                "{displayed:?} became {submitted:?}"
            );
        }
    }

    #[test]
    fn nodes_of_another_client_replace_displayed_nodes() {
        let displayed = list(json!([{"type": "negative_prompt", "node_ids": ["7"]}]));
        let submitted = list(json!([{"type": "prompt", "node_ids": ["6"]}]));
        assert_eq!(complete_nodes(submitted.clone(), &displayed), submitted);
        assert_eq!(complete_nodes(Vec::new(), &displayed), Vec::<Value>::new());
        assert!(!has_same_nodes(&submitted, &displayed));
        let other = list(json!([{"type": "prompt", "node_ids": ["5"]}]));
        assert!(!has_same_nodes(&submitted, &other));
    }
}
