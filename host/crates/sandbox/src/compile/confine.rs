//! What a compiling child takes from itself before it looks at anything hostile.

use anyhow::{Context, Result};
use rlimit::Resource;

use super::CompileLimits;
use pinhole_ground::data_dir;

/// Is a child confined completely on this system? Elsewhere it has limits, and no filter of system
/// calls.
pub(super) const COMPLETE: bool = cfg!(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// Takes limits on for ever, and steps back behind the server: it goes last where the processor or
/// memory is short, and ends when the server does.
pub(super) fn take_on(limits: CompileLimits) -> Result<()> {
    rustix::process::nice(19).context("no lower priority")?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL)).context("no end with the server")?;
        // Where there is no such file, the kernel chooses whom it ends.
        if let Ok(own) = data_dir::open("/proc/self".as_ref()) {
            own.write("oom_score_adj", "1000").ok();
        }
    }
    let secs = limits.cpu_secs;
    // A signal at first, which says why, and the end a second later whatever becomes of it.
    limit(Resource::CPU, secs, secs.saturating_add(1))?;
    for (resource, most) in [
        #[cfg(target_os = "linux")]
        (Resource::AS, limits.memory_bytes),
        (Resource::CORE, 0),
        (Resource::FSIZE, 0),
        // Those that are open stay so: input, output and reason.
        (Resource::NOFILE, 3),
    ] {
        limit(resource, most, most)?;
    }
    Ok(())
}

/// A limit that is there already, and lower, stays.
fn limit(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let named = || format!("no limit of {}", resource.as_name());
    let (_, before) = rlimit::getrlimit(resource).with_context(named)?;
    let hard = hard.min(before);
    rlimit::setrlimit(resource, soft.min(hard), hard).with_context(named)
}

/// From here on, whatever the compiler does, it can use memory, threads of its own and the processor,
/// and write to the descriptors that it was given. Any other system call fails as an unknown one.
#[cfg(target_os = "linux")]
pub(super) fn leave_the_system_alone() -> Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    if !COMPLETE {
        return Ok(());
    }
    let filter = SeccompFilter::new(
        allowed()?.into_iter().collect(),
        // As on a kernel that does not have it, so that the C library does without.
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leave_the_system_alone() -> Result<()> {
    Ok(())
}

/// System calls, each with what its arguments have to be.
#[cfg(target_os = "linux")]
fn allowed() -> Result<Vec<(i64, Vec<seccompiler::SeccompRule>)>> {
    use seccompiler::SeccompCmpOp::{Eq, Le, MaskedEq};
    use seccompiler::{SeccompCmpArgLen, SeccompCondition, SeccompRule};
    let bits = |flags: libc::c_int| MaskedEq(u64::from(flags.unsigned_abs()));
    let flags = |flags: libc::c_int| u64::from(flags.unsigned_abs());
    let mut calls = Vec::new();
    let freely = [
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
    calls.extend(freely.map(|call| (call, Vec::new())));
    let executable = (2, bits(libc::PROT_EXEC), 0);
    let anonymous = (3, bits(libc::MAP_ANONYMOUS), flags(libc::MAP_ANONYMOUS));
    let thread = (0, bits(libc::CLONE_THREAD), flags(libc::CLONE_THREAD));
    let own = (0, Eq, u64::from(std::process::id()));
    let with_arguments = [
        // Output and reason.
        (libc::SYS_write, vec![(0, Le, 2)]),
        (libc::SYS_mmap, vec![executable.clone(), anonymous]),
        (libc::SYS_mprotect, vec![executable]),
        // A thread, never a process. The newer call hides its flags, so it is not there.
        (libc::SYS_clone, vec![thread]),
        // How it ends when memory is short.
        (libc::SYS_tgkill, vec![own]),
        (libc::SYS_prctl, vec![(0, Eq, flags(libc::PR_SET_NAME))]),
        // Reading limits, not setting them.
        (libc::SYS_prlimit64, vec![(2, Eq, 0)]),
    ];
    for (call, conditions) in with_arguments {
        let conditions = conditions.into_iter().map(|(argument, operator, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)
        });
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
        calls.push((call, vec![rule]));
    }
    Ok(calls)
}

#[cfg(all(test, target_os = "linux"))]
#[allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests try what a confined thread may not do"
)]
mod tests {
    use super::*;

    /// On a thread of its own: nobody gets rid of a filter again.
    fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            leave_the_system_alone().unwrap();
            work()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_confined_thread_has_memory_and_threads() {
        let sum = alone(|| {
            let many = vec![1_u8; 64 << 20];
            let count =
                std::thread::spawn(move || many.iter().map(|one| u64::from(*one)).sum::<u64>());
            count.join().unwrap()
        });
        assert_eq!(sum, 64_u64 << 20);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what has to fail is tried")]
    fn a_confined_thread_has_neither_sockets_nor_files_nor_programs() {
        let unknown = |error: std::io::Error| error.raw_os_error() == Some(libc::ENOSYS);
        let refused = alone(move || {
            [
                std::net::TcpListener::bind("127.0.0.1:0").is_err_and(unknown),
                std::net::UdpSocket::bind("127.0.0.1:0").is_err_and(unknown),
                std::os::unix::net::UnixStream::pair().is_err_and(unknown),
                data_dir::open("/".as_ref()).is_err_and(unknown),
                std::process::Command::new("true").spawn().is_err(),
                rlimit::setrlimit(Resource::CORE, 0, 0).is_err_and(unknown),
                // What is inherited cannot be used either.
                std::io::Read::read(&mut std::io::stdin(), &mut [0]).is_err_and(unknown),
                // Whoever was started by a thread that is confined is confined.
                std::thread::spawn(|| std::net::TcpListener::bind("127.0.0.1:0").is_err())
                    .join()
                    .unwrap(),
            ]
        });
        assert_eq!(refused, [true; 8]);
    }
}
