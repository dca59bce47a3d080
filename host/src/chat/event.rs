//! What clients are told while a turn runs, and what they are told again after they were away.
//!
//! Every user has a line of the newest events. A listener reads its user's line at its own pace:
//! one that is slow, or comes back, reads on where it was, and is told where something is lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Events of one user that are kept.
const MAX_KEPT: usize = 256;
/// Their length in JSON, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 20;
/// The same of all users.
const MAX_ALL_KEPT_BYTES: usize = 64 << 20;
/// Users whose events are kept while nobody listens.
const MAX_LINES: usize = 20_000;
/// Listeners of one user.
const MAX_LISTENERS: usize = 1_000;
/// Listeners of all users.
const MAX_ALL_LISTENERS: usize = 10_000;

/// How far a job is: each replaces the one before but for its preview, which stays until there is
/// another. What comes after it in the same message replaces both. Open WebUI's clients do not know
/// the kind and pass over it.
pub const PROGRESS: &str = "pinhole:progress";
/// What the language model has said so far: each replaces the one before of its message.
pub const COMPLETION: &str = "chat:completion";
/// Events were lost to a listener, which has to ask for what it shows once more.
pub const GAP: &str = "pinhole:gap";

/// One thing a client is told.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose clients hear it.
    pub user_id: String,
    /// Where it belongs.
    pub place: Place,
    /// Such as `status` or `files`.
    pub kind: &'static str,
    /// What the kind carries.
    pub data: Value,
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chat; `None` where the caller named none.
    pub chat_id: Option<String>,
    /// The message.
    pub message_id: String,
}

/// An event as a listener hears it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its number among all events of this process.
    pub number: u64,
    /// The chat; `None` where the event belongs to none.
    pub chat_id: Option<String>,
    /// Such as `status` or `files`.
    pub kind: &'static str,
    /// As Open WebUI's clients read it: written once, however many hear it.
    pub json: Arc<RawValue>,
}

/// Why nobody more may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// One user has too many.
    #[error("you listen at {MAX_LISTENERS} places already: close one of them")]
    User,
    /// All users together have too many.
    #[error("the server has as many listeners as it can serve: try again later")]
    Server,
}

/// Carries events to the clients of those whose they are.
#[derive(Clone, Debug)]
pub struct Events {
    lines: Arc<Mutex<Lines>>,
    places: Arc<Semaphore>,
    /// Tells numbers of this process from those of another.
    start: Arc<str>,
}

