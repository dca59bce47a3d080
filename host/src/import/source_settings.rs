//! The settings of an Open WebUI server: one tree in JSON until release 0.6, then a row for each.

use anyhow::{Context, Result};
use pinhole_ground::json_bounds::JsonBounds;
use serde_json::Value;

use crate::store::OpenWebUi;

/// Length of all settings, in bytes of JSON.
const MAX_TREE_BYTES: usize = 16 << 20;
/// Length of one setting, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 2 << 20;
/// Bounds of the tree.
const TREE_BOUNDS: JsonBounds = JsonBounds {
    max_values: 200_000,
    max_depth: 64,
    max_string_bytes: MAX_TREE_BYTES,
};

/// Where settings are read.
pub(super) enum SourceSettings {
    Tree(Value),
    Rows,
}

impl SourceSettings {
    pub(super) async fn read(source: &mut OpenWebUi) -> Result<Self> {
        let failure = "cannot read the settings of the Open WebUI database";
        let columns = source.columns("config").await.context(failure)?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("key") && has("value") {
            return Ok(Self::Rows);
        }
        if !has("data") {
            return Ok(Self::Tree(Value::Null));
        }
        let json = source.config_tree(MAX_TREE_BYTES).await.context(failure)?;
        Ok(Self::Tree(parse(&json.unwrap_or_default())))
    }

    /// The value at a dotted path. `None` if it is not set.
    pub(super) async fn value(&self, source: &mut OpenWebUi, path: &str) -> Result<Option<Value>> {
        if let Self::Tree(tree) = self {
            return Ok(descend(tree, path).cloned());
        }
        // The row may have the whole tree below it.
        for (row_path, rest) in splits(path) {
            let json = source.config_value(row_path, MAX_VALUE_BYTES).await;
            let json = json.context("cannot read the settings of the Open WebUI database")?;
            if let Some(json) = json {
                return Ok(descend(&parse(&json), rest).cloned());
            }
        }
        Ok(None)
    }
}

/// Damaged JSON is as none.
fn parse(json: &str) -> Value {
    if TREE_BOUNDS.check(json.as_bytes()).is_err() {
        return Value::Null;
    }
    serde_json::from_str(json).unwrap_or_default()
}

/// The value below a tree; the tree itself for an empty path.
fn descend<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.').filter(|key| !key.is_empty());
    let value = keys.try_fold(tree, |value, key| value.get(key))?;
    (!value.is_null()).then_some(value)
}

/// A path and its beginnings, the longest first, each with its rest.
fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let dots = path.rmatch_indices('.').map(|(at, _)| at);
    let shorter = dots.filter_map(move |at| Some((path.get(..at)?, path.get(at + 1..)?)));
    std::iter::once((path, "")).chain(shorter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn value_is_found_by_its_path() {
        let tree = json!({"a": {"b": {"c": 1, "d": null}}, "e": false});
        assert_eq!(descend(&tree, "a.b.c"), Some(&json!(1)));
        assert_eq!(descend(&tree, "e"), Some(&json!(false)));
        assert_eq!(descend(&tree, ""), Some(&tree));
        for missing in ["a.b.d", "a.x", "a.b.c.d", "x"] {
            assert_eq!(descend(&tree, missing), None, "{missing}");
        }
        assert_eq!(
            splits("a.b.c").collect::<Vec<_>>(),
            [("a.b.c", ""), ("a.b", "c"), ("a", "b.c")]
        );
        assert_eq!(parse("{"), Value::Null);
    }
}
