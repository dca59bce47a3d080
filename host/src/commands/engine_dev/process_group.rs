//! A child process with all that it starts.

use std::io::Result;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A child process that leads a process group. Dropping it kills the group.
pub(super) struct ProcessGroup {
    child: Child,
    group: Option<Pid>,
}

impl ProcessGroup {
    /// Starts a command that reads nothing and writes to the output of this process.
    pub(super) fn spawn(mut command: Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            child,
            group: id.and_then(Pid::from_raw),
        })
    }

    /// Waits until the child has ended. True if it succeeded.
    pub(super) async fn wait(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Fails if all of it has ended.
        if let Some(group) = self.group {
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}
