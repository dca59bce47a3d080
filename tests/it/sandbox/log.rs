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

    let log = fixture.job_log("log");
    let lines = log.matches("hostile: hostile hostile").count();
    assert!((1..=32).contains(&lines), "{lines} lines");
    assert_eq!(
        log.matches("engine hostile: it logs more than 65536 bytes")
            .count(),
        1
    );
    assert!(log.len() < 128 << 10, "{} bytes", log.len());

    let log = fixture.job_log("say red\u{1b}[31m\n2026-01-01 INFO forged\r\u{202e}back");
    assert!(!log.contains(['\u{1b}', '\r', '\u{202e}']), "{log:?}");
    // The engine's line, the host's line about the failed job, and the program's last line.
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log:?}");
    let whole = "hostile: red [31m 2026-01-01 INFO forged back";
    assert!(lines.iter().all(|line| line.contains(whole)), "{log:?}");
}
