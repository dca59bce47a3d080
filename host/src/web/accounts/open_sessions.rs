//! Open sessions: the caller's own, and for administrators those of any user.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::users;
use crate::accounts::Identity;
use crate::app::App;
use crate::store::OpenSession;
use crate::web::auth::{Administrator, User, UserIdentity};
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

#[derive(Serialize, ToSchema)]
struct SessionEntry {
    id: String,
    /// Seconds since 1970.
    created_at: i64,
    /// Seconds since 1970, up to a minute before the last use; `null` if the session was not used yet.
    #[schema(required = true)]
    last_used_at: Option<i64>,
    /// Seconds since 1970; `null` if the session does not expire.
    #[schema(required = true)]
    expires_at: Option<i64>,
    /// Of the client that began the session; may be empty.
    user_agent: String,
    /// The IP address of that client.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// It is the session of this request.
    is_current: bool,
}

/// Sessions that a request ended.
#[derive(Serialize, ToSchema)]
struct EndedSessions {
    #[schema(minimum = 0)]
    ended: u64,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(end))
        .routes(routes!(end_others))
        .routes(routes!(list_of_user))
        .routes(routes!(end_of_user))
}

/// `GET /api/v1/auths/sessions`
#[utoipa::path(
    get,
    path = "/api/v1/auths/sessions",
    tag = "people",
    operation_id = "list_sessions",
    summary = "List the caller's open sessions, newest first",
    responses((status = 200, description = "the sessions", body = [SessionEntry])),
)]
async fn list(
    State(app): State<Arc<App>>,
    UserIdentity(Identity { user, session, .. }): UserIdentity,
) -> Result<Json<Vec<SessionEntry>>, ApiError> {
    let current = session.map(|session| session.id);
    sessions_of(&app, &user.id, current.as_deref()).await
}

/// `DELETE /api/v1/auths/sessions/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/auths/sessions/{id}",
    tag = "people",
    operation_id = "end_session",
    summary = "End one of the caller's sessions",
    params(("id" = String, Path, description = "Id of the session.")),
    responses(
        (status = 200, description = "the session has ended", content_type = "application/json", body = bool),
        (status = 404, description = "the caller has no such session"),
    ),
)]
async fn end(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<bool>, ApiError> {
    end_session_of(&app, &user.id, &id).await
}

/// `POST /api/v1/auths/sessions/end-others`
#[utoipa::path(
    post,
    path = "/api/v1/auths/sessions/end-others",
    tag = "people",
    operation_id = "end_other_sessions",
    summary = "End all sessions of the caller except that of the request",
    responses((status = 200, description = "the number of sessions that ended", body = EndedSessions)),
)]
async fn end_others(
    State(app): State<Arc<App>>,
    UserIdentity(Identity { user, session, .. }): UserIdentity,
) -> Result<Json<EndedSessions>, ApiError> {
    let current = session.map(|session| session.id);
    app.store.store_last_uses().await;
    let ended = app.store.end_sessions(&user.id, current.as_deref()).await?;
    Ok(Json(EndedSessions { ended }))
}

/// `GET /api/v1/users/{id}/sessions`
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/sessions",
    tag = "people",
    operation_id = "list_sessions_of_user",
    summary = "List the open sessions of a user, newest first. For administrators",
    params(("id" = String, Path, description = "Id of the user.")),
    responses(
        (status = 200, description = "the sessions", body = [SessionEntry]),
        (status = 404, description = "no such user"),
    ),
)]
async fn list_of_user(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Vec<SessionEntry>>, ApiError> {
    let profile = users::find(&app, &id).await?;
    sessions_of(&app, &profile.user.id, None).await
}

/// `DELETE /api/v1/users/{id}/sessions/{session_id}`
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}/sessions/{session_id}",
    tag = "people",
    operation_id = "end_session_of_user",
    summary = "End a session of a user. For administrators",
    params(
        ("id" = String, Path, description = "Id of the user."),
        ("session_id" = String, Path, description = "Id of the session."),
    ),
    responses(
        (status = 200, description = "the session has ended", content_type = "application/json", body = bool),
        (status = 404, description = "no such user, or the user has no such session"),
    ),
)]
async fn end_of_user(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Path((id, session_id)): Path<(String, String)>,
) -> Result<Json<bool>, ApiError> {
    let profile = users::find(&app, &id).await?;
    let ended = end_session_of(&app, &profile.user.id, &session_id).await?;
    tracing::info!("a session of user {id} was ended by {}", administrator.id);
    Ok(ended)
}

async fn sessions_of(
    app: &App,
    user_id: &str,
    current: Option<&str>,
) -> Result<Json<Vec<SessionEntry>>, ApiError> {
    app.store.store_last_uses().await;
    let sessions = app.store.sessions(user_id).await?.into_iter();
    let entry = |session: OpenSession| SessionEntry {
        is_current: current == Some(&session.id),
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        expires_at: session.expires_at,
        user_agent: session.client.user_agent,
        ip: Some(session.client.ip).filter(|ip| !ip.is_empty()),
    };
    Ok(Json(sessions.map(entry).collect()))
}

async fn end_session_of(app: &App, user_id: &str, id: &str) -> Result<Json<bool>, ApiError> {
    if !app.store.end_session(user_id, id).await? {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "no such session: list the sessions first",
        ));
    }
    Ok(Json(true))
}
