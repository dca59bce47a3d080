//! The commands `user` and `key`, and the access of other processes and users to the data directory.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// The status of a request with this key or session.
fn status(server: &RunningServer, credential: &str) -> u16 {
    http(server.address(), "GET", "/api/v1/auths/", credential, "").0
}

/// The text after the colon of the only line that starts like this.
#[track_caller]
fn shown<'a>(lines: &'a [String], name: &str) -> &'a str {
    let values: Vec<_> = lines
        .iter()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .collect();
    let [value] = values[..] else {
        panic!("{lines:?}")
    };
    value
}

fn sign_in(server: &RunningServer, email: &str, password: &str) -> u16 {
    let body = json!({"email": email, "password": password}).to_string();
    http(server.address(), "POST", "/api/v1/auths/signin", "", &body).0
}

#[test]
fn lost_key_is_replaced_while_the_server_runs() {
    let program = Program::new(&[]);
    let server = program.serve();
    let lost = server.key();
    let users = program.run(&["user", "list"]).done();
    let [administrator] = &users[..] else {
        panic!("{users:?}")
    };
    let fields: Vec<_> = administrator.split('\t').collect();
    let [id, "admin", "-", "Administrator"] = fields[..] else {
        panic!("{fields:?}")
    };
    let reset = program.run(&["key", "reset", id]).done();
    let key = shown(&reset, "API key (shown once)");
    assert_eq!((status(&server, &lost), status(&server, key)), (401, 200));

    let unknown = program.run(&["key", "reset", "ada@example.com"]).failed(2);
    let expected = "unknown user ada@example.com: list the users with `pinhole user list`";
    assert!(unknown.contains(expected), "{unknown}");
    let without_account = program.run(&["user", "reset-password", id]).failed(2);
    assert!(
        without_account.contains("has no account: run `pinhole key reset"),
        "{without_account}"
    );
}

#[test]
fn user_is_added_and_gets_a_new_password_while_the_server_runs() {
    let program = Program::new(&[]);
    let server = program.serve();
    let added = program
        .run(&["user", "add", "Ada@example.com", "--admin", "--name", "Ada"])
        .done();
    let password = shown(&added, "password (shown once)");
    assert!(
        added[0].ends_with("\tadmin\tada@example.com\tAda"),
        "{added:?}"
    );
    assert_eq!(sign_in(&server, "ada@example.com", password), 200);
    let key = program.run(&["key", "reset", "ada@example.com"]).done();
    let key = shown(&key, "API key (shown once)");
    assert_eq!(status(&server, key), 200);

    let reset = program
        .run(&["user", "reset-password", "ada@example.com"])
        .done();
    let new = shown(&reset, "password (shown once)");
    assert_eq!(sign_in(&server, "ada@example.com", password), 400);
    assert_eq!(sign_in(&server, "ada@example.com", new), 200);
    assert_eq!(status(&server, key), 401);

    for (email, expected) in [
        ("ada@example.com", "an account with this email exists"),
        ("no email", "email must look like"),
    ] {
        let refused = program.run(&["user", "add", email]).failed(1);
        assert!(refused.contains(expected), "{refused}");
    }
    program.run(&["user", "add", "eve@example.com"]).done();
    let roles: Vec<_> = program.run(&["user", "list"]).done();
    assert_eq!(roles.len(), 3, "{roles:?}");
    assert!(
        roles
            .iter()
            .any(|line| line.contains("\tuser\teve@example.com\t"))
    );
}

#[test]
fn user_commands_create_no_database() {
    let program = Program::new(&[]);
    for arguments in [
        &["user", "list"][..],
        &["user", "add", "ada@example.com"],
        &["key", "reset", "ada@example.com"],
    ] {
        let line = program.run(arguments).failed(1);
        assert!(
            line.contains("contains no database: set PINHOLE_DATA"),
            "{line}"
        );
    }
    assert!(!program.path("data").exists());
}

#[test]
fn second_server_names_the_process_of_the_first() {
    let program = Program::new(&["sketch"]).with("PINHOLE_LOG", "off");
    let server = program.serve();
    let serve = &["serve", "--listen", "127.0.0.1:0"][..];
    let line = program.run(serve).failed(1);
    let expected = format!(
        "cannot lock the data directory {}: another server (process {}) uses it: stop that server",
        program.path("data").display(),
        server.child.id()
    );
    assert!(line.contains(&expected), "{line}");
    // Other commands work at the same time.
    program.run(&["engine", "list"]).done();
    program
        .run(&["generate", "a hill", "--size", "16x16"])
        .done();
    server.signal("KILL");
    server.end();
    program.serve();
}

