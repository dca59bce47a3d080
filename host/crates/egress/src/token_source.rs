//! OAuth tokens of a service account: requested when the first request needs one, and reused until shortly before
//! they expire.
//!
//! A token that the upstream refuses is not used again, so that the next request has a new one after a token or a key was
//! revoked.
//!
//! Requests that need a token at the same time wait for one request for it. A failure is returned to all of them, and to
//! requests in the next seconds, so that a job with many requests does not flood the token endpoint.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::url::Position;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use pinhole_ground::text::plain;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::credential::ServiceAccount;
use crate::destination::{Destination, Request};
use crate::error::Error;
use crate::redactor::{LiveSecrets, Redactor};

/// Time for a request for a token.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Length of the response in bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Length of a token in bytes.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// A token is replaced this long before it expires.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a token is used, unless the response says so.
const DEFAULT_LIFETIME_SECS: u64 = 600;
/// The longest time that a token is used.
const MAX_LIFETIME_SECS: u64 = 12 * 3600;
/// A failure is returned again for this time, and a token that was requested after a refused one stays for it.
const FAILURE_TIME: Duration = Duration::from_secs(5);
/// Length of the endpoint's description of an error in bytes.
const MAX_DESCRIPTION_BYTES: usize = 200;
const GRANT_TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

/// Requests and caches the tokens of one destination.
pub(crate) struct TokenSource {
    account: Arc<ServiceAccount>,
    /// Where tokens are requested. It has no credential.
    endpoint: Box<Destination>,
    last: Mutex<LastOutcome>,
    secrets: LiveSecrets,
}

#[derive(Default)]
struct LastOutcome {
    outcome: Option<Outcome>,
    /// When a token was forgotten because it was refused.
    refused_at: Option<Instant>,
}

/// The outcome of the last request for a token.
struct Outcome {
    /// The header `authorization`.
    header: Result<HeaderValue, Error>,
    valid_until: Instant,
}

/// The endpoint's response: RFC 6749, sections 5.1 and 5.2.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenResponse {
    access_token: Option<String>,
    expires_in: Option<u64>,
    error: Option<String>,
    error_description: Option<String>,
}

impl TokenSource {
    pub(crate) fn new(account: Arc<ServiceAccount>, endpoint: Destination) -> Self {
        Self {
            account,
            endpoint: Box::new(endpoint),
            last: Mutex::default(),
            secrets: LiveSecrets::default(),
        }
    }

    /// The tokens, for redaction.
    pub(crate) fn secrets(&self) -> &LiveSecrets {
        &self.secrets
    }

