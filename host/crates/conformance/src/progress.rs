//! A case while it runs: which requests came, what its names stand for, what went wrong.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::request::Parts;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::case::{At, Case, Exchange, Moment};
use super::pattern::Names;
use pinhole_sandbox::Progress;

/// Failures that are kept; the rest would say the same.
const MAX_FAILURES: usize = 40;

/// Reports that are kept.
const MAX_REPORTS: usize = 10_000;

/// One run of a case.
pub(crate) struct Play {
    pub(crate) case: Arc<Case>,
    /// Cancelled when the job is over: what still waits ends.
    pub(crate) over: CancellationToken,
    /// Connections and sockets.
    pub(crate) tasks: TaskTracker,
    state: Mutex<State>,
    /// Counts everything that happens.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    names: Names,
    /// By the exchanges' places.
    uses: Vec<Use>,
    requests: usize,
    progress: Option<watch::Receiver<Progress>>,
    reports: Vec<Progress>,
    waiting: Vec<String>,
    failures: Vec<String>,
}

/// What has come of an exchange.
#[derive(Clone, Default)]
struct Use {
    requested: usize,
    last_request: Option<Instant>,
    replied: usize,
    last_reply: Option<Instant>,
    hanging: usize,
    /// Of those, so many still did when the case was over.
    left_hanging: usize,
}

impl Play {
    /// Nothing has come yet.
    pub(crate) fn new(case: Arc<Case>, upstream: &str, elsewhere: &str) -> Self {
        let mut state = State {
            uses: vec![Use::default(); case.exchanges().len()],
            ..State::default()
        };
        state.names.bind("upstream", upstream.into());
        state.names.bind("elsewhere", elsewhere.into());
        Self {
            case,
            over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }
    }

    /// Takes a request in and compares it, its body where that came whole: the place of its exchange,
    /// unless it belongs to none.
    pub(crate) fn arrived(&self, at: At, head: &Parts, body: Option<&[u8]>) -> Option<usize> {
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let line = format!("{} {target}", head.method);
        let now = Instant::now();
        let mut state = self.state();
        // What was reported before the request is not lost, however soon the next report comes.
        state.look();
        state.requests += 1;
        let place = state.find(&self.case, at, &line);
        let Some((place, exchange)) = place else {
            let hint = state.hint(&self.case, at, &line);
            state.fail(format!("{line} came, and no exchange is left for it{hint}"));
            drop(state);
            self.change();
            return None;
        };
        state.check_order(&self.case, place, exchange, now);
        let here = format!("/upstream/{place}/request ({line})");
        for difference in exchange.request.compare(&mut state.names, head, body) {
            state.fail(format!("{here}: {difference}"));
        }
        if let Some(used) = state.uses.get_mut(place) {
            used.requested += 1;
            used.last_request = Some(now);
        }
        drop(state);
        self.change();
        Some(place)
    }

    /// The exchange of a place.
    pub(crate) fn exchange(&self, place: usize) -> Option<&Exchange> {
        self.case.exchanges().get(place)
    }

    /// The answer of an exchange begins to be sent.
    pub(crate) fn replies(&self, place: usize) {
        if let Some(used) = self.state().uses.get_mut(place) {
            used.last_reply = Some(Instant::now());
        }
    }

    /// The answer of an exchange has been sent.
    pub(crate) fn replied(&self, place: usize) {
        if let Some(used) = self.state().uses.get_mut(place) {
            used.replied += 1;
        }
        self.change();
    }

    /// A request hangs, until what this returns is dropped.
    pub(crate) fn hang(self: &Arc<Self>, place: usize) -> Hanging {
        if let Some(used) = self.state().uses.get_mut(place) {
            used.hanging += 1;
        }
        Hanging {
            play: self.clone(),
            place,
        }
    }

    /// Where the engine's reports come from.
    pub(crate) fn listen(&self, progress: watch::Receiver<Progress>) {
        self.state().progress = Some(progress);
    }

