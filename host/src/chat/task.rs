//! Turns that run in the background after the response to their request. Clients receive their events and
//! may stop them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Chat, Turn, background};
use crate::cluster::{Cluster, TaskOwner};
use crate::event::MessageEvents;

/// Tasks of one user.
pub const MAX_TASKS: usize = 20;
/// Tasks of all users.
pub const MAX_ALL_TASKS: usize = 1_000;

/// The running tasks. Clones share them.
#[derive(Clone, Debug)]
pub struct Tasks {
    running: Arc<Mutex<HashMap<String, Task>>>,
    tracker: TaskTracker,
    /// The hosts that run tasks too.
    cluster: Option<Cluster>,
}

#[derive(Debug)]
struct Task {
    user_id: String,
    chat_id: Option<String>,
    stop: CancellationToken,
}

/// Why a task was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("too many running turns (limit {MAX_TASKS}): wait for one, or stop it")]
    UserLimit,
    #[error("the server has too many running turns: try again later")]
    ServerLimit,
}

/// What became of a request to stop a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOutcome {
    Stopped,
    /// The user has no such running task.
    Unknown,
    /// Another host runs the task, and does not respond.
    Unconfirmed,
}

impl Tasks {
    #[must_use]
    pub fn new(cluster: Option<Cluster>) -> Self {
        Self {
            running: Arc::default(),
            tracker: TaskTracker::new(),
            cluster,
        }
    }

    /// Starts turns of a user in the background: all of them or none. Returns the ids of their tasks.
    pub fn start(&self, chat: &Arc<Chat>, turns: Vec<Turn>) -> Result<Vec<String>, StartError> {
        let mut running = self.running();
        if let Some(turn) = turns.first() {
            check_room(&running, &turn.user.id, turns.len())?;
        }
        let registered: Vec<_> = turns
            .into_iter()
            .map(|turn| (self.register(&mut running, chat, &turn), turn))
            .collect();
        drop(running);
        let start = |(registration, turn): (Registration, Turn)| {
            let id = registration.id.clone();
            let (chat, stop) = (chat.clone(), registration.stop.clone());
            registration.emit_activity(true);
            self.tracker.spawn(async move {
                background::run(&chat, turn, &stop).await;
                drop(registration);
            });
            id
        };
        Ok(registered.into_iter().map(start).collect())
    }

    /// Fails if a user cannot start this number of turns now.
    pub fn check_room(&self, user_id: &str, turns: usize) -> Result<(), StartError> {
        check_room(&self.running(), user_id, turns)
    }

    fn register(
        &self,
        running: &mut HashMap<String, Task>,
        chat: &Chat,
        turn: &Turn,
    ) -> Registration {
        let registration = Registration {
            tasks: self.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            stop: CancellationToken::new(),
            events: turn.names_responses().then(|| turn.events(&chat.events)),
        };
        let task = Task {
            user_id: turn.user.id.clone(),
            chat_id: turn.chat_id.clone(),
            stop: registration.stop.clone(),
        };
        if let Some(cluster) = &self.cluster {
            let owner = TaskOwner {
                user_id: task.user_id.clone(),
                chat_id: task.chat_id.clone(),
            };
            cluster.add_task(&registration.id, owner);
        }
        running.insert(registration.id.clone(), task);
        registration
    }

    /// The ids of a user's tasks in a chat on all hosts, in no order.
    pub async fn of_chat(&self, user_id: &str, chat_id: &str) -> Vec<String> {
        let mut ids = self.own_of_chat(user_id, chat_id);
        if let Some(cluster) = &self.cluster {
            let of_all = cluster.tasks_of_chat(user_id, chat_id).await;
            let running = self.running();
            // The list may still have one of this host that has ended.
            ids.extend(of_all.into_iter().filter(|id| !running.contains_key(id)));
        }
        ids
    }

    /// The ids of a user's tasks in a chat on this host.
    fn own_of_chat(&self, user_id: &str, chat_id: &str) -> Vec<String> {
        let running = self.running();
        let of_chat = running.iter().filter(|(_, it)| it.is_in(user_id, chat_id));
        of_chat.map(|(id, _)| id.clone()).collect()
    }

