//! A JSON body field by field. All that is wrong is told at once, as FastAPI lists it.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value, json};

use crate::web::error::ApiError;

/// The largest of the whole numbers that a float holds exactly, one after another.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The fields of a body that have not been taken yet.
#[derive(Debug, Default)]
pub(super) struct Fields {
    given: Map<String, Value>,
    /// Where the fields stand.
    place: Vec<&'static str>,
    /// One entry for each field that cannot be used: `type`, `loc` and `msg`.
    wrong: Vec<Value>,
}

impl Fields {
    /// Reads a body that is a JSON object. Call it once it is known who asks.
    pub(super) async fn read(request: Request) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, &()).await;
        let body =
            body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
        Self::parse(&body)
    }

    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Self {
            place: vec!["body"],
            ..Self::default()
        };
        match serde_json::from_slice(body) {
            Ok(Value::Object(given)) => {
                fields.given = given;
                return Ok(fields);
            }
            Ok(_) => fields.not_an_object(&[]),
            Err(_) if body.is_empty() => fields.refuse(&[], "missing", "Field required"),
            Err(error) => fields.refuse(
                &[],
                "json_invalid",
                &format!("the body cannot be read as JSON: {error}"),
            ),
        }
        Err(fields.refused())
    }

    /// Goes on with the fields of an object inside, where there is one of this name.
    pub(super) fn enter(&mut self, name: &'static str) {
        match self.given.remove(name) {
            None => {}
            Some(Value::Object(inner)) => {
                self.given = inner;
                self.place.push(name);
            }
            Some(_) => self.not_an_object(&[name.into()]),
        }
    }

    /// A text; `null` says nothing.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.given.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.not_a_text(&[name.into()]);
                None
            }
        }
    }

    /// A text that has to be there.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        match self.given.remove(name) {
            Some(Value::String(text)) => return text,
            Some(_) => self.not_a_text(&[name.into()]),
            None => self.refuse(&[name.into()], "missing", "Field required"),
        }
        String::new()
    }

    /// Whatever it is, it has to be there.
    pub(super) fn required(&mut self, name: &str) -> Option<Value> {
        let given = self.given.remove(name);
        if given.is_none() {
            self.refuse(&[name.into()], "missing", "Field required");
        }
        given
    }

    /// One text or several, which have to be there.
    pub(super) fn required_texts(&mut self, name: &str) -> Vec<String> {
        let items = match self.given.remove(name) {
            Some(Value::Array(items)) => items,
            other => {
                self.given
                    .extend(other.map(|other| (name.to_owned(), other)));
                return vec![self.required_text(name)];
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::String(text) = item else {
                self.not_a_text(&[name.into(), index.into()]);
                break;
            };
            texts.push(text);
        }
        texts
    }

    /// A whole number up to `most`, in digits too; `null` says nothing.
    pub(super) fn number(&mut self, name: &str, most: u64) -> Option<u64> {
        let given = match self.given.remove(name)? {
            Value::Null => return None,
            Value::String(digits) => digits.trim().parse().map_or(Value::Null, Value::Number),
            other => other,
        };
        let given = whole(given);
        match given.as_u64() {
            Some(number) if number <= most => return Some(number),
            Some(_) => {
                let message = format!("Input should be less than or equal to {most}");
                self.refuse(&[name.into()], "less_than_equal", &message);
            }
            None if given.as_i64().is_some() => {
                let message = "Input should be greater than or equal to 0";
                self.refuse(&[name.into()], "greater_than_equal", message);
            }
            None => self.refuse(
                &[name.into()],
                "int_type",
                "Input should be a valid integer",
            ),
        }
        None
    }

    /// An object; `null` says nothing.
    pub(super) fn object(&mut self, name: &str) -> Map<String, Value> {
        match self.given.remove(name) {
            Some(Value::Object(object)) => return object,
            None | Some(Value::Null) => {}
            Some(_) => self.not_an_object(&[name.into()]),
        }
        Map::new()
    }

    /// Fails where a field could not be used. What was not taken is left alone.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.wrong.is_empty() {
            true => Ok(()),
            false => Err(self.refused()),
        }
    }

    fn refused(self) -> ApiError {
        ApiError::unprocessable(self.wrong)
    }

    fn not_a_text(&mut self, at: &[Value]) {
        self.refuse(at, "string_type", "Input should be a valid string");
    }

    fn not_an_object(&mut self, at: &[Value]) {
        let message = "Input should be a valid dictionary or object to extract fields from";
        self.refuse(at, "model_attributes_type", message);
    }

    pub(super) fn refuse(&mut self, at: &[Value], kind: &str, message: &str) {
        let place = self.place.iter().map(|part| Value::from(*part));
        let place: Vec<Value> = place.chain(at.iter().cloned()).collect();
        let entry = json!({"type": kind, "loc": place, "msg": message});
        self.wrong.push(entry);
    }
}

