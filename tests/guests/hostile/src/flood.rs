//! Too much of one thing through a host function.

use pinhole_sdk::request::Form;
use pinhole_sdk::{Error, Image, Output, Progress, Request, images, job, log, upstream};

use crate::{CHUNK_BYTES, PIXEL, load_pixel, outcome, send_and_report, split_word};

/// The path of the requests, unless the table says otherwise.
const PATH: &str = "/allowed/x";

/// Runs a prompt that floods the host. N is 1 if it is missing.
///
/// | prompt | behavior |
/// |---|---|
/// | `headers N` | sends a GET with N headers; `headers N LENGTH` with values of LENGTH bytes |
/// | `parts N` | sends a body of N images |
/// | `fields N` | sends a form of N fields |
/// | `label N` | sends a form with a field name of N bytes |
/// | `path N` | sends a GET to a path of N bytes |
/// | `name N` | sends a GET to an upstream whose name has N bytes |
/// | `pointer N` | reads a response at a JSON pointer of N bytes |
/// | `body N` | sends a body of N MB |
/// | `bodies N` | sends such bodies until one is refused; reports how many succeeded |
/// | `starts N` | starts N requests and waits for none |
/// | `sockets N` | opens N WebSockets and closes none |
/// | `keep N` | sends N GETs and holds every response |
/// | `take N` | sends N GETs and holds no response |
/// | `refusals N` | sends N GETs that are not granted; reports how many were refused |
/// | `busy` | sends a GET and returns the upstream's refusal, with its message and delay |
/// | `events` | reads an event stream to its end; reports the number of events |
/// | `line N` | writes a log line of N bytes |
/// | `lines N` | writes N empty log lines |
/// | `progress N` | reports progress N times |
/// | `denied N` | sends N requests that it did not declare |
/// | `pictures N` | sends a body of N images of 8 MB |
/// | `loads N` | sends N bodies of 40 MB |
/// | `show N` | reports a preview of N MB, and returns another image |
/// | `preview N` | reports N previews, each a different image |
pub(crate) fn run(action: &str, rest: &str) -> Option<Result<Output, Error>> {
    let (number, second) = split_word(rest);
    let count: usize = number.parse().unwrap_or(1);
    let get = || Request::get("api", PATH);
    Some(match action {
        "headers" => send_headers(count, second.parse().unwrap_or(1)),
        "parts" => send_images(&images::from_bytes(PIXEL), count),
        "fields" => {
            let form = (0..count).fold(Form::new(), |form, _| form.text("a", "b"));
            send_and_report(get().form(form))
        }
        "label" => send_and_report(get().form(Form::new().text(&"a".repeat(count), "b"))),
        "path" => {
            let path = format!("/allowed/{}", "x".repeat(count));
            send_and_report(Request::get("api", path))
        }
        "name" => send_and_report(Request::get(&"x".repeat(count), PATH)),
        "pointer" => read_at_pointer(count),
        "body" => build_body(count).and_then(send_and_report),
        "bodies" => repeat(usize::MAX, || build_body(count)?.send().map(drop)),
        "starts" => repeat(count, || get().start()),
        "sockets" => repeat(count, || Ok(upstream::connect("api", PATH)?)),
        "keep" => repeat(count, || get().send()),
        "take" => repeat(count, || get().send().map(drop)),
        "refusals" => count_refusals(count),
        "busy" => return_refusal(),
        "events" => count_events(),
        "denied" => send_undeclared(count),
        "pictures" => send_large_images(count),
        "loads" => repeat(count, || match send_large_images(4) {
            Err(error) if is_host_refusal(&error) => Err(error),
            _ => Ok(()),
        }),
        "show" => report_large_preview(count),
        "line" => {
            log::write(log::Level::Info, &"x".repeat(count));
            Err(outcome("written"))
        }
        "lines" => {
            (0..count).for_each(|_| log::write(log::Level::Info, ""));
            Err(outcome("written"))
        }
        "progress" => report_progress_repeatedly(count),
        "preview" => report_previews(count),
        _ => return None,
    })
}

fn send_headers(count: usize, length: usize) -> Result<Output, Error> {
    let value = "1".repeat(length);
    let request = Request::get("api", PATH);
    send_and_report((0..count).fold(request, |it, n| it.header(&format!("x-{n}"), &value)))
}

fn build_body(megabytes: usize) -> Result<Request<'static>, Error> {
    Request::get("api", PATH).json(&"x".repeat(megabytes * CHUNK_BYTES))
}

