//! The list of models, page by page.

use pinhole_sdk::request::percent_encode;
use pinhole_sdk::{Error, Model};
use serde_json::Value;

use super::{list, text};
use crate::settings::Method;

/// Models on one page of their list.
pub(crate) const PAGE_SIZE: usize = 1000;

/// One page of the list of models.
pub(crate) struct Page {
    /// Those that a person may choose.
    pub(crate) models: Vec<Model>,
    /// What the next page is asked for by.
    pub(crate) next: Option<String>,
}

/// The path of a page of the list of models.
pub(crate) fn list_path(page_size: usize, token: Option<&str>) -> String {
    let path = format!("/models?pageSize={page_size}");
    match token {
        Some(token) => format!("{path}&pageToken={}", percent_encode(token)),
        None => path,
    }
}

/// The models of a page that make images: one of `words` is in their name. No words let all pass.
pub(crate) fn page(answer: &Value, words: &str) -> Result<Page, Error> {
    if !answer.is_object() {
        return Err(Error::protocol(
            "the upstream's list of models is no object",
        ));
    }
    let words: Vec<&str> = words
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let wanted = |id: &str| words.is_empty() || words.iter().any(|word| id.contains(word));
    let models = list(answer, "models")
        .iter()
        .filter(|model| generates(model))
        .filter_map(|model| Some((bare_name(text(model, "name")?), model)))
        .filter(|(id, _)| wanted(id))
        .take(PAGE_SIZE)
        .map(|(id, model)| Model {
            id: id.into(),
            name: text(model, "displayName").unwrap_or(id).into(),
        });
    Ok(Page {
        models: models.collect(),
        next: text(answer, "nextPageToken").map(str::to_owned),
    })
}

/// Has the model one of the methods? A gateway that does not say is believed.
fn generates(model: &Value) -> bool {
    let methods = list(model, "supportedGenerationMethods");
    let known = |method: &Value| {
        Method::ALL
            .iter()
            .any(|known| method.as_str() == Some(known.name()))
    };
    methods.is_empty() || methods.iter().any(known)
}

fn bare_name(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn image_models_are_listed_page_by_page() {
        let ids = |page: &Page| -> Vec<(String, String)> {
            page.models
                .iter()
                .map(|model| (model.id.clone(), model.name.clone()))
                .collect()
        };
        let named = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        let first = page(
            &answer(include_str!("../../testdata/models-1.json")),
            "image",
        )
        .unwrap();
        let flash = named("gemini-3.1-flash-image", "Gemini 3.1 Flash Image");
        assert_eq!(ids(&first), [flash]);
        assert_eq!(first.next.as_deref(), Some("page/2"));
        let path = list_path(PAGE_SIZE, first.next.as_deref());
        assert_eq!(path, "/models?pageSize=1000&pageToken=page%2F2");
        let second = page(
            &answer(include_str!("../../testdata/models-2.json")),
            "image",
        )
        .unwrap();
        assert_eq!(
            ids(&second),
            [
                named("imagen-4.0-generate-001", "Imagen 4"),
                named("my-image-model", "my-image-model"),
            ]
        );
        assert_eq!(second.next, None);
        let all = page(&answer(include_str!("../../testdata/models-1.json")), "").unwrap();
        assert_eq!(all.models.len(), 2);
        assert!(page(&json!({}), "image").unwrap().models.is_empty());
        assert!(page(&json!([]), "image").is_err());
    }
}
