//! Events over Socket.IO, as Open WebUI's clients hear them.
//!
//! A socket belongs to nobody until it shows a token, when it connects or by `user-join`. Then it
//! hears what `GET /api/events` tells, until the token counts no longer. Only a token that a script has put there counts, and never
//! the cookie: a page of another site could open a socket with it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::{MethodRouter, any};
use http::StatusCode;
use hyper::service::Service;
use serde::Deserialize;
use serde_json::{Value, json};
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::{ParserConfig, SendError, SocketError, SocketIo};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::auth::LiveUser;
use super::error::ApiError;
use crate::accounts::LiveSession;
use crate::app::App;
use crate::chat::event::Listener;
use crate::store::User;

/// Where clients connect.
pub(super) const PATH: &str = "/ws/socket.io";

/// How often a client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long it may take to answer.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may take to become a socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a socket may belong to nobody, such as that of a page where somebody is to sign in.
const NOBODY_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Connections at the same time, whoever has them.
const MAX_CONNECTIONS: usize = 20_000;
/// Tokens that one connection may show.
const MAX_TOKENS: u32 = 20;
/// Length of what a client sends at once, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Messages that wait for a client to take them; then its events wait in the user's line.
const MAX_WAITING: usize = 32;
/// How long until a client with so many is looked at again.
const FULL_WAIT: Duration = Duration::from_millis(50);

/// What is known of a connection, from its first request to its end.
struct Connection {
    tokens: AtomicU32,
    /// Who connects, until the client has been told that it has.
    ready: Mutex<Option<Ready>>,
    member: Member,
    _place: OwnedSemaphorePermit,
}

/// Somebody who is about to hear.
struct Ready {
    user_id: String,
    listener: Listener,
    presence: LiveSession,
}

/// What a client shows when it connects.
#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

/// What it sends with `user-join`.
#[derive(Deserialize)]
struct Join {
    auth: Auth,
}

/// Whose a socket is.
#[derive(Default)]
struct Member(Mutex<Membership>);

#[derive(Default)]
struct Membership {
    user_id: Option<String>,
    /// Tells the user's events; ends with the socket.
    _telling: Option<AbortOnDropHandle<()>>,
    /// Ends the socket when it has no user for too long, or its token counts no longer.
    watching: Option<AbortOnDropHandle<()>>,
}

/// Any request of [`PATH`]: the first of a connection, one that sends, one that waits for events,
/// or one that becomes a WebSocket.
pub(super) fn route(app: Arc<App>) -> MethodRouter<Arc<App>> {
    let parser = ParserConfig::common()
        .max_incoming_binaries(0)
        .max_incoming_binary_buf_size(0);
    let (service, io) = SocketIo::builder()
        .req_path(PATH)
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .max_payload(MAX_MESSAGE_BYTES as u64)
        .ws_max_message_size(MAX_MESSAGE_BYTES)
        .ws_max_frame_size(MAX_MESSAGE_BYTES)
        .max_buffer_size(MAX_WAITING)
        .with_parser(parser)
        .build_svc();
    let connecting = move |socket: SocketRef, auth: TryData<Auth>| {
        let app = app.clone();
        async move {
            prepare(app, &socket, auth).await;
            Ok::<_, Infallible>(())
        }
    };
    io.ns("/", connected.with(connecting));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    any(move |mut request: Request| {
        let answer = open(&places, &mut request).map(|()| service.call(request));
        async move {
            match answer?.await {
                Ok(response) => Ok::<_, ApiError>(response.map(Body::new)),
                Err(never) => match never {},
            }
        }
    })
}

/// Gives the first request of a connection a place, which its end frees.
fn open(places: &Arc<Semaphore>, request: &mut Request) -> Result<(), ApiError> {
    let mut fields = request.uri().query().unwrap_or_default().split('&');
    if fields.any(|field| field.starts_with("sid=")) {
        return Ok(());
    }
    let place = places.clone().try_acquire_owned().map_err(|_| {
        let why = "the server has as many clients as it can serve: try again later";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, why)
    })?;
    request.extensions_mut().insert(Arc::new(Connection {
        tokens: AtomicU32::new(0),
        ready: Mutex::new(None),
        member: Member::default(),
        _place: place,
    }));
    Ok(())
}

