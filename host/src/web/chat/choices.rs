//! The number of a chat completion's choices, each of which the language model writes and the operator pays.

use pinhole_ground::guard::Guard;
use serde_json::{Map, Value};

use crate::web::error::ApiError;

/// Choices of a chat completion.
const MAX_CHOICES: u64 = 10;
/// The fields with a number of choices: OpenAI's, and that of servers that write more than they return.
const FIELDS: [&str; 2] = ["n", "best_of"];

/// Fails if the request asks for too many choices.
pub(in crate::web) fn check(payload: &Map<String, Value>) -> Result<(), ApiError> {
    for field in FIELDS {
        let is_allowed = match payload.get(field) {
            None | Some(Value::Null) => true,
            Some(value) => value
                .as_u64()
                .is_some_and(|it| (1..=MAX_CHOICES).contains(&it)),
        };
        if Guard::ChatChoices.applies(!is_allowed) {
            let detail = format!("{field} must be a whole number from 1 to {MAX_CHOICES}");
            return Err(ApiError::invalid(field, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn choices_are_few_whole_numbers() {
        let is_allowed = |body: Value| check(body.as_object().unwrap()).is_ok();
        for body in [
            json!({}),
            json!({"n": null}),
            json!({"n": 1}),
            json!({"n": 10, "best_of": 10}),
        ] {
            assert!(is_allowed(body.clone()), "{body}");
        }
        for value in [
            json!(0),
            json!(11),
            json!(-1),
            json!(1.5),
            json!("1"),
            json!([1]),
        ] {
            assert!(!is_allowed(json!({"n": value})), "n {value}");
            assert!(!is_allowed(json!({"best_of": value})), "best_of {value}");
        }
    }
}
