//! Events of a user over Socket.IO, as Open WebUI's clients receive them.
//!
//! A socket is anonymous until it sends a token, when it connects or with `user-join`. From then on it
//! receives the events of `GET /api/events`, until the token becomes invalid. A socket authenticates
//! with a token that a script sends, never with the cookie, because a page of another site could open
//! a socket with the cookie.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::{MethodRouter, any};
use http::StatusCode;
use hyper::service::Service;
use serde::{Deserialize, Serialize};
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

/// The path to which clients connect.
pub(super) const PATH: &str = "/ws/socket.io";

/// Interval of the server's pings.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// Time in which a client must respond to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Time in which a connection must become a socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Lifetime of an anonymous socket, such as that of an open sign-in page.
const ANONYMOUS_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Concurrent connections of all clients.
const MAX_CONNECTIONS: usize = 20_000;
/// Tokens that one connection may send.
const MAX_TOKENS: u32 = 20;
/// Length of a client's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Messages in a connection's send buffer. While it is full, further events wait in the user's queue.
const SEND_BUFFER_MESSAGES: usize = 32;
/// Interval of the attempts to send to a connection with a full buffer.
const FULL_BUFFER_WAIT: Duration = Duration::from_millis(50);

/// State of a connection, from its first request to its end.
struct Connection {
    tokens: AtomicU32,
    /// The user of the token that came with the connect request, until the socket is connected.
    pending: Mutex<Option<Subscription>>,
    membership: Membership,
    _permit: OwnedSemaphorePermit,
}

/// A user's events for a socket.
struct Subscription {
    user_id: String,
    listener: Listener,
    session: LiveSession,
}

/// Data of a connect request.
#[derive(Deserialize)]
struct Credentials {
    token: Option<String>,
}

/// Data of `user-join`.
#[derive(Deserialize)]
struct Join {
    auth: Credentials,
}

/// Response to `user-join`.
#[derive(Serialize)]
struct JoinedUser {
    id: String,
    name: String,
}

/// The user of a socket.
#[derive(Default)]
struct Membership(Mutex<MembershipState>);

#[derive(Default)]
struct MembershipState {
    user_id: Option<String>,
    /// Sends the user's events.
    _sender: Option<AbortOnDropHandle<()>>,
    /// Disconnects the socket when it is anonymous for too long or its token becomes invalid.
    watcher: Option<AbortOnDropHandle<()>>,
}

/// All requests of [`PATH`]: those that open a connection, send, poll or upgrade to a WebSocket.
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
        .max_buffer_size(SEND_BUFFER_MESSAGES)
        .with_parser(parser)
        .build_svc();
    let on_connecting = move |socket: SocketRef, credentials: TryData<Credentials>| {
        let app = app.clone();
        async move {
            prepare(app, &socket, credentials).await;
            Ok::<_, Infallible>(())
        }
    };
    io.ns("/", on_connected.with(on_connecting));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    any(move |mut request: Request| {
        let response = admit(&permits, &mut request).map(|()| service.call(request));
        async move {
            match response?.await {
                Ok(response) => Ok::<_, ApiError>(response.map(Body::new)),
                Err(never) => match never {},
            }
        }
    })
}

