//! M: a file that is not a component, or a component that misdescribes itself.
//!
//! The components are patched copies of the hostile ones. They are admitted in this process, as a server
//! does when it starts.

mod approval;
mod compile;
mod description;
mod directory;
mod encoding;
mod files;
mod stored;
mod world;

use anyhow::{Context, Result, ensure};
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

use crate::case::AttackCase;
use crate::target::AttackTarget;

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "M1-not-a-component",
        "a file that is not a component is not compiled or loaded, and does not crash the host",
        |target| Box::pin(files::not_a_component(target)),
    )
    .guarded_by(&[Guard::ComponentKind])
    .on_any_server(),
    AttackCase::new(
        "M1-truncated",
        "a truncated component is not admitted, and does not crash the host",
        |target| Box::pin(files::truncated(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "M1-too-long",
        "a file beyond the length limit is not read into memory",
        |target| Box::pin(files::too_long(target)),
    )
    .guarded_by(&[Guard::ComponentBytes])
    .on_any_server(),
    AttackCase::new(
        "M2-compile-time",
        "compiling a component takes limited time, and the server stays responsive",
        |target| Box::pin(compile::exceeds_time(target)),
    )
    .guarded_by(&[Guard::CompileTime])
    .on_any_server(),
    AttackCase::new(
        "M2-compile-memory",
        "compiling a component takes limited memory",
        |target| Box::pin(compile::exceeds_memory(target)),
    )
    .guarded_by(&[Guard::CompileMemory])
    .on_any_server(),
    AttackCase::new(
        "M2-code-length",
        "a component compiles to a limited length of code",
        |target| Box::pin(compile::exceeds_code_length(target)),
    )
    .guarded_by(&[Guard::CompiledCode])
    .on_any_server(),
    AttackCase::new(
        "M3-long-name",
        "a name of 90 000 bytes does not fill a log or a response",
        |target| Box::pin(world::long_name(target)),
    )
    .guarded_by(&[Guard::World])
    .on_any_server(),
    AttackCase::new(
        "M3-many-imports",
        "200 000 imports do not crash the host or fill a log",
        |target| Box::pin(world::many_imports(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "M4-foreign-import",
        "a component that imports an interface outside its world is rejected with the name of that interface",
        |target| Box::pin(world::foreign_import(target)),
    )
    .guarded_by(&[Guard::World])
    .on_any_server(),
    AttackCase::new(
        "M4-foreign-variable",
        "an engine does not get a variable of the process that does not carry its name",
        |target| Box::pin(description::foreign_variable(target)),
    )
    .guarded_by(&[Guard::OwnVariables])
    .on_any_server(),
    AttackCase::new(
        "M4-secret-variable",
        "an engine does not get a variable that holds a secret as a readable setting",
        |target| Box::pin(description::secret_variable(target)),
    )
    .guarded_by(&[Guard::HiddenVariables])
    .on_any_server(),
    AttackCase::new(
        "M4-undeclared-request",
        "no request is sent that the engine did not declare",
        |target| Box::pin(undeclared_requests(target)),
    )
    .guarded_by(&[Guard::GrantedRequests])
    .audited_as(RefusalKind::Grant),
    AttackCase::new(
        "M5-other-release",
        "a component of another release of the contract is rejected with the names of both releases",
        |target| Box::pin(world::other_release(target)),
    )
    .guarded_by(&[Guard::World])
    .on_any_server(),
    AttackCase::new(
        "M5-other-function",
        "a component with a function that differs from the contract is rejected at admission",
        |target| Box::pin(world::other_function(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "M6-no-description",
        "an engine that crashes, spins or floods in its description is rejected, and does not block the host",
        |target| Box::pin(description::missing(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "M6-invalid-description",
        "an engine's name and title cannot forge log lines or imitate another engine",
        |target| Box::pin(description::invalid(target)),
    )
    .guarded_by(&[Guard::Description])
    .on_any_server(),
    AttackCase::new(
        "M6-changing-description",
        "a component that changes its description between starts gets no more than its grant",
        |target| Box::pin(description::changes_between_starts(target)),
    )
    .guarded_by(&[Guard::GrantNarrows])
    .on_any_server(),
    AttackCase::new(
        "M7-duplicate-name",
        "a file does not take over the name of an engine that was granted to another file",
        |target| Box::pin(approval::duplicate_name(target)),
    )
    .guarded_by(&[Guard::EngineNames])
    .on_any_server(),
    AttackCase::new(
        "M7-new-name",
        "a replaced component does not gain rights by renaming its engine",
        |target| Box::pin(approval::new_name(target)),
    )
    .guarded_by(&[Guard::RenamedEngine])
    .on_any_server(),
    AttackCase::new(
        "M7-declares-more",
        "a replaced component that declares more does not serve before an administrator approves it",
        |target| Box::pin(approval::declares_more(target)),
    )
    .guarded_by(&[Guard::DeclaredMore])
    .on_any_server(),
    AttackCase::new(
        "M9-not-a-file",
        "a link out of the directory, a directory or a socket is not read as a component",
        |target| Box::pin(files::not_a_file(target)),
    )
    .guarded_by(&[Guard::RegularFile])
    .on_any_server(),
    AttackCase::new(
        "M9-forged-file-name",
        "a file name cannot write a line of its own to a log or a terminal",
        |target| Box::pin(files::forged_name(target)),
    )
    .guarded_by(&[Guard::FileNames])
    .on_any_server(),
    AttackCase::new(
        "M9-too-many-files",
        "a limited number of files is compiled",
        |target| Box::pin(files::too_many(target)),
    )
    .guarded_by(&[Guard::FileCount])
    .on_any_server(),
    AttackCase::new(
        "M14-hidden-file",
        "a hidden, temporary or unfinished file does not take an engine's name",
        |target| Box::pin(files::hidden(target)),
    )
    .guarded_by(&[Guard::HiddenFiles])
    .on_any_server(),
    AttackCase::new(
        "M10-replaced-while-running",
        "new bytes in an engine's file do not reach a running server without admission",
        |target| Box::pin(stored::replaced_while_running(target)),
    )
    .on_any_server(),
    AttackCase::new(
        "M10-swapped-before-approval",
        "an approval covers exactly the bytes that the administrator reviewed",
        |target| Box::pin(approval::swapped_before_approval(target)),
    )
    .guarded_by(&[Guard::ShownDigest])
    .on_any_server(),
    AttackCase::new(
        "M10-swapped-copy",
        "no other bytes serve in place of the granted component",
        |target| Box::pin(stored::swapped_copy(target)),
    )
    .guarded_by(&[Guard::KeptCopy])
    .on_any_server(),
    AttackCase::new(
        "M12-poisoned-code",
        "compiled code that this host did not write is not loaded",
        |target| Box::pin(stored::poisoned_code(target)),
    )
    .guarded_by(&[Guard::CompiledMac])
    .on_any_server(),
    AttackCase::new(
        "M13-unknown-right",
        "a grant with an unknown key is rejected, and not read as an empty or smaller grant",
        |target| Box::pin(stored::unknown_right(target)),
    )
    .guarded_by(&[Guard::GrantReadable])
    .on_any_server(),
];

async fn undeclared_requests(target: &AttackTarget) -> Result<()> {
    for prompt in [
        "reach api /secret",
        "reach api /",
        "reach api /allowed",
        "reach api /allowed-too/x",
        "reach other /allowed/x",
        "send POST api /allowed/x",
        "send DELETE api /allowed/x",
        "connect api /secret",
    ] {
        let response = target.generate(prompt).await?;
        response
            .require_not_granted()
            .with_context(|| prompt.to_owned())?;
    }
    let requests = target.upstream.requests();
    ensure!(requests.is_empty(), "the upstream received {requests:?}");
    Ok(())
}
