//! Validation of JSON values against the schemas of the document.

use serde_json::Value;

/// The violations in a value, each with its position; empty for a valid value.
pub(super) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "$", &mut found);
    found
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(path) = schema["$ref"].as_str() {
        let pointed = path
            .strip_prefix('#')
            .and_then(|path| document.pointer(path));
        match pointed {
            Some(target) => check(document, target, value, at, found),
            None => found.push(format!("{at}: the document has no {path}")),
        }
        return;
    }
    for one in ["oneOf", "anyOf"] {
        let Some(options) = schema[one].as_array() else {
            continue;
        };
        let wrong: Vec<_> = options
            .iter()
            .map(|option| faults(document, option, value))
            .collect();
        let fitting = wrong.iter().filter(|wrong| wrong.is_empty()).count();
        if fitting == 0 || (one == "oneOf" && fitting > 1) {
            found.push(format!("{at}: {fitting} of {one} fit: {wrong:?}"));
        }
    }
    let parts: Vec<_> = schema["allOf"].as_array().into_iter().flatten().collect();
    if !parts.is_empty() {
        // Each part has some of the fields.
        let known = parts.iter().flat_map(|part| field_names(document, part));
        let known: Vec<String> = known.map(|name| unknown_field(at, name)).collect();
        for part in parts {
            let mut wrong = Vec::new();
            check(document, part, value, at, &mut wrong);
            found.extend(wrong.into_iter().filter(|it| !known.contains(it)));
        }
    }
    if !types(schema).is_empty() && !types(schema).iter().any(|kind| is(value, kind)) {
        found.push(format!("{at}: {value} is not {}", schema["type"]));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        found.push(format!("{at}: {value} is none of {values:?}"));
    }
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < least
    {
        found.push(format!("{at}: {number} is less than {least}"));
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), value.as_f64())
        && number > most
    {
        found.push(format!("{at}: {number} is more than {most}"));
    }
    if let (Some(item), Some(items)) = (schema.get("items"), value.as_array()) {
        for (index, element) in items.iter().enumerate() {
            check(document, item, element, &format!("{at}[{index}]"), found);
        }
    }
    let Some(object) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        if !object.contains_key(name) {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in object {
        match properties.get(name) {
            Some(property) => check(document, property, field, &format!("{at}.{name}"), found),
            // A field that is in the response but not in the schema is a mistake in the document.
            None if schema["additionalProperties"].is_null() => {
                found.push(unknown_field(at, name));
            }
            None => {}
        }
    }
}

fn unknown_field(at: &str, name: &str) -> String {
    format!("{at}: the document does not know {name}")
}

/// The names of an object's fields.
fn field_names<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a str> {
    let target = schema["$ref"].as_str().and_then(|path| {
        let path = path.strip_prefix('#')?;
        document.pointer(path)
    });
    let schema = target.unwrap_or(schema);
    let own = schema["properties"].as_object().into_iter().flatten();
    let parts = schema["allOf"].as_array().into_iter().flatten();
    own.map(|(name, _)| name.as_str())
        .chain(parts.flat_map(|part| field_names(document, part)))
        .collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "array" => value.is_array(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        "string" => value.is_string(),
        other => panic!("the document has a type {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, value: Value, expected: usize) {
        let document = json!({"components": {"schemas": {"N": {"type": "integer", "minimum": 1}}}});
        let found = faults(&document, &schema, &value);
        assert_eq!(found.len(), expected, "{schema} {value}: {found:?}");
    }

    #[test]
    fn faults_finds_values_that_violate_the_schema() {
        let part =
            |name: &str| json!({"type": "object", "properties": {name: {"type": "integer"}}});
        let both = json!({"allOf": [part("a"), part("b")]});
        check(both.clone(), json!({"a": 1, "b": 2}), 0);
        check(both.clone(), json!({"a": 1, "b": "x"}), 1);
        check(both, json!({"a": 1, "c": 2}), 2);
        let number = json!({"$ref": "#/components/schemas/N"});
        check(number.clone(), json!(1), 0);
        check(number.clone(), json!(0), 1);
        check(number.clone(), json!("1"), 1);
        check(json!({"$ref": "#/components/schemas/M"}), json!(1), 1);
        let list = json!({"type": "array", "items": number});
        check(list.clone(), json!([1, 2]), 0);
        check(list, json!([1, 0, "x"]), 2);
        let object = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": ["string", "null"]}}});
        check(object.clone(), json!({"a": null}), 0);
        check(object.clone(), json!({}), 1);
        check(object.clone(), json!({"a": "x", "b": 1}), 1);
        check(object, json!({"a": 5}), 1);
        let either = json!({"oneOf": [{"type": "string"}, {"enum": [1]}]});
        check(either.clone(), json!("x"), 0);
        check(either.clone(), json!(1), 0);
        check(either, json!(2), 1);
        check(json!({}), json!({"anything": true}), 0);
    }
}
