//! Turns that go on after their request was answered: clients hear by events what the others read in
//! the answer, and may stop them.

mod answer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::event::{COMPLETION, Event, Events, Place};
use super::model::Completion;
use super::{Chat, MAX_REASON_BYTES, Reply, Turn, run};
use crate::store::FinishedResponse;
use pinhole_ground::text::plain;

use answer::{Answer, refusal};

/// Tasks of one user at the same time.
const MAX_TASKS: usize = 20;
/// Tasks of all users at the same time.
const MAX_ALL_TASKS: usize = 1_000;
/// The least time between two events with the words so far.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Such events are this long together in a second, in bytes: long answers are told less often.
const MAX_BYTES_A_SECOND: usize = 256 << 10;
/// Length of a refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// All tasks that run now.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    running: Arc<Mutex<HashMap<String, Task>>>,
    tracker: TaskTracker,
}

/// A turn that goes on.
#[derive(Debug)]
struct Task {
    user_id: String,
    chat_id: Option<String>,
    stop: CancellationToken,
}

/// Why no task was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// One user has too many.
    #[error("you have {MAX_TASKS} answers under way already: wait for one, or stop it")]
    User,
    /// All users together have too many.
    #[error("the server has as many answers under way as it can serve: try again later")]
    Server,
}

impl Tasks {
    /// Has a turn go on by itself. The task's id, to stop it by.
    pub fn start(&self, chat: Arc<Chat>, turn: Turn) -> Result<String, Full> {
        let id = uuid::Uuid::new_v4().to_string();
        let stop = CancellationToken::new();
        let mut running = self.running();
        if running.len() >= MAX_ALL_TASKS {
            return Err(Full::Server);
        }
        let of_user = running.values().filter(|it| it.user_id == turn.user.id);
        if of_user.count() >= MAX_TASKS {
            return Err(Full::User);
        }
        let task = Task {
            user_id: turn.user.id.clone(),
            chat_id: turn.chat_id.clone(),
            stop: stop.clone(),
        };
        running.insert(id.clone(), task);
        let listed = Listed {
            tasks: self.clone(),
            id: id.clone(),
        };
        self.tracker.spawn(async move {
            go_on(&chat, turn, &stop).await;
            drop(listed);
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

    /// Stops a user's task. False where there is none, or it has ended.
    pub fn stop(&self, user_id: &str, id: &str) -> bool {
        let running = self.running();
        let task = running.get(id).filter(|task| task.user_id == user_id);
        task.inspect(|task| task.stop.cancel()).is_some()
    }

    /// Stops all of a user's tasks in a chat: how many.
    pub fn stop_chat(&self, user_id: &str, chat_id: &str) -> usize {
        let running = self.running();
        let of_chat = running.values().filter(|it| it.is_in(user_id, chat_id));
        of_chat.inspect(|task| task.stop.cancel()).count()
    }

    /// Stops every task, and waits until what they have said is kept.
    pub async fn end(&self) {
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

/// A task is listed as long as this is there, even where it panics.
struct Listed {
    tasks: Tasks,
    id: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.tasks.running().remove(&self.id);
    }
}

/// Runs the turn to its end or until it is stopped, keeps what was said, and says that it is over.
///
/// Source: Open WebUI `utils/middleware.py` and `main.py`: the words so far, `done` at the end;
/// `chat:message:error` and `chat:tasks:cancel` after a failure, the latter alone after Stop.
async fn go_on(chat: &Chat, turn: Turn, stop: &CancellationToken) {
    let teller = Teller {
        events: chat.events.clone(),
        user_id: turn.user.id.clone(),
        place: turn.place(),
    };
    let mut answer = Answer::default();
    // To drop the turn cancels its job and ends what it asks the language model.
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        ended = speak(chat, turn, &teller, &mut answer) => Some(ended),
    };
    let failure = match &ended {
        Some(Err(reason)) => Some(plain(reason, MAX_REASON_BYTES)),
        _ => None,
    };
    let title = keep(chat, &teller, &answer, failure.as_deref()).await;
    if let Some(Ok(())) = ended {
        let mut done = json!({"done": true, "content": answer.content});
        if let Some(done) = done.as_object_mut() {
            done.extend(title.map(|title| ("title".to_owned(), title.into())));
            done.extend(answer.usage.map(|usage| ("usage".to_owned(), usage)));
        }
        return teller.tell(COMPLETION, done);
    }
    if let Some(reason) = failure {
        let error = json!({"error": {"content": reason}});
        teller.tell("chat:message:error", error);
    }
    teller.tell("chat:tasks:cancel", Value::Null);
}

/// Runs the turn and reads its answer. The error is a reason for a person.
async fn speak(chat: &Chat, turn: Turn, teller: &Teller, answer: &mut Answer) -> Result<(), String> {
    let reply = run(chat, turn).await.map_err(|error| error.to_string())?;
    match reply {
        Reply::Words(words) => answer.add(&words),
        Reply::Model {
            answer: response, ..
        } => listen(*response, teller, answer).await,
    }
}

/// Reads what the language model answers, and tells the words so far in between.
async fn listen(
    mut response: Completion,
    teller: &Teller,
    answer: &mut Answer,
) -> Result<(), String> {
    if !response.status().is_success() {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_REFUSAL_BYTES {
                break;
            }
        }
        return Err(refusal(&response, &body));
    }
    answer.begin(&response);
    let (mut told, mut next) = (0, Instant::now());
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk,
            () = tokio::time::sleep_until(next), if answer.content.len() > told => {
                told = answer.content.len();
                teller.tell(COMPLETION, json!({"content": answer.content}));
                next = Instant::now() + interval(told);
                continue;
            }
        };
        match chunk {
            Ok(Some(chunk)) => answer.push(&chunk)?,
            Ok(None) => return answer.finish(),
            Err(error) => {
                tracing::warn!("the language model's answer broke off: {error}");
                return Err("the language model's answer broke off".to_owned());
            }
        }
    }
}

