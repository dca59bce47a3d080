//! A secret in a field of each JSON body.
//!
//! The engine assembles the body, and it can contain images of many megabytes. So it is not parsed into values: a scan
//! finds the object that gets the field, and the field is inserted behind its brace. A body in which parsers could
//! disagree about the field is refused: one that has it already, has it twice, or has it in other capitals.

use std::fmt;

use bytes::Bytes;
use pinhole_ground::guard::{Guard, Refusal};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Length of a pointer in bytes.
const MAX_POINTER_BYTES: usize = 128;
/// Names in a pointer.
const MAX_NAMES: usize = 8;

/// A secret, and where it is in a JSON body.
#[derive(Clone)]
pub(super) struct BodyField {
    pub(super) pointer: String,
    names: Vec<String>,
    secret: String,
}

/// Refuses a JSON pointer that cannot point to the field of a credential.
pub fn check_body_pointer(pointer: &str) -> Result<(), String> {
    parse_pointer(pointer).map(drop)
}

/// The JSON body with this secret at a pointer. The error is for the operator.
pub fn insert_body_field(pointer: &str, secret: &str, body: &[u8]) -> Result<Bytes, String> {
    let field = BodyField::new(pointer, secret)?;
    field.insert_into(body).map_err(|refusal| refusal.reason)
}

/// The names of a JSON pointer. The error does not repeat it.
fn parse_pointer(pointer: &str) -> Result<Vec<String>, String> {
    let problem = || {
        format!(
            "the field of a body is a JSON pointer of 1 to {MAX_NAMES} names, such as /extra_data/api_key"
        )
    };
    let names = pointer.strip_prefix('/').ok_or_else(problem)?;
    let names: Option<Vec<String>> = names.split('/').map(unescape).collect();
    let names = names.ok_or_else(problem)?;
    let is_printable = pointer.bytes().all(|byte| byte.is_ascii_graphic());
    let has_length = pointer.len() <= MAX_POINTER_BYTES && names.len() <= MAX_NAMES;
    if !is_printable || !has_length || names.iter().any(String::is_empty) {
        return Err(problem());
    }
    Ok(names)
}

/// A name without the escapes of JSON pointers; `None` if one is invalid.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match part.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Some(text)
}

impl BodyField {
    pub(super) fn new(pointer: &str, secret: &str) -> Result<Self, String> {
        Ok(Self {
            names: parse_pointer(pointer)?,
            pointer: pointer.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// True if one of both fields is in the other, or is the same.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.names.starts_with(&other.names) || other.names.starts_with(&self.names)
    }

    /// The body with this field. Objects that it lacks are added.
    pub(super) fn insert_into(&self, body: &[u8]) -> Result<Bytes, Refusal> {
        let (mut object, mut object_start) = (body, 0);
        let mut names = self.names.as_slice();
        let is_empty = loop {
            let Some((name, inner_names)) = names.split_first() else {
                return Err(self.refuse_body(""));
            };
            let members = scan_object(object, name).map_err(|_| self.refuse_body(name))?;
            Guard::KeyFields.refuse_if(members.is_ambiguous, || self.describe_clash())?;
            match members.value {
                Some(value) if !inner_names.is_empty() => {
                    let inner = value.get().as_bytes();
                    object_start += inner.as_ptr().addr() - object.as_ptr().addr();
                    (object, names) = (inner, inner_names);
                }
                value => {
                    Guard::KeyFields.refuse_if(value.is_some(), || self.describe_clash())?;
                    break members.is_empty;
                }
            }
        };
        let brace = memchr::memchr(b'{', object).unwrap_or_default();
        let (before, after) = body.split_at(object_start + brace + 1);
        let comma: &[u8] = if is_empty { b"" } else { b"," };
        let field = member_text(names, &self.secret);
        Ok([before, field.as_bytes(), comma, after].concat().into())
    }

    fn refuse_body(&self, name: &str) -> Refusal {
        let pointer = &self.pointer;
        let name = if name == self.names.first().map_or("", String::as_str) {
            "it".to_owned()
        } else {
            format!("what contains {name:?} in it")
        };
        format!("the credential is the field {pointer} of a JSON body, but {name} is not an object")
            .into()
    }

    fn describe_clash(&self) -> String {
        let pointer = &self.pointer;
        format!("the body has the field {pointer} that carries the key, so only the server sets it")
    }
}

/// `"a":{"b":"secret"}`
fn member_text(names: &[String], secret: &str) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let opening: Vec<_> = names.iter().map(|name| quote(name) + ":").collect();
    let closing = "}".repeat(names.len().saturating_sub(1));
    format!("{}{}{closing}", opening.join("{"), quote(secret))
}

/// What a scan for one member of an object found.
struct Members<'b> {
    /// The member with this name.
    value: Option<&'b RawValue>,
    /// More than one member, or one in other capitals, which some parsers ignore.
    is_ambiguous: bool,
    /// The object has no member at all.
    is_empty: bool,
}

fn scan_object<'b>(text: &'b [u8], name: &str) -> serde_json::Result<Members<'b>> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = deserializer.deserialize_map(ObjectScan { name })?;
    deserializer.end()?;
    Ok(members)
}

