//! The exchanges of a recording, and those of the case.

use std::collections::BTreeMap;

use pinhole_sandbox::{RecordedBytes, RecordedReport, RecordedRequest, StepContent, TrafficStep};

/// Repeated requests of a case: more take time, and show nothing else.
const MAX_REPEATED: usize = 2;

/// A request and what became of it.
pub(super) struct RecordedExchange {
    pub(super) request: RecordedRequest,
    pub(super) head: Option<(u16, Vec<(String, String)>)>,
    pub(super) body: Option<RecordedBytes>,
    pub(super) events: Vec<(Option<String>, RecordedBytes)>,
    pub(super) messages: Vec<(usize, SocketMessage)>,
    /// The connection failed.
    pub(super) has_failed: bool,
    /// The numbers of its first step, and of the one with which it was complete.
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) enum SocketMessage {
    Sent(RecordedBytes),
    Text(RecordedBytes),
    Binary(RecordedBytes),
}

/// A progress report, and the number of its step.
pub(super) struct NumberedReport {
    pub(super) number: usize,
    pub(super) report: RecordedReport,
}

/// Groups the steps by their exchanges, in the order of the requests. Also returns the progress reports.
pub(super) fn group(steps: Vec<TrafficStep>) -> (Vec<RecordedExchange>, Vec<NumberedReport>) {
    let mut exchanges: BTreeMap<u64, RecordedExchange> = BTreeMap::new();
    let mut reports = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        if let StepContent::Report(report) = step.content {
            reports.push(NumberedReport { number, report });
        } else if let StepContent::Request(request) = step.content {
            let exchange = RecordedExchange {
                request,
                head: None,
                body: None,
                events: Vec::new(),
                messages: Vec::new(),
                has_failed: false,
                start: number,
                end: usize::MAX,
            };
            exchanges.insert(step.exchange, exchange);
        } else if let Some(exchange) = exchanges.get_mut(&step.exchange) {
            exchange.add(number, step.content);
        }
    }
    (exchanges.into_values().collect(), reports)
}

impl RecordedExchange {
    fn add(&mut self, number: usize, content: StepContent) {
        match content {
            StepContent::Request(_) | StepContent::Report(_) => {}
            StepContent::Head { status, headers } => self.head = Some((status, headers)),
            StepContent::Body(body) => {
                self.body = Some(body);
                self.end = number;
            }
            StepContent::Event { name, data } => self.events.push((name, data)),
            StepContent::Sent(bytes) => self.messages.push((number, SocketMessage::Sent(bytes))),
            StepContent::ReceivedText(bytes) => {
                self.messages.push((number, SocketMessage::Text(bytes)));
            }
            StepContent::ReceivedBinary(bytes) => {
                self.messages.push((number, SocketMessage::Binary(bytes)));
            }
            StepContent::Failed(_) => {
                self.has_failed = true;
                self.end = self.end.min(number);
            }
            StepContent::End => self.end = self.end.min(number),
        }
    }

    pub(super) fn is_open_web_socket(&self) -> bool {
        self.request.is_web_socket && self.head.is_some()
    }

    /// True if sending it again changes nothing.
    fn is_read(&self) -> bool {
        self.request.method == "GET" && !self.request.is_web_socket
    }

    fn is_same_request(&self, other: &Self) -> bool {
        let (one, two) = (&self.request, &other.request);
        one.method == two.method && one.base_url == two.base_url && one.path == two.path
    }

    fn is_same_reply(&self, other: &Self) -> bool {
        let bytes = |exchange: &Self| exchange.body.as_ref().and_then(|it| it.bytes().cloned());
        let status = |exchange: &Self| exchange.head.as_ref().map(|(status, _)| *status);
        status(self) == status(other) && bytes(self) == bytes(other)
    }

    fn starts_within(&self, other: &Self) -> bool {
        other.start < self.start && self.start < other.end
    }

    /// True if the job reads something while it waits for the response to another request.
    fn is_poll_during(&self, other: &Self) -> bool {
        self.is_read()
            && !other.is_read()
            && !other.request.is_web_socket
            && self.starts_within(other)
    }
}

/// The exchanges of a case.
pub(super) struct Script<'a> {
    pub(super) exchanges: Vec<ScriptedExchange<'a>>,
}

