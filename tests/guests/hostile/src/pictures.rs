//! Pictures that an upstream gives.

use pinhole_sdk::{Error, Image, Output, Picture, Request};

use crate::output;

/// What the prompt says, of the picture that the upstream `api` has at `/allowed/picture`.
///
/// | prompt | what it does |
/// |---|---|
/// | `fetch` | returns it |
/// | `whiten` | has it made a white mask, and returns that |
pub(crate) fn pictures(what: &str) -> Option<Result<Output, Error>> {
    Some(match what {
        "fetch" => fetched().map(|image| output(vec![Picture::Held(image)])),
        "whiten" => whitened().map(|image| output(vec![Picture::Held(image)])),
        _ => return None,
    })
}

fn fetched() -> Result<Image, Error> {
    let answer = Request::get("api", "/allowed/picture").send()?;
    Ok(answer.0.image()?)
}

fn whitened() -> Result<Image, Error> {
    fetched()?.white_mask().map_err(Error::protocol)
}