    /// Stops a user's task on any host.
    pub async fn stop(&self, user_id: &str, id: &str) -> StopOutcome {
        if self.stop_own(Some(user_id), id) {
            return StopOutcome::Stopped;
        }
        let Some(cluster) = &self.cluster else {
            return StopOutcome::Unknown;
        };
        if !cluster.has_task(id, user_id).await {
            return StopOutcome::Unknown;
        }
        if cluster.stop_task(id, Some(user_id)).await {
            StopOutcome::Stopped
        } else {
            StopOutcome::Unconfirmed
        }
    }

    /// Stops a task of this host; if a user is named, only a task of this user. Returns false if it does not exist or is
    /// already done.
    #[must_use]
    pub fn stop_own(&self, user_id: Option<&str>, id: &str) -> bool {
        let running = self.running();
        let is_of = |task: &&Task| user_id.is_none_or(|it| task.user_id == it);
        let task = running.get(id).filter(is_of);
        task.inspect(|task| task.stop.cancel()).is_some()
    }

    /// Stops all tasks of a user in a chat on all hosts. Returns the number of those that were not stopped before.
    pub async fn stop_chat(&self, user_id: &str, chat_id: &str) -> usize {
        let mut stopped = self.stop_own_chat(user_id, chat_id);
        let Some(cluster) = &self.cluster else {
            return stopped;
        };
        let own = self.own_of_chat(user_id, chat_id);
        let all = cluster.tasks_of_chat(user_id, chat_id).await;
        let others = all.iter().filter(|id| !own.contains(id));
        let stops = others.map(|id| cluster.stop_task(id, Some(user_id)));
        let confirmed = futures_util::future::join_all(stops).await;
        stopped += confirmed.into_iter().filter(|it| *it).count();
        stopped
    }

    fn stop_own_chat(&self, user_id: &str, chat_id: &str) -> usize {
        let running = self.running();
        let of_chat = running.values().filter(|it| it.is_in(user_id, chat_id));
        let continued = of_chat.filter(|task| !task.stop.is_cancelled());
        continued.inspect(|task| task.stop.cancel()).count()
    }

    /// Waits until no task of this host runs.
    pub async fn wait_until_idle(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Stops all tasks, and waits until their responses are stored.
    pub async fn shut_down(&self) {
        self.running().values().for_each(|task| task.stop.cancel());
        self.wait_until_idle().await;
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Task>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn is_in(&self, user_id: &str, chat_id: &str) -> bool {
        self.user_id == user_id && self.chat_id.as_deref() == Some(chat_id)
    }
}

fn check_room(
    running: &HashMap<String, Task>,
    user_id: &str,
    turns: usize,
) -> Result<(), StartError> {
    if running.len().saturating_add(turns) > MAX_ALL_TASKS {
        return Err(StartError::ServerLimit);
    }
    let of_user = running.values().filter(|it| it.user_id == user_id);
    if of_user.count().saturating_add(turns) > MAX_TASKS {
        return Err(StartError::UserLimit);
    }
    Ok(())
}

/// Removes its task when it is dropped, even if the task panics.
struct Registration {
    tasks: Tasks,
    id: String,
    stop: CancellationToken,
    /// The events of a client that waits for `chat:active`.
    events: Option<MessageEvents>,
}

impl Registration {
    /// Emits whether the chat has a running task.
    fn emit_activity(&self, is_active: bool) {
        if let Some(events) = &self.events {
            events.emit("chat:active", json!({"active": is_active}));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.tasks.running().remove(&self.id);
        if let Some(cluster) = &self.tasks.cluster {
            cluster.remove_task(&self.id);
        }
        let target = self.events.as_ref().map(|events| &events.target);
        let is_last = target.is_some_and(|target| {
            let chat_id = target.chat_id.as_deref().unwrap_or_default();
            self.tasks.own_of_chat(&target.user_id, chat_id).is_empty()
        });
        if is_last {
            self.emit_activity(false);
        }
    }
}