    /// Notes the newest report unless that was done before.
    pub(crate) fn look(&self) {
        if self.state().look() {
            self.change();
        }
    }

    /// Waits for a moment. False when the job was over before.
    pub(crate) async fn wait(&self, moment: &Moment, what: &str) -> bool {
        let waiting = format!("{what} waits for {}", moment.words());
        self.state().waiting.push(waiting.clone());
        let mut changed = self.changed.subscribe();
        let came = tokio::select! {
            _ = changed.wait_for(|_| self.state().is(&self.case, moment)) => true,
            () = self.over.cancelled() => false,
        };
        if came {
            let mut state = self.state();
            if let Some(place) = state.waiting.iter().position(|other| *other == waiting) {
                state.waiting.remove(place);
            }
        }
        came
    }

    /// Is there a request that hangs?
    pub(crate) fn hangs(&self) -> bool {
        self.state().uses.iter().any(|used| used.hanging > 0)
    }

    /// Ends what waits. A request that hangs by now was not given up; one that comes later ends by itself.
    pub(crate) fn finish(&self) {
        for used in &mut self.state().uses {
            used.left_hanging = used.hanging;
        }
        self.over.cancel();
    }

    /// Waits until no request hangs any more.
    pub(crate) async fn given_up(&self) {
        let mut changed = self.changed.subscribe();
        changed.wait_for(|_| !self.hangs()).await.ok();
    }

    /// Notes something that is not as expected.
    pub(crate) fn fail(&self, failure: String) {
        self.state().fail(failure);
    }

    /// Compares something else with a pattern of the case.
    pub(crate) fn compare(&self, pattern: &Value, came: &Value, more: bool) -> Vec<String> {
        self.state().names.compare(pattern, came, more)
    }

