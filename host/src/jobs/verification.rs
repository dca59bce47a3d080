//! Verification of a binding whose settings need not be stored, with the requests that it sent.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use pinhole_ground::text::plain;
use pinhole_sandbox::{EngineReport, StepContent, TrafficRecorder, TrafficStep};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};

use super::Jobs;
use super::binding::Binding;
use super::error::Error;
use super::plan::Operation;
use super::query::Query;
use super::snapshot::Snapshot;

/// Calls that a verification may wait for: those for generating and for editing run one after the other.
const MAX_CALLS: u32 = 2;
/// Requests that a verification reports. Further ones are left out.
pub const MAX_REPORTED_REQUESTS: usize = 50;
/// Length of a URL in the report, in bytes; a longer one is cut.
const MAX_URL_BYTES: usize = 500;

/// What a verification found, and the requests that it sent.
pub struct VerifiedBinding {
    pub found: Result<EngineReport, Error>,
    pub requests: Vec<SentRequest>,
    pub took: Duration,
}

/// A request to an upstream, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    pub method: String,
    pub url: String,
    /// `None` if there is no response.
    pub status: Option<u16>,
}

impl Jobs {
    /// Verifies a binding of a snapshot that need not be current: for one operation, or for both.
    ///
    /// Takes at most twice as long as one call may take.
    pub async fn verify_with_requests(
        &self,
        snapshot: &Snapshot,
        binding: &Binding,
        operation: Option<Operation>,
    ) -> VerifiedBinding {
        let start = Instant::now();
        let (recorder, steps) = TrafficRecorder::new();
        let mut query = Query::new(snapshot, binding);
        query.context.recorder = Some(recorder);
        let limit = self.query_time().saturating_mul(MAX_CALLS);
        let verification = timeout(limit, self.verify_operation(&query, operation));
        let (found, requests) = RequestList::of(verification, steps).await;
        let found = found.unwrap_or_else(|_| {
            let secs = limit.as_secs();
            let message = format!(
                "the verification of engine {} took longer than {secs} s: check that its upstream responds",
                binding.name
            );
            Err(Error::invalid("engine", message))
        });
        VerifiedBinding {
            found,
            requests,
            took: start.elapsed(),
        }
    }
}

/// The requests of a call, in the order in which they were sent.
#[derive(Default)]
struct RequestList {
    requests: Vec<SentRequest>,
    /// The places of requests whose responses have not arrived, by exchange.
    open: HashMap<u64, usize>,
}

impl RequestList {
    /// Waits for the call, and drops what it records, except its requests.
    async fn of<T>(
        call: impl Future<Output = T>,
        mut steps: UnboundedReceiver<TrafficStep>,
    ) -> (T, Vec<SentRequest>) {
        let mut list = Self::default();
        let mut call = pin!(call);
        let result = loop {
            tokio::select! {
                result = &mut call => break result,
                Some(step) = steps.recv() => list.add(step),
            }
        };
        while let Ok(step) = steps.try_recv() {
            list.add(step);
        }
        (result, list.requests)
    }

    fn add(&mut self, step: TrafficStep) {
        match step.content {
            StepContent::Request(request) if self.requests.len() < MAX_REPORTED_REQUESTS => {
                let url = format!("{}{}", request.base_url, request.path);
                self.open.insert(step.exchange, self.requests.len());
                self.requests.push(SentRequest {
                    method: request.method,
                    url: plain(&url, MAX_URL_BYTES),
                    status: None,
                });
            }
            StepContent::Head { status, .. } => {
                let place = self.open.remove(&step.exchange);
                let request = place.and_then(|place| self.requests.get_mut(place));
                if let Some(request) = request {
                    request.status = Some(status);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn step(exchange: u64, content: StepContent) -> TrafficStep {
        TrafficStep {
            job: Arc::from("query"),
            exchange,
            at: Instant::now(),
            content,
        }
    }

    fn request(path: &str) -> StepContent {
        StepContent::Request(pinhole_sandbox::RecordedRequest {
            upstream: None,
            base_url: "http://host".to_owned(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            credential_parameter: None,
            headers: Vec::new(),
            content_type: None,
            body: bytes::Bytes::new().into(),
            is_web_socket: false,
            credential_fields: Vec::new(),
        })
    }

    #[tokio::test]
    async fn request_list_has_status_and_a_limit() {
        let (sender, steps) = tokio::sync::mpsc::unbounded_channel();
        let call = async {
            sender.send(step(0, request("/lost"))).unwrap();
            for exchange in 1..=MAX_REPORTED_REQUESTS as u64 {
                sender.send(step(exchange, request("/found"))).unwrap();
                let head = StepContent::Head {
                    status: 200,
                    headers: Vec::new(),
                };
                sender.send(step(exchange, head)).unwrap();
            }
            "done"
        };
        let (result, requests) = RequestList::of(call, steps).await;
        assert_eq!((result, requests.len()), ("done", MAX_REPORTED_REQUESTS));
        let sent = |path: &str, status| SentRequest {
            method: "GET".to_owned(),
            url: format!("http://host{path}"),
            status,
        };
        assert_eq!(requests[0], sent("/lost", None));
        assert_eq!(requests[1], sent("/found", Some(200)));
    }
}
