//! The server's side of a compilation: starts the child process and reads its result.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;
use rustix::process::{Pid, setpriority_pgrp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::confinement::COMPILER_PRIORITY;
use super::{MAX_REASON_BYTES, child, confinement, invalid_component};

/// Threads of one compilation.
const MAX_THREADS: usize = 4;
/// How long a compilation may have the priority of the server itself, unless a person waits for it.
pub const MAX_URGENT: Duration = Duration::from_millis(1000);
/// How often a compilation checks whether calls run.
const LOAD_INTERVAL: Duration = Duration::from_millis(50);
/// Wall-clock time of a compilation, as a multiple of its CPU time.
const MAX_WAIT: u32 = 5;
/// Length in bytes of the child's standard error.
const MAX_STDERR_BYTES: usize = 4 << 10;
/// What a program prints when it cannot allocate memory.
const OUT_OF_MEMORY: &[&str] = &["memory allocation", "out of memory", "Cannot allocate"];

/// How components are compiled.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The path of `pinhole`.
    pub program: PathBuf,
    /// CPU time of one compilation.
    pub time: Duration,
    /// Address space of one compilation.
    pub memory_bytes: u64,
    /// Length of the code that one component may compile to.
    pub code_bytes: usize,
    /// How long a compilation has the priority of the process itself while no call runs. Then it has the lowest.
    pub urgent_time: Duration,
}

/// What a child process returned.
struct ChildOutput {
    /// `None` if it wrote more code than allowed, and was not waited for.
    status: Option<ExitStatus>,
    code: Vec<u8>,
    stderr: Vec<u8>,
}

impl Compiler {
    /// The same compiler for a person who waits: compilations have the priority of the process to their end, while no
    /// call runs.
    #[must_use]
    pub fn for_person(&self) -> Self {
        Self {
            urgent_time: self.time.saturating_mul(MAX_WAIT),
            ..self.clone()
        }
    }

    /// Compiles a component in a child process: at the server's own priority for its urgent time while no call
    /// runs, then at a low one.
    pub(crate) async fn compile(
        &self,
        bytes: &[u8],
        is_idle: impl Fn() -> bool,
    ) -> Result<Vec<u8>, Refusal> {
        let is_urgent = is_idle();
        let mut child = self.start_child(is_urgent)?;
        let group = child.id();
        let max_code_bytes = Guard::CompiledCode.limit(self.code_bytes);
        let max_wait = self.time.saturating_mul(MAX_WAIT);
        // Dropping the child kills it.
        let output = tokio::select! {
            output = exchange(&mut child, bytes, max_code_bytes) => output,
            never = lower_priority(group, self.urgent_time, is_idle), if is_urgent => match never {},
            () = tokio::time::sleep(max_wait), if Guard::CompileTime.applies(true) => {
                return Err(self.too_slow());
            }
        };
        let output = output.map_err(|error| format!("cannot be compiled: {error}"))?;
        if output.code.len() > max_code_bytes {
            let reason = format!("compiles to more than {max_code_bytes} bytes of code");
            return Err(Guard::CompiledCode.refuse(reason));
        }
        match output.status {
            Some(status) if status.success() => Ok(output.code),
            status => Err(self.explain_failure(status, &String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Logs a warning if this system cannot confine a child completely.
    pub(crate) fn warn_if_unconfined(&self) {
        if !confinement::IS_COMPLETE {
            tracing::warn!(
                "the compiler runs without a system call filter on this system; install only components that you trust"
            );
        }
    }

    fn start_child(&self, is_urgent: bool) -> Result<Child, Refusal> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let memory_bytes = limit_u64(Guard::CompileMemory, self.memory_bytes);
        let cpu_secs = limit_u64(Guard::CompileTime, self.time.as_secs());
        let mut command = Command::new(&self.program);
        command
            .arg0("pinhole")
            .arg("compile")
            .arg("--memory-bytes")
            .arg(memory_bytes.to_string())
            .arg("--cpu-secs")
            .arg(cpu_secs.to_string())
            .args(is_urgent.then_some("--urgent"))
            // Its threads then have a priority together.
            .process_group(0)
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| {
            let program = self.program.display();
            format!(
                "cannot be compiled, because {program} cannot be started ({error}): set PINHOLE_COMPILER to the path of `pinhole`"
            )
            .into()
        })
    }

    /// Why a child returned no code.
    fn explain_failure(&self, status: Option<ExitStatus>, stderr: &str) -> Refusal {
        use std::os::unix::process::ExitStatusExt;
        if OUT_OF_MEMORY.iter().any(|text| stderr.contains(text)) {
            return Guard::CompileMemory.refuse(format!(
                "needs more than {} MiB of memory to compile: increase PINHOLE_COMPILE_MIB if you trust it",
                self.memory_bytes >> 20
            ));
        }
        let signal = status.and_then(|status| status.signal());
        let code = status.and_then(|status| status.code());
        match (signal, code) {
            (Some(libc::SIGXCPU), _) => self.too_slow(),
            (Some(libc::SIGKILL), _) => "cannot be compiled: the system killed the compiler".into(),
            (Some(signal), _) => format!("crashed the compiler (signal {signal})").into(),
            (None, Some(code)) if code == i32::from(child::REJECTED) => {
                invalid_component(stderr).into()
            }
            _ => {
                let stderr = plain(stderr, MAX_REASON_BYTES);
                format!("crashed the compiler: {stderr}").into()
            }
        }
    }

    fn too_slow(&self) -> Refusal {
        Guard::CompileTime.refuse(format!(
            "takes more than {} s to compile: increase PINHOLE_COMPILE_SECS if you trust it",
            self.time.as_secs()
        ))
    }
}

fn limit_u64(guard: Guard, limit: u64) -> u64 {
    guard.limit(usize::try_from(limit).unwrap_or(usize::MAX)) as u64
}

/// Gives a child and its threads a low priority when a call runs, or after this time.
async fn lower_priority(
    group: Option<u32>,
    urgent_time: Duration,
    is_idle: impl Fn() -> bool,
) -> Infallible {
    let started = Instant::now();
    while is_idle() && started.elapsed() < urgent_time {
        tokio::time::sleep(LOAD_INTERVAL).await;
    }
    let group = group
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    // Fails only if the child has ended.
    if let Some(group) = group {
        setpriority_pgrp(Some(group), COMPILER_PRIORITY).ok();
    }
    std::future::pending().await
}

/// Sends a component to the child and reads its output, up to one byte more than allowed.
async fn exchange(
    child: &mut Child,
    bytes: &[u8],
    max_code_bytes: usize,
) -> std::io::Result<ChildOutput> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    let send = async {
        // A child that exits early does not read everything. Its exit status and reason count.
        stdin.write_all(bytes).await.ok();
        drop(stdin);
        Ok(())
    };
    let ((), code, stderr) = tokio::try_join!(
        send,
        read_limited(stdout, max_code_bytes),
        read_limited(stderr, MAX_STDERR_BYTES)
    )?;
    let status = if code.len() > max_code_bytes {
        None
    } else {
        Some(child.wait().await?)
    };
    Ok(ChildOutput {
        status,
        code,
        stderr,
    })
}

/// Reads up to one byte more than allowed, which reveals a longer output.
async fn read_limited(from: impl AsyncRead + Unpin, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let max_bytes = (max_bytes as u64).saturating_add(1);
    from.take(max_bytes).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
