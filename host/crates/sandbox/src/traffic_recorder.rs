//! Records the traffic of jobs, for the authors of engines.
//!
//! A recorder sees each request as the guest made it, before the credential is added, and each response as the upstream
//! sent it. The secrets of the call's settings are redacted before anything leaves the sandbox. What waits to be read is
//! limited: longer bodies are left out, and their lengths remain. Without a recorder, nothing is copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use pinhole_egress::Redactor;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::body_text::BodyText;

/// Length of all bodies and messages that are not dropped yet, in bytes.
const MAX_HELD_BYTES: usize = 256 << 20;
/// Progress reports of a call that are recorded.
const MAX_REPORTS: usize = 1000;
/// Length in bytes that each body and message counts at least, for its place in the queue.
const MIN_COUNTED_BYTES: usize = 256;

/// Records the traffic of jobs. Clones record to the same receiver.
#[derive(Clone, Debug)]
pub struct TrafficRecorder {
    steps: UnboundedSender<TrafficStep>,
    held_bytes: Arc<AtomicUsize>,
    exchanges: Arc<AtomicU64>,
    max_bytes: usize,
}

/// A step of an exchange with an upstream.
#[derive(Debug)]
pub struct TrafficStep {
    /// The name of the job.
    pub job: Arc<str>,
    /// Counts the exchanges of the recorder.
    pub exchange: u64,
    pub at: Instant,
    pub content: StepContent,
}

/// What happened in a step.
#[derive(Debug)]
pub enum StepContent {
    /// The first step of an exchange.
    Request(RecordedRequest),
    /// Status and headers of the response. A WebSocket that opened has status 101.
    Head {
        status: u16,
        headers: Vec<(String, String)>,
    },
    /// The whole body of the response.
    Body(RecordedBytes),
    /// An event of an event stream.
    Event {
        name: Option<String>,
        data: RecordedBytes,
    },
    /// A message that the guest sent over a WebSocket.
    Sent(RecordedBytes),
    /// A message that it received.
    ReceivedText(RecordedBytes),
    ReceivedBinary(RecordedBytes),
    /// The response is missing or incomplete, for the operator.
    Failed(String),
    /// The engine reported progress. It belongs to no exchange, so its number is one of its own.
    Report(RecordedReport),
    /// The last step of an exchange.
    End,
}

/// A request, without the credential.
#[derive(Debug)]
pub struct RecordedRequest {
    /// The upstream's name; `None` for an image at the host of a URL.
    pub upstream: Option<Arc<str>>,
    /// The upstream's base URL without a slash at its end and without a user, or the origin of an image URL.
    pub base_url: String,
    pub method: String,
    /// Below the base URL, with the query.
    pub path: String,
    /// The name of the query parameter that the credential adds to the path.
    pub credential_parameter: Option<String>,
    /// JSON pointers to the fields that the credential adds to the body.
    pub credential_fields: Vec<String>,
    /// Those that the guest set.
    pub headers: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub body: RecordedBytes,
    pub is_web_socket: bool,
}

/// A progress report, as the engine made it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedReport {
    /// From 0 to 1.
    pub fraction: Option<f32>,
    pub queue_position: Option<u32>,
    pub note: Option<String>,
    /// The media type of the preview.
    pub preview: Option<&'static str>,
}

/// A body or a message. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct RecordedBytes {
    /// `None` if too much was waiting to be read.
    bytes: Option<Bytes>,
    length: usize,
    _held: Arc<HeldBytes>,
}

/// Frees its place when it is dropped.
#[derive(Debug)]
struct HeldBytes {
    all: Arc<AtomicUsize>,
    length: usize,
}

/// The recorder of one call.
pub(crate) struct CallRecorder {
    recorder: TrafficRecorder,
    redactor: Arc<Redactor>,
    job: Arc<str>,
    reports: AtomicUsize,
}

/// The recorder of one exchange. Dropping it ends the exchange.
pub(crate) struct ExchangeRecorder {
    call: Arc<CallRecorder>,
    exchange: u64,
}

/// A request to record.
pub(crate) struct RequestParts<'a> {
    pub(crate) upstream: Option<&'a str>,
    pub(crate) base_url: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) credential_parameter: Option<&'a str>,
    pub(crate) credential_fields: Vec<String>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) body: &'a Bytes,
    pub(crate) is_web_socket: bool,
}

impl TrafficRecorder {
    /// A recorder, and the receiver of what it records.
    #[must_use]
    pub fn new() -> (Self, UnboundedReceiver<TrafficStep>) {
        Self::with_limit(MAX_HELD_BYTES)
    }

    fn with_limit(max_bytes: usize) -> (Self, UnboundedReceiver<TrafficStep>) {
        let (steps, receiver) = unbounded_channel();
        let recorder = Self {
            steps,
            held_bytes: Arc::default(),
            exchanges: Arc::default(),
            max_bytes,
        };
        (recorder, receiver)
    }