struct ObjectScan<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for ObjectScan<'_> {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            value: None,
            is_ambiguous: false,
            is_empty: true,
        };
        while let Some(similarity) = map.next_key_seed(NameComparison { name: self.name })? {
            members.is_empty = false;
            match similarity {
                Similarity::Same if members.value.is_none() => {
                    members.value = Some(map.next_value()?);
                }
                other => {
                    members.is_ambiguous |= !matches!(other, Similarity::Different);
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

enum Similarity {
    Same,
    /// Except for capitals.
    Similar,
    Different,
}

struct NameComparison<'n> {
    name: &'n str,
}

impl<'de> DeserializeSeed<'de> for NameComparison<'_> {
    type Value = Similarity;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Similarity, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameComparison<'_> {
    type Value = Similarity;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Similarity, E> {
        if name == self.name {
            return Ok(Similarity::Same);
        }
        if fold_case(name).eq(fold_case(self.name)) {
            return Ok(Similarity::Similar);
        }
        Ok(Similarity::Different)
    }
}

/// Without the differences that parsers ignore who ignore capitals: Go's also takes `ſ` for `s`.
fn fold_case(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "k\"1\\";

    fn insert(pointer: &str, body: &str) -> Result<String, Refusal> {
        let field = BodyField::new(pointer, SECRET).unwrap();
        let inserted = field.insert_into(body.as_bytes())?;
        Ok(String::from_utf8(inserted.to_vec()).unwrap())
    }

    #[test]
    fn body_field_is_inserted_into_the_deepest_object() {
        for (pointer, body, expected) in [
            ("/key", "{}", r#"{"key":"k\"1\\"}"#),
            ("/key", " { } ", r#" {"key":"k\"1\\" } "#),
            ("/key", r#"{"a": [1]}"#, r#"{"key":"k\"1\\","a": [1]}"#),
            (
                "/extra/key",
                r#"{"a":{"extra":{}}}"#,
                r#"{"extra":{"key":"k\"1\\"},"a":{"extra":{}}}"#,
            ),
            (
                "/extra/key",
                r#"{"a":"}{","extra": {"b":2},"c":3}"#,
                r#"{"a":"}{","extra": {"key":"k\"1\\","b":2},"c":3}"#,
            ),
            (
                "/a/b/c",
                r#"{"a":{"x":{"b":1},"b":{}}}"#,
                r#"{"a":{"x":{"b":1},"b":{"c":"k\"1\\"}}}"#,
            ),
            (
                "/a/b/c",
                r#"{"\u0061":{}}"#,
                r#"{"\u0061":{"b":{"c":"k\"1\\"}}}"#,
            ),
            ("/a~1b/~0", "{}", r#"{"a/b":{"~":"k\"1\\"}}"#),
        ] {
            let inserted = insert(pointer, body).unwrap();
            assert_eq!(inserted, expected, "{pointer} {body}");
            let value: Value = serde_json::from_str(&inserted).unwrap();
            assert_eq!(value.pointer(pointer), Some(&json!(SECRET)), "{body}");
        }
    }

    #[test]
    fn body_field_refuses_a_body_that_has_it() {
        for (pointer, body) in [
            ("/key", r#"{"key":"mine"}"#),
            ("/key", r#"{"key":null}"#),
            ("/key", r#"{"a":1,"k\u0065y":"mine"}"#),
            ("/key", r#"{"KEY":"mine"}"#),
            ("/key", r#"{"\u212aey":"mine"}"#),
            ("/secret", r#"{"ſecret":"mine"}"#),
            ("/extra/key", r#"{"extra":{"key":"mine"}}"#),
            ("/extra/key", r#"{"extra":{},"extra":{"key":"mine"}}"#),
            ("/extra/key", r#"{"extra":{"key":"mine"},"extra":{}}"#),
            ("/extra/key", r#"{"extra":{},"Extra":{"key":"mine"}}"#),
        ] {
            let refusal = insert(pointer, body).unwrap_err();
            assert_eq!(refusal.guard, Some(Guard::KeyFields), "{body}");
            assert!(!refusal.reason.contains("mine"), "{refusal}");
        }
    }

    #[test]
    fn body_field_refuses_a_body_that_is_no_object() {
        for body in [
            "",
            "[]",
            "1",
            "\"{}\"",
            "{",
            "{}{}",
            "{}x",
            "{'a':1}",
            "{a:1}",
            "\u{feff}{}",
        ] {
            let refusal = insert("/extra/key", body).unwrap_err();
            let expected = "field /extra/key of a JSON body, but it is not an object";
            assert!(refusal.reason.contains(expected), "{body} {refusal}");
        }
        for body in [
            r#"{"extra":null}"#,
            r#"{"extra":[{}]}"#,
            r#"{"extra":"{}"}"#,
        ] {
            let refusal = insert("/extra/key", body).unwrap_err();
            let expected = "but what contains \"key\" in it is not an object";
            assert!(refusal.reason.contains(expected), "{body} {refusal}");
        }
    }

    #[test]
    fn body_field_scans_a_deep_body_without_recursion() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert!(insert("/key", &deep).unwrap().starts_with(r#"{"key":"#));
    }

    #[test]
    fn check_body_pointer_accepts_only_named_fields() {
        for pointer in ["/key", "/extra_data/api_key_comfy_org", "/a~0b/~1"] {
            assert_eq!(check_body_pointer(pointer), Ok(()), "{pointer}");
        }
        let (long, deep) = (format!("/{}", "a".repeat(128)), "/a".repeat(9));
        for pointer in [
            "", "/", "key", "/a/", "//a", "/a~2", "/~", "/a b", "/é", &long, &deep,
        ] {
            let problem = check_body_pointer(pointer).unwrap_err();
            assert!(problem.contains("such as /extra_data/api_key"), "{problem}");
        }
    }
}
