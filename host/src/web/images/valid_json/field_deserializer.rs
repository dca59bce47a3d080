//! `FieldDeserializer`: reads a JSON value as the type that is asked for. A wrong value is recorded as
//! a mistake and replaced by an empty one, so that one pass finds all mistakes.

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

use super::{Fields, Location, missing, mistake, not_a_string, not_an_object};
use crate::web::error::InvalidField;

/// The largest integer up to which a float represents every integer.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Reads a struct from the remaining fields of an object. Parses only the fields of the struct.
pub(super) struct FieldsDeserializer<'a>(pub(super) &'a mut Fields);

impl<'de> Deserializer<'de> for FieldsDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only a struct has fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Self(fields) = self;
        let known = names.iter().copied();
        let object: Map<String, Value> = known
            .filter_map(|field| Some((field.to_owned(), fields.take(field)?)))
            .collect();
        let (object, location) = (Value::Object(object), fields.location.clone());
        FieldDeserializer::new(Some(object), location, &mut fields.mistakes)
            .deserialize_struct(name, names, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A field's value; `None` if the field is missing.
pub(super) struct FieldDeserializer<'a> {
    value: Option<Value>,
    location: Location,
    mistakes: &'a mut Vec<InvalidField>,
}

impl<'a> FieldDeserializer<'a> {
    pub(super) fn new(
        value: Option<Value>,
        location: Location,
        mistakes: &'a mut Vec<InvalidField>,
    ) -> Self {
        Self {
            value,
            location,
            mistakes,
        }
    }

    /// A non-negative integer up to `max`: a number, or a string with its digits.
    fn read_integer(&mut self, max: u64) -> u64 {
        let value = match self.value.take() {
            None => {
                self.mistakes.push(missing(self.location.clone()));
                return 0;
            }
            Some(Value::String(digits)) => digits
                .trim()
                .parse()
                .map_or(Value::Null, |number| integral(Value::Number(number))),
            Some(value) => integral(value),
        };
        let (kind, message) = match value.as_u64() {
            Some(number) if number <= max => return number,
            Some(_) => (
                "less_than_equal",
                format!("Input should be less than or equal to {max}"),
            ),
            None if value.is_i64() => (
                "greater_than_equal",
                "Input should be greater than or equal to 0".to_owned(),
            ),
            None => ("int_type", "Input should be a valid integer".to_owned()),
        };
        self.mistakes
            .push(mistake(kind, self.location.clone(), message));
        0
    }

    fn read_text(&mut self) -> String {
        let invalid = match self.value.take() {
            Some(Value::String(text)) => return text,
            Some(_) => not_a_string(self.location.clone()),
            None => missing(self.location.clone()),
        };
        self.mistakes.push(invalid);
        String::new()
    }

    fn read_object(&mut self) -> Map<String, Value> {
        let invalid = match self.value.take() {
            Some(Value::Object(object)) => return object,
            Some(_) => not_an_object(self.location.clone()),
            None => missing(self.location.clone()),
        };
        self.mistakes.push(invalid);
        Map::new()
    }
}

impl<'de> Deserializer<'de> for FieldDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.unwrap_or_default().deserialize_any(visitor)
    }

    /// `null` is the same as a missing field.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.value, None | Some(Value::Null)) {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_u32<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(self.read_integer(u32::MAX.into()))
    }

    fn deserialize_u64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(self.read_integer(u64::MAX))
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.read_text())
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        Value::Object(self.read_object()).deserialize_map(visitor)
    }

    /// A list of values, or a single string.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Some(Value::Array(items)) => visitor.visit_seq(ItemAccess {
                items: items.into_iter().enumerate(),
                location: self.location,
                mistakes: self.mistakes,
            }),
            _ => self.deserialize_string(visitor),
        }
    }

    /// Visits the fields in the order of their declaration, and the missing ones too.
    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let object = self.read_object();
        visitor.visit_map(FieldAccess::new(
            names,
            object,
            self.location,
            self.mistakes,
        ))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct enum identifier ignored_any
    }
}

/// The fields of a struct.
struct FieldAccess<'a> {
    names: std::slice::Iter<'static, &'static str>,
    name: &'static str,
    object: Map<String, Value>,
    location: Location,
    mistakes: &'a mut Vec<InvalidField>,
}

impl<'a> FieldAccess<'a> {
    fn new(
        names: &'static [&'static str],
        object: Map<String, Value>,
        location: Location,
        mistakes: &'a mut Vec<InvalidField>,
    ) -> Self {
        Self {
            names: names.iter(),
            name: "",
            object,
            location,
            mistakes,
        }
    }
}

impl<'de> MapAccess<'de> for FieldAccess<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        self.name = name;
        let key: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.object.remove(self.name);
        let mut location = self.location.clone();
        location.push(self.name.into());
        seed.deserialize(FieldDeserializer::new(value, location, self.mistakes))
    }
}