    /// The recorder of a call of this job, whose secrets the redactor finds.
    pub(crate) fn of_call(&self, job: &str, redactor: Arc<Redactor>) -> Arc<CallRecorder> {
        Arc::new(CallRecorder {
            recorder: self.clone(),
            redactor,
            job: job.into(),
            reports: AtomicUsize::new(0),
        })
    }

    /// Counts bytes as held; `None` if too many are.
    fn hold(&self, length: usize) -> Option<Arc<HeldBytes>> {
        let counted = length.max(MIN_COUNTED_BYTES);
        let before = self.held_bytes.fetch_add(counted, Ordering::Relaxed);
        // Frees them if they are too many.
        let held = Arc::new(HeldBytes {
            all: self.held_bytes.clone(),
            length: counted,
        });
        (before.saturating_add(counted) <= self.max_bytes).then_some(held)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.all.fetch_sub(self.length, Ordering::Relaxed);
    }
}

/// Bytes without a limit, such as those of a test.
impl From<Bytes> for RecordedBytes {
    fn from(bytes: Bytes) -> Self {
        Self {
            length: bytes.len(),
            bytes: Some(bytes),
            _held: Arc::new(HeldBytes {
                all: Arc::default(),
                length: 0,
            }),
        }
    }
}

impl RecordedBytes {
    /// The redacted bytes; `None` if they were left out.
    #[must_use]
    pub const fn bytes(&self) -> Option<&Bytes> {
        self.bytes.as_ref()
    }

    /// The length, also if the bytes were left out.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }
}

impl CallRecorder {
    /// Records the first step of an exchange.
    pub(crate) fn start(self: &Arc<Self>, request: &RequestParts<'_>) -> ExchangeRecorder {
        let exchange = ExchangeRecorder {
            call: self.clone(),
            exchange: self.next_number(),
        };
        let recorded = RecordedRequest {
            upstream: request.upstream.map(Arc::from),
            base_url: self.text(&without_user(request.base_url)),
            method: request.method.to_owned(),
            path: self.text(request.path),
            credential_parameter: request.credential_parameter.map(str::to_owned),
            credential_fields: request.credential_fields.clone(),
            headers: self.headers(request.headers),
            content_type: request
                .content_type
                .map(|value| self.text(&String::from_utf8_lossy(value))),
            body: self.bytes(request.body),
            is_web_socket: request.is_web_socket,
        };
        exchange.send(StepContent::Request(recorded));
        exchange
    }

    /// Records a progress report. Its note is redacted already.
    pub(crate) fn report(&self, report: RecordedReport) {
        if self.reports.fetch_add(1, Ordering::Relaxed) < MAX_REPORTS {
            self.send(self.next_number(), StepContent::Report(report));
        }
    }

    fn next_number(&self) -> u64 {
        self.recorder.exchanges.fetch_add(1, Ordering::Relaxed)
    }

    fn send(&self, exchange: u64, content: StepContent) {
        let step = TrafficStep {
            job: self.job.clone(),
            exchange,
            at: Instant::now(),
            content,
        };
        // The receiver may be gone: then it is not read.
        self.recorder.steps.send(step).ok();
    }

    fn text(&self, text: &str) -> String {
        self.redactor.redact_text(text).into_owned()
    }

    fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |name: &str, value: &[u8]| {
            let value = String::from_utf8_lossy(value);
            (self.text(name), self.text(&value))
        };
        let headers = headers.iter();
        headers
            .map(|(name, value)| text(name.as_str(), value.as_bytes()))
            .collect()
    }

    /// The bytes without secrets. JSON stays JSON.
    fn bytes(&self, bytes: &Bytes) -> RecordedBytes {
        let length = bytes.len();
        let Some(held) = self.recorder.hold(length) else {
            return RecordedBytes {
                bytes: None,
                length,
                _held: Arc::new(HeldBytes {
                    all: self.recorder.held_bytes.clone(),
                    length: 0,
                }),
            };
        };
        let redacted = if self.redactor.finds_secret(bytes) {
            let json = std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| self.redactor.redact_json(text));
            let json = json.map_or_else(|| bytes.clone(), Bytes::from);
            // A secret in an unusual place of the JSON.
            let all = self.redactor.redact_range(&json, 0..json.len());
            Bytes::from(all.into_owned())
        } else {
            bytes.clone()
        };
        RecordedBytes {
            bytes: Some(redacted),
            length,
            _held: held,
        }
    }
}

impl ExchangeRecorder {
    pub(crate) fn head(&self, status: StatusCode, headers: &HeaderMap) {
        self.send(StepContent::Head {
            status: status.as_u16(),
            headers: self.call.headers(headers),
        });
    }

    pub(crate) fn body(&self, text: &BodyText) {
        let whole = text.whole(0..text.shortened().len());
        let bytes = Bytes::from(whole.into_owned());
        self.send(StepContent::Body(self.call.bytes(&bytes)));
    }

    pub(crate) fn event(&self, name: Option<&str>, data: &Bytes) {
        self.send(StepContent::Event {
            name: name.map(|name| self.call.text(name)),
            data: self.call.bytes(data),
        });
    }

