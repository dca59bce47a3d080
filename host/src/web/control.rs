//! Serves commands of this machine on the control socket: the routes of engines, for a person whom the operating system
//! identifies.

use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use http::StatusCode;
use pinhole_ground::audit::{Actor, Event, RefusalKind};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::auth::ControlUser;
use super::error::ApiError;
use super::{engines, panic_response, request_memory, settings, shutdown};
use crate::app::App;
use crate::control::CommandLine;
use crate::store::User;

/// The user of a connection; `None` if the system does not say.
#[derive(Clone, Copy)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred();
        Self(credentials.ok().map(|it| it.uid()))
    }
}

/// Serves commands until shutdown is requested, then completes the running requests.
pub async fn serve_commands(listener: UnixListener, app: Arc<App>, shutdown: CancellationToken) {
    let (routes, _) = engines::routes()
        .merge(settings::effective_routes())
        .split_for_parts();
    let routes = routes
        .fallback(async || ApiError::not_found())
        .layer(from_fn_with_state(app.clone(), identify))
        .layer(from_fn_with_state(app.clone(), shutdown::respond))
        .layer(from_fn_with_state(
            app.clone(),
            request_memory::count_memory,
        ))
        .layer(CatchPanicLayer::custom(panic_response))
        .with_state(app);
    let service = routes.into_make_service_with_connect_info::<Peer>();
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(async move { shutdown.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!("the control socket failed: {error}");
    }
}

/// Middleware that makes the person of a connection the administrator of its requests.
async fn identify(
    State(app): State<Arc<App>>,
    ConnectInfo(Peer(uid)): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(uid) = uid else {
        let detail = "the system does not name the user of this connection";
        return ApiError::new(StatusCode::FORBIDDEN, detail).into_response();
    };
    match CommandLine::of_peer(uid) {
        Ok(person) => {
            request.extensions_mut().insert(ControlUser(User {
                id: person.name(),
                name: person.name(),
                role: "admin".to_owned(),
            }));
            next.run(request).await
        }
        Err(refusal) => {
            app.audit.record(&Event {
                kind: RefusalKind::Access,
                guard: refusal.guard,
                actor: Actor::Client(None),
                engine: "",
                job: "",
                message: &refusal.reason,
            });
            ApiError::new(StatusCode::FORBIDDEN, refusal.reason).into_response()
        }
    }
}
