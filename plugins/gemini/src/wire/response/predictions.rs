//! The predictions of a `predict` response.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, ErrorKind, ImageLocation};
use serde_json::Value;

use super::ResponseReader;
use crate::wire::{MAX_MESSAGE_BYTES, array_at, string_at, value_at};

impl ResponseReader<'_> {
    /// Reads the predictions. Filtered images are missing, or have a reason in their place.
    pub(super) fn read_predictions(
        &mut self,
        pointer: &str,
        chunk: &Value,
        locations: &mut Vec<ImageLocation>,
    ) {
        let predictions = array_at(chunk, "predictions");
        for (index, prediction) in predictions.iter().enumerate() {
            let bytes_key = ["bytesBase64Encoded", "bytes_base64_encoded"]
                .into_iter()
                .find(|key| prediction.get(key).is_some_and(Value::is_string));
            if let Some(key) = bytes_key {
                let bytes_pointer = format!("{pointer}/predictions/{index}/{key}");
                locations.push(ImageLocation::Pointer(bytes_pointer));
            }
            if let Some(reason) = string_at(prediction, "raiFilteredReason") {
                let message = truncate(reason, MAX_MESSAGE_BYTES);
                self.push_error(Error::new(ErrorKind::Blocked, message));
            }
        }
        if chunk.is_object() && predictions.is_empty() && value_at(chunk, "error").is_none() {
            let message = "the upstream's safety system filtered out every image";
            self.push_error(Error::new(ErrorKind::Blocked, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{check_images, messages, read_response, recorded};
    use super::*;
    use crate::method::Method;

    #[test]
    fn reader_locates_predictions() {
        let summary = check_images(
            Method::Predict,
            &recorded!("../../../testdata/predictions.json"),
            &[
                "/predictions/0/bytesBase64Encoded",
                "/predictions/2/bytesBase64Encoded",
            ],
        );
        let filtered = "Filtered. Support codes: 29310472";
        assert_eq!(messages(&summary), [filtered]);
    }

    fn check_error(body: Value, kind: ErrorKind, message: &str) {
        let error = read_response(Method::Predict, &[body]).error();
        assert_eq!(error.kind, kind);
        assert!(error.message.contains(message), "{}", error.message);
    }

    #[test]
    fn reader_reports_filtered_predictions_as_blocked() {
        use ErrorKind::{Blocked, Protocol, Quota};
        check_error(json!({}), Blocked, "filtered out every image");
        let empty = json!({"predictions": []});
        check_error(empty, Blocked, "filtered out every image");
        let with_reason = json!({"predictions": [{"raiFilteredReason": "Support codes: 1"}]});
        check_error(with_reason, Blocked, "Support codes: 1");
        let without_bytes = json!({"predictions": [{}, null, {"bytesBase64Encoded": 5}]});
        check_error(without_bytes, Protocol, "returned no image");
        check_error(json!("x"), Protocol, "returned no image");
        let payment_error = json!({"error": {"code": 402, "message": "pay"}});
        check_error(payment_error, Quota, "pay");
    }
}
