//! JSON request bodies of Open WebUI's image API. A body with mistakes is refused with status 422 and a
//! list of all of them, as FastAPI does it.

mod field_deserializer;

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::web::error::{ApiError, InvalidField};
use crate::web::json_body::JsonBody;

use field_deserializer::{FieldDeserializer, FieldsDeserializer};

/// The JSON body of a request. Extract it after the user, so that only known users fill memory.
pub(super) struct ValidJson<T>(pub(super) T);

/// A value that is read from a JSON object and reports every mistake in it.
pub(super) trait FromFields: Sized {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError>;
}

impl<T: FromFields, S: Send + Sync> FromRequest<S> for ValidJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = JsonBody::read(request).await?;
        let mut fields = Fields::from_slice(body.text())?;
        let value = T::from_fields(&mut fields)?;
        fields.finish()?;
        body.hold_memory();
        Ok(Self(value))
    }
}

/// A list of names of fields and positions in lists, from the body to a value.
type Location = Vec<Value>;

/// A mistake in a field, with FastAPI's type and message.
fn mistake(kind: &str, loc: Location, message: impl Into<String>) -> InvalidField {
    InvalidField {
        r#type: kind.to_owned(),
        loc,
        msg: message.into(),
    }
}

fn missing(location: Location) -> InvalidField {
    mistake("missing", location, "Field required")
}

fn not_a_string(location: Location) -> InvalidField {
    mistake("string_type", location, "Input should be a valid string")
}

fn not_an_object(location: Location) -> InvalidField {
    let message = "Input should be a valid dictionary or object to extract fields from";
    mistake("model_attributes_type", location, message)
}

/// The fields of an object, as its text has them.
type RawObject = BTreeMap<String, Box<RawValue>>;

/// The fields of a JSON object that have not been read yet, and the mistakes so far. A field that is never
/// read is never parsed.
#[derive(Debug)]
pub(super) struct Fields {
    object: RawObject,
    /// The object's own location.
    location: Location,
    mistakes: Vec<InvalidField>,
}

impl Fields {
    fn from_slice(body: &[u8]) -> Result<Self, ApiError> {
        let location = vec![Value::from("body")];
        let invalid = match serde_json::from_slice(body) {
            Ok(object) => {
                return Ok(Self {
                    object,
                    location,
                    mistakes: Vec::new(),
                });
            }
            Err(_) if body.is_empty() => missing(location),
            Err(error) if error.is_data() => not_an_object(location),
            Err(error) => {
                let message = format!("the body is not valid JSON: {error}");
                mistake("json_invalid", location, message)
            }
        };
        Err(ApiError::unprocessable(vec![invalid]))
    }

    /// Continues in the object under this name. False if the object has no such field.
    pub(super) fn enter(&mut self, name: &'static str) -> bool {
        let Some(text) = self.object.remove(name) else {
            return false;
        };
        match serde_json::from_str(text.get()) {
            Ok(inner) => {
                self.object = inner;
                self.location.push(name.into());
            }
            Err(_) => {
                let location = self.location_of(name);
                self.mistakes.push(not_an_object(location));
            }
        }
        true
    }

    /// Reads a struct from all remaining fields. Unknown fields are ignored.
    pub(super) fn parse<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        T::deserialize(FieldsDeserializer(self)).map_err(|error| {
            let location = self.location.clone();
            self.failure(location, &error)
        })
    }

    /// Reads one field.
    pub(super) fn parse_field<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        let value = self.take(name);
        let location = self.location_of(name);
        let deserializer = FieldDeserializer::new(value, location.clone(), &mut self.mistakes);
        T::deserialize(deserializer).map_err(|error| self.failure(location, &error))
    }

    /// Removes a required field of any type.
    pub(super) fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name);
        if value.is_none() {
            let location = self.location_of(name);
            self.mistakes.push(missing(location));
        }
        value
    }

    /// Records a mistake in a field.
    pub(super) fn refuse(&mut self, name: &str, kind: &'static str, message: &str) {
        let location = self.location_of(name);
        self.mistakes.push(mistake(kind, location, message));
    }

    fn location_of(&self, name: &str) -> Location {
        let mut location = self.location.clone();
        location.push(name.into());
        location
    }

    /// Removes a field and parses it.
    fn take(&mut self, name: &str) -> Option<Value> {
        let text = self.object.remove(name)?;
        match serde_json::from_str(text.get()) {
            Ok(value) => Some(value),
            Err(error) => {
                let location = self.location_of(name);
                let message = format!("the value is not valid JSON: {error}");
                self.mistakes
                    .push(mistake("json_invalid", location, message));
                Some(Value::Null)
            }
        }
    }

    fn failure(&mut self, location: Location, error: &serde_json::Error) -> ApiError {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        mistakes.push(mistake("value_error", location, error.to_string()));
        ApiError::unprocessable(mistakes)
    }

    fn finish(self) -> Result<(), ApiError> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        Err(ApiError::unprocessable(self.mistakes))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn fields(body: &Value) -> Fields {
        Fields::from_slice(body.to_string().as_bytes()).unwrap()
    }

    #[derive(Debug, Deserialize)]
    struct Prompt {
        prompt: String,
    }

    #[test]
    fn mistakes_in_entered_object_have_its_location() {
        let mut nested = fields(&json!({"form_data": {"prompt": 5}, "prompt": "outside"}));
        assert!(nested.enter("form_data"));
        nested.parse::<Prompt>().unwrap();
        let [mistake] = &nested.mistakes[..] else {
            panic!("{:?}", nested.mistakes)
        };
        let location = [json!("body"), json!("form_data"), json!("prompt")];
        assert_eq!(
            (mistake.r#type.as_str(), &mistake.loc[..]),
            ("string_type", &location[..])
        );
        assert!(nested.finish().is_err());

        let mut flat = fields(&json!({"prompt": "a"}));
        assert!(!flat.enter("form_data"));
        assert_eq!(flat.parse::<Prompt>().unwrap().prompt, "a");
        assert!(flat.finish().is_ok());

        let mut list = fields(&json!({"form_data": []}));
        assert!(list.enter("form_data"));
        assert!(list.finish().is_err());
    }
}