    /// The header `authorization` with a valid token.
    ///
    /// Boxed: requesting a token is a request of a destination again, and rare.
    pub(crate) fn header(&self, deadline: Instant) -> BoxFuture<'_, Result<HeaderValue, Error>> {
        async move {
            let locked = timeout_at(deadline, self.last.lock()).await;
            let mut last = locked.map_err(|_| Error::Timeout)?;
            let known = last.outcome.as_ref();
            if let Some(known) = known.filter(|it| Instant::now() < it.valid_until) {
                return known.header.clone();
            }
            // A job that has little time left gives up, and the next one asks again.
            let outcome = timeout_at(deadline, self.request_token())
                .await
                .map_err(|_| Error::Timeout)?;
            last.outcome.insert(outcome).header.clone()
        }
        .boxed()
    }

    /// Forgets the token of this header, which an upstream refuses. An upstream that refuses the next token too does not
    /// get a third one at once.
    pub(crate) fn forget(&self, header: &HeaderValue) {
        // While it is locked, another token is requested.
        let Ok(mut last) = self.last.try_lock() else {
            return;
        };
        let is_current = last
            .outcome
            .as_ref()
            .is_some_and(|it| it.header.as_ref().is_ok_and(|known| known == header));
        let was_recent = last
            .refused_at
            .is_some_and(|refused_at| refused_at.elapsed() < FAILURE_TIME);
        if is_current && !was_recent {
            last.outcome = None;
            last.refused_at = Some(Instant::now());
        }
    }

    async fn request_token(&self) -> Outcome {
        match self.try_request_token().await {
            Ok(outcome) => outcome,
            Err(problem) => Outcome {
                header: Err(Error::Connect(format!(
                    "cannot be called without a token of Google: {problem}"
                ))),
                valid_until: Instant::now() + FAILURE_TIME,
            },
        }
    }

    async fn try_request_token(&self) -> Result<Outcome, String> {
        let host = self.endpoint.origin();
        let assertion = self.account.assertion(SystemTime::now())?;
        let request = Request {
            method: Method::POST,
            path: self.account.token_url[Position::BeforePath..].to_owned(),
            content_type: Some(HeaderValue::from_static(
                "application/x-www-form-urlencoded",
            )),
            body: format!("grant_type={GRANT_TYPE}&assertion={assertion}").into(),
            ..Request::default()
        };
        let deadline = Instant::now() + TIMEOUT;
        let mut response = self
            .endpoint
            .send(request, MAX_RESPONSE_BYTES, deadline)
            .await
            .map_err(|error| error.to_string())?;
        let body = response.bytes().await.map_err(|error| error.to_string())?;
        let parsed: TokenResponse = serde_json::from_slice(&body).unwrap_or_default();
        let token = match parsed.access_token.as_deref() {
            Some(token) if response.status == StatusCode::OK => token,
            _ => {
                return Err(describe_failure(
                    &host,
                    response.status,
                    &parsed,
                    &assertion,
                ));
            }
        };
        let is_valid = token.len() <= MAX_TOKEN_BYTES
            && !token.is_empty()
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid {
            return Err(format!(
                "{host} returned a token that a header cannot carry"
            ));
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| format!("{host} returned a token that a header cannot carry"))?;
        header.set_sensitive(true);
        // Before it is sent, so that it is redacted wherever it returns.
        self.secrets.push(token);
        let seconds = parsed.expires_in.unwrap_or(DEFAULT_LIFETIME_SECS);
        let lifetime = Duration::from_secs(seconds.min(MAX_LIFETIME_SECS));
        Ok(Outcome {
            header: Ok(header),
            valid_until: Instant::now() + lifetime.saturating_sub(MARGIN).max(lifetime / 2),
        })
    }
}

