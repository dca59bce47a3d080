//! The control socket, and bad use of the commands that it serves.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn bad_use_of_engine_commands_is_one_line() {
    let program = Program::new(&["sketch"]);
    let _serving = program.serve();
    let missing = program.engine(&["install", "nowhere.wasm"]).failed(2);
    assert!(
        missing.contains("cannot read the component nowhere.wasm"),
        "{missing}"
    );
    let text = program.path("work").join("text");
    fs::write(&text, "text").unwrap();
    let refused = program.engine(&["install", "text"]).failed(1);
    assert_eq!(refused, "pinhole: the component is not WebAssembly\n");
    for arguments in [
        &["show", "nobody"][..],
        &["history", "nobody"],
        &["pin", "nobody"],
        &["grant", "nobody"],
        &["rollback", "nobody"],
        &["rollback", "sketch", "--to", "00"],
    ] {
        program.engine(arguments).failed(2);
    }
    let before = program.engine(&["rollback", "sketch"]).failed(1);
    assert!(before.contains("has no previous version"), "{before}");
}

#[test]
fn control_socket_is_private_and_serves_the_next_server_too() {
    let program = Program::new(&["sketch"]);
    let socket = program.path("data").join("control.sock");
    for _ in 0..2 {
        let serving = program.serve();
        let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        program.engine(&["list"]).done();
        // It leaves its socket behind.
        serving.signal("KILL");
        serving.end();
        assert!(socket.exists());
        program.engine(&["list"]).done();
    }
}

#[test]
fn server_without_a_control_socket_warns_and_serves() {
    let program = Program::new(&["sketch"]);
    let data = program.path(&"x".repeat(120));
    let program = program.with("PINHOLE_DATA", data.to_str().unwrap());
    let serving = program.serve();
    assert_eq!(http(serving.address(), "GET", "/health", "", "").0, 200);
    let log = fs::read_to_string(program.path("log")).unwrap();
    assert!(
        log.contains("the path of the data directory is too long for control.sock"),
        "{log}"
    );
    let line = program.engine(&["pin", "sketch"]).failed(1);
    assert!(
        line.contains("cannot reach the running server (process "),
        "{line}"
    );
}
