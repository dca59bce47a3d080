//! The memory of the machine, or of the process's control group if that has less.

/// Bytes that the process can use at most. `None` if the system does not tell.
pub(super) fn available_bytes() -> Option<u64> {
    let machine = machine_bytes(&read("/proc/meminfo")?)?;
    let group = read("/proc/self/cgroup")
        .and_then(|groups| group_limit(&groups, read))
        .unwrap_or(u64::MAX);
    Some(machine.min(group))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's files have fixed paths, which no user can choose"
)]
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The line `MemTotal` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit of the control groups of the process: its own, and in version 2 all above it.
///
/// Source: the kernel's documentation of control groups, version 1 and version 2.
fn group_limit(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let limit = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.split(',').any(|it| it == "memory") {
            for group in [path, ""] {
                let file = format!("/sys/fs/cgroup/memory{group}/memory.limit_in_bytes");
                limits.extend(limit(&file));
            }
        }
        if controllers.is_empty() {
            let mut group = path.trim_end_matches('/');
            loop {
                limits.extend(limit(&format!("/sys/fs/cgroup{group}/memory.max")));
                let Some((parent, _)) = group.rsplit_once('/') else {
                    break;
                };
                group = parent;
            }
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_bytes_are_the_total_memory() {
        let meminfo = "MemTotal:        2048 kB\nMemFree:          100 kB\n";
        assert_eq!(machine_bytes(meminfo), Some(2 << 20));
        assert_eq!(machine_bytes("MemFree: 100 kB"), None);
    }

    #[track_caller]
    fn check(groups: &str, files: &[(&str, &str)], expected: Option<u64>) {
        let read = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| format!("{text}\n"))
        };
        assert_eq!(group_limit(groups, read), expected, "{groups}");
    }

    #[test]
    fn group_limit_is_the_least_of_all_groups() {
        let own = ("/sys/fs/cgroup/a/b/memory.max", "max");
        let parent = ("/sys/fs/cgroup/a/memory.max", "1000");
        let root = ("/sys/fs/cgroup/memory.max", "2000");
        check("0::/a/b\n", &[own, parent, root], Some(1000));
        check("0::/a/b\n", &[own], None);
        check("0::/\n", &[root], Some(2000));
        let first = ("/sys/fs/cgroup/memory/c/memory.limit_in_bytes", "500");
        check("3:cpu,memory:/c\n1:pids:/c\n", &[first], Some(500));
        check("", &[root], None);
    }
}