/// Sends a JSON list of `count` copies of the image.
fn send_images(image: &Result<Image, String>, count: usize) -> Result<Output, Error> {
    let image = image.as_ref().map_err(Error::protocol)?;
    let pointers: Vec<String> = (0..count).map(|n| format!("/{n}")).collect();
    let images: Vec<(&str, &Image)> = pointers.iter().map(|it| (it.as_str(), image)).collect();
    let value = vec![serde_json::Value::Null; count];
    send_and_report(Request::get("api", PATH).json_with_images(&value, &images)?)
}

fn send_large_images(count: usize) -> Result<Output, Error> {
    send_images(&build_large_image(8), count)
}

fn read_at_pointer(length: usize) -> Result<Output, Error> {
    let document = Request::get("api", PATH).send()?.document()?;
    document.text(&"/x".repeat(length / 2), 100)?;
    Err(outcome("found"))
}

/// Calls `step` up to `count` times and holds the values; reports how many times it succeeded.
fn repeat<T>(count: usize, mut step: impl FnMut() -> Result<T, Error>) -> Result<Output, Error> {
    let mut values = Vec::new();
    for _ in 0..count {
        match step() {
            Ok(value) => values.push(value),
            Err(error) => {
                let message = format!("refused after {}: {}", values.len(), error.message);
                return Err(Error::new(error.kind, message));
            }
        }
    }
    Err(outcome(format!("had {}", values.len())))
}

fn count_refusals(count: usize) -> Result<Output, Error> {
    let is_refused = |n: &usize| {
        let request = Request::get("api", format!("/elsewhere/{n}"));
        request.send().is_err()
    };
    let refused = (0..count).filter(is_refused).count();
    Err(outcome(format!("refused {refused}")))
}

fn return_refusal() -> Result<Output, Error> {
    Request::get("api", PATH).send()?.success()?;
    Err(outcome("not busy"))
}

fn count_events() -> Result<Output, Error> {
    let response = Request::get("api", PATH).send()?;
    let mut count = 0;
    while response.0.next_event()?.is_some() {
        count += 1;
    }
    Err(outcome(format!("read {count}")))
}

fn send_undeclared(count: usize) -> Result<Output, Error> {
    for sent in 0..count {
        match Request::get("api", "/secret").send() {
            Err(error) if error.message == "not granted" => {}
            Err(error) => return Err(outcome(format!("refused after {sent}: {}", error.message))),
            Ok(_) => return Err(outcome("answered")),
        }
    }
    Err(outcome(format!("had {count}")))
}

fn report_progress(fraction: f32, preview: Option<&Image>) {
    let progress = Progress {
        fraction: Some(fraction),
        queue_position: None,
        note: None,
    };
    job::report(&progress, preview);
}

fn report_progress_repeatedly(count: usize) -> Result<Output, Error> {
    for number in 0..count {
        report_progress((number % 100) as f32 / 100.0, None);
    }
    Err(outcome("reported"))
}

fn report_previews(count: usize) -> Result<Output, Error> {
    for number in 0..count {
        report_progress(1.0, Some(&build_numbered_image(number)?));
    }
    Err(outcome("shown"))
}

fn report_large_preview(megabytes: usize) -> Result<Output, Error> {
    let preview = build_large_image(megabytes).map_err(Error::protocol)?;
    report_progress(1.0, Some(&preview));
    // Leaves time for a client to receive the preview.
    job::sleep(500);
    Ok(crate::output(vec![load_pixel()?]))
}

/// A GIF of one pixel whose palette encodes the number.
fn build_numbered_image(number: usize) -> Result<Image, Error> {
    const PALETTE_OFFSET: usize = 13;
    let mut gif =
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
            .to_vec();
    let digits = number.to_le_bytes();
    let palette = gif.iter_mut().skip(PALETTE_OFFSET);
    for (byte, digit) in palette.zip(digits.into_iter().take(3)) {
        *byte = digit;
    }
    images::from_bytes(&gif).map_err(Error::protocol)
}

/// A PNG of one pixel that has `megabytes` MB.
fn build_large_image(megabytes: usize) -> Result<Image, String> {
    const HEADER_BYTES: usize = 33;
    const END_BYTES: usize = 12;
    let (header, rest) = PIXEL.split_at(HEADER_BYTES);
    let (_, end) = rest.split_at(rest.len() - END_BYTES);
    let length = megabytes * CHUNK_BYTES;
    let mut png = Vec::with_capacity(length + 100);
    png.extend_from_slice(header);
    // A chunk of pixel data, which the host does not read before it decodes the image.
    png.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
    png.extend_from_slice(b"IDAT");
    png.resize(png.len() + length + 4, 0);
    png.extend_from_slice(end);
    images::from_bytes(&png)
}

/// False if the error only reports the status of a response.
fn is_host_refusal(error: &Error) -> bool {
    !error.message.starts_with("status ")
}
