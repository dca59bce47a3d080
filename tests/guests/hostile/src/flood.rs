//! Too much of everything that goes through a host function.

use pinhole_sdk::{Error, Image, Output, Progress, Request, images, job, log, request};

use crate::{CHUNK, PIXEL, said, tell, words};

/// Where all these requests go.
const PATH: &str = "/allowed/x";

/// What the prompt says, with a number behind it where one is told of.
///
/// | prompt | what it does |
/// |---|---|
/// | `headers N` | sends a GET with so many headers; `headers N LENGTH` with values of so many bytes |
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
/// | `refusals N` | sends so many GETs that are not granted; says how many were refused |
/// | `busy` | sends a GET and passes on with which words, and for how long, the upstream refuses it |
/// | `events` | reads a stream of events to its end; says how many there were |
/// | `line N` | writes a line of so many bytes to the log, and says nothing of it |
/// | `lines N` | writes so many empty lines to the log |
/// | `progress N` | reports so often how far it is, then waits |
/// | `denied N` | asks so many times for what it did not declare |
/// | `pictures N` | sends a body of so many pictures of eight megabytes |
/// | `loads N` | sends bodies of 40 MB, so many |
/// | `show N` | shows a picture of so many megabytes, and returns another |
/// | `preview N` | shows a picture again and again, so often, and each time another |
pub(crate) fn flood(what: &str, rest: &str) -> Option<Result<Output, Error>> {
    let (number, _) = words(rest);
    let count: usize = number.parse().unwrap_or(1);
    let get = || Request::get("api", PATH);
    Some(match what {
        "headers" => {
            let value = "1".repeat(words(rest).1.parse().unwrap_or(1));
            let many = (0..count).fold(get(), |it, n| it.header(&format!("x-{n}"), &value));
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
        "refusals" => {
            let refused = |n: &usize| {
                Request::get("api", format!("/elsewhere/{n}"))
                    .send()
                    .is_err()
            };
            Err(said(format!(
                "refused {}",
                (0..count).filter(refused).count()
            )))
        }
        "busy" => get()
            .send()
            .and_then(|answer| Ok(answer.success()?))
            .and_then(|_| Err(said("not busy"))),
        "events" => events(),
        "denied" => denied(count),
        "pictures" => pictures(count),
        "loads" => all(count, || {
            pictures(4).err().filter(is_refusal).map_or(Ok(()), Err)
        }),
        "show" => show(count),
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

/// A PNG of one pixel and so many megabytes.
fn large(megabytes: usize) -> Result<Image, Error> {
    const HEADER: usize = 33;
    const END: usize = 12;
    let (header, rest) = PIXEL.split_at(HEADER);
    let (_, end) = rest.split_at(rest.len() - END);
    let length = megabytes * CHUNK;
    let mut png = Vec::with_capacity(length + 100);
    png.extend_from_slice(header);
    // A chunk of pixels: nobody looks into it before it is decoded.
    png.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
    png.extend_from_slice(b"IDAT");
    png.resize(png.len() + length + 4, 0);
    png.extend_from_slice(end);
    images::from_bytes(&png).map_err(Error::protocol)
}

fn show(megabytes: usize) -> Result<Output, Error> {
    report(1.0, Some(&large(megabytes)?));
    // So that whoever watches sees it.
    job::sleep(500);
    Ok(crate::output(vec![crate::pixel()?]))
}

fn pictures(count: usize) -> Result<Output, Error> {
    let image = large(8)?;
    let pointers: Vec<String> = (0..count).map(|n| format!("/{n}")).collect();
    let places: Vec<(&str, &Image)> = pointers.iter().map(|it| (it.as_str(), &image)).collect();
    let value = vec![serde_json::Value::Null; count];
    tell(Request::get("api", PATH).json_with_images(&value, &places)?)
}

/// Did the host refuse it, or does the error only tell of an answer?
fn is_refusal(error: &Error) -> bool {
    !error.message.starts_with("status ")
}

fn denied(count: usize) -> Result<Output, Error> {
    for sent in 0..count {
        match Request::get("api", "/secret").send() {
            Err(error) if error.message == "not granted" => {}
            Err(error) => return Err(said(format!("refused after {sent}: {}", error.message))),
            Ok(_) => return Err(said("answered")),
        }
    }
    Err(said(format!("had {count}")))
}
