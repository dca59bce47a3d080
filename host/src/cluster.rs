//! Several hosts that act as one server, through the Redis of `REDIS_URL`.
//!
//! # What it prevents
//!
//! With one database and no Redis, a user of one host does not see what happens on another one until the page is
//! loaded again, cannot stop a turn that another host runs, and has the limits of each host.
//!
//! # How
//!
//! Redis carries hints and events, and no facts: the database is the truth. Events are appended to a stream of their
//! user and published. A hint says that the database has changed, so that a host reads it now and not at its next poll.
//! Stop is a command that the host that runs the task obeys. Rates are counted in Redis.
//!
//! # Invariant
//!
//! No request and no job waits for Redis, except for a limited time if its response decides. Without Redis each host
//! works alone, and events, hints and rates are shared again when it is back. Nothing that Redis has is trusted: others
//! may write into it, so what is read is parsed with limits.
//!
//! # What it does not cover
//!
//! Who can write into Redis can send events to users and stop their tasks, but not act as a user, change a setting or
//! read a file. Redis must be as private as the database. If an Open WebUI has its settings there (`redis_settings`), who
//! can write them changes image settings, but not where a stored secret is sent.

mod commands;
mod endpoint;
mod entry;
mod keys;
mod link;
mod outbox;
mod rate;
mod redis_settings;
mod replay;
mod subscriber;
mod task_list;
mod watches;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use commands::PendingCommands;
use keys::Keys;
use link::{Connection, Link};
use outbox::{Outbox, Sender, Work};
use subscriber::Subscriber;
use task_list::TaskList;
use watches::Watches;

pub use commands::{OnStop, StopCommand};
pub use endpoint::RedisConfig;
pub use entry::{Entry, MAX_EVENT_BYTES, MAX_STORED_EVENT_BYTES, StreamId};
pub use outbox::{MAX_QUEUED_BYTES, MAX_QUEUED_EVENTS, OutgoingEvent};
pub use rate::{Quota, RateScope};
pub use redis_settings::{AgreedValue, MAX_SETTING_JSON_BYTES, RedisSetting};
pub use replay::Replay;
pub use subscriber::{Inbox, Incoming, OnEvent};
pub use task_list::TaskOwner;
pub use watches::Watch;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Redis may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Entries of a user's stream. Redis removes older ones.
pub const MAX_STREAM_ENTRIES: usize = 256;
/// When the stream of a user expires, after the last event.
pub const STREAM_TIME: Duration = Duration::from_secs(3_600);

/// The other hosts, through Redis. Clones share the connections.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    /// Distinguishes this process from others, and from earlier ones.
    origin: Arc<str>,
    keys: Keys,
    link: Link,
    outbox: Outbox,
    /// An Open WebUI has its settings in the same Redis.
    has_settings: bool,
    watches: Arc<Watches>,
    tasks: TaskList,
    pending: PendingCommands,
    /// Taken when the tasks start.
    queued: Mutex<Option<mpsc::Receiver<Work>>>,
}

/// Exchanges events with other hosts until it is dropped.
pub struct ClusterTasks {
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(shared) = self;
        f.debug_struct("Cluster")
            .field("origin", &shared.origin)
            .finish_non_exhaustive()
    }
}

/// Checks that Redis can be reached. The error names no URL.
pub async fn check(config: &RedisConfig) -> anyhow::Result<()> {
    let ping = async {
        match config.endpoint.connect().await? {
            Connection::Single(mut it) => redis::cmd("PING").exec_async(&mut it).await,
            Connection::Cluster(mut it) => redis::cmd("PING").exec_async(&mut it).await,
        }
    };
    let limit = CONNECT_TIMEOUT.saturating_add(RESPONSE_TIMEOUT);
    link::within(limit, ping).await.map_err(|error| {
        anyhow::anyhow!(
            "cannot reach the Redis of REDIS_URL: {}; start it, or correct or unset the variable",
            link::describe(&error)
        )
    })
}

impl Cluster {
    /// Nothing is sent before [`Self::start`]. `origin` distinguishes this process from all others.
    #[must_use]
    pub fn new(config: &RedisConfig, origin: Arc<str>) -> Self {
        let (outbox, queued) = Outbox::new();
        Self(Arc::new(Shared {
            origin,
            keys: Keys::new(&config.prefix),
            link: Link::new(config.endpoint.clone()),
            outbox,
            has_settings: config.has_settings,
            watches: Arc::default(),
            tasks: TaskList::default(),
            pending: PendingCommands::default(),
            queued: Mutex::new(Some(queued)),
        }))
    }

