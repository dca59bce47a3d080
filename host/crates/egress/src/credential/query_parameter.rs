//! A secret in a parameter of each query.

use url::Url;
use url::form_urlencoded::byte_serialize;

/// Length of the name of a query parameter in bytes.
const MAX_NAME_BYTES: usize = 64;

#[derive(Clone)]
pub(super) struct QueryParameter {
    pub(super) name: String,
    /// Percent-encoded.
    value: String,
}

/// Refuses the name of a query parameter that would need an encoding.
pub fn check_parameter_name(name: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(format!(
        "the name of a query parameter has 1 to {MAX_NAME_BYTES} letters, digits, dashes and underscores"
    ))
}

impl QueryParameter {
    pub(super) fn new(name: &str, secret: &str) -> Result<Self, String> {
        check_parameter_name(name)?;
        // A space is `+` in forms only.
        let value = byte_serialize(secret.as_bytes()).collect::<String>();
        Ok(Self {
            name: name.to_owned(),
            value: value.replace('+', "%20"),
        })
    }

    /// Adds the parameter after the others.
    pub(super) fn add_to(&self, url: &mut Url) {
        let Self { name, value } = self;
        let query = match url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{name}={value}"),
            _ => format!("{name}={value}"),
        };
        url.set_query(Some(&query));
    }
}
