//! The running tasks of all hosts.
//!
//! A set names the tasks of each chat, as Open WebUI's do. Entries expire, and each host renews those of its own tasks,
//! so a host that is gone leaves none for long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value};

use super::Shared;
use super::keys::Keys;
use super::link::commands;

/// When an entry expires.
const TASK_TIME: Duration = Duration::from_secs(90);
/// Time between two renewals.
pub(super) const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);
/// Tasks of a chat that are listed.
const MAX_LISTED: usize = 100;

/// The chat and the user of a task.
#[derive(Clone, Debug)]
pub struct TaskOwner {
    pub user_id: String,
    /// `None` if the chat is not named: the task is in no list.
    pub chat_id: Option<String>,
}

/// The tasks of this host.
#[derive(Debug, Default)]
pub(super) struct TaskList(Mutex<HashMap<String, TaskOwner>>);

/// A task that began or ended.
#[derive(Debug)]
pub(super) enum TaskChange {
    Added { id: String, owner: TaskOwner },
    Removed { id: String, chat_id: Option<String> },
}

impl TaskChange {
    pub(super) fn add_to(&self, commands: &mut Pipeline, keys: &Keys) {
        let secs = TASK_TIME.as_secs();
        match self {
            Self::Added { id, owner } => {
                if let Some(chat_id) = &owner.chat_id {
                    let tasks = keys.tasks_of_chat(chat_id);
                    commands.cmd("SADD").arg(&tasks).arg(id);
                    commands.cmd("EXPIRE").arg(&tasks).arg(secs);
                }
                let command = commands.cmd("SET").arg(keys.task_owner(id));
                command.arg(&owner.user_id).arg("EX").arg(secs);
            }
            Self::Removed { id, chat_id } => {
                commands.cmd("DEL").arg(keys.task_owner(id));
                if let Some(chat_id) = chat_id {
                    let tasks = keys.tasks_of_chat(chat_id);
                    commands.cmd("SREM").arg(tasks).arg(id);
                }
            }
        }
    }
}

impl Shared {
    pub(super) fn add_task(&self, id: &str, owner: TaskOwner) {
        self.lock_tasks(|tasks| tasks.insert(id.to_owned(), owner.clone()));
        self.outbox.push_task(TaskChange::Added {
            id: id.to_owned(),
            owner,
        });
    }

    pub(super) fn remove_task(&self, id: &str) {
        let removed = self.lock_tasks(|tasks| tasks.remove(id));
        if let Some(TaskOwner { chat_id, .. }) = removed {
            let id = id.to_owned();
            self.outbox.push_task(TaskChange::Removed { id, chat_id });
        }
    }

    /// Renews the entries of the tasks of this host. Never returns.
    pub(super) async fn renew_tasks(&self) {
        let mut interval = tokio::time::interval(RENEWAL_INTERVAL);
        loop {
            interval.tick().await;
            let tasks = self.lock_tasks(|tasks| tasks.clone());
            for (id, owner) in tasks {
                self.outbox.push_task(TaskChange::Added { id, owner });
            }
        }
    }

    /// The tasks of a user in a chat on all hosts. Empty if Redis cannot be reached.
    pub(super) async fn tasks_of_chat(&self, user_id: &str, chat_id: &str) -> Vec<String> {
        let mut members = redis::cmd("SRANDMEMBER");
        let key = self.keys.tasks_of_chat(chat_id);
        members.arg(key).arg(MAX_LISTED);
        let ids: Vec<Vec<u8>> = self.link.query(&members).await.unwrap_or_default();
        let ids: Vec<String> = ids
            .into_iter()
            .filter_map(|id| String::from_utf8(id).ok())
            .collect();
        if ids.is_empty() {
            return ids;
        }
        let mut owners = commands();
        for id in &ids {
            owners.cmd("GET").arg(self.keys.task_owner(id));
        }
        let replies = self.link.query_all(&owners).await.unwrap_or_default();
        let is_of_user = |reply: RedisResult<Value>| {
            let owner = reply.ok().map(redis::from_redis_value::<Option<Vec<u8>>>);
            matches!(owner, Some(Ok(Some(id))) if id == user_id.as_bytes())
        };
        let tasks = ids.into_iter().zip(replies);
        tasks
            .filter_map(|(id, reply)| is_of_user(reply).then_some(id))
            .collect()
    }

    /// True if a task of a host is this user's.
    pub(super) async fn is_task_of(&self, id: &str, user_id: &str) -> bool {
        let mut read = redis::cmd("GET");
        read.arg(self.keys.task_owner(id));
        let found: Result<Option<Vec<u8>>, _> = self.link.query(&read).await;
        matches!(found, Ok(Some(owner)) if owner == user_id.as_bytes())
    }

    fn lock_tasks<T>(&self, change: impl FnOnce(&mut HashMap<String, TaskOwner>) -> T) -> T {
        let TaskList(tasks) = &self.tasks;
        change(&mut tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