    /// Connects, and exchanges events with other hosts.
    #[must_use]
    pub fn start(&self, inbox: Inbox, on_stop: OnStop) -> ClusterTasks {
        let Self(shared) = self;
        let spawn = |task| AbortOnDropHandle::new(task);
        let link = shared.clone();
        let mut tasks = vec![spawn(tokio::spawn(async move { link.link.run().await }))];
        let renewed = shared.clone();
        tasks.push(spawn(tokio::spawn(
            async move { renewed.renew_tasks().await },
        )));
        let queued = shared.queued.lock();
        let queued = queued.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut queued) = queued {
            let sent = shared.clone();
            tasks.push(spawn(tokio::spawn(async move {
                let sender = Sender {
                    outbox: &sent.outbox,
                    link: &sent.link,
                    keys: &sent.keys,
                    origin: &sent.origin,
                };
                sender.run(&mut queued).await;
            })));
        }
        let subscriber = Subscriber {
            shared: shared.clone(),
            inbox,
            on_stop,
            positions: HashMap::new(),
            subscribed: HashSet::new(),
        };
        let connected = shared.clone();
        tasks.push(spawn(tokio::spawn(async move {
            connected.link.wait_until_up().await;
            subscriber.run().await;
        })));
        ClusterTasks { _tasks: tasks }
    }

    /// The name of this process.
    #[must_use]
    pub fn origin(&self) -> &Arc<str> {
        let Self(shared) = self;
        &shared.origin
    }

    /// Passes an event on to other hosts. Never waits.
    pub fn publish(&self, event: OutgoingEvent) {
        let Self(shared) = self;
        // A state is out of date when Redis is back.
        if event.state.is_none() || shared.link.is_up() {
            shared.outbox.push(event);
        }
    }

    /// Follows the events of a user on other hosts.
    #[must_use]
    pub fn watch(&self, user_id: &str) -> Watch {
        let Self(shared) = self;
        shared.watches.add(user_id)
    }

    /// Tells other hosts that the database has changed.
    pub async fn announce_change(&self, revisions: &serde_json::Value) {
        let Self(shared) = self;
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(shared.keys.changed())
            .arg(revisions.to_string());
        // Without it, other hosts see the change at their next poll.
        shared.link.query::<()>(&publish).await.ok();
    }

    /// Lists a task of this host for others.
    pub fn add_task(&self, id: &str, owner: TaskOwner) {
        let Self(shared) = self;
        shared.add_task(id, owner);
    }

    /// Removes a task of this host.
    pub fn remove_task(&self, id: &str) {
        let Self(shared) = self;
        shared.remove_task(id);
    }

    /// The tasks of a user in a chat on all hosts. Empty if Redis cannot be reached.
    pub async fn tasks_of_chat(&self, user_id: &str, chat_id: &str) -> Vec<String> {
        let Self(shared) = self;
        shared.tasks_of_chat(user_id, chat_id).await
    }

    /// True if a host runs a task of this user with this id.
    pub async fn has_task(&self, id: &str, user_id: &str) -> bool {
        let Self(shared) = self;
        shared.is_task_of(id, user_id).await
    }

    /// Stops a task of another host; if a user is named, only a task of this user. Returns false if no host confirms it.
    pub async fn stop_task(&self, id: &str, user_id: Option<&str>) -> bool {
        let Self(shared) = self;
        shared.stop_task(id, user_id).await
    }

    /// Stops all jobs of a user, or of all users, on other hosts. Returns the number that they confirm.
    pub async fn stop_jobs(&self, user_id: Option<&str>) -> usize {
        let Self(shared) = self;
        shared.stop_jobs(user_id).await
    }

    /// Counts one more of something that all hosts limit together. Returns the time to wait; zero if it is allowed.
    /// `None` if Redis does not respond.
    pub async fn count(&self, scope: RateScope, key: &str, quota: Quota) -> Option<Duration> {
        let Self(shared) = self;
        shared.count(scope, key, quota).await
    }

    /// True if an Open WebUI has its settings in the same Redis, and shares them.
    #[must_use]
    pub fn has_settings(&self) -> bool {
        let Self(shared) = self;
        shared.has_settings
    }

    /// What Redis has of a setting of Open WebUI. `None` if Redis does not respond, or has something else of this name.
    pub async fn read_setting(&self, name: &str) -> Option<RedisSetting> {
        let Self(shared) = self;
        shared.read_setting(name).await.ok()
    }

    /// Writes a setting for Open WebUI, or removes it, unless it has changed since it was read. Without Redis, the next
    /// comparison finds the difference again.
    pub async fn write_setting(
        &self,
        name: &str,
        seen: &RedisSetting,
        value: Option<&AgreedValue>,
    ) {
        let Self(shared) = self;
        shared.write_setting(name, seen, value).await.ok();
    }

    /// Notes that the database has the text of a setting that was read.
    pub async fn agree_on_setting(&self, name: &str, text: &str) {
        let Self(shared) = self;
        shared.agree_on_setting(name, text).await.ok();
    }

    /// The events of a user after this position, with what this host has emitted so far. `None` if Redis does not
    /// respond.
    pub async fn replay(&self, user_id: &str, after: StreamId) -> Option<Replay> {
        let Self(shared) = self;
        shared.replay(user_id, after).await
    }
}