    /// The value with known names filled in.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        self.state().names.fill(value)
    }

    /// The text with known names filled in.
    pub(crate) fn fill_text(&self, text: &str) -> String {
        self.state().names.fill_text(text)
    }

    /// What waits for a moment that has not come.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.state().waiting.clone()
    }

    /// How many requests came, what was reported, and everything that was not as expected, now that
    /// no more comes.
    pub(crate) fn end(&self) -> (usize, Vec<Progress>, Vec<String>) {
        let mut state = self.state();
        state.look();
        for (place, exchange) in self.case.exchanges().iter().enumerate() {
            let came = state.uses.get(place).map_or(0, |used| used.requested);
            let (expected, line) = (exchange.at_least(), &exchange.request.line);
            if came < expected {
                let line = state.names.fill_text(line);
                let times = match expected {
                    1 => "it did not come".to_owned(),
                    _ => format!("expected {expected} times, came {came} times"),
                };
                state.fail(format!("/upstream/{place}/request ({line}): {times}"));
            }
            if state
                .uses
                .get(place)
                .is_some_and(|used| used.left_hanging > 0)
            {
                let line = state.names.fill_text(line);
                state.fail(format!(
                    "/upstream/{place} ({line}): the request was still open after the job"
                ));
            }
        }
        let reports = std::mem::take(&mut state.reports);
        (state.requests, reports, std::mem::take(&mut state.failures))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After the state was let go: who waits looks at it.
    fn change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// A request that is not answered.
pub(crate) struct Hanging {
    play: Arc<Play>,
    place: usize,
}

impl Drop for Hanging {
    fn drop(&mut self) {
        if let Some(used) = self.play.state().uses.get_mut(self.place) {
            used.hanging = used.hanging.saturating_sub(1);
        }
        self.play.change();
    }
}

impl State {
    fn fail(&mut self, failure: String) {
        if self.failures.len() < MAX_FAILURES && !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// True where there was something new.
    fn look(&mut self) -> bool {
        let Some(progress) = &mut self.progress else {
            return false;
        };
        let new = progress.has_changed().unwrap_or(false) && self.reports.len() < MAX_REPORTS;
        if new {
            self.reports.push(progress.borrow_and_update().clone());
        }
        new
    }

    /// The first exchange that is not used up and has this line.
    fn find<'a>(&mut self, case: &'a Case, at: At, line: &str) -> Option<(usize, &'a Exchange)> {
        let mut exchanges = case.exchanges().iter().enumerate();
        exchanges.find(|(place, exchange)| {
            let used = self.uses.get(*place).map_or(0, |used| used.requested);
            used < exchange.at_most()
                && exchange.at == at
                && self.names.fits_text(&exchange.request.line, line)
        })
    }

    /// Why a request belongs to no exchange, where that can be said.
    fn hint(&self, case: &Case, at: At, line: &str) -> String {
        let path = |line: &str| line.split('?').next().unwrap_or_default().to_owned();
        for (place, exchange) in case.exchanges().iter().enumerate() {
            let expected = self.names.fill_text(&exchange.request.line);
            let here = format!("/upstream/{place}/request/line");
            let mut names = self.names.clone();
            if names.fits_text(&exchange.request.line, line) {
                return match exchange.at == at {
                    true => format!("; {here} is used up"),
                    false => format!("; {here} is at the other server"),
                };
            }
            if names.fits_text(&path(&expected), &path(line)) {
                return format!("; {here} expects {expected}");
            }
        }
        String::new()
    }

    fn check_order(&mut self, case: &Case, place: usize, exchange: &Exchange, now: Instant) {
        let here = format!("/upstream/{place}/request ({})", exchange.request.line);
        let mut wrong = Vec::new();
        if !exchange.any_order {
            let earlier = case
                .exchanges()
                .iter()
                .zip(&self.uses)
                .take(place)
                .enumerate();
            let missing = earlier.filter(|(_, (earlier, used))| {
                !earlier.repeats() && !earlier.any_order && used.requested == 0
            });
            for (earlier, _) in missing {
                wrong.push(format!("{here}: came before /upstream/{earlier}"));
            }
        }
        let last = self.uses.get(place).and_then(|used| used.last_request);
        let apart = Duration::from_millis(exchange.at_least_ms_apart());
        if let Some(last) = last
            && now - last < apart
        {
            let came = (now - last).as_millis();
            wrong.push(format!(
                "{here}: came again after {came} ms, expected {apart:?} at least"
            ));
        }
        let before = place
            .checked_sub(1)
            .and_then(|before| self.uses.get(before));
        let delay = Duration::from_millis(exchange.at_least_ms_after_reply);
        if !delay.is_zero() {
            match before.and_then(|used| used.last_reply) {
                Some(replied) if now - replied >= delay => {}
                Some(replied) => wrong.push(format!(
                    "{here}: came {} ms after the reply in front of it, expected {delay:?} at least",
                    (now - replied).as_millis()
                )),
                None => wrong.push(format!("{here}: came before the reply in front of it")),
            }
        }
        wrong.into_iter().for_each(|wrong| self.fail(wrong));
    }

    fn is(&self, case: &Case, moment: &Moment) -> bool {
        let used = |name: &Option<String>| {
            let name = name.as_ref()?;
            let mut exchanges = case.exchanges().iter().zip(&self.uses);
            let named = exchanges.find(|(exchange, _)| exchange.name.as_ref() == Some(name));
            named.map(|(_, used)| used)
        };
        if let Some(used) = used(&moment.requested) {
            return used.requested >= moment.times.unwrap_or(1);
        }
        if let Some(used) = used(&moment.replied) {
            return used.replied > 0;
        }
        self.reports.len() >= moment.reports.unwrap_or(0)
    }
}

impl Moment {
    fn words(&self) -> String {
        match (&self.requested, &self.replied) {
            (Some(name), _) => match self.times {
                Some(times) => format!("{name:?} to be requested {times} times"),
                None => format!("{name:?} to be requested"),
            },
            (_, Some(name)) => format!("{name:?} to be answered"),
            _ => format!("{} progress reports", self.reports.unwrap_or(0)),
        }
    }
}
