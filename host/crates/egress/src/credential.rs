//! The credential of a destination. Its value never leaves this crate except in a request's headers.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// How the server authenticates to a destination.
#[derive(Clone, Default)]
pub struct Credential(Option<(HeaderName, HeaderValue)>);

impl Credential {
    /// `authorization: Bearer <secret>`
    pub fn bearer(secret: &str) -> Result<Self, String> {
        Self::header(AUTHORIZATION.as_str(), &format!("Bearer {secret}"))
    }

    /// `authorization: Basic <base64 of user:password>`
    pub fn basic(secret: &str) -> Result<Self, String> {
        let encoded = base64_simd::STANDARD.encode_to_string(secret);
        Self::header(AUTHORIZATION.as_str(), &format!("Basic {encoded}"))
    }

    /// A header with this name and value.
    pub fn header(name: &str, value: &str) -> Result<Self, String> {
        let name =
            HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name"))?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| "the secret contains characters that a header cannot carry".to_owned())?;
        value.set_sensitive(true);
        Ok(Self(Some((name, value))))
    }

    pub(crate) fn uses_header(&self, header: &HeaderName) -> bool {
        matches!(&self.0, Some((name, _)) if name == header)
    }

    /// Sets the credential's header, if there is a credential.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.0 {
            headers.insert(name, value.clone());
        }
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.0.as_ref().map_or("none", |(name, _)| name.as_str());
        write!(formatter, "Credential({name})")
    }
}