/// Hears one user's events, in order.
#[derive(Debug)]
pub struct Listener {
    events: Events,
    user_id: String,
    /// The last number heard.
    last: u64,
    /// What was lost before it began is still to be told.
    gap: bool,
    newest: watch::Receiver<u64>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Lines {
    of: HashMap<String, Line>,
    /// The last number given.
    newest: u64,
    bytes: usize,
}

/// The newest events of one user.
#[derive(Debug)]
struct Line {
    /// By number, ascending.
    kept: VecDeque<Kept>,
    bytes: usize,
    /// The last number that is kept no longer, and was not replaced.
    lost: u64,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    heard: Heard,
    message_id: String,
    has_preview: bool,
    bytes: usize,
}

impl Events {
    /// Without listeners yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            lines: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_ALL_LISTENERS)),
            start: uuid::Uuid::new_v4().simple().to_string().into(),
        }
    }

    /// Tells everybody who listens, and keeps the event for those who come back.
    pub fn emit(&self, event: Event) {
        let json = json(Some(&event.place), event.kind, &event.data);
        let bytes = json.get().len();
        let has_preview = event.data.get("preview").is_some();
        let mut lines = self.lines();
        let number = lines.newest + 1;
        let line = lines.line(&event.user_id);
        let before = line.bytes;
        line.push(Kept {
            heard: Heard {
                number,
                chat_id: event.place.chat_id,
                kind: event.kind,
                json,
            },
            has_preview,
            message_id: event.place.message_id,
            bytes,
        });
        let after = line.bytes;
        line.newest.send_replace(number);
        lines.newest = number;
        lines.bytes = lines.bytes + after - before;
        lines.shrink();
    }

    /// Hears a user's events from now on or, where `after` is the id of one heard before, from the
    /// next one on.
    ///
    /// An id of another process, or one that is none, is told as a gap.
    pub fn listen(&self, user_id: &str, after: Option<&str>) -> Result<Listener, Full> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Full::Server)?;
        let mut lines = self.lines();
        let newest = lines.newest;
        let line = lines.line(user_id);
        if line.newest.receiver_count() >= MAX_LISTENERS {
            return Err(Full::User);
        }
        let (last, gap) = match after.map(|id| self.number(id)) {
            None => (newest, false),
            Some(Some(number)) if number <= newest => (number, number < line.lost),
            Some(_) => (line.lost, true),
        };
        Ok(Listener {
            newest: line.newest.subscribe(),
            events: self.clone(),
            user_id: user_id.to_owned(),
            last,
            gap,
            _place: place,
        })
    }

    /// How many listen now.
    #[must_use]
    pub fn listeners(&self) -> usize {
        MAX_ALL_LISTENERS - self.places.available_permits()
    }

    /// What a client tells after it was away, to hear what came meanwhile.
    #[must_use]
    pub fn id(&self, heard: &Heard) -> String {
        format!("{}-{}", self.start, heard.number)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (start, number) = id.split_once('-')?;
        (start == &*self.start).then(|| number.parse().ok())?
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener {
    /// The next event. Where some were lost first, an event that says so.
    pub async fn next(&mut self) -> Heard {
        loop {
            self.newest.borrow_and_update();
            if let Some(heard) = self.kept() {
                (self.last, self.gap) = (heard.number, false);
                return heard;
            }
            // A line that is listened to is never dropped.
            if self.newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn kept(&self) -> Option<Heard> {
        let lines = self.events.lines();
        let line = lines.of.get(&self.user_id)?;
        if self.gap || self.last < line.lost {
            return Some(Heard {
                number: line.lost.max(self.last),
                chat_id: None,
                kind: GAP,
                json: json(None, GAP, &json!({})),
            });
        }
        let heard = line
            .kept
            .partition_point(|kept| kept.heard.number <= self.last);
        line.kept.get(heard).map(|kept| kept.heard.clone())
    }
}

impl Lines {
    /// The user's, made where there is none: for it, all that was before is lost.
    fn line(&mut self, user_id: &str) -> &mut Line {
        if self.of.len() >= MAX_LINES && !self.of.contains_key(user_id) {
            let silent = self.of.iter().filter(|(_, line)| line.is_silent());
            let oldest = silent.min_by_key(|(_, line)| *line.newest.borrow());
            if let Some(oldest) = oldest.map(|(user_id, _)| user_id.clone()) {
                let line = self.of.remove(&oldest);
                self.bytes -= line.map_or(0, |line| line.bytes);
            }
        }
        let newest = self.newest;
        let line = self.of.entry(user_id.to_owned());
        line.or_insert_with(|| Line {
            kept: VecDeque::new(),
            bytes: 0,
            lost: newest,
            newest: watch::Sender::new(newest),
        })
    }

    /// Drops whole lines, those that were quiet longest first, while all are too long together.
    fn shrink(&mut self) {
        while self.bytes > MAX_ALL_KEPT_BYTES {
            let lines = self.of.values_mut().filter(|line| !line.kept.is_empty());
            let Some(oldest) = lines.min_by_key(|line| *line.newest.borrow()) else {
                return;
            };
            self.bytes -= oldest.bytes;
            oldest.drop_until(0, 0);
        }
    }
}

impl Line {
    fn push(&mut self, kept: Kept) {
        self.forget_before(&kept);
        self.bytes += kept.bytes;
        self.kept.push_back(kept);
        self.drop_until(MAX_KEPT, MAX_KEPT_BYTES);
    }

    /// Drops what this replaces. A preview stays until there is another.
    fn forget_before(&mut self, kept: &Kept) {
        let kind = kept.heard.kind;
        let bytes = &mut self.bytes;
        self.kept.retain(|it| {
            let replaced = match it.heard.kind {
                PROGRESS => kind != PROGRESS || kept.has_preview || !it.has_preview,
                COMPLETION => kind == COMPLETION,
                _ => false,
            };
            let same = it.message_id == kept.message_id && it.heard.chat_id == kept.heard.chat_id;
            let stays = !replaced || !same;
            *bytes -= if stays { 0 } else { it.bytes };
            stays
        });
    }

    /// Drops the oldest while there are more, or they are longer.
    fn drop_until(&mut self, most: usize, most_bytes: usize) {
        while self.kept.len() > most || self.bytes > most_bytes {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
            if oldest.heard.kind != PROGRESS {
                self.lost = oldest.heard.number;
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.newest.receiver_count() == 0
    }
}

/// As Open WebUI's clients read it; without `data` where there is none.
///
/// Source: Open WebUI `socket/main.py`, the payload of `events`.
fn json(place: Option<&Place>, kind: &str, data: &Value) -> Arc<RawValue> {
    let data = match data {
        Value::Null => json!({"type": kind}),
        data => json!({"type": kind, "data": data}),
    };
    let json = json!({
        "chat_id": place.and_then(|place| place.chat_id.as_deref()),
        "message_id": place.map(|place| &place.message_id),
        "data": data,
    });
    // Texts and numbers alone: it cannot fail.
    to_raw_value(&json).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event(user_id: &str, kind: &'static str, data: Value) -> Event {
        Event {
            user_id: user_id.to_owned(),
            place: Place {
                chat_id: None,
                message_id: "m".to_owned(),
            },
            kind,
            data,
        }
    }

    fn tell(events: &Events, user_id: &str, data: impl Into<Value>) {
        events.emit(event(user_id, "status", data.into()));
    }

    fn data(heard: &Heard) -> Value {
        let json: Value = serde_json::from_str(heard.json.get()).unwrap();
        json["data"]["data"].clone()
    }

    /// The kind and content of all that can be heard at once.
    fn heard(listener: &mut Listener) -> Vec<(&'static str, Value)> {
        std::iter::from_fn(|| listener.next().now_or_never())
            .map(|heard| (heard.kind, data(&heard)))
            .collect()
    }

    fn statuses(data: impl IntoIterator<Item = usize>) -> Vec<(&'static str, Value)> {
        data.into_iter().map(|it| ("status", it.into())).collect()
    }

    fn gap() -> (&'static str, Value) {
        (GAP, json!({}))
    }

    #[test]
    fn a_listener_hears_what_comes_after_it_of_its_own_user() {
        let events = Events::new();
        tell(&events, "u", 1);
        let mut listener = events.listen("u", None).unwrap();
        tell(&events, "other", 2);
        tell(&events, "u", 3);
        assert_eq!(heard(&mut listener), statuses([3]));
        assert_eq!(heard(&mut listener), []);
        tell(&events, "u", 4);
        assert_eq!(heard(&mut listener), statuses([4]));
    }

    #[test]
    fn who_comes_back_hears_what_came_meanwhile() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        tell(&events, "u", 1);
        let id = events.id(&listener.next().now_or_never().unwrap());
        drop(listener);
        tell(&events, "u", 2);
        tell(&events, "other", 3);
        tell(&events, "u", 4);
        let mut back = events.listen("u", Some(&id)).unwrap();
        assert_eq!(heard(&mut back), statuses([2, 4]));
    }

    #[test]
    fn an_id_that_is_not_known_is_a_gap_before_all_that_is_kept() {
        let events = Events::new();
        tell(&events, "u", 1);
        let of_another = Events::new();
        tell(&of_another, "u", 1);
        let mut other = of_another.listen("u", Some("")).unwrap();
        other.next().now_or_never().unwrap();
        let other = of_another.id(&other.next().now_or_never().unwrap());
        let future = format!("{}-99", events.start);
        for id in ["", "7", "x-1", &other, &future] {
            let mut listener = events.listen("u", Some(id)).unwrap();
            let mut expected = vec![gap()];
            expected.extend(statuses([1]));
            assert_eq!(heard(&mut listener), expected, "{id}");
        }
    }

    #[test]
    fn a_slow_listener_loses_the_oldest_and_is_told_once() {
        let events = Events::new();
        let mut listener = events.listen("u", None).unwrap();
        for number in 0..MAX_KEPT + 3 {
            tell(&events, "u", number);
        }
        let mut expected = vec![gap()];
        expected.extend(statuses(3..MAX_KEPT + 3));
        assert_eq!(heard(&mut listener), expected);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_for_one_user_and_for_all() {
        let events = Events::new();
        let long = "x".repeat(MAX_KEPT_BYTES / 4);
        for _ in 0..9 {
            tell(&events, "u", long.as_str());
        }
        let kept = events.lines().of["u"].kept.len();
        assert_eq!(kept, 3);
        for user in 0..MAX_ALL_KEPT_BYTES / MAX_KEPT_BYTES * 2 {
            for _ in 0..3 {
                tell(&events, &user.to_string(), long.as_str());
            }
        }
        let lines = events.lines();
        assert!(lines.bytes <= MAX_ALL_KEPT_BYTES);
        let all: usize = lines.of.values().map(|line| line.bytes).sum();
        assert_eq!(lines.bytes, all);
        assert_eq!(lines.of["u"].kept.len(), 0, "quiet longest");
        let newest = (MAX_ALL_KEPT_BYTES / MAX_KEPT_BYTES * 2 - 1).to_string();
        assert_eq!(lines.of[&newest].kept.len(), 3);
    }

    #[test]
    fn the_line_of_a_user_who_is_quiet_longest_makes_room() {
        let events = Events::new();
        let mut listening = events.listen("listening", None).unwrap();
        for user in 0..MAX_LINES {
            tell(&events, &user.to_string(), 0);
        }
        assert_eq!(events.lines().of.len(), MAX_LINES);
        assert!(!events.lines().of.contains_key("0"));
        tell(&events, "listening", 1);
        assert_eq!(heard(&mut listening), statuses([1]));
    }

    #[test]
    fn progress_is_kept_until_something_newer_of_its_message() {
        let events = Events::new();
        tell(&events, "u", 0);
        let mut listener = events.listen("u", None).unwrap();
        let shown = |number: usize| json!({"preview": number});
        for number in 0..MAX_KEPT {
            events.emit(event("u", PROGRESS, shown(number)));
            events.emit(event("u", PROGRESS, number.into()));
        }
        let newest = [
            (PROGRESS, shown(MAX_KEPT - 1)),
            (PROGRESS, (MAX_KEPT - 1).into()),
        ];
        assert_eq!(heard(&mut listener), newest);
        let mut other = event("u", PROGRESS, "of another message".into());
        other.place.message_id = "other".to_owned();
        events.emit(other);
        tell(&events, "u", 1);
        let mut late = events.listen("u", Some("")).unwrap();
        let expected = [
            gap(),
            ("status", 0.into()),
            (PROGRESS, "of another message".into()),
            ("status", 1.into()),
        ];
        assert_eq!(heard(&mut late), expected);
        let lines = events.lines();
        let kept: usize = lines.of["u"].kept.iter().map(|kept| kept.bytes).sum();
        assert_eq!((lines.bytes, lines.of["u"].bytes), (kept, kept));
    }

    #[test]
    fn listeners_are_limited_for_one_user_and_for_all() {
        let events = Events::new();
        let listen = |user: usize| events.listen(&user.to_string(), None);
        let mut listeners: Vec<_> = (0..MAX_LISTENERS).map(|_| listen(0).unwrap()).collect();
        assert_eq!(listen(0).err(), Some(Full::User));
        listeners.pop();
        listeners.push(listen(0).unwrap());
        let others = MAX_ALL_LISTENERS / MAX_LISTENERS;
        listeners.extend(
            (1..others)
                .flat_map(|user| (0..MAX_LISTENERS).map(move |_| user))
                .map(|user| listen(user).unwrap()),
        );
        assert_eq!(listen(others).err(), Some(Full::Server));
        assert_eq!(events.listeners(), MAX_ALL_LISTENERS);
        listeners.pop();
        assert!(listen(others).is_ok());
        drop(listeners);
        assert_eq!(events.listeners(), 0);
    }
}
