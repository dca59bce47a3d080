//! What the server prints to a terminal.

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null_mut;

use super::*;

/// Both ends of a pseudo terminal: the one of the person, and the one of the program.
fn open_terminal() -> (File, OwnedFd) {
    let (mut person, mut program) = (-1, -1);
    #[expect(unsafe_code, reason = "the standard library opens no terminals")]
    // SAFETY: the pointers are valid for the call, or null where that is allowed. The descriptors are new.
    unsafe {
        let opened = libc::openpty(
            &raw mut person,
            &raw mut program,
            null_mut(),
            null_mut(),
            null_mut(),
        );
        assert_eq!(opened, 0);
        (File::from_raw_fd(person), OwnedFd::from_raw_fd(program))
    }
}

#[test]
fn administrator_key_is_printed_to_a_terminal_and_to_no_file() {
    let program = Program::new(&["sketch"]);
    let (person, terminal) = open_terminal();
    let mut command = program.command(&["serve", "--listen", "127.0.0.1:0"]);
    let child = command
        .stdout(terminal)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The program alone has the other end now.
    drop(command);
    let lines = BufReader::new(person).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take(4).collect();
    signal(child.id(), "KILL");
    child.wait_with_output().unwrap();
    let key = lines[3]
        .trim()
        .strip_prefix("administrator key (shown once): ");
    assert!(key.is_some_and(|key| key.starts_with("sk-")), "{lines:?}");
    assert!(!program.path("data/administrator-key").exists());
}
