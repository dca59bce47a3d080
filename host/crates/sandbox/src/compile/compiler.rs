//! The server's side of a compilation: starts the child process and reads its result.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pinhole_ground::guard::{Guard, Refusal};
use pinhole_ground::text::plain;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{MAX_REASON_BYTES, child, confinement, invalid_component};

/// Threads of one compilation.
const MAX_THREADS: usize = 4;
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
}

/// What a child process returned.
struct ChildOutput {
    /// `None` if it wrote more code than allowed, and was not waited for.
    status: Option<ExitStatus>,
    code: Vec<u8>,
    stderr: Vec<u8>,
}

impl Compiler {
    /// Compiles a component in a child process.
    pub(crate) async fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut child = self.start_child()?;
        let max_code_bytes = Guard::CompiledCode.limit(self.code_bytes);
        let max_wait = self.time.saturating_mul(MAX_WAIT);
        // Dropping the child kills it.
        let output = tokio::select! {
            output = exchange(&mut child, bytes, max_code_bytes) => output,
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

    fn start_child(&self) -> Result<Child, Refusal> {
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
