//! A secret is in one field of a JSON body, and the rest is unchanged.

use pinhole_egress::internals::insert_body_field;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const SECRET: &str = "k\"1\\";

/// Input: a JSON pointer, a line end, and a JSON body.
///
/// If the field is inserted, the body is the same JSON with the secret at the pointer. No other member of these objects
/// has the field's name, however a parser compares names: the upstream reads the server's secret and nothing else.
pub fn body_field(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (Ok(pointer), body) = (str::from_utf8(&bytes[..end]), &bytes[end + 1..]) else {
        return;
    };
    // Numbers that do not fit are skipped by the scan, and not parsed here.
    let Ok(mut expected) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let Ok(sent) = insert_body_field(pointer, SECRET, body) else {
        return;
    };
    set(&mut expected, pointer);
    let found: Value = serde_json::from_slice(&sent).expect("the body is JSON");
    assert_eq!(found, expected);
    let text = String::from_utf8(sent.to_vec()).expect("the body is UTF-8");
    assert_one_member(&text, &names(pointer));
}

fn names(pointer: &str) -> Vec<String> {
    let names = pointer.split('/').skip(1);
    names
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn set(json: &mut Value, pointer: &str) {
    let mut target = json;
    for name in names(pointer) {
        if target.is_null() {
            *target = Value::Object(Map::new());
        }
        let fields = target.as_object_mut().expect("the field is in an object");
        target = fields.entry(name).or_insert(Value::Null);
    }
    *target = SECRET.into();
}

/// The members of an object in order, also those with the same name.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn assert_one_member(text: &str, names: &[String]) {
    let Some((name, inner)) = names.split_first() else {
        return;
    };
    let Members(members) = serde_json::from_str(text).expect("an object");
    let is_similar = |other: &str| other.to_lowercase() == name.to_lowercase();
    let mut similar = members.iter().filter(|(other, _)| is_similar(other));
    let (found, value) = similar.next().expect("the member is there");
    assert!(similar.next().is_none(), "{name:?} is there twice");
    assert_eq!(found, name);
    assert_one_member(value.get(), inner);
}
