//! JSON request bodies: read within limits, counted in the user's memory, and parsed.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::extract::Request;
use futures_util::StreamExt;
use http::StatusCode;
use hyper::body::Body as _;
use pinhole_ground::json_bounds::JsonBounds;
use pinhole_ground::memory::MemoryLease;
use pinhole_ground::text::plain;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::error::ApiError;
use super::request_memory::RequestMemory;

/// Length of a text that is parsed within a millisecond, in bytes.
const MAX_INLINE_BYTES: usize = 256 << 10;
/// Length of a field name that an error repeats, in bytes.
const MAX_PARAM_BYTES: usize = 100;

/// Length of a refused body that is still read, in bytes.
const MAX_DISCARDED_BYTES: usize = 128 << 20;
/// Time in which a refused body is still read.
const MAX_DISCARD_TIME: Duration = Duration::from_secs(2);

/// The limits of a JSON body. A route has [`Self::FORM`], unless it has other limits as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLimits {
    /// Length of the body.
    pub(super) max_bytes: usize,
    pub(super) bounds: JsonBounds,
}

impl JsonLimits {
    /// A form, or a request for images without a source image.
    pub(super) const FORM: Self = Self {
        max_bytes: 1 << 20,
        bounds: JsonBounds {
            max_values: 20_000,
            max_depth: 64,
            max_string_bytes: 256 << 10,
        },
    };

    /// Limits of longer bodies, which consist of long strings and many values.
    pub(super) const fn long(max_bytes: usize, max_values: usize) -> Self {
        Self {
            max_bytes,
            bounds: JsonBounds {
                max_values,
                max_string_bytes: max_bytes,
                ..Self::FORM.bounds
            },
        }
    }
}

/// The text of a JSON body within its limits, and the memory of the values parsed from it.
pub(super) struct JsonBody {
    text: Vec<u8>,
    lease: MemoryLease,
    values_bytes: usize,
    memory: RequestMemory,
}

impl JsonBody {
    /// Reads the body, whatever its content type. Authenticate the caller first: the body is in memory.
    pub(super) async fn read(request: Request) -> Result<Self, ApiError> {
        let extensions = request.extensions();
        let limits = extensions.get().copied().unwrap_or(JsonLimits::FORM);
        let memory = RequestMemory::of(extensions)?;
        let mut lease = memory.share().request();
        let text = read_bytes(request, limits.max_bytes, &mut lease).await?;
        let checked = compute(text.len(), || limits.bounds.check(&text));
        let values = checked.map_err(|refusal| {
            let detail = format!("the JSON body is too large: {refusal}");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        let values_bytes = JsonBounds::parsed_bytes(text.len(), values);
        lease.grow(values_bytes).await?;
        Ok(Self {
            text,
            lease,
            values_bytes,
            memory,
        })
    }

    /// The text.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Parses the text. An error names the top-level field that is invalid.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // Serde also reads a struct from an array of its fields, which the schema does not allow.
        if self.text.trim_ascii_start().starts_with(b"[") {
            let detail = "invalid JSON body: expected an object, received an array";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
        }
        let mut json = serde_json::Deserializer::from_slice(&self.text);
        let value = compute(self.text.len(), || {
            serde_path_to_error::deserialize(&mut json).map_err(|error| invalid_json(&error))
        })?;
        json.end().map_err(|error| {
            let detail = format!("invalid JSON body: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, detail)
        })?;
        Ok(value)
    }

    /// The lease of the parsed values. Drops the text.
    pub(super) fn into_lease(self) -> MemoryLease {
        let mut lease = self.lease;
        lease.shrink_to(self.values_bytes);
        lease
    }

    /// The lease of the parsed values and of a text of the same length. Drops the text.
    pub(super) fn into_lease_with_text(self) -> MemoryLease {
        self.lease
    }

    /// Holds the memory of the parsed values until the response is sent. Drops the text.
    pub(super) fn hold_memory(self) {
        let memory = self.memory.clone();
        memory.hold(self.into_lease());
    }
}

/// Reads a body of at most this length, counted in the lease.
pub(super) async fn read_bytes(
    request: Request,
    max_bytes: usize,
    lease: &mut MemoryLease,
) -> Result<Vec<u8>, ApiError> {
    let body = request.into_body();
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut chunks = body.into_data_stream();
    let text = if declared > max_bytes {
        Err(too_long(max_bytes))
    } else {
        read_chunks(&mut chunks, declared, max_bytes, lease).await
    };
    if text.is_err() {
        discard(chunks).await;
    }
    text
}

/// Reads the rest of a body without holding it: many clients read no response before they have sent all.
async fn discard(mut chunks: BodyDataStream) {
    let all = async {
        let mut rest = MAX_DISCARDED_BYTES;
        while let Some(Ok(chunk)) = chunks.next().await
            && chunk.len() <= rest
        {
            rest -= chunk.len();
        }
    };
    tokio::time::timeout(MAX_DISCARD_TIME, all).await.ok();
}

async fn read_chunks(
    chunks: &mut BodyDataStream,
    declared: usize,
    max_bytes: usize,
    lease: &mut MemoryLease,
) -> Result<Vec<u8>, ApiError> {
    // Memory that is never written to is only address space.
    let mut text = Vec::with_capacity(declared);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = format!("the body cannot be read: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, detail)
        })?;
        if text.len() + chunk.len() > max_bytes {
            return Err(too_long(max_bytes));
        }
        lease.grow(chunk.len()).await?;
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

fn too_long(max_bytes: usize) -> ApiError {
    let detail = format!("length limit exceeded: the body is longer than {max_bytes} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Parses a JSON value, with the errors of [`JsonBody::parse`].
pub(super) fn json_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| invalid_json(&error))
}

/// Reads a text of this length. If it is long, another thread takes over the tasks of this one meanwhile.
fn compute<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    let is_long = bytes > MAX_INLINE_BYTES;
    if is_long && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return tokio::task::block_in_place(read);
    }
    read()
}

/// Names the top-level field that is invalid.
fn invalid_json(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = error.path().iter().find_map(|segment| match segment {
        Segment::Map { key } => Some(plain(key, MAX_PARAM_BYTES)),
        _ => None,
    });
    let detail = format!("invalid JSON body: {}", error.inner());
    match field {
        Some(field) => ApiError::invalid(&field, format!("{detail} (in {field})")),
        None => ApiError::new(StatusCode::BAD_REQUEST, detail),
    }
}
