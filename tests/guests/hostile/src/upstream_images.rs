//! Images that an upstream returns.

use pinhole_sdk::upstream::Document;
use pinhole_sdk::{Error, Image, Output, Request};

use crate::{outcome, output, split_word};

/// Runs a prompt about the image that the upstream `api` returns at `/allowed/picture`, or about the image
/// URLs that it returns as `urls` at `/allowed/result`.
///
/// | prompt | behavior |
/// |---|---|
/// | `fetch` | returns the image |
/// | `whiten` | returns the image's white mask |
/// | `result N` | returns the images at the first N URLs (1 if N is missing) |
/// | `result N TEXT` | the same after a request with the text as its query |
/// | `result-event` | returns the image at the first URL in the first event, while the event stream is open |
pub(crate) fn run(action: &str, rest: &str) -> Option<Result<Output, Error>> {
    let images = match action {
        "fetch" => fetch().map(|image| vec![image]),
        "whiten" => whiten().map(|image| vec![image]),
        "result" => {
            let (count, text) = split_word(rest);
            fetch_results(count.parse().unwrap_or(1), text)
        }
        "result-event" => fetch_result_of_event(),
        _ => return None,
    };
    Some(images.map(output))
}

fn fetch() -> Result<Image, Error> {
    Request::get("api", "/allowed/picture").send()?.image()
}

fn whiten() -> Result<Image, Error> {
    fetch()?.white_mask().map_err(Error::protocol)
}

fn fetch_results(count: usize, text: &str) -> Result<Vec<Image>, Error> {
    let path = if text.is_empty() {
        "/allowed/result".to_owned()
    } else {
        format!("/allowed/result?{text}")
    };
    let document = Request::get("api", path).send()?.document()?;
    (0..count)
        .map(|index| fetch_url(&document, index))
        .collect()
}

fn fetch_result_of_event() -> Result<Vec<Image>, Error> {
    let response = Request::get("api", "/allowed/result").send()?;
    let Some(event) = response.0.next_event()? else {
        return Err(outcome("no event"));
    };
    Ok(vec![fetch_url(&event, 0)?])
}

fn fetch_url(document: &Document, index: usize) -> Result<Image, Error> {
    document.fetch_image(&format!("/urls/{index}"))
}
