//! Lists of the web UI, and the message for a name that a list does not have.

use pinhole_sdk::upstream_text::truncate;
use pinhole_sdk::{Error, Response};
use serde::de::DeserializeOwned;

use crate::error;

/// Maximum number of available names in a message.
const MAX_AVAILABLE: usize = 30;
/// Maximum length of a name in a message, in bytes.
const MAX_NAME_BYTES: usize = 100;

pub(crate) fn parse_list<T: DeserializeOwned>(response: Response) -> Result<Vec<T>, Error> {
    response.success().map_err(error::from_refusal)?.json()
}

/// The message for a name that the web UI does not have, with the available names.
pub(crate) fn not_found_message<'a>(
    item_type: &str,
    name: &str,
    available: impl Iterator<Item = &'a str>,
) -> String {
    let short_name = truncate(name, MAX_NAME_BYTES);
    let available: Vec<String> = available
        .map(|available| truncate(available, MAX_NAME_BYTES))
        .collect();
    let list = match available.get(..MAX_AVAILABLE) {
        Some(first) => {
            let more = available.len() - first.len();
            format!("{} and {more} more", first.join(", "))
        }
        None if available.is_empty() => "none".to_owned(),
        None => available.join(", "),
    };
    format!("the web UI has no {item_type} {short_name:?}; available: {list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_message_is_bounded() {
        let forty = std::iter::repeat_n("fox", 40);
        let message = not_found_message("sampler", &"x".repeat(500), forty);
        assert!(message.ends_with("fox and 10 more"), "{message}");
        assert!(message.len() < 400, "{message}");
        let empty = not_found_message("sampler", "x", std::iter::empty());
        assert!(empty.ends_with("available: none"), "{empty}");
    }
}
