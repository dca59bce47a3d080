//! Components that take hours to compile.

use std::time::Duration;

use anyhow::{Result, ensure};
use pinhole_ground::guard::Guard;
use pinhole_sandbox::Compiler;

use super::encoding::{COMPONENT, MODULE, number, section, with_length};
use crate::target::{AttackTarget, is_expected_guard};

/// Functions of a component that takes seconds and hundreds of megabytes to compile.
const FUNCTIONS: usize = 60_000;
/// Two local numbers, which are multiplied again and again.
const LOCALS: &[u8] = &[1, 2, 0x7e];
const STEP: &[u8] = &[0x20, 0, 0x20, 1, 0x7e, 0x42, 7, 0x81, 0x21, 0];
const STEPS: usize = 10;
const END: u8 = 0x0b;

pub(super) async fn exceeds_time(target: &AttackTarget) -> Result<()> {
    let compiler = Compiler {
        time: Duration::from_secs(1),
        ..generous_compiler(target)
    };
    let reason = "takes more than 1 s to compile";
    require_rejected(target, compiler, reason, Guard::CompileTime).await
}

pub(super) async fn exceeds_memory(target: &AttackTarget) -> Result<()> {
    let compiler = Compiler {
        memory_bytes: 256 << 20,
        ..generous_compiler(target)
    };
    let reason = "needs more than 256 MiB of memory";
    require_rejected(target, compiler, reason, Guard::CompileMemory).await
}

pub(super) async fn exceeds_code_length(target: &AttackTarget) -> Result<()> {
    let compiler = Compiler {
        code_bytes: 1 << 20,
        ..generous_compiler(target)
    };
    let reason = "compiles to more than 1048576 bytes";
    require_rejected(target, compiler, reason, Guard::CompiledCode).await
}

/// A compiler with limits that the component does not reach.
fn generous_compiler(target: &AttackTarget) -> Compiler {
    Compiler {
        time: Duration::from_secs(3600),
        memory_bytes: 8 << 30,
        code_bytes: usize::MAX,
        ..target.compiler()
    }
}

/// Fails unless the component is rejected, and the server under attack responds while it is compiled.
async fn require_rejected(
    target: &AttackTarget,
    compiler: Compiler,
    reason: &str,
    guard: Guard,
) -> Result<()> {
    let bytes = large_component();
    let admission = target.admit(&bytes, compiler);
    tokio::pin!(admission);
    let rejected = loop {
        tokio::select! {
            rejected = &mut admission => break rejected?,
            response = target.client.get("/health") => {
                ensure!(response?.status.is_success(), "the server does not respond meanwhile");
            }
        }
    };
    ensure!(
        matches!(
            rejected.as_slice(),
            [file] if file.reason.starts_with(reason) && is_expected_guard(file.guard.map(Guard::name), &[guard])
        ),
        "the component is not rejected with {reason:?}: {rejected:?}"
    );
    Ok(())
}

/// A component around a core module of many functions.
fn large_component() -> Vec<u8> {
    let body = [LOCALS, &STEP.repeat(STEPS), &[END]].concat();
    let function = with_length(&body);
    let module = [
        MODULE,
        // One type, without parameters and results, for all functions.
        &section(1, &[1, 0x60, 0, 0]),
        &section(3, &[number(FUNCTIONS), vec![0; FUNCTIONS]].concat()),
        &section(
            10,
            &[number(FUNCTIONS), function.repeat(FUNCTIONS)].concat(),
        ),
    ];
    [COMPONENT, &section(1, &module.concat())].concat()
}
