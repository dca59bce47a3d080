//! Turns that run in the background after the response to their request. Clients receive their events and
//! may stop them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Chat, Turn, background};

/// Tasks of one user.
pub const MAX_TASKS: usize = 20;
/// Tasks of all users.
pub const MAX_ALL_TASKS: usize = 1_000;

/// The running tasks. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    running: Arc<Mutex<HashMap<String, Task>>>,
    tracker: TaskTracker,
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

impl Tasks {
    /// Starts a turn in the background. Returns the id of its task.
    pub fn start(&self, chat: Arc<Chat>, turn: Turn) -> Result<String, StartError> {
        let id = uuid::Uuid::new_v4().to_string();
        let stop = CancellationToken::new();
        let mut running = self.running();
        if running.len() >= MAX_ALL_TASKS {
            return Err(StartError::ServerLimit);
        }
        let of_user = running.values().filter(|it| it.user_id == turn.user.id);
        if of_user.count() >= MAX_TASKS {
            return Err(StartError::UserLimit);
        }
        let task = Task {
            user_id: turn.user.id.clone(),
            chat_id: turn.chat_id.clone(),
            stop: stop.clone(),
        };
        running.insert(id.clone(), task);
        let registration = Registration {
            tasks: self.clone(),
            id: id.clone(),
        };
        self.tracker.spawn(async move {
            background::run(&chat, turn, &stop).await;
            drop(registration);
        });
        Ok(id)
    }

    /// The ids of a user's tasks in a chat, in no order.
    #[must_use]
    pub fn of_chat(&self, user_id: &str, chat_id: &str) -> Vec<String> {
        let running = self.running();
        let of_chat = running.iter().filter(|(_, it)| it.is_in(user_id, chat_id));
        of_chat.map(|(id, _)| id.clone()).collect()
    }

    /// Stops a user's task. Returns false if it does not exist or is already done.
    pub fn stop(&self, user_id: &str, id: &str) -> bool {
        let running = self.running();
        let task = running.get(id).filter(|task| task.user_id == user_id);
        task.inspect(|task| task.stop.cancel()).is_some()
    }

    /// Stops all tasks of a user in a chat. Returns their number.
    pub fn stop_chat(&self, user_id: &str, chat_id: &str) -> usize {
        let running = self.running();
        let of_chat = running.values().filter(|it| it.is_in(user_id, chat_id));
        of_chat.inspect(|task| task.stop.cancel()).count()
    }

    /// Stops all tasks, and waits until their responses are stored.
    pub async fn shut_down(&self) {
        self.running().values().for_each(|task| task.stop.cancel());
        self.tracker.close();
        self.tracker.wait().await;
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

/// Removes its task when it is dropped, even if the task panics.
struct Registration {
    tasks: Tasks,
    id: String,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.tasks.running().remove(&self.id);
    }
}
