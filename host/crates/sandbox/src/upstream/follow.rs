//! Requests to URLs that a response names, such as the URL at which an upstream shows the state of a job.
//!
//! The URL is the string at a JSON pointer of a response, so an engine cannot write into it what it knows. The request is
//! like any other: it has the upstream's credential, its method and path must be granted, and it counts against the
//! same limits. Its host is that of the upstream, or one that is granted for this.

use wasmtime::component::Resource;

use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Error, Request};
use crate::grant::Upstream;
use crate::network::{Denial, RequestFailure};
use crate::resources::ResponseResource;
use crate::state::State;
use pinhole_egress::FollowTarget;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::{Guard, Refusal};

/// What a guest learns of a URL to which no request may be sent.
const NOT_ALLOWED: &str = "the URL is not allowed";

impl State {
    /// Sends a request to a URL in a response of its upstream. The request's path is not used.
    pub(super) async fn follow_url(
        &mut self,
        url: &str,
        request: Request,
    ) -> Result<Resource<ResponseResource>, UpstreamError> {
        self.network.last_failure = None;
        if self.redactor.contains_secret_text(url, Guard::SecretUrl) {
            let reason = "a URL in a response contains a secret of the settings";
            self.network.last_failure = Some(RequestFailure::of_url(reason));
            return Err(Error::Denied(NOT_ALLOWED.to_owned()).into());
        }
        let upstreams = self.network.upstreams.clone();
        let Some(Upstream {
            destination, hosts, ..
        }) = upstreams.get(&request.upstream)
        else {
            return Err(Error::Denied(NOT_ALLOWED.to_owned()).into());
        };
        let target = destination.follow_target(url, hosts);
        let FollowTarget { host, path } = target.map_err(|refusal| self.deny_url(refusal))?;
        self.send_to(host, Request { path, ..request }).await
    }

    /// Records a URL to which no request may be sent.
    fn deny_url(&mut self, refusal: Refusal) -> Error {
        let engine = &self.engine;
        let kind = match refusal.guard {
            Some(Guard::FollowHosts) => RefusalKind::Grant,
            _ => RefusalKind::Address,
        };
        let refusal = refusal.map_reason(|reason| {
            format!("engine {engine} may not follow a URL in a response: {reason}")
        });
        self.network.last_failure = Some(RequestFailure::of_url(&refusal));
        self.deny(Denial {
            kind,
            refusal,
            guest_message: NOT_ALLOWED,
        })
    }
}
