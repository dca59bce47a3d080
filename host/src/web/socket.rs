//! Events of a user over Socket.IO, as Open WebUI's clients receive them.
//!
//! A socket is anonymous until it sends a token, when it connects or with `user-join`. From then on it
//! receives the events of `GET /api/events`, until the token becomes invalid. A socket authenticates
//! with a token that a script sends, never with the cookie, because a page of another site could open
//! a socket with the cookie.
//!
//! Clients open a connection before they send a token. Each connection costs memory, so one without a user has
//! one of a few places, of which an IP address has a part, and must become a socket within seconds. A connection
//! whose user is known takes one of the user's places instead: at once if its first request has a key or the
//! session's cookie, as those of browsers do, or else with its token. So connections without a user never
//! take a place of one with a user.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::{MethodRouter, any};
use http::request::Parts;
use http::{StatusCode, Uri};
use hyper::service::Service;
use pinhole_ground::guard::Guard;
use pinhole_ground::shares::{Share, Shares, SharesFull};
use serde::{Deserialize, Serialize};
use socketioxide::extract::{AckSender, SocketRef, TryData};
use socketioxide::handler::ConnectHandler;
use socketioxide::{ParserConfig, SendError, SocketError, SocketIo, TransportType};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::auth::{LiveUser, socket_user};
use super::client_ip::ClientIp;
use super::error::ApiError;
use crate::accounts::LiveSession;
use crate::app::App;
use crate::event::{Listener, MAX_LISTENERS};
use crate::store::User;

/// The path to which clients connect.
pub(super) const PATH: &str = "/ws/socket.io";

/// Interval of the server's pings.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// Time in which a client must respond to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Time in which a connection must become a socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Lifetime of an anonymous socket, such as that of an open sign-in page.
const ANONYMOUS_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Concurrent connections of all users.
const MAX_CONNECTIONS: usize = 20_000;
/// Concurrent connections of one user, those included that are closing.
const MAX_USER_CONNECTIONS: usize = 2 * MAX_LISTENERS;
/// Concurrent connections without a user.
const MAX_ANONYMOUS: usize = 2_000;
/// Concurrent connections without a user from one IP address.
const MAX_IP_ANONYMOUS: usize = 100;
/// Wait for another connection to end, in milliseconds.
const FULL_RETRY_MS: u64 = 10_000;
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
    /// Cancelled when the socket is connected and accepts events.
    connected: CancellationToken,
    membership: Membership,
    places: Arc<Places>,
    place: Mutex<Place>,
}

/// The places of all connections.
struct Places {
    of_users: Arc<Shares<String>>,
    anonymous: Arc<Shares<IpAddr>>,
}

/// The place of one connection.
enum Place {
    User(Share<String>),
    Anonymous { _share: Share<IpAddr> },
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
    /// The socket has disconnected: no task may be started for it.
    ///
    /// `SocketRef::connected` does not tell: it is false at first, even if the client joins at once.
    is_gone: bool,
    user_id: Option<String>,
    /// Sends the user's events. Dropping it stops the task.
    sender: Option<AbortOnDropHandle<()>>,
    /// Disconnects the socket when it is anonymous for too long or its token becomes invalid.
    watcher: Option<AbortOnDropHandle<()>>,
}

/// All requests of [`PATH`]: those that open a connection, send, poll or upgrade to a WebSocket.
pub(super) fn route(app: Arc<App>) -> MethodRouter<Arc<App>> {
    let parser = ParserConfig::common()
        .max_incoming_binaries(0)
        .max_incoming_binary_buf_size(0);
    let builder = SocketIo::builder();
    let builder = if app.clients.has_polling {
        builder
    } else {
        builder.transports([TransportType::Websocket])
    };
    let (service, io) = builder
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
    let server = app.clone();
    let on_connecting = move |socket: SocketRef, credentials: TryData<Credentials>| {
        let app = app.clone();
        async move {
            prepare(app, &socket, credentials).await;
            Ok::<_, Infallible>(())
        }
    };
    io.ns("/", on_connected.with(on_connecting));
    let places = Arc::new(Places::new());
    any(async move |request: Request| {
        let (mut parts, body) = request.into_parts();
        if !has_session(&parts.uri) {
            let connection = open(&server, &places, &parts).await?;
            parts.extensions.insert(Arc::new(connection));
        }
        match service.call(Request::from_parts(parts, body)).await {
            Ok(response) => Ok::<_, ApiError>(response.map(Body::new)),
            Err(never) => match never {},
        }
    })
}

/// Does the request belong to a connection that is open already?
fn has_session(uri: &Uri) -> bool {
    let mut fields = uri.query().unwrap_or_default().split('&');
    fields.any(|field| field.starts_with("sid="))
}

/// A place for the connection that the request opens, before it costs memory.
async fn open(app: &App, places: &Arc<Places>, parts: &Parts) -> Result<Connection, ApiError> {
    let place = match socket_user(app, parts).await? {
        Some(user_id) => places.of_users.take(Some(user_id)).map(Place::User),
        None => {
            let ClientIp(client) = ClientIp::new(parts, &app.clients);
            let key = client.and_then(|client| client.share_key());
            let taken = places.anonymous.take(key);
            taken.map(|share| Place::Anonymous { _share: share })
        }
    };
    Ok(Connection {
        tokens: AtomicU32::new(0),
        pending: Mutex::new(None),
        connected: CancellationToken::new(),
        membership: Membership::default(),
        places: places.clone(),
        place: Mutex::new(place.map_err(too_many_connections)?),
    })
}

