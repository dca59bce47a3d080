//! H: requests and responses.

mod framing;
mod json;
pub(crate) mod request;
mod response;
mod slow;
mod tls;

use anyhow::{Result, ensure};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_tests::RawStep;

use crate::case::AttackCase;
use crate::target::AttackTarget;

/// What an engine learns of a response that violates a limit.
pub(crate) const UNUSABLE: &str = "the upstream's response cannot be used";

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "H1-line-ends",
        "a line end or NUL in a header, method, path or query does not start a new line of the request",
        |target| Box::pin(request::line_ends(target)),
    ),
    AttackCase::new(
        "H1-path-traversal",
        "a path does not leave the granted one through `..`, plain, encoded or encoded twice",
        |target| Box::pin(request::path_traversal(target)),
    )
    .guarded_by(&[Guard::Path])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H2-connection-headers",
        "an engine sets no header that frames the message or identifies the sender",
        |target| Box::pin(request::connection_headers(target)),
    )
    .guarded_by(&[Guard::OwnHeaders])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H3-credential-headers",
        "an engine does not replace its credential or add another one",
        |target| Box::pin(request::credential_headers(target)),
    )
    .guarded_by(&[Guard::KeyHeaders, Guard::OwnHeaders])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H3-signature-headers",
        "an engine does not forge a part of the signature of its requests",
        |target| Box::pin(request::signature_headers(target)),
    )
    .guarded_by(&[Guard::KeyHeaders])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H4-many-headers",
        "a request has a limited number of headers",
        |target| Box::pin(request::require_refused(target, "headers 33 1")),
    )
    .guarded_by(&[Guard::HeaderCount])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H4-long-header",
        "a header of a request has a limited length",
        |target| Box::pin(request::require_refused(target, "headers 1 8193")),
    )
    .guarded_by(&[Guard::HeaderBytes])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H4-long-headers",
        "all headers of a request together have a limited length",
        |target| Box::pin(request::require_refused(target, "headers 32 1100")),
    )
    .guarded_by(&[Guard::AllHeaderBytes])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "H4-response-with-many-headers",
        "a response has a limited number of headers",
        |target| Box::pin(response::many_headers(target)),
    )
    .guarded_by(&[Guard::AnswerHeaderCount])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "H4-response-with-long-headers",
        "the headers of a response have a limited length",
        |target| Box::pin(response::long_headers(target)),
    )
    .guarded_by(&[Guard::AnswerHeaderBytes])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "H5-shorter-than-declared",
        "a truncated response is not used as a complete one",
        |target| Box::pin(framing::shorter_than_declared(target)),
    ),
    AttackCase::new(
        "H5-longer-than-declared",
        "the bytes after a response do not become the response to another request",
        |target| Box::pin(framing::longer_than_declared(target)),
    ),
    AttackCase::new(
        "H6-second-response",
        "a response that hides another one does not change what a later request receives",
        |target| Box::pin(framing::second_response(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H6-endless-interim-responses",
        "endless interim responses do not block a job or fill the memory",
        |target| Box::pin(framing::endless_interim_responses(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H7-pause-in-response",
        "a response that pauses is abandoned before the job's time ends",
        |target| Box::pin(response::pause(target)),
    )
    .guarded_by(&[Guard::Silence])
    .audited_as(RefusalKind::Answer)
    .on_own_server(),
    AttackCase::new(
        "H7-silence",
        "an upstream that sends nothing does not block a job",
        |target| Box::pin(slow::silence(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H7-slow-head",
        "an upstream that sends its headers byte by byte does not block a job",
        |target| Box::pin(slow::head(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H7-slow-body",
        "a response that arrives byte by byte does not extend a job beyond its time",
        |target| Box::pin(slow::body(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H7-endless-events",
        "a stream that never delivers an event does not block a job",
        |target| Box::pin(slow::events(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H8-endless-response",
        "an endless response does not fill the memory",
        |target| Box::pin(slow::endless(target)),
    )
    .guarded_by(&[Guard::AnswerBytes])
    .audited_as(RefusalKind::Answer)
    .on_own_server(),
    AttackCase::new(
        "H9-high-ratio",
        "a response does not expand hundreds of times when it is decompressed",
        |target| Box::pin(response::high_ratio(target)),
    )
    .guarded_by(&[Guard::Ratio])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "H9-over-limit-after-decoding",
        "a short compressed response does not exceed its limit after it is decompressed",
        |target| Box::pin(response::over_limit_after_decoding(target)),
    )
    .guarded_by(&[Guard::AnswerBytes])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "H9-unknown-encodings",
        "an engine reads no response in an encoding that hides a secret from redaction",
        |target| Box::pin(response::unknown_encodings(target)),
    )
    .guarded_by(&[Guard::Encoding])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "H10-untrusted-certificates",
        "a key is not sent to an upstream whose certificate is self-signed, expired or for another name",
        |target| Box::pin(tls::untrusted_certificates(target)),
    ),
    AttackCase::new(
        "H10-client-certificate",
        "the client certificate of a binding is not used for another binding or for image URLs",
        |target| Box::pin(tls::client_certificate(target)),
    ),
    AttackCase::new(
        "H11-deep",
        "JSON with a million levels does not stop the server or reach the engine",
        |target| Box::pin(json::deep(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "H11-wide",
        "JSON with millions of values does not fill the memory",
        |target| Box::pin(json::wide(target)),
    )
    .guarded_by(&[Guard::JsonValues])
    .on_own_server(),
    AttackCase::new(
        "H11-from-clients",
        "a client's JSON with a million levels does not stop the server and is rejected",
        |target| Box::pin(json::from_clients(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "H12-retry-delay",
        "a busy upstream cannot make clients wait for years",
        |target| Box::pin(slow::retry_delay(target)),
    )
    .guarded_by(&[Guard::RetryAfter]),
    AttackCase::new(
        "H13-credential-field",
        "an engine does not replace the key in its JSON bodies or hide it from some parsers",
        |target| Box::pin(request::credential_field(target)),
    )
    .guarded_by(&[Guard::KeyFields])
    .audited_as(RefusalKind::Request),
];

/// Fails unless the engine cannot use a response of these steps.
async fn require_unusable(target: &AttackTarget, steps: Vec<RawStep>) -> Result<()> {
    target.upstream.set_raw(steps);
    let response = target.generate("see text").await?;
    ensure!(
        !response.status.is_success() && response.error_message().contains(UNUSABLE),
        "the engine read the response: {}",
        response.text()
    );
    Ok(())
}
