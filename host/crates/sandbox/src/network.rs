//! The network side of a call: its upstreams, and the limits of its requests.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::grant::{ImageDenial, ImageHostSetting, RequestDenial, Upstreams, origin_source};
use crate::host_task::HostTasks;
use crate::limits::Limits;
use pinhole_egress::{ImageRoute, Url};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;

/// What a guest learns of an image URL that must not be fetched.
pub(crate) const IMAGE_NOT_ALLOWED: &str = "the image URL is not allowed";
/// Length of the path of an image URL that a message quotes, in bytes.
const MAX_PATH_BYTES: usize = 100;

/// What a call can reach, and what it has sent.
pub(crate) struct Network {
    engine: String,
    pub(crate) upstreams: Arc<Upstreams>,
    image_hosts: Arc<ImageHostSetting>,
    pub(crate) host_tasks: HostTasks,
    /// Runs sockets. Busy guests delay their own runtimes, but not this one.
    pub(crate) io: Handle,
    /// When requests time out, once it is known.
    deadline: OnceLock<Instant>,
    /// Time of the call, and a little more.
    max_time: Duration,
    /// For the operator: why the last request failed.
    pub(crate) last_failure: Option<RequestFailure>,
    requests: u32,
    max_requests: u32,
    sent_bytes: usize,
    max_sent_bytes: usize,
    /// One permit for each pending request, event stream and WebSocket.
    connections: Arc<Semaphore>,
    max_connections: usize,
}

/// Why a request failed, for the operator: with hosts and ports.
#[derive(Clone, Debug)]
pub struct RequestFailure {
    pub reason: String,
    pub subject: FailureSubject,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSubject {
    /// The request to the upstream, or its response as a whole.
    Request,
    /// A URL that the upstream returned. The upstream's own settings are not the cause.
    Url,
    /// A response that is JSON by its look, but cannot be used. The upstream's URL is not the cause.
    Content,
}

impl RequestFailure {
    pub(crate) fn of_upstream(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            subject: FailureSubject::Request,
        }
    }

    pub(crate) fn of_content(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            subject: FailureSubject::Content,
        }
    }

    pub(crate) fn of_url(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            subject: FailureSubject::Url,
        }
    }
}

/// A request that is refused before it is sent.
pub(crate) struct Denial {
    pub(crate) kind: RefusalKind,
    /// For the operator.
    pub(crate) refusal: Refusal,
    /// For the guest, without any detail of the grant.
    pub(crate) guest_message: &'static str,
}

impl Network {
    pub(crate) fn new(
        engine: &str,
        upstreams: Arc<Upstreams>,
        image_hosts: Arc<ImageHostSetting>,
        host_tasks: HostTasks,
        limits: &Limits,
    ) -> Self {
        let connections = Guard::Connections.limit(limits.connections);
        Self {
            engine: engine.to_owned(),
            upstreams,
            image_hosts,
            host_tasks,
            io: Handle::current(),
            deadline: OnceLock::new(),
            // After the end of the call, so that a request does not time out just when the guest is
            // cancelled. The guest can still ask its upstream to stop.
            max_time: limits.wall + limits.grace,
            last_failure: None,
            requests: 0,
            max_requests: limits.requests,
            sent_bytes: 0,
            max_sent_bytes: limits.sent_bytes,
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            max_connections: limits.connections,
        }
    }

    /// The time of the call begins now.
    pub(crate) fn begin(&self) {
        self.deadline();
    }

