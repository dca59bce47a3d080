//! Commands to stop tasks and jobs of other hosts.
//!
//! Their form is Open WebUI's: `{"action": "stop", "task_id": "…"}`. A command of this server also names who asked, and
//! a request to which the host that runs the task responds, so that the caller learns what happened.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Shared;

/// Length of a command in bytes of JSON.
const MAX_COMMAND_BYTES: usize = 4_096;
/// How long a command waits for the hosts.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(1);
/// Responses that wait to be read.
const MAX_RESPONSES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Stop,
    /// All jobs of a user, or of all users.
    StopJobs,
    /// A host has stopped something.
    Stopped,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
struct Command {
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// Names the responses to a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// The process that sent the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Tasks and jobs that were stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

/// What another host asks this one to stop.
#[derive(Debug, PartialEq, Eq)]
pub enum StopCommand {
    /// A task or job. If a user is named, only a task of this user.
    Task { id: String, user_id: Option<String> },
    /// All jobs of a user, or of all users.
    Jobs { user_id: Option<String> },
}

/// The commands that wait for responses.
#[derive(Debug, Default)]
pub(super) struct PendingCommands(Mutex<HashMap<String, mpsc::Sender<usize>>>);

/// What a host does with a command: returns the number of tasks and jobs that it stops.
pub type OnStop = Box<dyn Fn(StopCommand) -> usize + Send + Sync>;

impl Shared {
    /// Stops a task or job of another host. Returns false if no host confirms it.
    pub(super) async fn stop_task(&self, id: &str, user_id: Option<&str>) -> bool {
        let command = self.command(Action::Stop, Some(id), user_id);
        self.send(command, 1).await > 0
    }

    /// Stops all jobs of a user, or of all users, on other hosts. Returns the number that they confirm.
    pub(super) async fn stop_jobs(&self, user_id: Option<&str>) -> usize {
        let command = self.command(Action::StopJobs, None, user_id);
        self.send(command, usize::MAX).await
    }

    fn command(&self, action: Action, task_id: Option<&str>, user_id: Option<&str>) -> Command {
        Command {
            action,
            task_id: task_id.map(str::to_owned),
            user_id: user_id.map(str::to_owned),
            request: Some(uuid::Uuid::new_v4().to_string()),
            origin: Some(self.origin.to_string()),
            count: None,
        }
    }

    /// Sends a command, and waits until hosts have stopped this many tasks and jobs. Returns their number.
    async fn send(&self, command: Command, expected: usize) -> usize {
        let deadline = Instant::now() + MAX_RESPONSE_TIME;
        let request = command.request.clone().unwrap_or_default();
        let (sender, mut responses) = mpsc::channel(MAX_RESPONSES);
        self.pending
            .lock(|pending| pending.insert(request.clone(), sender));
        let published = timeout_at(deadline, self.publish_command(&command)).await;
        // Each host subscribes, this one included. Servers of a cluster count only their own subscribers.
        let has_others = match published {
            Ok(Some(subscribers)) => subscribers > 1 || self.link.endpoint.is_cluster(),
            _ => false,
        };
        let mut stopped: usize = 0;
        while has_others && stopped < expected {
            match timeout_at(deadline, responses.recv()).await {
                Ok(Some(count)) => stopped = stopped.saturating_add(count),
                _ => break,
            }
        }
        self.pending.lock(|pending| pending.remove(&request));
        stopped
    }

    /// The number of subscribers. `None` if Redis cannot be reached.
    async fn publish_command(&self, command: &Command) -> Option<usize> {
        let json = serde_json::to_string(command).unwrap_or_default();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.keys.commands()).arg(json);
        self.link.query(&publish).await.ok()
    }

    /// Obeys a command of another host, or reads a response.
    pub(super) fn receive_command(self: &std::sync::Arc<Self>, json: &[u8], on_stop: &OnStop) {
        if json.len() > MAX_COMMAND_BYTES {
            return;
        }
        let Ok(command) = serde_json::from_slice::<Command>(json) else {
            return;
        };
        if command.origin.as_deref() == Some(&*self.origin) {
            return;
        }
        let (request, user_id) = (command.request, command.user_id);
        let stop = match (command.action, command.task_id) {
            (Action::Stop, Some(id)) => StopCommand::Task { id, user_id },
            (Action::StopJobs, _) => StopCommand::Jobs { user_id },
            (Action::Stopped, _) => {
                let sender = self.pending.lock(|it| it.get(&request?).cloned());
                if let (Some(sender), Some(count)) = (sender, command.count) {
                    sender.try_send(count).ok();
                }
                return;
            }
            _ => return,
        };
        let count = on_stop(stop);
        if count == 0 || request.is_none() {
            return;
        }
        let response = Command {
            action: Action::Stopped,
            task_id: None,
            user_id: None,
            request,
            origin: Some(self.origin.to_string()),
            count: Some(count),
        };
        let shared = self.clone();
        tokio::spawn(async move { shared.publish_command(&response).await });
    }
}

impl PendingCommands {
    fn lock<T>(&self, change: impl FnOnce(&mut HashMap<String, mpsc::Sender<usize>>) -> T) -> T {
        let Self(pending) = self;
        change(&mut pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
