//! Log lines of engines.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn engine_log_is_escaped_and_truncated() {
    let fixture = SandboxFixture::start(&[]).await;

    let log = fixture.job_log("trap");
    assert!(log.contains("hostile: panicked at "), "{log}");
    assert!(log.contains("panics as requested"), "{log}");
    let last =
        "pinhole: engine hostile: the engine crashed: it panicked; its log line has the location";
    assert_eq!(log.lines().last(), Some(last), "{log}");

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
    let escaped_lines: Vec<&str> = escaped_log.lines().collect();
    assert_eq!(escaped_lines.len(), 3, "{escaped_log:?}");
    let whole = "hostile: red [31m 2026-01-01 INFO forged back";
    assert!(
        escaped_lines.iter().all(|line| line.contains(whole)),
        "{escaped_log:?}"
    );
}
