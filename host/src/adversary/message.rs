//! H: what goes over a connection, and what comes back.

mod answer;
mod request;
pub(super) mod secure;

use super::{Case, Place};
use crate::audit::Kind;
use crate::check::Check;

/// What an engine hears of an answer that no limit lets through.
pub(super) const UNUSABLE: &str = "the upstream's answer cannot be used";

pub(super) const CASES: &[Case] = &[
    Case {
        name: "H1-line-ends",
        must_not: "a line end or a NUL in a header, a method, a path or a query begins a line of the engine's own",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::line_ends(arena)),
    },
    Case {
        name: "H1-steps-up",
        must_not: "a path leaves what is granted by steps up, plain, escaped or escaped twice",
        guards: &[Check::Path],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::steps_up(arena)),
    },
    Case {
        name: "H2-headers-of-the-connection",
        must_not: "an engine sets a header that frames the message or says who asks",
        guards: &[Check::OwnHeaders],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::own_headers(arena)),
    },
    Case {
        name: "H3-headers-of-keys",
        must_not: "an engine replaces the key that it was bound to, or adds another",
        guards: &[Check::KeyHeaders, Check::OwnHeaders],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::key_headers(arena)),
    },
    Case {
        name: "H4-many-headers",
        must_not: "a request has more headers than any service asks for",
        guards: &[Check::HeaderCount],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::refused(arena, "headers 33 1")),
    },
    Case {
        name: "H4-long-header",
        must_not: "one header of a request is longer than any service asks for",
        guards: &[Check::HeaderBytes],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::refused(arena, "headers 1 8193")),
    },
    Case {
        name: "H4-long-headers",
        must_not: "all headers of a request together are longer than any service asks for",
        guards: &[Check::AllHeaderBytes],
        noted: Some(Kind::Request),
        place: Place::Anywhere,
        attack: |arena| Box::pin(request::refused(arena, "headers 32 1100")),
    },
    Case {
        name: "H4-answer-of-many-headers",
        must_not: "an answer has more headers than any service sends",
        guards: &[Check::AnswerHeaderCount],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answer::many_headers(arena)),
    },
    Case {
        name: "H4-answer-of-long-headers",
        must_not: "the headers of an answer are longer than any service sends",
        guards: &[Check::AnswerHeaderBytes],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answer::long_headers(arena)),
    },
    Case {
        name: "H7-pause-in-an-answer",
        must_not: "an answer that has begun and pauses is waited for as long as the job may take",
        guards: &[Check::Silence],
        noted: Some(Kind::Answer),
        place: Place::ThrowAway,
        attack: |arena| Box::pin(answer::pause(arena)),
    },
    Case {
        name: "H9-small-answer-becomes-large",
        must_not: "an answer becomes hundreds of times as long when it is decoded",
        guards: &[Check::Ratio],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answer::bomb(arena)),
    },
    Case {
        name: "H9-decoded-answer-beyond-its-limit",
        must_not: "an answer that is short as it comes passes its limit when it is decoded",
        guards: &[Check::AnswerBytes],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answer::decoded_beyond_limit(arena)),
    },
    Case {
        name: "H9-unknown-encodings",
        must_not: "an answer reaches the engine in an encoding in which no secret would be found",
        guards: &[Check::Encoding],
        noted: Some(Kind::Answer),
        place: Place::Anywhere,
        attack: |arena| Box::pin(answer::unknown_encodings(arena)),
    },
    Case {
        name: "H10-untrusted-certificates",
        must_not: "a key is sent over TLS to whoever shows a certificate: self-signed, expired or for another name",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(secure::untrusted_certificates(arena)),
    },
    Case {
        name: "H10-certificate-of-a-binding",
        must_not: "the certificate of one binding is shown to whom another binding asks, or with a picture's address",
        guards: &[],
        noted: None,
        place: Place::Anywhere,
        attack: |arena| Box::pin(secure::certificate_of_a_binding(arena)),
    },
];