/// An exchange of a case.
pub(super) struct ScriptedExchange<'a> {
    pub(super) exchange: &'a RecordedExchange,
    /// `at_least` and `at_most`, for repeated requests.
    pub(super) times: Option<(usize, Option<usize>)>,
    pub(super) any_order: bool,
}

impl<'a> Script<'a> {
    /// Requests that repeat become one exchange.
    pub(super) fn new(exchanges: &'a [RecordedExchange]) -> Self {
        let is_poll = |exchange: &RecordedExchange| {
            exchanges.iter().any(|other| exchange.is_poll_during(other))
        };
        let (polls, ordered): (Vec<_>, Vec<_>) = exchanges.iter().partition(|it| is_poll(it));
        let mut scripted = repeated(&ordered);
        for index in 0..scripted.len() {
            let exchange = scripted.get(index).map(|it| it.exchange);
            let overlaps = |other: &&RecordedExchange| {
                let is_http = !other.request.is_web_socket;
                exchange.is_some_and(|it| {
                    is_http
                        && !it.request.is_web_socket
                        && (it.starts_within(other) || other.starts_within(it))
                })
            };
            let any_order = ordered.iter().any(overlaps);
            if let Some(it) = scripted.get_mut(index) {
                it.any_order = any_order && it.times.is_none();
            }
        }
        let mut poll_lines: Vec<&RecordedExchange> = Vec::new();
        for poll in polls.iter().rev() {
            if !poll_lines.iter().any(|it| it.is_same_request(poll)) {
                poll_lines.push(poll);
            }
        }
        for poll in poll_lines {
            let after = scripted
                .iter()
                .rposition(|it| it.exchange.start < poll.start)
                .map_or(0, |index| index + 1);
            let exchange = ScriptedExchange {
                exchange: poll,
                times: Some((0, None)),
                any_order: false,
            };
            scripted.insert(after, exchange);
        }
        Self {
            exchanges: scripted,
        }
    }

    /// True if a WebSocket waits for it.
    pub(super) fn is_awaited(&self, scripted: &ScriptedExchange) -> bool {
        let start = scripted.exchange.start;
        let is_before_message = |it: &ScriptedExchange| {
            it.exchange.is_open_web_socket()
                && it
                    .exchange
                    .messages
                    .iter()
                    .any(|(number, _)| *number > start)
        };
        scripted.times.is_none()
            && !scripted.exchange.request.is_web_socket
            && self.exchanges.iter().any(is_before_message)
    }

    /// What happened between two steps of a WebSocket: `requested` or `replied`, and the name of the exchange.
    pub(super) fn moments(&self, after: usize, before: usize) -> Vec<(&'static str, String)> {
        let mut moments = Vec::new();
        for (index, scripted) in self.exchanges.iter().enumerate() {
            let exchange = scripted.exchange;
            if scripted.times.is_some() || exchange.request.is_web_socket {
                continue;
            }
            if after < exchange.end && exchange.end < before {
                moments.push(("replied", scripted.name(index)));
            } else if after < exchange.start && exchange.start < before {
                moments.push(("requested", scripted.name(index)));
            }
        }
        moments
    }
}

impl ScriptedExchange<'_> {
    /// The name of the exchange with this index.
    pub(super) fn name(&self, index: usize) -> String {
        format!("request-{}", index + 1)
    }
}

/// Consecutive reads of the same become one exchange, with the last reply as another one if it differs.
fn repeated<'a>(exchanges: &[&'a RecordedExchange]) -> Vec<ScriptedExchange<'a>> {
    let once = |exchange| ScriptedExchange {
        exchange,
        times: None,
        any_order: false,
    };
    let is_repeated = |a: &&RecordedExchange, b: &&RecordedExchange| {
        a.is_read() && b.is_read() && a.is_same_request(b) && !b.starts_within(a)
    };
    let mut scripted = Vec::new();
    for run in exchanges.chunk_by(is_repeated) {
        let [before @ .., previous, last] = run else {
            scripted.extend(run.iter().copied().map(once));
            continue;
        };
        let count = before.len() + 1;
        let times = |number| ScriptedExchange {
            exchange: previous,
            times: Some((number, Some(number))),
            any_order: false,
        };
        if previous.is_same_reply(last) {
            scripted.push(times(count + 1));
        } else {
            scripted.push(times(count.min(MAX_REPEATED)));
            scripted.push(once(last));
        }
    }
    scripted
}
