//! Images that an upstream returns.

use pinhole_sdk::{Error, Image, Output, Picture, Request};

use crate::output;

/// Runs a prompt about the image that the upstream `api` returns at `/allowed/picture`.
///
/// | prompt | behavior |
/// |---|---|
/// | `fetch` | returns the image |
/// | `whiten` | returns the image's white mask |
pub(crate) fn run(action: &str) -> Option<Result<Output, Error>> {
    let image = match action {
        "fetch" => fetch(),
        "whiten" => whiten(),
        _ => return None,
    };
    Some(image.map(|image| output(vec![Picture::Held(image)])))
}

fn fetch() -> Result<Image, Error> {
    Request::get("api", "/allowed/picture").send()?.image()
}

fn whiten() -> Result<Image, Error> {
    fetch()?.white_mask().map_err(Error::protocol)
}
