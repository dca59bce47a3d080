//! The script of a case while it runs: exchanges, placeholders, reports and failures.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use pinhole_sandbox::Progress;

use super::exchange_state::ExchangeState;
use super::{RequestBody, RunRecord};
use crate::case::{Case, Exchange, Moment, UpstreamServer};
use crate::loopback::RecordedRequest;
use crate::placeholders::Placeholders;

/// Maximum number of failures. Further ones add nothing.
const MAX_FAILURES: usize = 40;
/// Maximum number of reports.
const MAX_REPORTS: usize = 10_000;

pub(super) struct ScriptState {
    case: Arc<Case>,
    pub(super) placeholders: Placeholders,
    /// In the order of the case's exchanges.
    exchanges: Vec<ExchangeState>,
    requests: usize,
    pub(super) progress: Option<watch::Receiver<Progress>>,
    reports: Vec<Progress>,
    pub(super) is_cancelled: bool,
    pub(super) waits: Vec<String>,
    failures: Vec<String>,
}

impl ScriptState {
    pub(super) fn new(case: Arc<Case>) -> Self {
        Self {
            placeholders: Placeholders::default(),
            exchanges: vec![ExchangeState::default(); case.exchanges().len()],
            requests: 0,
            progress: None,
            reports: Vec::new(),
            is_cancelled: false,
            waits: Vec::new(),
            failures: Vec::new(),
            case,
        }
    }

    pub(super) fn exchange_mut(&mut self, index: usize) -> Option<&mut ExchangeState> {
        self.exchanges.get_mut(index)
    }

    pub(super) fn has_open_requests(&self) -> bool {
        self.exchanges.iter().any(|state| state.open_requests > 0)
    }

    pub(super) fn mark_open_requests(&mut self) {
        for state in &mut self.exchanges {
            state.open_at_end = state.open_requests;
        }
    }

    pub(super) fn add_failure(&mut self, failure: String) {
        if self.failures.len() < MAX_FAILURES && !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// Records the newest report. False without a report.
    pub(super) fn record_progress(&mut self) -> bool {
        let Some(progress) = &mut self.progress else {
            return false;
        };
        let is_new = progress.has_changed().unwrap_or(false) && self.reports.len() < MAX_REPORTS;
        if is_new {
            self.reports.push(progress.borrow_and_update().clone());
        }
        is_new
    }

    pub(super) fn record_request(
        &mut self,
        server: UpstreamServer,
        request: &RecordedRequest,
        body: RequestBody,
    ) -> Option<usize> {
        let line = request.line();
        let now = Instant::now();
        // A report before the request must not be lost if the next report follows at once.
        self.record_progress();
        self.requests += 1;
        let case = self.case.clone();
        let Some((index, exchange)) = self.find_exchange(&case, server, &line) else {
            let hint = self.mismatch_hint(server, &line);
            self.add_failure(format!("unexpected request {line}{hint}"));
            return None;
        };
        self.check_order(index, exchange, now);
        let differences = exchange
            .request
            .compare(&mut self.placeholders, request, body);
        for difference in differences {
            self.add_failure(format!("/upstream/{index}/request ({line}): {difference}"));
        }
        if let Some(state) = self.exchange_mut(index) {
            state.requests += 1;
            state.last_request = Some(now);
        }
        Some(index)
    }

    /// The first exchange with this line that can have one more request.
    fn find_exchange<'a>(
        &mut self,
        case: &'a Case,
        server: UpstreamServer,
        line: &str,
    ) -> Option<(usize, &'a Exchange)> {
        let mut exchanges = case.exchanges().iter().enumerate();
        exchanges.find(|(index, exchange)| {
            let requests = self.exchanges.get(*index).map_or(0, |state| state.requests);
            requests < exchange.max_requests()
                && exchange.server == server
                && self.placeholders.matches_text(&exchange.request.line, line)
        })
    }

    /// Why a request matches no exchange, as far as it can be guessed.
    fn mismatch_hint(&self, server: UpstreamServer, line: &str) -> String {
        for (index, exchange) in self.case.exchanges().iter().enumerate() {
            let pattern = &exchange.request.line;
            let expected = self.placeholders.fill_text(pattern);
            let mut placeholders = self.placeholders.clone();
            if placeholders.matches_text(pattern, line) {
                if exchange.server != server {
                    return format!(": /upstream/{index} expects it at the other server");
                }
                return format!(": /upstream/{index} already got all its requests");
            }
            if placeholders.matches_text(path(&expected), path(line)) {
                return format!(": /upstream/{index}/request/line expects {expected}");
            }
        }
        String::new()
    }

    fn check_order(&mut self, index: usize, exchange: &Exchange, now: Instant) {
        let mut failures = Vec::new();
        if !exchange.any_order {
            let earlier = self.case.exchanges().iter().zip(&self.exchanges);
            for (earlier_index, (other, state)) in earlier.take(index).enumerate() {
                if !other.is_repeated() && !other.any_order && state.requests == 0 {
                    failures.push(format!("arrived before /upstream/{earlier_index}"));
                }
            }
        }
        if let Some(state) = self.exchanges.get(index) {
            failures.extend(state.check_gap(exchange, now));
        }
        let previous = index
            .checked_sub(1)
            .and_then(|previous| self.exchanges.get(previous).cloned());
        failures.extend(previous.unwrap_or_default().check_delay(exchange, now));
        let line = &exchange.request.line;
        for failure in failures {
            self.add_failure(format!("/upstream/{index}/request ({line}): {failure}"));
        }
    }

    pub(super) fn has_happened(&self, moment: &Moment) -> bool {
        if let Some(state) = self.find_named(moment.requested.as_deref()) {
            return state.requests >= moment.times.unwrap_or(1);
        }
        if let Some(state) = self.find_named(moment.replied.as_deref()) {
            return state.replies > 0;
        }
        if moment.cancelled.is_some() {
            return self.is_cancelled;
        }
        self.reports.len() >= moment.reports.unwrap_or(0)
    }

    fn find_named(&self, name: Option<&str>) -> Option<&ExchangeState> {
        let name = name?;
        let mut exchanges = self.case.exchanges().iter().zip(&self.exchanges);
        exchanges
            .find(|(exchange, _)| exchange.name.as_deref() == Some(name))
            .map(|(_, state)| state)
    }

    pub(super) fn take_record(&mut self) -> RunRecord {
        self.record_progress();
        let case = self.case.clone();
        for (index, exchange) in case.exchanges().iter().enumerate() {
            let state = self.exchanges.get(index).cloned().unwrap_or_default();
            let line = self.placeholders.fill_text(&exchange.request.line);
            let (got, expected) = (state.requests, exchange.min_requests());
            if got < expected {
                let difference = match expected {
                    1 => "expected this request, got none".to_owned(),
                    _ => format!("expected {expected} requests, got {got}"),
                };
                self.add_failure(format!("/upstream/{index}/request ({line}): {difference}"));
            }
            let was_open = state.open_at_end > 0;
            if was_open != exchange.stays_open() {
                let end = if was_open {
                    "still open after"
                } else {
                    "closed with"
                };
                self.add_failure(format!(
                    "/upstream/{index} ({line}): the request was {end} the job"
                ));
            }
        }
        RunRecord {
            requests: self.requests,
            reports: std::mem::take(&mut self.reports),
            failures: std::mem::take(&mut self.failures),
        }
    }
}

/// A request line without its query.
fn path(line: &str) -> &str {
    line.split('?').next().unwrap_or_default()
}
