//! The state of one run of a case, shared by the fake upstream and the case runner.

mod exchange_state;
mod script_state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use pinhole_sandbox::Progress;

use crate::case::{Case, Exchange, Moment, UpstreamServer};
use crate::loopback::RecordedRequest;
use crate::placeholders::ObjectMatch;

use script_state::ScriptState;

/// One run of a case.
pub(crate) struct CaseRun {
    pub(crate) case: Arc<Case>,
    /// Cancelled when the job has ended: everything that waits stops.
    pub(crate) job_ended: CancellationToken,
    /// Tasks that write response bodies or read WebSockets.
    pub(crate) tasks: TaskTracker,
    state: Mutex<ScriptState>,
    /// Changes with each event.
    events: watch::Sender<u64>,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum RequestBody {
    Complete,
    /// The engine disconnected before the end; the body is not compared.
    Aborted,
}

/// What happened during a run.
pub(crate) struct RunRecord {
    pub(crate) requests: usize,
    pub(crate) reports: Vec<Progress>,
    pub(crate) failures: Vec<String>,
}

impl CaseRun {
    pub(crate) fn new(case: Arc<Case>) -> Self {
        Self {
            job_ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
            state: Mutex::new(ScriptState::new(case.clone())),
            case,
            events: watch::Sender::new(0),
        }
    }

    pub(crate) fn set_placeholder(&self, name: &str, value: &str) {
        self.state().placeholders.set(name, value.into());
    }

    /// Matches a request with an exchange and compares both. Returns the index of the exchange.
    pub(crate) fn record_request(
        &self,
        server: UpstreamServer,
        request: &RecordedRequest,
        body: RequestBody,
    ) -> Option<usize> {
        let exchange = self.state().record_request(server, request, body);
        self.notify();
        exchange
    }

    pub(crate) fn exchange(&self, index: usize) -> Option<&Exchange> {
        self.case.exchanges().get(index)
    }

    /// The reply of an exchange begins.
    pub(crate) fn record_reply_start(&self, exchange: usize) {
        if let Some(state) = self.state().exchange_mut(exchange) {
            state.last_reply = Some(Instant::now());
        }
    }

    /// The reply of an exchange is complete.
    pub(crate) fn record_reply_end(&self, exchange: usize) {
        if let Some(state) = self.state().exchange_mut(exchange) {
            state.replies += 1;
        }
        self.notify();
    }

    /// Counts a request of an exchange as open until the result is dropped.
    pub(crate) fn hold_request(self: &Arc<Self>, exchange: usize) -> OpenRequest {
        if let Some(state) = self.state().exchange_mut(exchange) {
            state.open_requests += 1;
        }
        OpenRequest {
            run: self.clone(),
            exchange,
        }
    }

    /// Sets the source of the engine's reports.
    pub(crate) fn set_progress(&self, progress: watch::Receiver<Progress>) {
        self.state().progress = Some(progress);
    }

    /// Records the newest report, unless it is recorded already.
    pub(crate) fn record_progress(&self) {
        let has_new_report = self.state().record_progress();
        if has_new_report {
            self.notify();
        }
    }

    /// The case cancels the job now.
    pub(crate) fn record_cancellation(&self) {
        self.state().is_cancelled = true;
        self.notify();
    }

    /// Waits for a moment. False if the job ended before. `waiter` names what waits.
    pub(crate) async fn wait_for(&self, moment: &Moment, waiter: &str) -> bool {
        let description = format!("{waiter}: waits for {}", moment.describe());
        self.state().waits.push(description.clone());
        let mut events = self.events.subscribe();
        let has_happened = tokio::select! {
            _ = events.wait_for(|_| self.state().has_happened(moment)) => true,
            () = self.job_ended.cancelled() => false,
        };
        if has_happened {
            let mut state = self.state();
            if let Some(index) = state.waits.iter().position(|it| *it == description) {
                state.waits.remove(index);
            }
        }
        has_happened
    }

    pub(crate) fn has_open_requests(&self) -> bool {
        self.state().has_open_requests()
    }

    /// Stops everything that waits. A request that is open now was not aborted in time; a later one
    /// ends by itself.
    pub(crate) fn end_job(&self) {
        self.state().mark_open_requests();
        self.job_ended.cancel();
    }

    /// Waits until no request is open.
    pub(crate) async fn wait_for_open_requests(&self) {
        let mut events = self.events.subscribe();
        // The sender lives as long as `self`.
        events.wait_for(|_| !self.has_open_requests()).await.ok();
    }

    pub(crate) fn add_failure(&self, failure: String) {
        self.state().add_failure(failure);
    }

    /// Compares JSON with a pattern of the case: a line for each difference.
    pub(crate) fn compare(
        &self,
        pattern: &Value,
        actual: &Value,
        objects: ObjectMatch,
    ) -> Vec<String> {
        self.state().placeholders.compare(pattern, actual, objects)
    }

    /// Replaces placeholders by their values.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        self.state().placeholders.fill(value)
    }

    /// Replaces placeholders in a text by their values.
    pub(crate) fn fill_text(&self, text: &str) -> String {
        self.state().placeholders.fill_text(text)
    }

    /// A line for each wait whose moment has not happened.
    pub(crate) fn waits(&self) -> Vec<String> {
        self.state().waits.clone()
    }

    /// Takes the record at the end of the run, with a failure for each missing request.
    pub(crate) fn take_record(&self) -> RunRecord {
        self.state().take_record()
    }

    fn state(&self) -> MutexGuard<'_, ScriptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes what waits. Call it without holding the state's lock.
    fn notify(&self) {
        self.events.send_modify(|count| *count += 1);
    }
}

/// A request that the script does not reply to.
pub(crate) struct OpenRequest {
    run: Arc<CaseRun>,
    exchange: usize,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(state) = self.run.state().exchange_mut(self.exchange) {
            state.open_requests = state.open_requests.saturating_sub(1);
        }
        self.run.notify();
    }
}
