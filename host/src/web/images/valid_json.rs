//! JSON request bodies of Open WebUI's image API. A body with mistakes is refused with status 422 and a
//! list of all of them, as FastAPI does it.

mod field_deserializer;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::web::error::{ApiError, InvalidField};

use field_deserializer::FieldDeserializer;

/// The JSON body of a request. Extract it after the user, so that only known users fill memory.
pub(super) struct ValidJson<T>(pub(super) T);

/// A value that is read from a JSON object and reports every mistake in it.
pub(super) trait FromFields: Sized {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError>;
}

impl<T: FromFields, S: Send + Sync> FromRequest<S> for ValidJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
        let mut fields = Fields::from_slice(&body)?;
        let value = T::from_fields(&mut fields)?;
        fields.finish()?;
        Ok(Self(value))
    }
}

/// A mistake in a body, as FastAPI describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mistake {
    kind: &'static str,
    /// Names of fields and positions in lists, from the body to the value.
    location: Vec<Value>,
    message: String,
}

impl Mistake {
    pub(super) fn new(
        kind: &'static str,
        location: Vec<Value>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            location,
            message: message.into(),
        }
    }

    fn missing(location: Vec<Value>) -> Self {
        Self::new("missing", location, "Field required")
    }

    fn not_a_string(location: Vec<Value>) -> Self {
        Self::new("string_type", location, "Input should be a valid string")
    }

    fn not_an_object(location: Vec<Value>) -> Self {
        let message = "Input should be a valid dictionary or object to extract fields from";
        Self::new("model_attributes_type", location, message)
    }

    fn into_invalid_field(self) -> InvalidField {
        InvalidField {
            r#type: self.kind.to_owned(),
            loc: self.location,
            msg: self.message,
        }
    }
}

/// The fields of a JSON object that have not been read yet, and the mistakes so far.
#[derive(Debug)]
pub(super) struct Fields {
    object: Map<String, Value>,
    /// The object's own location.
    location: Vec<Value>,
    mistakes: Vec<Mistake>,
}

impl Fields {
    fn from_slice(body: &[u8]) -> Result<Self, ApiError> {
        let location = vec![Value::from("body")];
        let mistake = match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => {
                return Ok(Self {
                    object,
                    location,
                    mistakes: Vec::new(),
                });
            }
            Ok(_) => Mistake::not_an_object(location),
            Err(_) if body.is_empty() => Mistake::missing(location),
            Err(error) => {
                let message = format!("the body is not valid JSON: {error}");
                Mistake::new("json_invalid", location, message)
            }
        };
        Err(refusal(vec![mistake]))
    }

    /// Continues in the object under this name. False if the object has no such field.
    pub(super) fn enter(&mut self, name: &'static str) -> bool {
        match self.object.remove(name) {
            None => return false,
            Some(Value::Object(inner)) => {
                self.object = inner;
                self.location.push(name.into());
            }
            Some(_) => {
                let location = self.location_of(name);
                self.mistakes.push(Mistake::not_an_object(location));
            }
        }
        true
    }

    /// Reads a struct from all remaining fields. Unknown fields are ignored.
    pub(super) fn parse<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let object = Value::Object(std::mem::take(&mut self.object));
        let location = self.location.clone();
        self.deserialize(Some(object), location)
    }

    /// Reads one field.
    pub(super) fn parse_field<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        let value = self.object.remove(name);
        let location = self.location_of(name);
        self.deserialize(value, location)
    }

    /// Removes a required field of any type.
    pub(super) fn required(&mut self, name: &str) -> Option<Value> {
        let value = self.object.remove(name);
        if value.is_none() {
            let location = self.location_of(name);
            self.mistakes.push(Mistake::missing(location));
        }
        value
    }

    /// Records a mistake in a field.
    pub(super) fn refuse(&mut self, name: &str, kind: &'static str, message: &str) {
        let location = self.location_of(name);
        self.mistakes.push(Mistake::new(kind, location, message));
    }

    fn location_of(&self, name: &str) -> Vec<Value> {
        let mut location = self.location.clone();
        location.push(name.into());
        location
    }

    fn deserialize<T: DeserializeOwned>(
        &mut self,
        value: Option<Value>,
        location: Vec<Value>,
    ) -> Result<T, ApiError> {
        let deserializer = FieldDeserializer::new(value, location.clone(), &mut self.mistakes);
        T::deserialize(deserializer).map_err(|error| {
            let mut mistakes = std::mem::take(&mut self.mistakes);
            mistakes.push(Mistake::new("value_error", location, error.to_string()));
            refusal(mistakes)
        })
    }

    fn finish(self) -> Result<(), ApiError> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        Err(refusal(self.mistakes))
    }
}

fn refusal(mistakes: Vec<Mistake>) -> ApiError {
    ApiError::unprocessable(
        mistakes
            .into_iter()
            .map(Mistake::into_invalid_field)
            .collect(),
    )
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
        let location = vec![json!("body"), json!("form_data"), json!("prompt")];
        assert_eq!(nested.mistakes, [Mistake::not_a_string(location)]);
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