/// `3.0` is the whole number 3, as JSON Schema has it.
fn whole(given: Value) -> Value {
    let number = given
        .as_f64()
        .filter(|number| given.is_f64() && number.fract() == 0.0);
    // What is larger than this is not exact any more.
    let number = number.filter(|number| number.abs() <= MAX_EXACT);
    number.map_or(given, |number| Value::from(number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(given: Value) -> Fields {
        Fields::parse(given.to_string().as_bytes()).unwrap()
    }

    /// The types and places of what is wrong.
    fn wrong(fields: &Fields) -> Vec<(&str, String)> {
        let entries = fields.wrong.iter();
        entries
            .map(|entry| (entry["type"].as_str().unwrap(), entry["loc"].to_string()))
            .collect()
    }

    fn check_number(given: Value, expected: Result<Option<u64>, &str>) {
        let mut fields = fields(json!({"n": given}));
        let number = fields.number("n", 10);
        match expected {
            Ok(expected) => {
                assert_eq!((number, wrong(&fields)), (expected, vec![]), "{given}");
            }
            Err(kind) => {
                let place = r#"["body","n"]"#.to_owned();
                assert_eq!(wrong(&fields), [(kind, place)], "{given}");
            }
        }
    }

    #[test]
    fn a_number_is_whole_and_within_its_bounds() {
        check_number(json!(0), Ok(Some(0)));
        check_number(json!(10), Ok(Some(10)));
        check_number(json!("7"), Ok(Some(7)));
        check_number(json!(7.0), Ok(Some(7)));
        check_number(json!(-1.0), Err("greater_than_equal"));
        check_number(json!(1e300), Err("int_type"));
        check_number(json!(null), Ok(None));
        check_number(json!(11), Err("less_than_equal"));
        check_number(json!(u64::MAX), Err("less_than_equal"));
        check_number(json!(-1), Err("greater_than_equal"));
        check_number(json!("-1"), Err("greater_than_equal"));
        for other in [json!(1.5), json!("x"), json!(""), json!(true), json!([1])] {
            check_number(other, Err("int_type"));
        }
    }

    #[test]
    fn texts_come_alone_or_in_a_list() {
        let texts = |given: Value| {
            let mut fields = fields(given);
            let texts = fields.required_texts("image");
            let wrong = wrong(&fields);
            match wrong.first() {
                Some((kind, place)) if wrong.len() == 1 => vec![(*kind).to_owned(), place.clone()],
                _ => texts,
            }
        };
        assert_eq!(texts(json!({"image": "a"})), ["a"]);
        assert_eq!(texts(json!({"image": ["a", "b"]})), ["a", "b"]);
        assert_eq!(texts(json!({"image": []})), [""; 0]);
        let expected = ["string_type", r#"["body","image",1]"#];
        assert_eq!(texts(json!({"image": ["a", 5, 6]})), expected);
        let expected = ["string_type", r#"["body","image"]"#];
        assert_eq!(texts(json!({"image": null})), expected);
        assert_eq!(texts(json!({"image": {"url": "a"}})), expected);
        assert_eq!(texts(json!({})), ["missing", r#"["body","image"]"#]);
    }

    #[test]
    fn the_fields_may_stand_one_deeper() {
        let mut deep = fields(json!({"form_data": {"prompt": 5}, "prompt": "outside"}));
        deep.enter("form_data");
        deep.required_text("prompt");
        let place = r#"["body","form_data","prompt"]"#.to_owned();
        assert_eq!(wrong(&deep), [("string_type", place)]);
        let mut flat = fields(json!({"prompt": "a"}));
        flat.enter("form_data");
        assert_eq!(flat.required_text("prompt"), "a");
        assert!(flat.finish().is_ok());
        let mut neither = fields(json!({"form_data": []}));
        neither.enter("form_data");
        assert!(neither.finish().is_err());
    }
}
