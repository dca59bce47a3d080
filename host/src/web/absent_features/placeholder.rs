//! A route in place of a feature, and its description in the OpenAPI document.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use pinhole_ground::text::plain;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder, Schema};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::web::auth::{Administrator, User};
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Length of the name of a value in a message, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// A route in place of a feature.
pub(super) struct Placeholder {
    pub(super) path: &'static str,
    /// The id of the operation in the OpenAPI document.
    pub(super) operation: &'static str,
    /// What the operation returns, for the OpenAPI document.
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) body: Body,
    /// The path to which the client saves the values. Only unchanged ones can be saved.
    pub(super) save_path: Option<&'static str>,
}

/// Who reads the values. Only administrators save them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Users,
    Administrators,
}

/// What the route returns.
pub(super) enum Body {
    /// An empty list.
    List,
    /// A page of an empty list.
    Page,
    Object(fn(&App) -> Value),
}

impl Body {
    fn value(&self, app: &App) -> Value {
        match self {
            Self::List => json!([]),
            Self::Page => json!({"items": [], "total": 0}),
            Self::Object(value) => value(app),
        }
    }

    fn schema(&self) -> RefOr<Schema> {
        match self {
            Self::List => ArrayBuilder::new().into(),
            Self::Page => Ref::from_schema_name("EmptyPage").into(),
            Self::Object(_) => ObjectBuilder::new().into(),
        }
    }
}

impl Placeholder {
    pub(super) fn routes(&'static self) -> OpenApiRouter<Arc<App>> {
        let operation = self.describe(self.operation, self.summary, self.access);
        let router = described_route(self.path, HttpMethod::Get, self.reader(), operation.build());
        let Some(save_path) = self.save_path else {
            return router;
        };
        let body = RequestBodyBuilder::new()
            .content("application/json", Content::new(Some(self.body.schema())))
            .required(Some(Required::True))
            .build();
        let id = format!("save_{}", self.operation);
        let summary = "Save these values, of which none can be changed";
        let save = self
            .describe(&id, summary, Access::Administrators)
            .request_body(Some(body));
        let handler = post(
            async move |State(app): State<Arc<App>>,
                        _: Administrator,
                        Json(form): Json<Map<String, Value>>| {
                self.save(&app, &form).map(Json)
            },
        );
        router.merge(described_route(
            save_path,
            HttpMethod::Post,
            handler,
            save.build(),
        ))
    }

    fn reader(&'static self) -> MethodRouter<Arc<App>> {
        let body = &self.body;
        match self.access {
            Access::Users => {
                get(async move |State(app): State<Arc<App>>, _: User| Json(body.value(&app)))
            }
            Access::Administrators => {
                get(async move |State(app): State<Arc<App>>, _: Administrator| {
                    Json(body.value(&app))
                })
            }
        }
    }

    fn describe(&self, id: &str, summary: &str, access: Access) -> OperationBuilder {
        let suffix = match access {
            Access::Users => "",
            Access::Administrators => ". For administrators",
        };
        let content = Content::new(Some(self.body.schema()));
        let response = ResponseBuilder::new()
            .description("the values")
            .content("application/json", content);
        OperationBuilder::new()
            .tag("client")
            .operation_id(Some(id))
            .summary(Some(format!("{summary}{suffix}")))
            .response("200", response.build())
    }

    /// The values, if the form changes none. Fails if it does, because nothing would be stored.
    fn save(&self, app: &App, form: &Map<String, Value>) -> Result<Value, ApiError> {
        let current = self.body.value(app);
        match changed_name(&current, form) {
            None => Ok(current),
            Some(name) => {
                let name = plain(name, MAX_NAME_BYTES);
                let detail = format!(
                    "{name} cannot be changed here, nothing is saved: `pinhole config list` and \
                     GET /api/v1/settings show the settings that this server has"
                );
                Err(ApiError::new(StatusCode::BAD_REQUEST, detail))
            }
        }
    }
}

fn described_route(
    path: &str,
    method: HttpMethod,
    handler: MethodRouter<Arc<App>>,
    operation: Operation,
) -> OpenApiRouter<Arc<App>> {
    let mut paths = Paths::new();
    paths.add_path_operation(path, vec![method], operation);
    OpenApiRouter::new().routes((Vec::new(), paths, handler))
}

/// The first value of the form that differs. What the form leaves out, and an empty value that was not there, is no
/// change.
fn changed_name<'f>(current: &Value, form: &'f Map<String, Value>) -> Option<&'f str> {
    let is_changed = |(name, value): &(&String, &Value)| {
        let before = current.get(*name).unwrap_or(&Value::Null);
        before != *value && !(is_empty(before) && is_empty(value))
    };
    form.iter().find(is_changed).map(|(name, _)| name.as_str())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_on) => !is_on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_changes_a_value_that_is_not_empty_or_the_same() {
        let current = json!({"a": "x", "b": false, "c": [], "d": {"e": [1]}, "f": ""});
        for (form, expected) in [
            (json!({}), None),
            (json!({"a": "x", "b": null, "c": "", "d": {"e": [1]}}), None),
            (
                json!({"f": null, "new": "", "newer": {"x": [], "y": false}}),
                None,
            ),
            (json!({"a": "y"}), Some("a")),
            (json!({"a": ""}), Some("a")),
            (json!({"b": true}), Some("b")),
            (json!({"d": {"e": [2]}}), Some("d")),
            (json!({"new": "x"}), Some("new")),
            (json!({"new": {"x": [0]}}), Some("new")),
        ] {
            let fields = form.as_object().unwrap();
            assert_eq!(changed_name(&current, fields), expected, "{form}");
        }
    }
}
