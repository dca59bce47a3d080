//! A form that was put together is read back as it was meant.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body as Sent;
use axum::extract::{FromRequest, Multipart};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use tokio::runtime::{Builder, Runtime};

use crate::engine::bindings::pinhole_sandbox::upstream::{Body, Field, Part};
use crate::engine::call::State;
use crate::engine::{ResolvedSettings, JobContext, Limits};

use super::{ITEMS, LISTS, pieces};

/// Longer forms are beyond what the parser here reads unasked.
const MAX_BYTES: usize = 1 << 20;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Fields, the byte 0x1e between them, each of name, file name, media type and texts, the byte 0x1f
/// between these. An empty file name or media type is none.
///
/// Another parser finds these fields in the form, in this order, and no other.
pub fn multipart(bytes: &[u8]) {
    let fields = || -> Vec<Field> { bytes.split(|byte| *byte == LISTS).map(field).collect() };
    if bytes.len() > MAX_BYTES {
        return;
    }
    let _entered = RUNTIME.enter();
    let limits = Limits::job(Duration::from_secs(1));
    let control = JobContext::new("fuzz".to_owned());
    let (mut state, _) = State::new("fuzz", control, ResolvedSettings::default(), limits);
    let assembled = state.assemble(Body::Form(fields())).unwrap();
    let Ok(assembled) = assembled else {
        return;
    };
    let content_type = assembled.content_type.unwrap();
    let read = read_back(&content_type, assembled.bytes.into());
    let read = read.now_or_never().expect("the form is all there");
    let fields = fields();
    assert_eq!(read.len(), fields.len(), "another number of fields");
    for (read, meant) in read.iter().zip(&fields) {
        assert_eq!(read.name, meant.name);
        assert_eq!(read.file_name, meant.file_name);
        let media_type = meant
            .media_type
            .as_deref()
            .map(|it| it.trim_matches([' ', '\t']));
        assert_eq!(read.media_type.as_deref(), media_type);
        let content: String = meant.content.iter().map(text).collect();
        assert_eq!(read.content, content.as_bytes());
    }
}

fn field(bytes: &[u8]) -> Field {
    let mut items = pieces(bytes, ITEMS);
    let mut next = || items.next().unwrap_or_default();
    let (name, file_name, media_type) = (next(), next(), next());
    Field {
        name,
        file_name: Some(file_name).filter(|name| !name.is_empty()),
        media_type: Some(media_type).filter(|media_type| !media_type.is_empty()),
        content: items.map(Part::Text).collect(),
    }
}

fn text(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        _ => "",
    }
}

/// A field as the other parser understands it.
struct Read {
    name: String,
    file_name: Option<String>,
    media_type: Option<String>,
    content: Vec<u8>,
}

fn text_of(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

async fn read_back(content_type: &http::HeaderValue, body: Sent) -> Vec<Read> {
    let request = http::Request::post("/").header(CONTENT_TYPE, content_type);
    let request = request.body(body).unwrap();
    let mut form = Multipart::from_request(request, &()).await.unwrap();
    let mut read = Vec::new();
    while let Some(field) = form.next_field().await.unwrap() {
        read.push(Read {
            name: field.name().unwrap_or_default().to_owned(),
            file_name: field.file_name().map(str::to_owned),
            media_type: field.headers().get(CONTENT_TYPE).map(text_of),
            content: field.bytes().await.unwrap().to_vec(),
        });
    }
    read
}
