//! Another parser reads the same fields in an assembled form.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body as RawBody;
use axum::extract::{FromRequest, Multipart};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::contract::UpstreamError;
use pinhole_sandbox::contract::pinhole::engine::upstream::{Body, Field, Part};
use pinhole_sandbox::internals::{CallSetup, EpochClock, LastComputing, RequestBody, State};
use pinhole_sandbox::{JobContext, Limits};
use tokio::runtime::{Builder, Runtime};

use super::{ITEM_SEPARATOR, LIST_SEPARATOR, split};

/// The parser used here does not read longer forms by default.
const MAX_BYTES: usize = 1 << 20;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// Input: fields, separated by the byte 0x1e. A field is a name, a file name, a media type and texts,
/// separated by the byte 0x1f. An empty file name or media type is omitted.
///
/// Another parser finds exactly these fields in the form, in this order.
pub fn multipart(bytes: &[u8]) {
    if bytes.len() > MAX_BYTES {
        return;
    }
    let parse_fields = || -> Vec<Field> {
        bytes
            .split(|byte| *byte == LIST_SEPARATOR)
            .map(parse_field)
            .collect()
    };
    let Some(form) = assemble(Body::Form(parse_fields())) else {
        return;
    };
    let content_type = form.content_type.unwrap();
    let parsed_fields = parse_form(&content_type, form.bytes.into())
        .now_or_never()
        .expect("the form is complete");
    let fields = parse_fields();
    assert_eq!(
        parsed_fields.len(),
        fields.len(),
        "the number of fields differs"
    );
    for (parsed, field) in parsed_fields.iter().zip(&fields) {
        assert_eq!(parsed.name, field.name);
        assert_eq!(parsed.file_name, field.file_name);
        let media_type = field
            .media_type
            .as_deref()
            .map(|media_type| media_type.trim_matches([' ', '\t']));
        assert_eq!(parsed.media_type.as_deref(), media_type);
        let content: String = field.content.iter().map(part_text).collect();
        assert_eq!(parsed.content, content.as_bytes());
    }
}

/// Assembles a body as the host does for a guest; `None` if it is refused.
pub(super) fn assemble(body: Body) -> Option<RequestBody> {
    let _entered = RUNTIME.enter();
    let (mut state, _driver) = State::new(CallSetup {
        engine: "fuzz",
        context: JobContext::new("fuzz".to_owned()),
        upstreams: Arc::default(),
        image_hosts: Arc::default(),
        redactor: Arc::default(),
        limits: Limits::job(Duration::from_secs(1)),
        audit: AuditLog::default(),
        engine_log: Arc::default(),
        call_usage: Arc::default(),
        decoder: Decoder::default(),
        last_computing: LastComputing::default(),
        epochs: EpochClock::default(),
    });
    match state.assemble_body(body) {
        Ok(assembled) => Some(assembled),
        Err(UpstreamError::Guest(_)) => None,
        Err(UpstreamError::Trap(error)) => panic!("the call was stopped: {error:#}"),
    }
}

fn parse_field(bytes: &[u8]) -> Field {
    let mut items = split(bytes, ITEM_SEPARATOR);
    let mut next_item = || items.next().unwrap_or_default();
    let (name, file_name, media_type) = (next_item(), next_item(), next_item());
    Field {
        name,
        file_name: Some(file_name).filter(|text| !text.is_empty()),
        media_type: Some(media_type).filter(|text| !text.is_empty()),
        content: items.map(Part::Text).collect(),
    }
}

fn part_text(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        _ => "",
    }
}

/// A field as the other parser reads it.
struct ParsedField {
    name: String,
    file_name: Option<String>,
    media_type: Option<String>,
    content: Vec<u8>,
}

async fn parse_form(content_type: &http::HeaderValue, body: RawBody) -> Vec<ParsedField> {
    let request = http::Request::post("/")
        .header(CONTENT_TYPE, content_type)
        .body(body)
        .unwrap();
    let mut form = Multipart::from_request(request, &()).await.unwrap();
    let mut fields = Vec::new();
    while let Some(field) = form.next_field().await.unwrap() {
        fields.push(ParsedField {
            name: field.name().unwrap_or_default().to_owned(),
            file_name: field.file_name().map(str::to_owned),
            media_type: field
                .headers()
                .get(CONTENT_TYPE)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            content: field.bytes().await.unwrap().to_vec(),
        });
    }
    fields
}
