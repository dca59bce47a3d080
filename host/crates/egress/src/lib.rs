//! Egress: the only code of the server that opens connections to other hosts.
//!
//! # What it prevents
//!
//! The URLs that the server connects to come from engines, upstreams and language models, all of which
//! may be hostile. Without a policy, a URL, a redirect or a DNS record could make the server send an
//! API key to a foreign host, or reach its own machine, the operator's network or a cloud's metadata
//! service (server-side request forgery).
//!
//! # How
//!
//! - A [`Destination`] is one upstream as an administrator granted it: base URL, credential, TLS options
//!   and a connection pool of its own. [`Destination::send`] and [`Destination::connect`] append a path
//!   to the base URL and never follow a redirect.
//! - [`Destination::get_image`] requests an image at a URL that the upstream returned. It sends no credential,
//!   and returns a redirect, so that its target is checked like the first URL.
//! - [`Destination::follow_target`] decides where a request goes whose URL the upstream returned.
//! - A URL in non-canonical spelling is refused and never repaired ([`url`]), so that all parsers agree
//!   on host and port.
//! - The address policy is the clients' DNS resolver: a host name is resolved once, all its IP addresses
//!   are classified ([`ip`]), and the connection goes to one of them. A second lookup, which could
//!   return another address, never happens.
//! - Responses have limits on headers, length, compression ratio and pauses.
//! - A [`Redactor`] finds secrets that an upstream reflects.
//! - [`BucketClient`] is the exception: it connects to the server's own bucket, which only the operator's
//!   configuration names.
//!
//! # Invariants
//!
//! - Every HTTP request to an upstream passes `client::exchange`, every WebSocket passes
//!   [`Destination::connect`], and both use the address policy of their destination.
//! - A credential goes only to the scheme, host and port of its destination's base URL, and with
//!   [`Destination::follow_target`] to further hosts that are granted for it.
//! - An error's text is for the operator. It names hosts, never secrets.
//!
//! # What it does not cover
//!
//! Which paths and methods an engine may request, and which image URLs, is the grant's decision (crate
//! `pinhole-sandbox`).
//! An upstream receives everything that an engine sends to it, and a granted private host is trusted
//! with whatever it can reach.

mod address_policy;
mod bucket_client;
mod client;
mod connector;
mod content_decoder;
mod credential;
mod destination;
mod egress;
mod error;
mod follow;
pub mod headers;
mod http_client;
mod image_host;
mod image_request;
pub mod ip;
mod redactor;
mod response;
#[cfg(test)]
mod test_upstream;
mod tls;
mod token_source;
pub mod url;
mod web_socket;

/// Parts that `tests/fuzz` tests directly. Not an interface for other crates.
pub mod internals {
    pub use crate::credential::insert_body_field;
}

pub use ::url::Url;
pub use bucket_client::{BucketClient, BucketFailure, BucketRequestError};
pub use credential::{
    AwsKey, Credential, check_aws_name, check_body_pointer, check_parameter_name, check_scope,
    parse_header_name, service_account_secrets,
};
pub use destination::{BaseUrl, Destination, Request};
pub use egress::{DEFAULT_SILENCE, Egress};
pub use error::Error;
pub use follow::{FollowTarget, OtherHost};
pub use image_host::{ImageHost, ImageSource};
pub use image_request::{ImageRoute, redirect_target};
pub use redactor::{LiveSecrets, Redactor};
pub use response::Response;
pub use tls::Tls;
pub use web_socket::{Message, WebSocket};
