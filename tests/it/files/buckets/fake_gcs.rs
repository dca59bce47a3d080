//! A script of Google Cloud Storage's XML API, with lists of two objects a page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest};
use serde_json::json;

pub(super) const BUCKET: &str = "pictures";
/// Objects of a page of a list.
const PAGE: usize = 2;

/// A running service with one bucket. Clones share it.
#[derive(Clone)]
pub(super) struct FakeGcs {
    pub(super) upstream: Arc<FakeUpstream>,
    objects: Arc<Objects>,
}

#[derive(Default)]
struct Objects {
    by_name: Mutex<BTreeMap<String, Object>>,
    refuses_conditions: AtomicBool,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    media_type: String,
    modified: SystemTime,
}

impl FakeGcs {
    pub(super) async fn start() -> Self {
        let objects = Arc::new(Objects::default());
        let served = objects.clone();
        let upstream = FakeUpstream::start(move |request| {
            let response = served.respond(&request);
            async { response }
        });
        Self {
            upstream: Arc::new(upstream.await),
            objects,
        }
    }

    /// The key of a service account that names this service.
    pub(super) fn service_account(&self) -> String {
        let key = json!({
            "type": "service_account", "gcs_base_url": self.upstream.url(), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        key.to_string()
    }

    /// Responds to each request with this status until [`FakeUpstream::reset`].
    pub(super) fn fail(&self, status: u16) {
        self.upstream.set_handler(move |_| async move {
            let error = "<Error><Code>ServiceUnavailable</Code></Error>";
            FakeResponse::typed(status, "application/xml", error)
        });
    }

    /// Responds with 501 to a write that must not replace an object.
    pub(super) fn refuse_conditions(&self) {
        self.objects
            .refuses_conditions
            .store(true, Ordering::Relaxed);
    }

    /// Responds with 403 to each write until [`FakeUpstream::reset`].
    pub(super) fn refuse_writes(&self) {
        let objects = self.objects.clone();
        self.upstream.set_handler(move |request| {
            let response = match request.method {
                Method::PUT => error(403, "AccessDenied"),
                _ => objects.respond(&request),
            };
            async { response }
        });
    }

    /// Responds to reads of objects whose names contain this with other bytes until [`FakeUpstream::reset`].
    pub(super) fn falsify(&self, part: &'static str) {
        let objects = self.objects.clone();
        self.upstream.set_handler(move |request| {
            let is_read = request.method == Method::GET && request.target.contains(part);
            let response = if is_read {
                let false_object = Object {
                    bytes: Bytes::from_static(b"other bytes"),
                    media_type: String::new(),
                    modified: SystemTime::now(),
                };
                get(&false_object, "")
            } else {
                objects.respond(&request)
            };
            async { response }
        });
    }

    pub(super) fn remove(&self, name: &str) {
        self.objects.by_name.lock().unwrap().remove(name);
    }

    pub(super) fn insert(&self, name: &str, bytes: &'static [u8], modified: SystemTime) {
        let object = Object {
            bytes: Bytes::from_static(bytes),
            media_type: String::new(),
            modified,
        };
        let mut objects = self.objects.by_name.lock().unwrap();
        objects.insert(name.to_owned(), object);
    }

    pub(super) fn set_age(&self, name: &str, age: Duration) {
        let mut objects = self.objects.by_name.lock().unwrap();
        objects.get_mut(name).unwrap().modified = SystemTime::now() - age;
    }

    pub(super) fn names(&self) -> Vec<String> {
        let objects = self.objects.by_name.lock().unwrap();
        objects.keys().cloned().collect()
    }
}

impl Objects {
    fn respond(&self, request: &RecordedRequest) -> FakeResponse {
        let target = format!("http://host{}", request.target);
        let url = reqwest::Url::parse(&target).unwrap();
        let path = percent_decode_str(url.path()).decode_utf8().unwrap();
        let name = path.strip_prefix(&format!("/{BUCKET}"));
        let Some(name) = name.map(|name| name.trim_start_matches('/')) else {
            return error(404, "NoSuchBucket");
        };
        match request.method {
            Method::PUT => self.put(name, request),
            Method::DELETE => match self.by_name.lock().unwrap().remove(name) {
                Some(_) => FakeResponse::typed(204, "text/plain", ""),
                None => error(404, "NoSuchKey"),
            },
            _ if name.is_empty() => self.list(&url),
            _ => match self.by_name.lock().unwrap().get(name) {
                Some(object) => get(object, request.header("range")),
                None => error(404, "NoSuchKey"),
            },
        }
    }

    fn put(&self, name: &str, request: &RecordedRequest) -> FakeResponse {
        let has_condition = request.header("x-goog-if-generation-match") == "0";
        if has_condition && self.refuses_conditions.load(Ordering::Relaxed) {
            return error(501, "NotImplemented");
        }
        let mut objects = self.by_name.lock().unwrap();
        if has_condition && objects.contains_key(name) {
            return error(412, "PreconditionFailed");
        }
        let object = Object {
            bytes: request.body.clone(),
            media_type: request.header("content-type").to_owned(),
            modified: SystemTime::now(),
        };
        objects.insert(name.to_owned(), object);
        let response = FakeResponse::typed(200, "text/plain", "");
        response
            .header("etag", "\"1\"")
            .header("x-goog-generation", "1")
    }

    fn list(&self, url: &reqwest::Url) -> FakeResponse {
        let query = |name: &str| {
            let value = url.query_pairs().find(|(key, _)| key == name);
            value.map(|(_, value)| value.into_owned())
        };
        let prefix = query("prefix").unwrap_or_default();
        let after = query("continuation-token").unwrap_or_default();
        let objects = self.by_name.lock().unwrap();
        let mut found = objects
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix) && **name > after);
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let mut xml = "<ListBucketResult>".to_owned();
        for (name, object) in &page {
            let modified = list_time(object.modified);
            xml.push_str(&format!(
                "<Contents><Key>{name}</Key><LastModified>{modified}</LastModified>\
                 <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
                object.bytes.len()
            ));
        }
        if let (Some((last, _)), true) = (page.last(), found.next().is_some()) {
            xml.push_str(&format!(
                "<NextContinuationToken>{last}</NextContinuationToken>"
            ));
        }
        xml.push_str("</ListBucketResult>");
        FakeResponse::typed(200, "application/xml", xml)
    }
}

fn get(object: &Object, range: &str) -> FakeResponse {
    let length = object.bytes.len();
    let bounds = range
        .strip_prefix("bytes=")
        .and_then(|it| it.split_once('-'));
    let (status, bytes, content_range) = match bounds {
        Some((first, last)) => {
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            if first >= length {
                return error(416, "InvalidRange");
            }
            let end = length.min(last + 1);
            let part = format!("bytes {first}-{}/{length}", end - 1);
            (206, object.bytes.slice(first..end), Some(part))
        }
        None => (200, object.bytes.clone(), None),
    };
    let response = FakeResponse::typed(status, &object.media_type, bytes)
        .header("etag", "\"1\"")
        .header("last-modified", &httpdate::fmt_http_date(object.modified))
        .header("x-goog-generation", "1");
    match content_range {
        Some(part) => response.header("content-range", &part),
        None => response,
    }
}

fn error(status: u16, code: &str) -> FakeResponse {
    let xml = format!("<Error><Code>{code}</Code></Error>");
    FakeResponse::typed(status, "application/xml", xml)
}

/// A time as in a list.
fn list_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = i64::try_from(since.as_secs()).unwrap();
    // `2026-12-01 08:00:00`
    let text = pinhole_ground::text::utc_time(seconds);
    format!("{}Z", text.replace(' ', "T"))
}
