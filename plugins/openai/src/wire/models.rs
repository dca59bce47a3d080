//! The upstream's list of models.

use pinhole_sdk::families::matches_prefix;
use pinhole_sdk::{Error, Model, Settings};
use serde_json::Value;

use super::{data_items, string_at};
use crate::settings::LISTED_MODELS;

const MAX_MODELS: usize = 500;

/// The models that match the setting `listed-models`, in the upstream's order.
pub(crate) fn parse_models(body: &Value, settings: &Settings) -> Result<Vec<Model>, Error> {
    if !body.get("data").is_some_and(Value::is_array) {
        return Err(Error::protocol(
            "the upstream's list of models has no data array",
        ));
    }
    let prefixes = settings.text(LISTED_MODELS);
    let is_listed = |id: &str| match &prefixes {
        Some(prefixes) => matches_prefix(prefixes, Some(id)),
        None => true,
    };
    let models = data_items(body)
        .iter()
        .filter_map(|item| string_at(item, "id"))
        .filter(|id| is_listed(id))
        .take(MAX_MODELS)
        .map(|id| Model {
            id: id.into(),
            name: id.into(),
        });
    Ok(models.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::settings_with;

    fn models(listed: &str) -> Vec<String> {
        let body = serde_json::from_str(include_str!("../../testdata/models.json")).unwrap();
        let settings = settings_with(&[(LISTED_MODELS, listed)]);
        let models = parse_models(&body, &settings).unwrap();
        models.into_iter().map(|model| model.id).collect()
    }

    #[test]
    fn parse_models_filters_by_prefix_in_order() {
        let images = [
            "gpt-image-2",
            "dall-e-3",
            "chatgpt-image-latest",
            "gpt-image-1.5",
        ];
        assert_eq!(models("gpt-image-,chatgpt-image-,dall-e-"), images);
        assert_eq!(models("dall-e-"), ["dall-e-3"]);
        assert_eq!(models("").len(), 6);
        assert!(parse_models(&json!({}), &settings_with(&[])).is_err());
    }
}