/// Gives the first request of a connection a permit, which the end of the connection returns.
fn admit(permits: &Arc<Semaphore>, request: &mut Request) -> Result<(), ApiError> {
    let mut fields = request.uri().query().unwrap_or_default().split('&');
    if fields.any(|field| field.starts_with("sid=")) {
        return Ok(());
    }
    let permit = permits.clone().try_acquire_owned().map_err(|_| {
        let detail = "the server has too many connections: retry later";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    request.extensions_mut().insert(Arc::new(Connection {
        tokens: AtomicU32::new(0),
        pending: Mutex::new(None),
        membership: Membership::default(),
        _permit: permit,
    }));
    Ok(())
}

/// Subscribes and registers the handlers before the client learns that it is connected, so that it
/// misses no event from then on.
async fn prepare(app: Arc<App>, socket: &SocketRef, TryData(credentials): TryData<Credentials>) {
    let token = credentials.ok().and_then(|credentials| credentials.token);
    let subscription = match authenticate(&app, socket, token).await {
        Some(live) => subscribe(&app, live),
        None => None,
    };
    if let Some(connection) = connection(socket) {
        *lock(&connection.pending) = subscription;
    }
    socket.on(
        "user-join",
        async move |joining: SocketRef, TryData(join): TryData<Join>, ack: AckSender| {
            let user = match join {
                Ok(join) => join_user(&app, &joining, join.auth.token).await,
                Err(_) => None,
            };
            ack.send(&user).ok();
        },
    );
    socket.on_disconnect(async |gone: SocketRef| {
        if let Some(connection) = connection(&gone) {
            connection.membership.leave();
        }
    });
}

async fn on_connected(socket: SocketRef) {
    let Some(connection) = connection(&socket) else {
        return;
    };
    let pending = lock(&connection.pending).take();
    match pending {
        // `user-join` was faster.
        Some(pending) if connection.membership.is_of(&pending.user_id) => {}
        Some(pending) => connection.membership.enter(&socket, pending),
        None => connection.membership.await_user(&socket),
    }
}

/// Gives the socket to the token's user. `None` if the token is invalid or the user has too many
/// listeners; the socket's user stays the same.
async fn join_user(app: &App, socket: &SocketRef, token: Option<String>) -> Option<JoinedUser> {
    let live = authenticate(app, socket, token).await?;
    let connection = connection(socket)?;
    let joined = JoinedUser {
        id: live.user.id.clone(),
        name: live.user.name.clone(),
    };
    // `on_connected` may not have taken it yet.
    let pending = lock(&connection.pending).take();
    if connection.membership.is_of(&live.user.id) {
        connection.membership.watch(socket, live.session);
        return Some(joined);
    }
    let subscription = match pending {
        Some(pending) if pending.user_id == live.user.id => Subscription {
            session: live.session,
            ..pending
        },
        _ => subscribe(app, live)?,
    };
    connection.membership.enter(socket, subscription);
    Some(joined)
}

fn subscribe(app: &App, LiveUser { user, session }: LiveUser) -> Option<Subscription> {
    let User { id: user_id, .. } = user;
    let listener = app.events.listen(&user_id, None).ok()?;
    Some(Subscription {
        user_id,
        listener,
        session,
    })
}

/// The token's user, unless the connection has sent too many tokens.
async fn authenticate(app: &App, socket: &SocketRef, token: Option<String>) -> Option<LiveUser> {
    let token = token?;
    if connection(socket)?.tokens.fetch_add(1, Ordering::Relaxed) >= MAX_TOKENS {
        return None;
    }
    LiveUser::of_credential(app, token.trim()).await.ok()
}

fn connection(socket: &SocketRef) -> Option<&Arc<Connection>> {
    socket.req_parts().extensions.get()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Membership {
    fn is_of(&self, user_id: &str) -> bool {
        lock(&self.0).user_id.as_deref() == Some(user_id)
    }

    fn enter(&self, socket: &SocketRef, subscription: Subscription) {
        let sender = tokio::spawn(send_events(socket.clone(), subscription.listener));
        *lock(&self.0) = MembershipState {
            user_id: Some(subscription.user_id),
            _sender: Some(AbortOnDropHandle::new(sender)),
            watcher: None,
        };
        self.watch(socket, subscription.session);
    }

    /// Disconnects the socket when this session ends.
    fn watch(&self, socket: &SocketRef, session: LiveSession) {
        let watched = socket.clone();
        let watcher = tokio::spawn(async move {
            session.wait_until_invalid().await;
            watched.disconnect().ok();
        });
        lock(&self.0).watcher = Some(AbortOnDropHandle::new(watcher));
        self.leave_if_disconnected(socket);
    }

    /// Disconnects the socket if it is anonymous for too long.
    fn await_user(&self, socket: &SocketRef) {
        let mut state = lock(&self.0);
        if state.user_id.is_none() {
            let anonymous = socket.clone();
            let watcher = tokio::spawn(async move {
                tokio::time::sleep(ANONYMOUS_TIMEOUT).await;
                anonymous.disconnect().ok();
            });
            state.watcher = Some(AbortOnDropHandle::new(watcher));
        }
        drop(state);
        self.leave_if_disconnected(socket);
    }

    /// The disconnect handler may have run before there was a task to stop.
    fn leave_if_disconnected(&self, socket: &SocketRef) {
        if !socket.connected() {
            self.leave();
        }
    }

    fn leave(&self) {
        *lock(&self.0) = MembershipState::default();
    }
}

async fn send_events(socket: SocketRef, mut listener: Listener) {
    loop {
        let event = listener.next().await;
        while let Err(error) = socket.emit("events", &*event.json) {
            match error {
                SendError::Socket(SocketError::InternalChannelFull) => {
                    tokio::time::sleep(FULL_BUFFER_WAIT).await;
                }
                _ => return,
            }
        }
    }
}