#[test]
fn files_in_an_open_directory_are_restricted_with_one_warning() {
    let program = Program::new(&[]);
    let data = program.path("data");
    let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    let set_mode = |name: &str, bits: u32| {
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(bits)).unwrap();
    };
    fs::create_dir(&data).unwrap();
    set_mode(".", 0o777);
    drop(program.serve());
    assert_eq!((mode("."), mode("pinhole.db")), (0o777, 0o600));
    set_mode("pinhole.db", 0o644);
    set_mode("session-key", 0o640);
    drop(program.serve());
    assert_eq!((mode("pinhole.db"), mode("session-key")), (0o600, 0o600));
    let log = fs::read_to_string(program.path("log")).unwrap();
    let expected = format!(
        "other users of this machine could access pinhole.db, session-key in {}",
        data.display()
    );
    assert_eq!(log.matches("could access").count(), 1, "{log}");
    assert!(log.contains(&expected), "{log}");
    assert!(log.contains("run `chmod go-w "), "{log}");
}

#[test]
fn keys_and_sessions_are_listed_and_ended_while_the_server_runs() {
    let program = Program::new(&[]);
    let server = program.serve();
    let added = program.run(&["user", "add", "ada@example.com"]).done();
    let password = shown(&added, "password (shown once)").to_owned();
    let create = |arguments: &[&str]| {
        let all = [&["key", "create", "ada@example.com"], arguments].concat();
        let lines = program.run(&all).done();
        shown(&lines, "API key (shown once)").to_owned()
    };
    let laptop = create(&["--name", "laptop", "--expires", "30d"]);
    let unnamed = create(&[]);
    assert_eq!(
        (status(&server, &laptop), status(&server, &unnamed)),
        (200, 200)
    );
    let lines = program.run(&["key", "list", "ada@example.com"]).done();
    let line = lines
        .iter()
        .find(|line| line.ends_with("\tlaptop"))
        .unwrap();
    let fields: Vec<_> = line.split('\t').collect();
    let [id, created, _, expires, prefix, _] = fields[..] else {
        panic!("{fields:?}")
    };
    let lifetime = expires.parse::<i64>().unwrap() - created.parse::<i64>().unwrap();
    assert!((lifetime - 30 * 24 * 3600).abs() < 60, "{line}");
    assert_eq!(prefix, &laptop[..7]);
    let revoke = ["key", "revoke", "ada@example.com", "--id", id];
    assert_eq!(program.run(&revoke).done(), ["revoked 1 API key(s)"]);
    assert_eq!(
        (status(&server, &laptop), status(&server, &unnamed)),
        (401, 200)
    );
    for (option, value, code) in [("--expires", "soon", 2), ("--name", "a\nb", 2)] {
        let arguments = ["key", "create", "ada@example.com", option, value];
        let output = program.run(&arguments);
        assert_eq!(output.code, Some(code), "{output:?}");
    }

    let body = json!({"email": "ada@example.com", "password": password}).to_string();
    let (_, session) = http(server.address(), "POST", "/api/v1/auths/signin", "", &body);
    let (_, session) = session.split_once("\r\n\r\n").unwrap();
    let session: Value = serde_json::from_str(session).unwrap();
    let token = session["token"].as_str().unwrap();
    assert_eq!(status(&server, token), 200);
    let sessions = program.run(&["user", "sessions", "ada@example.com"]).done();
    let [only] = &sessions[..] else {
        panic!("{sessions:?}")
    };
    assert!(only.contains("\t127.0.0.1\t"), "{only}");
    let unknown = ["user", "end-sessions", "ada@example.com", "--id", "x"];
    let refused = program.run(&unknown).failed(2);
    assert!(
        refused.contains("unknown session x: list the sessions"),
        "{refused}"
    );
    let ended = program
        .run(&["user", "end-sessions", "ada@example.com"])
        .done();
    assert_eq!(ended, ["ended 1 session(s)"]);
    assert_eq!(
        (status(&server, token), status(&server, &unnamed)),
        (401, 200)
    );
}
