//! Fuzz targets of the way out: where to, and what comes back.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a broken property is shown by a panic"
)]

mod address;
mod authority;
mod redaction;

use std::sync::LazyLock;

use http::HeaderMap;
use url::Url;

use super::headers::check_request;
use super::{Credential, DEFAULT_SILENCE, Destination, Egress, Place, Tls};

pub use address::address;
pub use authority::authority;
pub use redaction::redaction;

/// A destination at this base URL, as if an administrator had named it, where it can be opened.
pub(crate) fn destination(base: &str, credential: Credential) -> Option<Destination> {
    static EGRESS: LazyLock<Egress> = LazyLock::new(|| Egress::new(&[], DEFAULT_SILENCE).unwrap());
    let place = Place {
        base,
        named: true,
        setting: "BASE_URL",
    };
    EGRESS.destination(place, credential, &Tls::default()).ok()
}

/// The headers of a request as they would be sent, if it would be.
pub(crate) fn sent_headers(destination: &Destination, mut headers: HeaderMap) -> Option<HeaderMap> {
    check_request(&headers, &destination.credential).ok()?;
    destination.credential.add_to(&mut headers);
    Some(headers)
}

/// Where a request for this path would be sent, if it would be.
pub(crate) fn joined(destination: &Destination, path: &str) -> Option<Url> {
    destination.join(path).ok()
}
