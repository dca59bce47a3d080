//! Log lines of engines.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn engine_log_is_escaped_and_truncated() {
    let fixture = SandboxFixture::start(&[]).await;

    let log = fixture.job_log("trap");
    assert!(log.contains("hostile: panicked at "), "{log}");
    assert!(log.contains("panics as requested"), "{log}");
    let last = log.lines().last().unwrap();
    let crash =
        "pinhole: engine hostile: the engine crashed: it panicked; its last lines: panicked at ";
    assert!(last.starts_with(crash), "{last}");
    assert!(last.ends_with("panics as requested"), "{last}");

    let long_log = fixture.job_log("log");
    let lines = long_log.matches("hostile: hostile hostile").count();
    assert!((1..=32).contains(&lines), "{lines} lines");
    assert_eq!(
        long_log
            .matches("engine hostile: it logs more than 65536 bytes")
            .count(),
        1
    );
    assert!(long_log.len() < 128 << 10, "{} bytes", long_log.len());

    let escaped_log = fixture.job_log("say red\u{1b}[31m\n2026-01-01 INFO forged\r\u{202e}back");
    assert!(
        !escaped_log.contains(['\u{1b}', '\r', '\u{202e}']),
        "{escaped_log:?}"
    );
    // The engine's line, the host's line about the failed job, and the program's last line.
    let escaped_lines: Vec<&str> = escaped_log
        .lines()
        .filter(|line| !line.starts_with("data directory: "))
        .collect();
    assert_eq!(escaped_lines.len(), 3, "{escaped_log:?}");
    let whole = "hostile: red [31m 2026-01-01 INFO forged back";
    assert!(
        escaped_lines.iter().all(|line| line.contains(whole)),
        "{escaped_log:?}"
    );
}

/// The log and the last line of the program when the engine `wasip2` runs this job.
fn wasip2_log(prompt: &str) -> String {
    let (engines, data) = (engine_dir(&["wasip2"]), tempfile::tempdir().unwrap());
    let output = Command::new(program())
        .args(["generate", prompt, "--engine", "wasip2"])
        .env_clear()
        .env("PINHOLE_DATA", data.path())
        .env("PINHOLE_ENGINES", engines.path())
        .env("PINHOLE_LOG", "info")
        .current_dir(data.path())
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn standard_streams_are_logged_and_quoted_by_a_crash() {
    let log = wasip2_log("crash no\u{1b}[31m fox");
    assert!(
        log.contains("INFO") && log.contains("wasip2: before no [31m fox"),
        "{log:?}"
    );
    assert!(
        log.contains("wasip2: Traceback (most recent call last):"),
        "{log:?}"
    );
    let last = log.lines().last().unwrap();
    let quoted = "before no [31m fox | Traceback (most recent call last): |   File \"app.py\", line 7 | \
                  ValueError: no [31m fox";
    assert!(
        last.contains("the engine crashed: ") && last.contains(quoted),
        "{last:?}"
    );
}

#[test]
fn standard_streams_have_the_limits_of_the_log() {
    let log = wasip2_log("print 500");
    let lines = log.matches("wasip2: xxxx").count();
    assert!((1..=64).contains(&lines), "{lines} lines");
    let limit = "engine wasip2: it logs more than 65536 bytes";
    assert_eq!(log.matches(limit).count(), 1, "{log}");
}