fn too_many_connections(full: SharesFull) -> ApiError {
    let (status, whose) = match full {
        SharesFull::Key => (StatusCode::TOO_MANY_REQUESTS, "you have"),
        SharesFull::Total => (StatusCode::SERVICE_UNAVAILABLE, "the server has"),
    };
    let detail = format!("{whose} too many connections: retry later");
    ApiError::retry_later(status, detail, FULL_RETRY_MS)
}

impl Places {
    fn new() -> Self {
        Self {
            of_users: Shares::new(MAX_CONNECTIONS, MAX_USER_CONNECTIONS),
            anonymous: Shares::new(
                Guard::AnonymousSockets.limit(MAX_ANONYMOUS),
                Guard::AnonymousSockets.limit(MAX_IP_ANONYMOUS),
            ),
        }
    }
}

impl Connection {
    /// Gives the connection a place of this user. Returns false if the user has no place left.
    fn take_user_place(&self, user_id: &str) -> bool {
        let mut place = lock(&self.place);
        let is_taken = matches!(
            &*place,
            Place::User(share) if share.key().is_some_and(|key| key == user_id)
        );
        if is_taken {
            return true;
        }
        let Ok(share) = self.places.of_users.take(Some(user_id.to_owned())) else {
            return false;
        };
        *place = Place::User(share);
        true
    }
}

/// Subscribes and registers the handlers before the client learns that it is connected, so that it
/// misses no event from then on.
async fn prepare(app: Arc<App>, socket: &SocketRef, TryData(credentials): TryData<Credentials>) {
    let token = credentials.ok().and_then(|credentials| credentials.token);
    let subscription = match authenticate(&app, socket, token).await {
        Some(live) => subscribe(&app, live).await,
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
    connection.connected.cancel();
    let pending = lock(&connection.pending).take();
    match pending {
        Some(pending) => connection.membership.enter_first(&socket, pending),
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
        _ => subscribe(app, live).await?,
    };
    connection.membership.enter(socket, subscription);
    Some(joined)
}

async fn subscribe(app: &App, LiveUser { user, session }: LiveUser) -> Option<Subscription> {
    let User { id: user_id, .. } = user;
    let listener = app.events.listen(&user_id, None).ok()?;
    listener.wait_until_followed().await;
    Some(Subscription {
        user_id,
        listener,
        session,
    })
}

/// The token's user, unless the connection has sent too many tokens or the user has too many connections.
async fn authenticate(app: &App, socket: &SocketRef, token: Option<String>) -> Option<LiveUser> {
    let token = token?;
    let connection = connection(socket)?;
    if connection.tokens.fetch_add(1, Ordering::Relaxed) >= MAX_TOKENS {
        return None;
    }
    let live = LiveUser::of_credential(app, token.trim()).await.ok()?;
    if !connection.take_user_place(&live.user.id) {
        return None;
    }
    Some(live)
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

    /// The socket belongs to this user from now on.
    fn enter(&self, socket: &SocketRef, subscription: Subscription) {
        lock(&self.0).enter(socket, subscription);
    }

    /// The same, unless `user-join` was faster.
    fn enter_first(&self, socket: &SocketRef, subscription: Subscription) {
        let mut state = lock(&self.0);
        if state.user_id.is_none() {
            state.enter(socket, subscription);
        }
    }

    /// Disconnects the socket when this session ends.
    fn watch(&self, socket: &SocketRef, session: LiveSession) {
        lock(&self.0).watch(socket, session);
    }

    /// Disconnects the socket if it is anonymous for too long.
    fn await_user(&self, socket: &SocketRef) {
        let mut state = lock(&self.0);
        if state.is_gone || state.user_id.is_some() {
            return;
        }
        let anonymous = socket.clone();
        let watcher = tokio::spawn(async move {
            tokio::time::sleep(ANONYMOUS_TIMEOUT).await;
            anonymous.disconnect().ok();
        });
        state.watcher = Some(AbortOnDropHandle::new(watcher));
    }

    fn leave(&self) {
        *lock(&self.0) = MembershipState {
            is_gone: true,
            ..MembershipState::default()
        };
    }
}

impl MembershipState {
    fn enter(&mut self, socket: &SocketRef, subscription: Subscription) {
        if self.is_gone {
            return;
        }
        let sender = tokio::spawn(send_events(socket.clone(), subscription.listener));
        self.sender = Some(AbortOnDropHandle::new(sender));
        self.user_id = Some(subscription.user_id);
        self.watch(socket, subscription.session);
    }

    fn watch(&mut self, socket: &SocketRef, session: LiveSession) {
        if self.is_gone {
            return;
        }
        let watched = socket.clone();
        let watcher = tokio::spawn(async move {
            session.wait_until_invalid().await;
            watched.disconnect().ok();
        });
        self.watcher = Some(AbortOnDropHandle::new(watcher));
    }
}

async fn send_events(socket: SocketRef, mut listener: Listener) {
    // A client can join before the socket accepts events.
    if let Some(connection) = connection(&socket) {
        connection.connected.cancelled().await;
    }
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