/// Why there is no token, for the operator, and what to do.
fn describe_failure(
    host: &str,
    status: StatusCode,
    response: &TokenResponse,
    assertion: &str,
) -> String {
    let is_code = |text: &&str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let code = response
        .error
        .as_deref()
        .filter(is_code)
        .unwrap_or_default();
    let remedy = match code {
        "invalid_grant" => {
            "check that the service account's key still exists in Google Cloud and that the server's clock is right"
        }
        "invalid_scope" => "check the scope of the credential",
        "unauthorized_client" | "access_denied" | "invalid_client" => {
            "check that the service account is enabled"
        }
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            "try again later"
        }
        _ => "check the service account's key file",
    };
    // The endpoint could reflect the request, which is valid for an hour.
    let description = response.error_description.as_deref().unwrap_or_default();
    let description = Redactor::new([assertion])
        .redact_text(description)
        .into_owned();
    let description = plain(&description, MAX_DESCRIPTION_BYTES);
    let details: Vec<_> = [code, description.as_ref()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    let status = status.as_u16();
    if details.is_empty() {
        return format!("{host} returned status {status} without a token: {remedy}");
    }
    format!(
        "{host} returned status {status} ({}): {remedy}",
        details.join(": ")
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::test_upstream::{TestUpstream, json_response};
    use crate::{BaseUrl, Credential, DEFAULT_SILENCE, Egress, Tls};

    const KEY_FILE: &str = include_str!("../testdata/service_account.json");
    const TOKEN: &str = "ya29.c0AXy-Zb_19Qk........";

    fn open(base: &str, token_url: &str, is_set: bool) -> Result<Destination, String> {
        let mut file: Value = serde_json::from_str(KEY_FILE).unwrap();
        file["token_uri"] = token_url.into();
        let base_url = BaseUrl {
            url: base,
            allows_private: is_set,
            setting: "DRAW_URL",
        };
        let credential = Credential::google(&file.to_string(), "https://scope")?;
        let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
        egress
            .destination(base_url, credential, &Tls::default())
            .map_err(|refusal| refusal.reason)
    }

    async fn get(destination: &Destination) -> Result<StatusCode, String> {
        let request = Request {
            path: "/x".to_owned(),
            ..Request::default()
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let sent = destination.send(request, 1 << 10, deadline).await;
        sent.map(|response| response.status)
            .map_err(|error| error.to_string())
    }

    /// An upstream with a token endpoint that returns these responses, the last one again and again.
    async fn upstream(tokens: &'static [(u16, &'static str)]) -> (TestUpstream, Destination) {
        let count = AtomicUsize::new(0);
        let upstream = TestUpstream::start(move |request| {
            if !request.line().starts_with("POST /token ") {
                return json_response(200, "{}");
            }
            let number = count.fetch_add(1, Ordering::SeqCst).min(tokens.len() - 1);
            let (status, body) = tokens[number];
            json_response(status, body)
        })
        .await;
        let destination = open(&upstream.url, &format!("{}/token", upstream.url), true).unwrap();
        (upstream, destination)
    }

    const GRANTED: &str =
        r#"{"access_token":"ya29.c0AXy-Zb_19Qk........","expires_in":3599,"token_type":"Bearer"}"#;

    #[tokio::test]
    async fn token_is_requested_once_for_requests_at_the_same_time_and_reused() {
        let (upstream, destination) = upstream(&[(200, GRANTED)]).await;
        let sent = futures_util::future::join_all((0..8).map(|_| get(&destination))).await;
        assert_eq!(sent, vec![Ok(StatusCode::OK); 8]);
        assert_eq!(get(&destination).await, Ok(StatusCode::OK));
        let (token_requests, others): (Vec<_>, Vec<_>) = upstream
            .requests()
            .into_iter()
            .partition(|request| request.line().starts_with("POST /token "));
        assert_eq!((token_requests.len(), others.len()), (1, 9));
        let expected = format!("Bearer {TOKEN}");
        for request in others {
            assert_eq!(request.header("authorization"), Some(expected.as_str()));
        }
        let token_request = &token_requests[0];
        assert_eq!(token_request.header("authorization"), None);
        assert_eq!(
            token_request.header("content-type"),
            Some("application/x-www-form-urlencoded")
        );
        let assertion =
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJ";
        assert!(
            token_request.body.starts_with(assertion),
            "{}",
            token_request.body
        );
    }

    #[tokio::test]
    async fn token_is_known_to_redaction() {
        let (_upstream, destination) = upstream(&[(200, GRANTED)]).await;
        let secrets = destination.live_secrets().unwrap();
        let redactor = Redactor::default().with_live([secrets.clone()]);
        assert!(!redactor.finds_secret(TOKEN.as_bytes()));
        get(&destination).await.unwrap();
        assert!(redactor.finds_secret(TOKEN.as_bytes()));
        assert!(!redactor.finds_secret(b"........ Bearer"));
    }

    #[tokio::test]
    async fn token_that_expires_soon_is_requested_again() {
        const SHORT: &str = r#"{"access_token":"first-token","expires_in":0}"#;
        const LONG: &str = r#"{"access_token":"second-token"}"#;
        let (upstream, destination) = upstream(&[(200, SHORT), (200, LONG)]).await;
        for _ in 0..3 {
            get(&destination).await.unwrap();
        }
        assert_eq!(
            upstream.lines(),
            [
                "POST /token HTTP/1.1",
                "GET /x HTTP/1.1",
                "POST /token HTTP/1.1",
                "GET /x HTTP/1.1",
                "GET /x HTTP/1.1"
            ]
        );
    }

    #[tokio::test]
    async fn refused_token_is_replaced_once() {
        const FIRST: &str = r#"{"access_token":"first-token"}"#;
        const SECOND: &str = r#"{"access_token":"second-token"}"#;
        let tokens = AtomicUsize::new(0);
        let upstream = TestUpstream::start(move |request| {
            if request.line().starts_with("POST /token ") {
                let is_first = tokens.fetch_add(1, Ordering::SeqCst) == 0;
                return json_response(200, if is_first { FIRST } else { SECOND });
            }
            json_response(401, "{}")
        })
        .await;
        let destination = open(&upstream.url, &format!("{}/token", upstream.url), true).unwrap();
        for _ in 0..3 {
            assert_eq!(get(&destination).await, Ok(StatusCode::UNAUTHORIZED));
        }
        let sent: Vec<_> = upstream
            .requests()
            .iter()
            .filter_map(|request| request.header("authorization").map(str::to_owned))
            .collect();
        assert_eq!(
            sent,
            [
                "Bearer first-token",
                "Bearer second-token",
                "Bearer second-token"
            ]
        );
    }

    async fn assert_failure(response: &'static [(u16, &'static str)], expected: &[&str]) {
        let (upstream, destination) = upstream(response).await;
        let problem = get(&destination).await.unwrap_err();
        for text in expected {
            assert!(problem.contains(text), "{problem}");
        }
        // Neither sent without a token, nor asked for again at once.
        assert_eq!(get(&destination).await, Err(problem));
        assert_eq!(upstream.lines(), ["POST /token HTTP/1.1"]);
    }

    #[tokio::test]
    async fn token_failure_says_what_to_do() {
        const GRANT: &str =
            r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
        assert_failure(
            &[(400, GRANT)],
            &[
                "cannot be called without a token of Google: http://127.0.0.1:",
                "returned status 400 (invalid_grant: Invalid JWT Signature.): check that the service account's key",
            ],
        )
        .await;
        const ODD: &str = r#"{"error":"<b>","error_description":"a\u001b[31mb"}"#;
        assert_failure(
            &[(403, ODD)],
            &["status 403 (a", "check the service account's key file"],
        )
        .await;
        assert_failure(
            &[(503, "busy")],
            &["status 503 without a token: try again later"],
        )
        .await;
        assert_failure(&[(200, "{}")], &["status 200 without a token"]).await;
        assert_failure(
            &[(200, "{\"access_token\":\"a b\"}")],
            &["returned a token that a header cannot carry"],
        )
        .await;
        assert_failure(&[(302, "")], &["status 302 without a token"]).await;
    }

    #[tokio::test]
    async fn token_failure_does_not_repeat_the_request() {
        let upstream = TestUpstream::start(|request| {
            let description = json!({"error_description": request.body});
            json_response(400, &description.to_string())
        })
        .await;
        let destination = open(&upstream.url, &format!("{}/token", upstream.url), true).unwrap();
        let problem = get(&destination).await.unwrap_err();
        assert!(problem.contains("assertion=****"), "{problem}");
        assert!(!problem.contains("eyJ"), "{problem}");
    }

    #[test]
    fn token_is_requested_from_google_or_the_host_of_a_base_url_that_is_set() {
        let vertex = "https://aiplatform.googleapis.com/v1";
        for (base, token_url, is_set, is_allowed) in [
            (vertex, GOOGLE, false, true),
            (vertex, GOOGLE, true, true),
            (vertex, "https://evil.example/token", true, false),
            (vertex, "http://oauth2.googleapis.com/token", true, false),
            (vertex, "https://oauth2.googleapis.com/token2", true, false),
            (
                vertex,
                "https://oauth2.googleapis.com:8443/token",
                true,
                false,
            ),
            (
                vertex,
                "https://aiplatform.googleapis.com/token",
                false,
                false,
            ),
            (vertex, "http://127.0.0.1/token", true, false),
            (
                "http://127.0.0.1:1/v1",
                "http://127.0.0.1:1/token",
                true,
                true,
            ),
            (
                "http://127.0.0.1:1/v1",
                "http://127.0.0.1:2/token",
                true,
                false,
            ),
        ] {
            let opened = open(base, token_url, is_set);
            assert_eq!(opened.is_ok(), is_allowed, "{base} {token_url} {opened:?}");
            if let Err(problem) = opened {
                assert!(problem.contains("token_uri at"), "{problem}");
            }
        }
    }

    const GOOGLE: &str = crate::credential::GOOGLE_TOKEN_URL;
}
