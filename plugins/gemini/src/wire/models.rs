//! The list of models, which the API returns in pages.

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Model};
use serde_json::Value;

use super::{array_at, string_at};
use crate::method::Method;

/// Models on one page.
pub(crate) const PAGE_SIZE: usize = 1000;

pub(crate) struct ModelPage {
    /// The listed models of this page.
    pub(crate) models: Vec<Model>,
    /// The token of the next page.
    pub(crate) next_token: Option<String>,
}

/// The request path of a page. The first page has no token.
pub(crate) fn model_list_path(page_size: usize, token: Option<&str>) -> String {
    let path = format!("/models?pageSize={page_size}");
    match token {
        Some(token) => format!("{path}&pageToken={}", percent_encode(token)),
        None => path,
    }
}

/// Parses a page. It lists models that create images and whose name contains one of the
/// comma-separated `name_parts`. Empty `name_parts` match every name.
pub(crate) fn parse_model_page(body: &Value, name_parts: &str) -> Result<ModelPage, Error> {
    if !body.is_object() {
        return Err(Error::protocol(
            "the upstream's list of models is not an object",
        ));
    }
    let name_parts: Vec<&str> = name_parts
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let matches_name =
        |id: &str| name_parts.is_empty() || name_parts.iter().any(|part| id.contains(part));
    let models = array_at(body, "models")
        .iter()
        .filter(|model| supports_known_method(model))
        .filter_map(|model| {
            let id = without_prefix(string_at(model, "name")?);
            let name = string_at(model, "displayName").unwrap_or(id);
            matches_name(id).then(|| Model::new(id, name))
        })
        .take(PAGE_SIZE);
    Ok(ModelPage {
        models: models.collect(),
        next_token: string_at(body, "nextPageToken").map(str::to_owned),
    })
}

/// Whether the model supports one of the methods. Gateways may list no methods; their models count.
fn supports_known_method(model: &Value) -> bool {
    let methods = array_at(model, "supportedGenerationMethods");
    let known = Method::ALL.map(Method::name);
    let is_known = |method: &Value| method.as_str().is_some_and(|name| known.contains(&name));
    methods.is_empty() || methods.iter().any(is_known)
}

fn without_prefix(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_page(json: &str, name_parts: &str) -> ModelPage {
        parse_model_page(&serde_json::from_str(json).unwrap(), name_parts).unwrap()
    }

    fn ids_and_names(page: &ModelPage) -> Vec<(&str, &str)> {
        page.models
            .iter()
            .map(|model| (model.id.as_str(), model.name.as_str()))
            .collect()
    }

    #[test]
    fn parse_model_page_lists_image_models_and_next_page() {
        let first = parse_page(include_str!("../../testdata/models-1.json"), "image");
        let flash = ("gemini-3.1-flash-image", "Gemini 3.1 Flash Image");
        assert_eq!(ids_and_names(&first), [flash]);
        assert_eq!(first.next_token.as_deref(), Some("page/2"));
        let path = model_list_path(PAGE_SIZE, first.next_token.as_deref());
        assert_eq!(path, "/models?pageSize=1000&pageToken=page%2F2");
        let second = parse_page(include_str!("../../testdata/models-2.json"), "image");
        assert_eq!(
            ids_and_names(&second),
            [
                ("imagen-4.0-generate-001", "Imagen 4"),
                ("my-image-model", "my-image-model"),
            ]
        );
        assert_eq!(second.next_token, None);
        let all = parse_page(include_str!("../../testdata/models-1.json"), "");
        assert_eq!(all.models.len(), 2);
        let empty = parse_model_page(&json!({}), "image").unwrap();
        assert!(empty.models.is_empty());
        assert!(parse_model_page(&json!([]), "image").is_err());
    }
}
