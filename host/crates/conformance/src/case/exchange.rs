//! Exchanges: expected requests, each with its reply.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{CaseImage, Reply, SocketStep, deserialize_present};

/// The maximum number of requests of a repeated exchange that has no limits of its own.
const DEFAULT_MAX_REQUESTS: usize = 1000;

/// One of the two servers of the fake upstream.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UpstreamServer {
    #[default]
    Upstream,
    Elsewhere,
}

/// An expected request and its reply.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) name: Option<String>,
    #[serde(default, rename = "at")]
    pub(crate) server: UpstreamServer,
    pub(crate) request: ExpectedRequest,
    times: Option<RepeatLimits>,
    #[serde(default)]
    pub(crate) any_order: bool,
    #[serde(default)]
    pub(crate) at_least_ms_after_reply: u64,
    pub(crate) reply: Option<Reply>,
    pub(crate) socket: Option<Vec<SocketStep>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RepeatLimits {
    at_least: Option<usize>,
    at_most: Option<usize>,
    #[serde(default)]
    at_least_ms_apart: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedRequest {
    /// Method, path and query.
    pub(crate) line: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) json: Option<Value>,
    #[serde(rename = "json_holds")]
    pub(crate) json_subset: Option<Value>,
    pub(crate) form: Option<Vec<ExpectedFormField>>,
    #[serde(rename = "body")]
    pub(crate) no_body: Option<NoBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoBody {
    None,
}

/// An expected field of a multipart form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedFormField {
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) file_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "deserialize_present")]
    pub(crate) media_type: Option<Option<String>>,
    pub(crate) text: Option<String>,
    #[serde(rename = "picture")]
    pub(crate) image: Option<CaseImage>,
    pub(crate) same_pixels: Option<CaseImage>,
}

impl Exchange {
    /// Whether it has `times`. Later exchanges do not wait for such an exchange.
    pub(crate) const fn is_repeated(&self) -> bool {
        self.times.is_some()
    }

    /// Whether the request is still open after the job.
    pub(crate) fn stays_open(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.stays_open)
    }

    pub(crate) fn min_requests(&self) -> usize {
        let times = self.times.as_ref();
        times.and_then(|times| times.at_least).unwrap_or(1)
    }

    pub(crate) fn max_requests(&self) -> usize {
        let times = self.times.as_ref();
        times
            .and_then(|times| times.at_most)
            .unwrap_or_else(|| match self.min_requests() {
                0 => DEFAULT_MAX_REQUESTS,
                min => min,
            })
    }

    pub(crate) fn min_gap_ms(&self) -> u64 {
        self.times
            .as_ref()
            .map_or(0, |times| times.at_least_ms_apart)
    }
}
