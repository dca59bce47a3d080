//! Too much of everything that goes through a host function.

use pinhole_sdk::{Error, Image, Output, Progress, Request, images, job, log, request};

use crate::{CHUNK, PIXEL, said, tell, words};

/// Where all these requests go.
const PATH: &str = "/allowed/x";

/// What the prompt says, with a number behind it where one is told of.
///
/// | prompt | what it does |
/// |---|---|
/// | `headers N` | sends a GET with so many headers |
/// | `parts N` | sends a body of so many pieces |
/// | `fields N` | sends a form of so many fields |
/// | `label N` | sends a form with a field whose name has so many bytes |
/// | `path N` | sends a GET to a path of so many bytes |
/// | `name N` | names an upstream with so many bytes |
/// | `pointer N` | looks into an answer with a pointer of so many bytes |
/// | `body N` | sends a body of so many megabytes |
/// | `bodies N` | sends such bodies until one is refused; says how many were not |
/// | `starts N` | begins so many requests and waits for none |
/// | `sockets N` | opens so many WebSockets and closes none |
/// | `keep N` | sends so many GETs and keeps every answer |
/// | `take N` | sends so many GETs and keeps no answer |
/// | `events` | reads a stream of events to its end; says how many there were |
/// | `line N` | writes a line of so many bytes to the log, and says nothing of it |
/// | `lines N` | writes so many empty lines to the log |
/// | `progress N` | reports so often how far it is, then waits |
/// | `preview N` | shows a picture again and again, so often, and each time another |
pub(crate) fn flood(what: &str, rest: &str) -> Option<Result<Output, Error>> {
    let (number, _) = words(rest);
    let count: usize = number.parse().unwrap_or(1);
    let get = || Request::get("api", PATH);
    Some(match what {
        "headers" => {
            let many = (0..count).fold(get(), |it, n| it.header(&format!("x-{n}"), "1"));
            tell(many)
        }
        "parts" => parts(count),
        "fields" => {
            let form = (0..count).fold(request::Form::new(), |form, _| form.text("a", "b"));
            tell(get().form(form))
        }
        "label" => tell(get().form(request::Form::new().text(&"a".repeat(count), "b"))),
        "path" => tell(Request::get(
            "api",
            format!("/allowed/{}", "x".repeat(count)),
        )),
        "name" => tell(Request::get(&"x".repeat(count), PATH)),
        "pointer" => pointer(count),
        "body" => body(count).and_then(tell),
        "bodies" => until_refused(|| body(count)?.send().map(drop)),
        "starts" => all(count, || get().start()),
        "sockets" => all(count, || Ok(request::connect("api", PATH)?)),
        "keep" => all(count, || get().send()),
        "take" => all(count, || get().send().map(drop)),
        "events" => events(),
        "line" => {
            log::write(log::Level::Info, &"x".repeat(count));
            Err(said("written"))
        }
        "lines" => {
            (0..count).for_each(|_| log::write(log::Level::Info, ""));
            Err(said("written"))
        }
        "progress" => progress(count),
        "preview" => preview(count),
        _ => return None,
    })
}

fn body(megabytes: usize) -> Result<Request<'static>, Error> {
    Request::get("api", PATH).json(&"x".repeat(megabytes * CHUNK))
}

fn parts(count: usize) -> Result<Output, Error> {
    let image = images::from_bytes(PIXEL).map_err(Error::protocol)?;
    let pointers: Vec<String> = (0..count).map(|n| format!("/{n}")).collect();
    let places: Vec<(&str, &Image)> = pointers.iter().map(|it| (it.as_str(), &image)).collect();
    let value = vec![serde_json::Value::Null; count];
    tell(Request::get("api", PATH).json_with_images(&value, &places)?)
}

fn pointer(length: usize) -> Result<Output, Error> {
    let document = Request::get("api", PATH).send()?.document()?;
    document.text(&"/x".repeat(length / 2), 100)?;
    Err(said("found"))
}

/// Does it so often and keeps what comes of it; says how many times it was not refused.
fn all<T>(count: usize, mut each: impl FnMut() -> Result<T, Error>) -> Result<Output, Error> {
    let mut kept = Vec::new();
    for _ in 0..count {
        match each() {
            Ok(one) => kept.push(one),
            Err(error) => {
                let refused = format!("refused after {}: {}", kept.len(), error.message);
                return Err(Error::new(error.kind, refused));
            }
        }
    }
    Err(said(format!("had {}", kept.len())))
}

fn until_refused(each: impl FnMut() -> Result<(), Error>) -> Result<Output, Error> {
    all(usize::MAX, each)
}

fn events() -> Result<Output, Error> {
    let answer = Request::get("api", PATH).send()?;
    let mut count = 0;
    while answer.0.next_event()?.is_some() {
        count += 1;
    }
    Err(said(format!("read {count}")))
}

fn report(fraction: f32, preview: Option<&Image>) {
    let progress = Progress {
        fraction: Some(fraction),
        queue_position: None,
        note: None,
    };
    job::report(&progress, preview);
}

fn progress(count: usize) -> Result<Output, Error> {
    for number in 0..count {
        report((number % 100) as f32 / 100.0, None);
    }
    Err(said("reported"))
}

/// A GIF of one pixel whose colours say which it is.
fn picture(number: usize) -> Result<Image, Error> {
    let mut gif =
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
            .to_vec();
    let number = number.to_le_bytes();
    for (place, byte) in gif.iter_mut().skip(13).zip(number.into_iter().take(3)) {
        *place = byte;
    }
    images::from_bytes(&gif).map_err(Error::protocol)
}

fn preview(count: usize) -> Result<Output, Error> {
    for number in 0..count {
        report(1.0, Some(&picture(number)?));
    }
    Err(said("shown"))
}