/// The items of a list, up to the first mistake.
struct ItemAccess<'a> {
    items: std::iter::Enumerate<std::vec::IntoIter<Value>>,
    location: Location,
    mistakes: &'a mut Vec<InvalidField>,
}

impl<'de> SeqAccess<'de> for ItemAccess<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        let mut location = self.location.clone();
        location.push(index.into());
        let known = self.mistakes.len();
        let field = FieldDeserializer::new(Some(item), location, self.mistakes);
        let value = seed.deserialize(field)?;
        if self.mistakes.len() > known {
            return Ok(None);
        }
        Ok(Some(value))
    }
}

/// `3.0` becomes the integer 3, which it is in JSON Schema.
fn integral(value: Value) -> Value {
    match value.as_f64() {
        Some(number)
            if value.is_f64() && number.fract() == 0.0 && number.abs() <= MAX_EXACT_FLOAT =>
        {
            Value::from(number as i64)
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::web::images::request::ImageNames;

    /// Reads the value of a field `f`; the error is the kinds and locations of all mistakes.
    fn parse<'de, T: Deserialize<'de>>(value: Option<Value>) -> Result<T, Vec<(String, String)>> {
        let mut mistakes = Vec::new();
        let location = vec![json!("f")];
        let parsed = T::deserialize(FieldDeserializer::new(value, location, &mut mistakes));
        if mistakes.is_empty() {
            return Ok(parsed.unwrap());
        }
        let mistakes = mistakes.into_iter();
        Err(mistakes
            .map(|it| (it.r#type, Value::from(it.loc).to_string()))
            .collect())
    }

    #[test]
    fn integer_is_whole_and_within_its_type() {
        let check = |value: Value, expected: Result<Option<u32>, &str>| {
            let expected = expected.map_err(|kind| vec![(kind.to_owned(), r#"["f"]"#.to_owned())]);
            let parsed: Result<Option<u32>, Vec<(String, String)>> = parse(Some(value.clone()));
            assert_eq!(parsed, expected, "{value}");
        };
        check(json!(0), Ok(Some(0)));
        check(json!(u32::MAX), Ok(Some(u32::MAX)));
        check(json!("7"), Ok(Some(7)));
        check(json!(7.0), Ok(Some(7)));
        check(json!(-1.0), Err("greater_than_equal"));
        check(json!(1e300), Err("int_type"));
        check(json!(null), Ok(None));
        check(json!(u64::from(u32::MAX) + 1), Err("less_than_equal"));
        check(json!(u64::MAX), Err("less_than_equal"));
        check(json!(-1), Err("greater_than_equal"));
        check(json!("-1"), Err("greater_than_equal"));
        for other in [json!(1.5), json!("x"), json!(""), json!(true), json!([1])] {
            check(other, Err("int_type"));
        }
        assert_eq!(parse::<u64>(Some(json!(u64::MAX))), Ok(u64::MAX));
    }

    #[test]
    fn image_names_are_one_string_or_a_list() {
        let names = |value: Option<Value>| parse::<ImageNames>(value).map(ImageNames::into_vec);
        assert_eq!(names(Some(json!("a"))).unwrap(), ["a"]);
        assert_eq!(names(Some(json!(["a", "b"]))).unwrap(), ["a", "b"]);
        assert_eq!(names(Some(json!([]))).unwrap(), [""; 0]);
        let mistake = |kind: &str, location: &str| vec![(kind.to_owned(), location.to_owned())];
        assert_eq!(
            names(Some(json!(["a", 5, 6]))).unwrap_err(),
            mistake("string_type", r#"["f",1]"#)
        );
        let expected = mistake("string_type", r#"["f"]"#);
        assert_eq!(names(Some(json!(null))).unwrap_err(), expected);
        assert_eq!(names(Some(json!({"url": "a"}))).unwrap_err(), expected);
        assert_eq!(names(None).unwrap_err(), mistake("missing", r#"["f"]"#));
    }

    #[test]
    fn struct_reports_all_mistakes_in_declaration_order() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Sample {
            n: Option<u32>,
            b: String,
            a: Option<String>,
        }
        let body = json!({"a": 1, "n": "x", "unknown": 1});
        let mistakes = parse::<Sample>(Some(body)).unwrap_err();
        let expected = [
            ("int_type", r#"["f","n"]"#),
            ("missing", r#"["f","b"]"#),
            ("string_type", r#"["f","a"]"#),
        ];
        let expected = expected.map(|(kind, location)| (kind.to_owned(), location.to_owned()));
        assert_eq!(mistakes, expected);
        let sample: Sample = parse(Some(json!({"b": "b", "a": null}))).unwrap();
        assert_eq!(
            sample,
            Sample {
                n: None,
                b: "b".to_owned(),
                a: None
            }
        );
    }
}
