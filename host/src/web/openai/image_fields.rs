//! The fields of a request of the images API: those that other APIs spell otherwise are converted, and those
//! that would be lost are refused by name.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use pinhole_ground::text::plain;

use super::aspect_ratio;
use crate::web::error::ApiError;
use crate::web::json_body::json_value;

/// Length of a field's name in a message, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// The fields of an `ImageRequest`.
const KNOWN: [&str; 20] = [
    "background",
    "engine",
    "input_fidelity",
    "model",
    "moderation",
    "n",
    "negative_prompt",
    "output_compression",
    "output_format",
    "parameters",
    "partial_images",
    "prompt",
    "quality",
    "response_format",
    "seed",
    "size",
    "steps",
    "stream",
    "strength",
    "style",
];
/// Fields that change no image. They are neither stored nor passed on.
const WITHOUT_EFFECT: [&str; 5] = [
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "user",
];
/// Other spellings, each with this API's name.
const ALIASES: [(&str, &str); 3] = [
    ("num_images", "n"),
    ("num_inference_steps", "steps"),
    ("num_outputs", "n"),
];
/// Beginnings of the names that other APIs have for source images.
const IMAGE_PREFIXES: [&str; 6] = [
    "image",
    "init_image",
    "input_image",
    "mask",
    "reference_image",
    "source_image",
];

/// The fields of a JSON body, each at most once.
#[derive(Debug, Default)]
pub(super) struct ImageFields(pub(super) Map<String, Value>);

/// What a request does, for the remedy of a refused image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Route {
    Generations,
    Edits,
}

impl ImageFields {
    /// The request. Fails if a field is unknown, or contradicts another one.
    pub(super) fn into_request<T: DeserializeOwned>(self, route: Route) -> Result<T, ApiError> {
        json_value(Value::Object(self.convert(route)?))
    }

    fn convert(mut self, route: Route) -> Result<Map<String, Value>, ApiError> {
        self.0
            .retain(|name, value| !value.is_null() || KNOWN.contains(&name.as_str()));
        self.move_parameters(route)?;
        for (alias, name) in ALIASES {
            if let Some(value) = self.0.remove(alias) {
                self.set(alias, name, value)?;
            }
        }
        self.convert_sides()?;
        if let Some(ratio) = self.0.remove("aspect_ratio") {
            let size = aspect_ratio::parse_size("aspect_ratio", Some(&ratio), None)?;
            self.set("aspect_ratio", "size", size.into())?;
        }
        Ok(self.0)
    }

    /// Moves the fields that this API does not know to the parameters: the engine declares which of them it takes,
    /// and each other one is refused by name.
    fn move_parameters(&mut self, route: Route) -> Result<(), ApiError> {
        let is_known = |name: &str| {
            KNOWN.contains(&name)
                || WITHOUT_EFFECT.contains(&name)
                || ALIASES.iter().any(|(alias, _)| *alias == name)
                || ["aspect_ratio", "height", "width"].contains(&name)
        };
        let others: Vec<String> = self.0.keys().filter(|it| !is_known(it)).cloned().collect();
        if others.is_empty() {
            return Ok(());
        }
        if let Some(name) = others.iter().find(|name| is_image_field(name)) {
            return Err(image_field(name, route));
        }
        let mut parameters = match self.0.remove("parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters,
            // Its type is refused with the request.
            Some(other) => {
                self.0.insert("parameters".to_owned(), other);
                return Ok(());
            }
        };
        for name in others {
            let Some(value) = self.0.remove(&name) else {
                continue;
            };
            if parameters.get(&name).is_some_and(|it| *it != value) {
                let shown = plain(&name, MAX_NAME_BYTES);
                let message =
                    format!("{shown} contradicts parameters.{shown}: leave one of them out");
                return Err(ApiError::invalid(&shown, message));
            }
            parameters.insert(name, value);
        }
        self.0
            .insert("parameters".to_owned(), Value::Object(parameters));
        Ok(())
    }

    /// Converts `width` and `height` to a size.
    fn convert_sides(&mut self) -> Result<(), ApiError> {
        let (width, height) = match (self.0.remove("width"), self.0.remove("height")) {
            (None, None) => return Ok(()),
            (Some(width), Some(height)) => (width, height),
            (None, Some(_)) => return Err(ApiError::invalid("height", "height needs a width")),
            (Some(_), None) => return Err(ApiError::invalid("width", "width needs a height")),
        };
        let side = |name: &str, value: &Value| {
            let pixels = match value {
                Value::String(text) => text.parse().ok(),
                value => value.as_u64(),
            };
            let is_side = |number: &u64| (1..=u64::from(u32::MAX)).contains(number);
            let message = || ApiError::invalid(name, format!("{name} must be a number of pixels"));
            pixels.filter(is_side).ok_or_else(message)
        };
        let size = format!("{}x{}", side("width", &width)?, side("height", &height)?);
        self.set("width", "size", size.into())
    }