/// How long after an event with so many bytes the next may come.
fn interval(bytes: usize) -> Duration {
    let micros = bytes.saturating_mul(1_000_000) / MAX_BYTES_A_SECOND;
    MIN_INTERVAL.max(Duration::from_micros(micros as u64))
}

/// Keeps what was said in the user's own chat, where there is such a chat: its title.
async fn keep(
    chat: &Chat,
    teller: &Teller,
    answer: &Answer,
    failure: Option<&str>,
) -> Option<String> {
    let chat_id = teller.place.chat_id.as_deref()?;
    let mut rest = Map::from_iter([("done".to_owned(), true.into())]);
    rest.extend(failure.map(|why| ("error".to_owned(), json!({"content": why}))));
    rest.extend(
        answer
            .usage
            .clone()
            .map(|usage| ("usage".to_owned(), usage)),
    );
    let message_id = &teller.place.message_id;
    let kept = chat.store.finish_response(FinishedResponse {
        user_id: &teller.user_id,
        chat_id,
        message_id,
        content: &answer.content,
        fields: &rest,
    });
    match kept.await {
        Ok(title) => title,
        Err(error) => {
            tracing::error!(
                "the answer {message_id} cannot be kept in its chat {chat_id}: {error}"
            );
            None
        }
    }
}

/// Tells one user about one message.
struct Teller {
    events: Events,
    user_id: String,
    place: Place,
}

impl Teller {
    fn tell(&self, kind: &'static str, data: Value) {
        self.events.emit(Event {
            user_id: self.user_id.clone(),
            place: self.place.clone(),
            kind,
            data,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_are_told_less_often() {
        assert_eq!(interval(0), MIN_INTERVAL);
        assert_eq!(interval(MAX_BYTES_A_SECOND), Duration::from_secs(1));
    }
}
