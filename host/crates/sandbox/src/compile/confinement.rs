//! The confinement of a compiler process: limits, and a filter of system calls.
//!
//! A component could exploit a bug of the compiler. The filter lets the process allocate memory, start
//! threads and write its output; it cannot open a file or a socket, start a program or send a signal to
//! another process. The filter cannot be removed again.

use anyhow::{Context, Result};
use pinhole_ground::data_dir;
use pinhole_ground::low_priority::LOW_PRIORITY;
use rlimit::Resource;

use super::CompileLimits;

/// True if this system has the filter of system calls. Other systems have the limits only.
pub(super) const IS_COMPLETE: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// The priority of a compiler that is not urgent, as a nice value. Jobs come first, those of low priority too
/// ([`LOW_PRIORITY`]), but other busy programs do not starve it.
pub(super) const COMPILER_PRIORITY: i32 = 12;
const _: () = assert!(COMPILER_PRIORITY > LOW_PRIORITY);

/// Applies the limits, lowers the priority unless the component is urgent, and lets the kernel kill this process if the server exits.
pub(super) fn apply_limits(limits: CompileLimits) -> Result<()> {
    if !limits.is_urgent {
        rustix::process::nice(COMPILER_PRIORITY).context("cannot lower the process priority")?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL))
            .context("cannot set the parent-death signal")?;
        // Without this file the kernel itself chooses the process to kill if memory is short.
        if let Ok(process) = data_dir::open("/proc/self".as_ref()) {
            process.write("oom_score_adj", "1000").ok();
        }
    }
    let secs = limits.cpu_secs;
    // The signal of the soft limit reports the reason to the server. The hard limit kills a second later.
    set_limit(Resource::CPU, secs, secs.saturating_add(1))?;
    #[cfg(target_os = "linux")]
    set_limit(Resource::AS, limits.memory_bytes, limits.memory_bytes)?;
    set_limit(Resource::CORE, 0, 0)?;
    set_limit(Resource::FSIZE, 0, 0)?;
    // Standard input, output and error stay open.
    set_limit(Resource::NOFILE, 3, 3)
}

/// Sets a limit, or leaves it if it is already lower.
fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let failure = || format!("cannot limit {}", resource.as_name());
    let (_, previous_hard) = rlimit::getrlimit(resource).with_context(failure)?;
    let hard = hard.min(previous_hard);
    rlimit::setrlimit(resource, soft.min(hard), hard).with_context(failure)
}

/// Installs the filter of system calls. A refused call fails with `ENOSYS`.
#[cfg(target_os = "linux")]
pub(super) fn filter_system_calls() -> Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    if !IS_COMPLETE {
        return Ok(());
    }
    let filter = SeccompFilter::new(
        allowed_calls()?.into_iter().collect(),
        // As on a kernel without the call, so that the C library uses its fallback.
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn filter_system_calls() -> Result<()> {
    Ok(())
}

/// System calls without conditions on their arguments.
#[cfg(target_os = "linux")]
const UNCONDITIONAL_CALLS: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
];

/// The allowed system calls, each with the conditions on its arguments.
#[cfg(target_os = "linux")]
fn allowed_calls() -> Result<Vec<(i64, Vec<seccompiler::SeccompRule>)>> {
    use seccompiler::SeccompCmpOp::{Eq, Le, MaskedEq};
    use seccompiler::{SeccompCmpArgLen, SeccompCondition, SeccompRule};
    let bits = |flags: libc::c_int| u64::from(flags.unsigned_abs());
    let condition = |argument: u8, operator, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
    };
    let not_executable = || condition(2, MaskedEq(bits(libc::PROT_EXEC)), 0);
    let anonymous = bits(libc::MAP_ANONYMOUS);
    let thread = bits(libc::CLONE_THREAD);
    let own_process = u64::from(std::process::id());
    let conditional_calls = [
        // Standard output and error.
        (libc::SYS_write, vec![condition(0, Le, 2)?]),
        (
            libc::SYS_mmap,
            vec![
                not_executable()?,
                condition(3, MaskedEq(anonymous), anonymous)?,
            ],
        ),
        (libc::SYS_mprotect, vec![not_executable()?]),
        // A thread, never a process. `clone3` hides its flags in memory, so it is not allowed.
        (
            libc::SYS_clone,
            vec![condition(0, MaskedEq(thread), thread)?],
        ),
        // How the process aborts if it has no memory.
        (libc::SYS_tgkill, vec![condition(0, Eq, own_process)?]),
        (
            libc::SYS_prctl,
            vec![condition(0, Eq, bits(libc::PR_SET_NAME))?],
        ),
        // Reads limits and sets none.
        (libc::SYS_prlimit64, vec![condition(2, Eq, 0)?]),
    ];
    let mut calls: Vec<_> = UNCONDITIONAL_CALLS
        .iter()
        .map(|call| (*call, Vec::new()))
        .collect();
    for (call, conditions) in conditional_calls {
        calls.push((call, vec![SeccompRule::new(conditions)?]));
    }
    Ok(calls)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests attempt what a confined thread must not do"
)]
mod tests {
    use super::*;

    /// Runs it on a thread of its own, because a filter cannot be removed.
    fn run_confined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            filter_system_calls().unwrap();
            work()
        });
        thread.join().unwrap()
    }

    #[test]
    fn confinement_allows_memory_and_threads() {
        let sum = run_confined(|| {
            let many = vec![1_u8; 64 << 20];
            let count =
                std::thread::spawn(move || many.iter().map(|one| u64::from(*one)).sum::<u64>());
            count.join().unwrap()
        });
        assert_eq!(sum, 64_u64 << 20);
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test attempts what must fail"
    )]
    fn confinement_refuses_sockets_files_and_programs() {
        let unknown = |error: std::io::Error| error.raw_os_error() == Some(libc::ENOSYS);
        let refused = run_confined(move || {
            [
                std::net::TcpListener::bind("127.0.0.1:0").is_err_and(unknown),
                std::net::UdpSocket::bind("127.0.0.1:0").is_err_and(unknown),
                std::os::unix::net::UnixStream::pair().is_err_and(unknown),
                data_dir::open("/".as_ref()).is_err_and(unknown),
                std::process::Command::new("true").spawn().is_err(),
                rlimit::setrlimit(Resource::CORE, 0, 0).is_err_and(unknown),
                // Inherited standard input cannot be read.
                std::io::Read::read(&mut std::io::stdin(), &mut [0]).is_err_and(unknown),
                // A thread inherits the filter.
                std::thread::spawn(|| std::net::TcpListener::bind("127.0.0.1:0").is_err())
                    .join()
                    .unwrap(),
            ]
        });
        assert_eq!(refused, [true; 8]);
    }
}