    /// When requests time out. The time of a call that waits for its slot begins with the first request.
    pub(crate) fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + self.max_time)
    }

    /// Counts a request or a WebSocket.
    pub(crate) fn count_request(&mut self) -> Result<(), Denial> {
        let (engine, max) = (&self.engine, self.max_requests);
        Guard::Requests
            .refuse_if(self.requests >= max, || {
                format!("engine {engine} sent more than {max} requests in one job")
            })
            .map_err(|refusal| Denial {
                kind: RefusalKind::Request,
                refusal,
                guest_message: "too many requests for one job",
            })?;
        self.requests = self.requests.saturating_add(1);
        Ok(())
    }

    /// Counts bytes that are about to be sent.
    pub(crate) fn count_sent(&mut self, bytes: usize) -> Result<(), Refusal> {
        let (engine, max) = (&self.engine, self.max_sent_bytes);
        let sent = self.sent_bytes.saturating_add(bytes);
        Guard::SentBytes.refuse_if(sent > max, || {
            format!("engine {engine} tried to send more than {max} bytes in one job")
        })?;
        self.sent_bytes = sent;
        Ok(())
    }

    /// Reserves one of the connections that the call can have at the same time.
    pub(crate) fn reserve_connection(&self) -> Result<OwnedSemaphorePermit, Denial> {
        let (engine, max) = (&self.engine, self.max_connections);
        self.connections
            .clone()
            .try_acquire_owned()
            .map_err(|_| Denial {
                kind: RefusalKind::Request,
                refusal: Guard::Connections.refuse(format!(
                    "engine {engine} tried to open more than {max} connections at the same time"
                )),
                guest_message: "too many requests at the same time",
            })
    }

    /// Is the request declared and granted?
    pub(crate) fn check_grant(
        &self,
        upstream_name: &str,
        method: &Method,
        path: &str,
    ) -> Result<(), Denial> {
        let engine = &self.engine;
        let Some(upstream) = self.upstreams.get(upstream_name) else {
            return Err(not_granted(format!(
                "engine {engine} has no upstream {upstream_name:?}, or its URL is not set"
            )));
        };
        let Err(denial) = upstream.rules.check(method, path) else {
            return Ok(());
        };
        let remedy = match denial {
            RequestDenial::NotGranted(rule) => format!(
                "allow it with: pinhole engine grant {engine} --allow '{upstream_name} {rule}'"
            ),
            RequestDenial::NotDeclared => {
                "the engine does not declare this request, so no grant can allow it".to_owned()
            }
        };
        let path = path.split('?').next().unwrap_or_default();
        Err(not_granted(format!(
            "engine {engine} may not {method} {path:?} on upstream {upstream_name}: {remedy}"
        )))
    }

    /// How the image at a URL in a response of this upstream may be fetched.
    pub(crate) fn image_route(&self, upstream_name: &str, url: &Url) -> Result<ImageRoute, Denial> {
        let engine = &self.engine;
        let Some(upstream) = self.upstreams.get(upstream_name) else {
            return Err(not_granted(format!(
                "engine {engine} has no upstream {upstream_name:?}"
            )));
        };
        let denial = match self.image_hosts.route(upstream, url) {
            Ok(route) => return Ok(route),
            Err(denial) => denial,
        };
        let subject = match denial {
            ImageDenial::Host => {
                let host = url.host_str().unwrap_or_default();
                format!("from {host}, which upstream {upstream_name} names")
            }
            ImageDenial::Path | ImageDenial::NotGranted(_) => {
                let path = plain(url.path(), MAX_PATH_BYTES);
                format!("at {path:?} of upstream {upstream_name}'s host")
            }
        };
        let remedy = match (&denial, denial.missing_source(url)) {
            (ImageDenial::NotGranted(rule), _) => format!(
                "allow it with: pinhole engine grant {engine} --allow '{upstream_name} {rule}'"
            ),
            (_, Some(source)) => self.image_hosts.remedy(&self.upstreams, &source),
            (_, None) => "no setting allows a URL in this spelling".to_owned(),
        };
        let reason = format!("engine {engine} may not fetch an image {subject}: {remedy}");
        Err(Denial {
            kind: RefusalKind::Grant,
            refusal: denial.refuse(reason),
            guest_message: IMAGE_NOT_ALLOWED,
        })
    }

    /// How the operator would allow images from this URL's origin although its IP address is private.
    pub(crate) fn private_image_remedy(&self, url: &Url) -> String {
        match origin_source(url) {
            Some(source) => self.image_hosts.remedy(&self.upstreams, &source),
            None => "no setting allows it".to_owned(),
        }
    }
}

fn not_granted(reason: String) -> Denial {
    Denial {
        kind: RefusalKind::Grant,
        refusal: Guard::GrantedRequests.refuse(reason),
        guest_message: "not granted",
    }
}
