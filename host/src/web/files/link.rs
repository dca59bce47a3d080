//! A link to one image, which its owner shares.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::not_found;
use crate::app::App;
use crate::files::link::FileLinks;
use crate::settings::MAX_LINK_SECS;
use crate::store::now;
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};
use crate::web::request_origin::RequestOrigin;

#[derive(Deserialize, ToSchema)]
pub(super) struct LinkForm {
    /// How long the link works, in seconds. Default: `PINHOLE_LINK_LIFETIME`.
    #[schema(minimum = 1, maximum = 316_224_000)]
    lifetime_secs: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Link {
    /// Anyone who has the URL sees the image, until it expires or the image is deleted.
    url: String,
    /// Seconds since 1970.
    expires_at: i64,
}

/// `POST /api/v1/files/{id}/link`
#[utoipa::path(
    post,
    path = "/api/v1/files/{id}/link",
    tag = "files",
    operation_id = "link_file",
    summary = "Create a link to an image of the caller, which needs no key. For its owner only",
    params(("id" = String, Path, description = "Id of the file.")),
    request_body = LinkForm,
    responses(
        (status = 200, description = "the link", body = Link),
        (status = 404, description = "no such file, or a file of another user"),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    User(user): User,
    origin: RequestOrigin,
    Path(id): Path<String>,
    Json(form): Json<LinkForm>,
) -> Result<Json<Link>, ApiError> {
    let file = app.files.find(&id, &user).await?;
    // An administrator may see all files, and shares only their own.
    let file = file.filter(|file| file.user_id == user.id);
    let file = file.ok_or_else(not_found)?;
    let links = origin.links(&app, &app.jobs.snapshot().settings);
    let lifetime_secs = form.lifetime_secs.unwrap_or(links.lifetime_secs);
    if !(1..=MAX_LINK_SECS).contains(&lifetime_secs) {
        let detail = format!("lifetime_secs must be a number from 1 to {MAX_LINK_SECS}");
        return Err(ApiError::invalid("lifetime_secs", detail));
    }
    let expires_at = now().saturating_add(lifetime_secs);
    let links = FileLinks {
        lifetime_secs,
        ..links
    };
    Ok(Json(Link {
        url: links.url_until(&file, expires_at),
        expires_at,
    }))
}
