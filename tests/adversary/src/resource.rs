//! R: an engine uses more than its share.

mod computation;
mod log;
mod nesting;
mod queue;
mod traffic;

use anyhow::{Context, Result, ensure};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

use crate::case::AttackCase;
use crate::target::{AttackTarget, Response};

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "R1-endless-computation",
        "an engine that computes endlessly is stopped at its limit",
        |target| Box::pin(computation::endless(target, &["describe"])),
    )
    .guarded_by(&[Guard::RunningTime])
    .on_any_server(),
    AttackCase::new(
        "R1-other-engines",
        "engines that compute endlessly do not stop another engine from generating images",
        |target| Box::pin(computation::other_engine_generates(target)),
    )
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R2-computation-around-exports",
        "an endless loop in start, realloc, post-return or a destructor is stopped",
        |target| {
            let places = &["start", "allocate", "after", "drop"];
            Box::pin(computation::endless(target, places))
        },
    )
    .guarded_by(&[Guard::RunningTime])
    .on_any_server(),
    AttackCase::new(
        "R3-calls",
        "an engine makes a limited number of calls of a cheap host function",
        |target| Box::pin(require_failure(target, "calls", "called the host more than")),
    )
    .guarded_by(&[Guard::HostCalls])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R3-calls-of-wasi",
        "calls of WASI count as host calls",
        |target| {
            let reason = "called the host more than";
            Box::pin(require_rejected(target, "wasi-describe", reason))
        },
    )
    .guarded_by(&[Guard::WasiCalls])
    .on_any_server(),
    AttackCase::new(
        "R4-memory",
        "one memory does not grow beyond the limit",
        |target| Box::pin(require_failure(target, "grow", "bytes of memory")),
    )
    .guarded_by(&[Guard::Memory])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R5-memories",
        "several memories together do not grow beyond the limit",
        |target| Box::pin(require_rejected(target, "grow-memories", "bytes of memory")),
    )
    .guarded_by(&[Guard::Memory])
    .on_any_server(),
    AttackCase::new(
        "R6-nested-components",
        "components inside a component have a limited number of instances",
        |target| Box::pin(nesting::many_instances(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "R7-stack",
        "endless recursion stops only its own job",
        |target| Box::pin(require_failure(target, "recurse", "crashed")),
    )
    .audited_as(RefusalKind::Crash),
    AttackCase::new(
        "R8-text",
        "a text of 200 MB is not copied out of a guest",
        |target| {
            let reason = "too much data is being copied";
            Box::pin(require_failure(target, "big-list 200", reason))
        },
    )
    .guarded_by(&[Guard::CopiedBytes])
    // wasmtime refuses the copy, as a crash without a guard.
    .audited_by(RefusalKind::Crash, &[]),
    AttackCase::new(
        "R8-headers",
        "a request with 50 000 headers is refused",
        |target| {
            let reason = "more than one request may have";
            Box::pin(require_failure(target, "headers 50000", reason))
        },
    )
    .guarded_by(&[Guard::HandedOver]),
    AttackCase::new(
        "R8-details",
        "the details that an engine returns with an image have a limited length",
        |target| Box::pin(require_failure(target, "big-list 1", "details are longer than")),
    )
    .guarded_by(&[Guard::Answer]),
    AttackCase::new(
        "R8-body",
        "the body of a request has a limited length",
        |target| Box::pin(traffic::request_body(target)),
    )
    .guarded_by(&[Guard::RequestBytes]),
    AttackCase::new(
        "R8-bodies",
        "all request bodies of a job together have a limited length",
        |target| Box::pin(require_failure(target, "loads 30", "refused after")),
    )
    .guarded_by(&[Guard::SentBytes])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "R8-responses-held",
        "responses that an engine holds do not fill the memory",
        |target| Box::pin(traffic::responses_held(target)),
    )
    .guarded_by(&[Guard::HeldBytes])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R8-responses-discarded",
        "responses that an engine discards have a limited total length",
        |target| Box::pin(traffic::responses_discarded(target)),
    )
    .guarded_by(&[Guard::TakenBytes])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R8-event",
        "an event of 40 MB is refused",
        |target| Box::pin(traffic::long_event(target)),
    )
    .guarded_by(&[Guard::EventBytes])
    .audited_as(RefusalKind::Answer),
    AttackCase::new(
        "R9-handles",
        "an engine holds a limited number of handles",
        |target| Box::pin(require_failure(target, "handles", "holds more handles")),
    )
    .guarded_by(&[Guard::Handles])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R9-connections",
        "a job has a limited number of open requests",
        |target| Box::pin(traffic::open_requests(target)),
    )
    .guarded_by(&[Guard::Connections])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "R9-requests",
        "a job sends a limited number of requests",
        |target| {
            let reason = "too many requests for one job";
            Box::pin(require_failure(target, "denied 11000", reason))
        },
    )
    .guarded_by(&[Guard::Requests])
    .audited_as(RefusalKind::Request),
    AttackCase::new(
        "R10-streams",
        "a component that uses streams and tasks of a later WASI is rejected",
        |target| Box::pin(require_rejected(target, "stream", "is not a valid component")),
    )
    .on_any_server(),
    AttackCase::new(
        "R11-lines",
        "an engine cannot fill the log with empty lines",
        |target| Box::pin(require_failure(target, "lines 2000", "written")),
    )
    .guarded_by(&[Guard::LogBytes])
    .audited_as(RefusalKind::Limit),
    AttackCase::new(
        "R11-line",
        "a line of 100 000 bytes is truncated in the log",
        |target| Box::pin(log::long_line(target)),
    )
    .guarded_by(&[Guard::LogLine]),
    AttackCase::new(
        "R11-standard-streams",
        "an engine cannot fill the log through its standard output and error",
        |target| Box::pin(log::flooded_streams(target)),
    )
    .guarded_by(&[Guard::LogBytes])
    .on_any_server(),
    AttackCase::new(
        "R11-rate",
        "an engine cannot fill the log with many short jobs",
        |target| Box::pin(log::many_jobs(target)),
    )
    .guarded_by(&[Guard::LogRate])
    .on_any_server(),
    AttackCase::new(
        "R11-refusals",
        "an engine that is refused again and again does not fill the audit log or hide other refusals",
        |target| Box::pin(log::repeated_refusals(target)),
    )
    .guarded_by(&[Guard::AuditLines])
    .audited_by(RefusalKind::Grant, &[Guard::GrantedRequests]),
    AttackCase::new(
        "R12-random",
        "WASI does not return megabytes of random bytes",
        |target| Box::pin(require_rejected(target, "wasi-random-flood", "exceeds limit")),
    )
    .guarded_by(&[Guard::RandomBytes])
    .on_any_server(),
    AttackCase::new(
        "R13-endless-sleep",
        "an engine that sleeps endlessly is stopped at its limit",
        |target| Box::pin(require_failure(target, "sleep", "it took longer than")),
    )
    .guarded_by(&[Guard::WallTime])
    .audited_as(RefusalKind::Limit)
    .on_own_server(),
    AttackCase::new(
        "R14-client-disconnects",
        "the upstream request of a client that disconnected is canceled",
        |target| Box::pin(traffic::client_disconnects(target)),
    ),
    AttackCase::new(
        "R15-one-user",
        "one user's jobs do not occupy every slot",
        |target| Box::pin(queue::one_user(target)),
    )
    .guarded_by(&[Guard::UserShare])
    .on_own_server(),
    AttackCase::new(
        "R15-full-queue",
        "a limited number of jobs waits for a slot",
        |target| Box::pin(queue::full(target)),
    )
    .guarded_by(&[Guard::Queue])
    .audited_as(RefusalKind::Limit)
    .on_own_server(),
    AttackCase::new(
        "R18-hung-upstream",
        "jobs that hang on one upstream leave slots to other engines, even those of the same user",
        |target| Box::pin(queue::hung_upstream(target)),
    )
    .guarded_by(&[Guard::GroupShare])
    .on_own_server(),
    AttackCase::new(
        "R11-previews",
        "a preview of nine megabytes does not reach a client",
        |target| Box::pin(traffic::long_preview(target)),
    )
    .guarded_by(&[Guard::PreviewBytes]),
];

/// Fails unless the job fails with this text in its error.
async fn require_failure(target: &AttackTarget, prompt: &str, text: &str) -> Result<()> {
    require_error(&target.generate(prompt).await?, text)
}

/// Fails unless the response is an error with this text.
fn require_error(response: &Response, text: &str) -> Result<()> {
    ensure!(
        !response.status.is_success() && response.error_message().contains(text),
        "expected an error with {text:?}: {} {}",
        response.status,
        response.error_message()
    );
    Ok(())
}

/// Fails unless the component is rejected for this reason.
async fn require_rejected(target: &AttackTarget, name: &str, reason: &str) -> Result<()> {
    require_bytes_rejected(target, &target.component(name)?, reason).await
}

async fn require_bytes_rejected(
    target: &AttackTarget,
    component: &[u8],
    reason: &str,
) -> Result<()> {
    let rejected = target.admit(component, target.compiler()).await?;
    let file = rejected.first().context("the component is admitted")?;
    ensure!(
        file.reason.contains(reason),
        "expected {reason:?}: the component {}",
        file.reason
    );
    Ok(())
}