    /// Sets a field to the value of another one. Fails if they differ.
    fn set(&mut self, alias: &str, name: &str, value: Value) -> Result<(), ApiError> {
        match self.0.get(name) {
            Some(known) if *known != value && known != "auto" => {
                let message = format!("{alias} contradicts {name}: leave one of them out");
                Err(ApiError::invalid(alias, message))
            }
            _ => {
                self.0.insert(name.to_owned(), value);
                Ok(())
            }
        }
    }
}

fn is_image_field(name: &str) -> bool {
    IMAGE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && name != "image_cfg_scale"
}

fn image_field(name: &str, route: Route) -> ApiError {
    let shown = plain(name, MAX_NAME_BYTES);
    let message = match route {
        Route::Generations => format!(
            "{shown} is not supported: a generation has no source images, send them to /v1/images/edits"
        ),
        Route::Edits => format!(
            "{shown} is not supported: send the source images as images or image, and the mask as mask"
        ),
    };
    ApiError::invalid(&shown, message)
}

impl<'de> Deserialize<'de> for ImageFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;

        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = ImageFields;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ImageFields, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.contains_key(&name) {
                        let name = plain(&name, MAX_NAME_BYTES);
                        return Err(A::Error::custom(format!("duplicate field `{name}`")));
                    }
                    fields.insert(name, value);
                }
                Ok(ImageFields(fields))
            }
        }

        deserializer.deserialize_map(FieldVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn convert(body: &Value, route: Route) -> Result<Value, String> {
        let fields = ImageFields(body.as_object().unwrap().clone());
        let converted = fields.convert(route);
        converted
            .map(Value::Object)
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn fields_of_other_apis_are_converted_if_their_meaning_is_certain() {
        let check = |body: Value, expected: Value| {
            let converted = convert(&body, Route::Generations);
            assert_eq!(converted.unwrap(), expected, "{body}");
        };
        check(json!({"num_images": 2}), json!({"n": 2}));
        check(json!({"n": 2, "num_outputs": 2}), json!({"n": 2}));
        check(json!({"num_inference_steps": 9}), json!({"steps": 9}));
        let sides = json!({"width": 640, "height": "480", "size": "auto"});
        check(sides, json!({"size": "640x480"}));
        check(json!({"aspect_ratio": "16:9"}), json!({"size": "1280x720"}));
        let own = json!({"cfg_scale": 7, "parameters": {"tiling": true}, "n": 1});
        let moved = json!({"n": 1, "parameters": {"cfg_scale": 7, "tiling": true}});
        check(own, moved);
        let without_effect = json!({"user": "u", "metadata": {"a": 1}, "image": null});
        check(without_effect, json!({"user": "u", "metadata": {"a": 1}}));
    }

    #[test]
    fn fields_that_would_be_lost_are_refused_by_name() {
        let check = |body: Value, route: Route, field: &str, part: &str| {
            let error = convert(&body, route).unwrap_err();
            let param = format!("param: Some({field:?})");
            assert!(error.contains(&param) && error.contains(part), "{error}");
        };
        let generation = Route::Generations;
        for field in [
            "image",
            "images",
            "mask",
            "input_images",
            "image_url",
            "init_image",
        ] {
            check(json!({field: "x"}), generation, field, "/v1/images/edits");
        }
        check(
            json!({"input_images": []}),
            Route::Edits,
            "input_images",
            "as images",
        );
        check(
            json!({"cfg_scale": 7, "parameters": {"cfg_scale": 8}}),
            generation,
            "cfg_scale",
            "contradicts parameters.cfg_scale",
        );
        check(json!({"width": 8}), generation, "width", "needs a height");
        check(
            json!({"width": 0, "height": 8}),
            generation,
            "width",
            "pixels",
        );
        let both = json!({"width": 8, "height": 8, "size": "9x9"});
        check(both, generation, "width", "contradicts size");
        check(
            json!({"n": 1, "num_images": 2}),
            generation,
            "num_images",
            "contradicts n",
        );
        check(
            json!({"aspect_ratio": "wide"}),
            generation,
            "aspect_ratio",
            "such as 16:9",
        );
    }

    #[test]
    fn field_that_occurs_twice_is_refused() {
        let error = serde_json::from_str::<ImageFields>(r#"{"n": 1, "n": 2}"#).unwrap_err();
        assert!(error.to_string().contains("duplicate field `n`"), "{error}");
    }
}