/// Listens, and hears what the client says, before it is told that it is connected, so that nothing
/// is missed from then on.
async fn prepare(app: Arc<App>, socket: &SocketRef, TryData(auth): TryData<Auth>) {
    let token = auth.ok().and_then(|auth| auth.token);
    let found = find(&app, socket, token).await;
    let ready = found.and_then(|(user, presence)| {
        Some(Ready {
            listener: listen(&app, &user)?,
            user_id: user.id,
            presence,
        })
    });
    if let Some(connection) = connection(socket) {
        *lock(&connection.ready) = ready;
    }
    socket.on(
        "user-join",
        async move |socket: SocketRef, TryData(told): TryData<Join>, ack: AckSender| {
            let token = told.ok().and_then(|told| told.auth.token);
            let user = join(&app, &socket, token).await;
            let answer = user.map(|user| json!({"id": user.id, "name": user.name}));
            ack.send(&answer.unwrap_or(Value::Null)).ok();
        },
    );
    socket.on_disconnect(async |socket: SocketRef| {
        if let Some(connection) = connection(&socket) {
            connection.member.leave();
        }
    });
}

async fn connected(socket: SocketRef) {
    let Some(connection) = connection(&socket) else {
        return;
    };
    let ready = lock(&connection.ready).take();
    match ready {
        Some(ready) if connection.member.is(&ready.user_id) => {}
        Some(ready) => connection.member.enter(&socket, ready),
        None => connection.member.wait(&socket),
    }
}

/// Gives the socket to the user whose token this is. `None` where it is nobody's, or no more may
/// listen: the socket stays whose it was.
async fn join(app: &App, socket: &SocketRef, token: Option<String>) -> Option<User> {
    let (user, presence) = find(app, socket, token).await?;
    let connection = connection(socket)?;
    // `connected` may not have come to it yet.
    let ready = lock(&connection.ready).take();
    if connection.member.is(&user.id) {
        connection.member.stay(socket, presence);
        return Some(user);
    }
    let listener = match ready {
        Some(ready) if ready.user_id == user.id => ready.listener,
        _ => listen(app, &user)?,
    };
    let user_id = user.id.clone();
    let ready = Ready {
        user_id,
        listener,
        presence,
    };
    connection.member.enter(socket, ready);
    Some(user)
}

fn listen(app: &App, user: &User) -> Option<Listener> {
    app.events.listen(&user.id, None).ok()
}

/// The user whose token this is, where the connection has not shown too many.
async fn find(app: &App, socket: &SocketRef, token: Option<String>) -> Option<(User, LiveSession)> {
    let token = token?;
    if connection(socket)?.tokens.fetch_add(1, Ordering::Relaxed) >= MAX_TOKENS {
        return None;
    }
    let user = LiveUser::of_credential(app, token.trim()).await.ok()?;
    Some((user.user, user.session))
}

fn connection(socket: &SocketRef) -> Option<&Arc<Connection>> {
    socket.req_parts().extensions.get()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    fn is(&self, user_id: &str) -> bool {
        lock(&self.0).user_id.as_deref() == Some(user_id)
    }

    fn enter(&self, socket: &SocketRef, ready: Ready) {
        let telling = tokio::spawn(tell(socket.clone(), ready.listener));
        *lock(&self.0) = Membership {
            user_id: Some(ready.user_id),
            _telling: Some(AbortOnDropHandle::new(telling)),
            watching: None,
        };
        self.stay(socket, ready.presence);
    }

    /// From now on the socket lasts as long as this token counts.
    fn stay(&self, socket: &SocketRef, presence: LiveSession) {
        let lasting = socket.clone();
        let watching = tokio::spawn(async move {
            presence.over().await;
            lasting.disconnect().ok();
        });
        lock(&self.0).watching = Some(AbortOnDropHandle::new(watching));
        self.check(socket);
    }

    /// The socket ends after a while, unless somebody enters meanwhile.
    fn wait(&self, socket: &SocketRef) {
        let mut membership = lock(&self.0);
        if membership.user_id.is_none() {
            let lonely = socket.clone();
            let watching = tokio::spawn(async move {
                tokio::time::sleep(NOBODY_TIMEOUT).await;
                lonely.disconnect().ok();
            });
            membership.watching = Some(AbortOnDropHandle::new(watching));
        }
        drop(membership);
        self.check(socket);
    }

    /// The socket may have gone before there was anything to end.
    fn check(&self, socket: &SocketRef) {
        if !socket.connected() {
            self.leave();
        }
    }

    fn leave(&self) {
        *lock(&self.0) = Membership::default();
    }
}

async fn tell(socket: SocketRef, mut listener: Listener) {
    loop {
        let heard = listener.next().await;
        while let Err(error) = socket.emit("events", &*heard.json) {
            match error {
                SendError::Socket(SocketError::InternalChannelFull) => {
                    tokio::time::sleep(FULL_WAIT).await;
                }
                _ => return,
            }
        }
    }
}
