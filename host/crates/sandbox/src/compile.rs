//! Bytes to code that can run: compiled before, or by a child process within limits.
//!
//! A component decides how long it takes to compile and how much memory that needs, so the server
//! never compiles by itself. The child is the same program as `pinhole compile`: it reads the
//! component from its standard input and writes the code to its standard output.

mod child;
mod confine;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use wasmtime::component::Component as Code;

use super::Sandbox;
use super::call::failed;
use pinhole_ground::guard::Guard;
use pinhole_ground::metrics;
use pinhole_ground::text::plain;

pub use child::compile_input;

/// Components that are compiled at once.
pub(super) const MAX_COMPILES: usize = 2;
/// Threads that one component is compiled on.
const MAX_THREADS: usize = 4;
/// How many times its CPU time a compilation may take by the clock: other work may hold it up.
const MAX_WAIT: u32 = 5;
/// Length of the code that one component may be compiled to, in bytes.
pub const MAX_CODE_BYTES: usize = 256 << 20;
/// Length of what the compiler may say about a component, in bytes.
const MAX_REASON_BYTES: usize = 4 << 10;

/// How components are compiled.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The program `pinhole`.
    pub program: PathBuf,
    /// CPU time that one component may take.
    pub time: Duration,
    /// Address space that one component may need, in bytes.
    pub memory_bytes: u64,
    /// Length of the code that one component may be compiled to, in bytes.
    pub code_bytes: usize,
}

/// What a child may use; it takes the limits on before it reads anything.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// CPU time of all its threads together, in seconds.
    pub cpu_secs: u64,
}

/// Compiled before, or compiled now. The error is one sentence for the operator.
pub(super) async fn compile(
    sandbox: &Arc<Sandbox>,
    digest: &str,
    bytes: Vec<u8>,
) -> Result<Code, String> {
    let (ours, name) = (sandbox.clone(), digest.to_owned());
    let load = move || ours.compiled.load(&ours.engine, &name);
    if let Some(code) = blocking(load).await? {
        return Ok(code);
    }
    let _turn = sandbox.compiles.acquire().await;
    let (ours, digest) = (sandbox.clone(), digest.to_owned());
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        // A child is told when the thread that started it ends, so this one waits for it.
        let start = Instant::now();
        let code = runtime.block_on(ours.compiler.compile(&bytes));
        metrics::count_compile(start.elapsed(), code.is_ok());
        let code = code?;
        let kept = ours.compiled.keep(&ours.engine, &digest, &code);
        kept.map_err(|error| invalid(&error.root_cause().to_string()))
    })
    .await?
}

/// On a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|crash| format!("cannot be compiled: {}", failed(&crash)))
}

impl Compiler {
    /// Has a child process compile a component.
    async fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = self.start()?;
        let patience = self.time.saturating_mul(MAX_WAIT);
        let max_code = Guard::CompiledCode.limit(self.code_bytes);
        let talk = converse(&mut child, bytes, max_code);
        let ended = match Guard::CompileTime.holds() {
            true => tokio::time::timeout(patience, talk).await,
            false => Ok(talk.await),
        };
        // It is killed as it is dropped, unless it has ended.
        let (status, code, said) = ended
            .map_err(|_| self.too_slow())?
            .map_err(|error| format!("cannot be compiled: {error}"))?;
        if code.len() > max_code {
            return Err(format!("is compiled to more than {max_code} bytes of code"));
        }
        match status {
            Some(status) if status.success() => Ok(code),
            status => Err(self.failure(status, &String::from_utf8_lossy(&said))),
        }
    }

    /// Tells the operator once where a child can have no complete limits.
    pub(super) fn warn_of_what_is_missing(&self) {
        if !confine::COMPLETE {
            tracing::warn!(
                "this system has no filter of system calls for the compiler: admit only components that you trust"
            );
        }
    }

    fn start(&self) -> Result<Child, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let limit = |check: Guard, limit: u64| match check.holds() {
            true => limit.to_string(),
            false => u64::MAX.to_string(),
        };
        let mut command = Command::new(&self.program);
        command
            .arg0("pinhole")
            .arg("compile")
            .arg("--memory-bytes")
            .arg(limit(Guard::CompileMemory, self.memory_bytes))
            .arg("--cpu-secs")
            .arg(limit(Guard::CompileTime, self.time.as_secs()))
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| {
            format!(
                "cannot be compiled, because {} cannot be started ({error}): set PINHOLE_COMPILER to the program pinhole",
                self.program.display()
            )
        })
    }

    /// Why a child gave no code. `None` is one that said more than it may.
    fn failure(&self, status: Option<ExitStatus>, said: &str) -> String {
        use std::os::unix::process::ExitStatusExt;
        let starved = ["memory allocation", "out of memory", "Cannot allocate"];
        let signal = status.and_then(|status| status.signal());
        if starved.iter().any(|words| said.contains(words)) {
            return format!(
                "needs more than {} MiB of memory to be compiled: set PINHOLE_COMPILE_MIB to more if it may have it",
                self.memory_bytes >> 20
            );
        }
        match (signal, status.and_then(|status| status.code())) {
            (Some(libc::SIGXCPU), _) => self.too_slow(),
            (Some(libc::SIGKILL), _) => {
                "cannot be compiled: the system has killed the compiler".to_owned()
            }
            (Some(signal), _) => format!("has crashed the compiler (signal {signal})"),
            (None, Some(code)) if code == i32::from(child::REFUSED) => invalid(said),
            _ => format!("has crashed the compiler: {}", plain(said, 300)),
        }
    }

    fn too_slow(&self) -> String {
        format!(
            "takes more than {} s to be compiled: set PINHOLE_COMPILE_SECS to more if it may have them",
            self.time.as_secs()
        )
    }
}

fn invalid(why: &str) -> String {
    format!("is not a valid component: {}", plain(why.trim(), 300))
}

type Said = (Option<ExitStatus>, Vec<u8>, Vec<u8>);

/// Gives the child a component, and hears it out: how it ended, its code, and its reason.
async fn converse(child: &mut Child, bytes: &[u8], max_code: usize) -> std::io::Result<Said> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    let give = async {
        // A child that refuses early does not hear the end; its reason is what counts.
        stdin.write_all(bytes).await.ok();
        drop(stdin);
        Ok(())
    };
    let ((), code, said) =
        tokio::try_join!(give, read(stdout, max_code), read(stderr, MAX_REASON_BYTES))?;
    let status = match code.len() > max_code {
        // Nobody listens to it any more.
        true => None,
        false => Some(child.wait().await?),
    };
    Ok((status, code, said))
}

/// All that comes, up to one byte more than is allowed.
async fn read(from: impl AsyncRead + Unpin, max_bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = (max_bytes as u64).saturating_add(1);
    from.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
