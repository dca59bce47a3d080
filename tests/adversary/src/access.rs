//! T10 to T23: what clients do to a server: connections, origins, rates and paths.

mod client_files;
mod connections;
mod flood;
mod origins;
mod raw_client;
mod stalled;

use pinhole_ground::guard::Guard;

use crate::case::AttackCase;

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "T10-stalled-body",
        "the server does not wait for a body that stops before its end",
        |target| Box::pin(stalled::body(target)),
    )
    .guarded_by(&[Guard::BodyRate])
    .on_own_server(),
    AttackCase::new(
        "T11-slow-body",
        "the server does not wait for a body that arrives byte by byte",
        |target| Box::pin(stalled::slow_body(target)),
    )
    .guarded_by(&[Guard::BodyRate])
    .on_own_server(),
    AttackCase::new(
        "T12-stalled-head",
        "the server does not wait for a head that never ends",
        |target| Box::pin(stalled::head_without_end(target)),
    )
    .guarded_by(&[Guard::HeadTime])
    .on_own_server(),
    AttackCase::new(
        "T13-one-ip-address",
        "the connections of one IP address leave room for those of others",
        |target| Box::pin(connections::of_one_ip(target)),
    )
    .guarded_by(&[Guard::ClientConnections])
    .on_own_server(),
    AttackCase::new(
        "T14-pipelining",
        "requests that are sent in advance do not fill the memory, and each needs its own key",
        |target| Box::pin(connections::pipelining(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "T15-unread-response",
        "the server does not wait for a client that does not read",
        |target| Box::pin(stalled::unread_response(target)),
    )
    .guarded_by(&[Guard::ResponseRate])
    .on_own_server(),
    AttackCase::new(
        "T16-handshakes",
        "handshakes without a key are few, and never take the places of users",
        |target| Box::pin(connections::handshakes(target)),
    )
    .guarded_by(&[Guard::AnonymousSockets])
    .on_own_server(),
    AttackCase::new(
        "T17-form",
        "a form of another site changes no setting with the user's cookie",
        |target| Box::pin(origins::form(target)),
    )
    .guarded_by(&[Guard::CrossSite])
    .on_own_server(),
    AttackCase::new(
        "T17-script",
        "a script of another site, port or name of the domain changes no setting with the user's cookie",
        |target| Box::pin(origins::script(target)),
    )
    .guarded_by(&[Guard::CrossSite])
    .on_own_server(),
    AttackCase::new(
        "T17-sign-out",
        "a page of another site neither ends the user's session nor starts one",
        |target| Box::pin(origins::session(target)),
    )
    .guarded_by(&[Guard::CrossSite])
    .on_own_server(),
    AttackCase::new(
        "T18-web-socket",
        "a page of another site opens no socket and no event stream with the user's cookie",
        |target| Box::pin(origins::web_socket(target)),
    )
    .guarded_by(&[Guard::CrossSite])
    .on_own_server(),
    AttackCase::new(
        "T19-forged-header",
        "a client does not escape the limit of sign-ins with a forged X-Forwarded-For",
        |target| Box::pin(origins::forged_ip(target)),
    )
    .guarded_by(&[Guard::TrustedProxies])
    .on_own_server(),
    AttackCase::new(
        "T20-requests",
        "a user sends a limited number of requests in a minute",
        |target| Box::pin(flood::requests(target)),
    )
    .guarded_by(&[Guard::RequestRate])
    .on_own_server(),
    AttackCase::new(
        "T20-at-once",
        "a user has a limited number of chat completions at the same time",
        |target| Box::pin(flood::chats_at_once(target)),
    )
    .guarded_by(&[Guard::ChatShare])
    .on_own_server(),
    AttackCase::new(
        "T21-choices",
        "a chat completion with many choices never reaches the language model",
        |target| Box::pin(flood::choices(target)),
    )
    .guarded_by(&[Guard::ChatChoices])
    .on_own_server(),
    AttackCase::new(
        "T23-hidden-files",
        "a hidden file in the directory of a web client is not served",
        |target| Box::pin(client_files::hidden_files(target)),
    )
    .guarded_by(&[Guard::ClientFiles])
    .on_own_server(),
    AttackCase::new(
        "T23-other-files",
        "no path or symbolic link leads out of the directory of a web client",
        |target| Box::pin(client_files::other_files(target)),
    )
    .on_own_server(),
    AttackCase::new(
        "T23-api-paths",
        "a file of a web client is never the response of an API's path",
        |target| Box::pin(client_files::api_paths(target)),
    )
    .guarded_by(&[Guard::ClientFiles])
    .on_own_server(),
];