    pub(crate) fn sent(&self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.send(StepContent::Sent(self.call.bytes(&bytes)));
    }

    pub(crate) fn received_text(&self, bytes: &Bytes) {
        self.send(StepContent::ReceivedText(self.call.bytes(bytes)));
    }

    pub(crate) fn received_binary(&self, bytes: &Bytes) {
        self.send(StepContent::ReceivedBinary(self.call.bytes(bytes)));
    }

    pub(crate) fn failed(&self, error: &impl ToString) {
        let text = self.call.text(&error.to_string());
        self.send(StepContent::Failed(text));
    }

    fn send(&self, content: StepContent) {
        self.call.send(self.exchange, content);
    }
}

impl Drop for ExchangeRecorder {
    fn drop(&mut self) {
        self.send(StepContent::End);
    }
}

/// The URL without user and password.
fn without_user(url: &str) -> String {
    let Ok(mut parsed) = url.parse::<pinhole_egress::Url>() else {
        return url.to_owned();
    };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    // Both fail only for URLs without a host.
    parsed.set_username("").ok();
    parsed.set_password(None).ok();
    parsed.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-a-secret-4711";

    fn request(body: &'static str) -> ExchangeSteps {
        let (recorder, mut steps) = TrafficRecorder::with_limit(1000);
        let redactor = Redactor::new([SECRET]);
        let call = recorder.of_call("job", redactor.into());
        let exchange = call.start(&RequestParts {
            upstream: Some("api"),
            base_url: "https://me:pass@host/v1",
            method: "POST",
            path: "/x?key=sk-a-secret-4711",
            credential_parameter: None,
            credential_fields: Vec::new(),
            headers: &HeaderMap::new(),
            content_type: None,
            body: &Bytes::from_static(body.as_bytes()),
            is_web_socket: false,
        });
        let StepContent::Request(request) = steps.try_recv().unwrap().content else {
            panic!("the first step is the request")
        };
        ExchangeSteps {
            exchange,
            request,
            steps,
        }
    }

    struct ExchangeSteps {
        exchange: ExchangeRecorder,
        request: RecordedRequest,
        steps: UnboundedReceiver<TrafficStep>,
    }

    impl ExchangeSteps {
        fn next(&mut self) -> StepContent {
            self.steps.try_recv().unwrap().content
        }
    }

    #[test]
    fn recorder_redacts_requests_and_responses() {
        let mut recorded = request(r#"{"key": "sk-a-secret-4711", "n": 1}"#);
        let masked = "*".repeat(SECRET.len());
        assert_eq!(recorded.request.base_url, "https://host/v1");
        assert_eq!(recorded.request.path, format!("/x?key={masked}"));
        let json: serde_json::Value =
            serde_json::from_slice(recorded.request.body.bytes().unwrap()).unwrap();
        assert_eq!(json, serde_json::json!({"key": masked, "n": 1}));

        let encoded = base64_simd::STANDARD.encode_to_string(SECRET);
        recorded
            .exchange
            .body(&BodyText::from(format!("key {encoded}")));
        let StepContent::Body(body) = recorded.next() else {
            panic!("a body was recorded")
        };
        let text = std::str::from_utf8(body.bytes().unwrap()).unwrap();
        assert!(!text.contains(&encoded[..12]), "{text}");
        recorded.exchange.failed(&format!("refused {SECRET}"));
        let StepContent::Failed(reason) = recorded.next() else {
            panic!("a failure was recorded")
        };
        assert_eq!(reason, format!("refused {masked}"));
        drop(recorded.exchange);
        let end = recorded.steps.try_recv().unwrap().content;
        assert!(matches!(end, StepContent::End));
    }

    #[test]
    fn recorder_leaves_out_what_is_not_read_in_time() {
        let mut recorded = request("{}");
        let long = Bytes::from(vec![b'x'; 700]);
        let mut held = Vec::new();
        for _ in 0..2 {
            recorded.exchange.received_binary(&long);
            let StepContent::ReceivedBinary(bytes) = recorded.next() else {
                panic!("a message was recorded")
            };
            held.push(bytes);
        }
        let lengths: Vec<_> = held
            .iter()
            .map(|it| (it.length(), it.bytes().map(Bytes::len)))
            .collect();
        assert_eq!(lengths, [(700, Some(700)), (700, None)]);
        held.clear();
        recorded.exchange.received_binary(&long);
        let StepContent::ReceivedBinary(bytes) = recorded.next() else {
            panic!("a message was recorded")
        };
        assert!(bytes.bytes().is_some());
    }

    #[test]
    fn recorder_stops_after_the_maximum_of_reports() {
        let (recorder, mut steps) = TrafficRecorder::new();
        let call = recorder.of_call("job", Redactor::default().into());
        for _ in 0..=MAX_REPORTS {
            call.report(RecordedReport::default());
        }
        let is_report = |step: &TrafficStep| matches!(step.content, StepContent::Report(_));
        let recorded = std::iter::from_fn(|| steps.try_recv().ok());
        assert_eq!(recorded.filter(is_report).count(), MAX_REPORTS);
    }
}
