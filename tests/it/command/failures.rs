//! Errors that stop the program at the start, in one line.

use super::*;

#[test]
fn unusable_data_directory_is_named() {
    let program = Program::new(&["sketch"]);
    fs::write(program.path("file"), b"").unwrap();
    for data in [program.path("file"), program.path("file").join("data")] {
        let data = data.to_str().unwrap();
        let candidate = Program::new(&["sketch"]).with("PINHOLE_DATA", data);
        for arguments in [
            &["generate", "x"][..],
            &["engine", "list"],
            &["serve", "--listen", "127.0.0.1:0"],
        ] {
            let line = candidate.run(arguments).failed(1);
            assert!(
                line.contains(&format!("cannot use directory {data}: ")),
                "{line}"
            );
        }
    }
    let line = program
        .with("PINHOLE_ENGINES", "nowhere")
        .run(&["generate", "x"])
        .failed(1);
    let expected = "cannot read the engine directory nowhere: set PINHOLE_ENGINES";
    assert!(line.contains(expected), "{line}");
}

#[test]
fn full_disk_is_named_at_the_start() {
    // A limit on the length of files replaces a full disk, because it needs no privileges.
    let program = Program::new(&["sketch"]);
    let limited = |blocks: u32, arguments: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).arg(pinhole_tests::program());
        CommandOutput::of(program.around(shell, arguments)).failed(1)
    };
    let serve = &["serve", "--listen", "127.0.0.1:0"][..];
    let data = program.path("data");
    fs::create_dir(&data).unwrap();
    for arguments in [&["generate", "x"][..], &["engine", "list"], serve] {
        let line = limited(0, arguments);
        assert!(
            line.contains(&format!("cannot use directory {}: ", data.display())),
            "{line}"
        );
    }
    // Enough space to open the directory, but not for the database.
    let line = limited(16, serve);
    assert!(
        line.contains(&format!("cannot use the database {}", data.display())),
        "{line}"
    );
}

#[test]
fn unwritable_image_is_one_line() {
    let program = Program::new(&["sketch"]);
    let line = program
        .run(&["generate", "x", "--size", "8x8", "--out", "no/x.png"])
        .failed(1);
    assert!(
        line.contains("cannot write no/x.png: No such file or directory"),
        "{line}"
    );
}

#[test]
fn invalid_setting_is_named() {
    for (name, value, expected) in [
        (
            "IMAGE_STEPS",
            "abc",
            "IMAGE_STEPS is \"abc\": it must be a whole number",
        ),
        ("IMAGE_SIZE", "axb", "IMAGE_SIZE \"axb\" is neither WxH"),
        (
            "IMAGE_EDIT_SIZE",
            "axb",
            "IMAGE_EDIT_SIZE \"axb\" is neither WxH",
        ),
        ("IMAGE_SIZE", "99999x1", "IMAGE_SIZE 99999x1 is not allowed"),
        (
            "OPENAI_API_BASE_URL",
            "nonsense",
            "OPENAI_API_BASE_URL cannot be used: the URL is invalid",
        ),
        (
            "OPENAI_API_BASE_URL",
            "http://me:secret-4711@host",
            "OPENAI_API_BASE_URL cannot be used: the URL of host contains a user name",
        ),
        (
            "OPENAI_API_KEY",
            "secret-4711\u{1}",
            "OPENAI_API_KEY cannot be used",
        ),
        (
            "PINHOLE_SLOTS",
            "0",
            "PINHOLE_SLOTS is \"0\": it must be a whole number from 1 to 10000",
        ),
        (
            "PINHOLE_JOB_TIMEOUT_SECS",
            "soon",
            "PINHOLE_JOB_TIMEOUT_SECS is \"soon\"",
        ),
        (
            "PINHOLE_COMPILE_SECS",
            "3601",
            "PINHOLE_COMPILE_SECS is \"3601\": it must be a whole number from 1 to 3600",
        ),
        (
            "PINHOLE_COMPILE_MIB",
            "2 GB",
            "PINHOLE_COMPILE_MIB is \"2 GB\": it must be a whole number from 1 to 65536",
        ),
        (
            "PINHOLE_AUDIT_MIB",
            "0",
            "PINHOLE_AUDIT_MIB is \"0\": it must be a whole number from 1 to 1048576",
        ),
        (
            "PINHOLE_AUDIT_RETENTION_DAYS",
            "forever",
            "PINHOLE_AUDIT_RETENTION_DAYS is \"forever\": it must be a whole number from 1 to 36500",
        ),
        (
            "WEBUI_SECRET_KEY",
            "secret-4711",
            "WEBUI_SECRET_KEY has 11 bytes: it must have at least 16; create one with `openssl rand -base64 32`",
        ),
    ] {
        let program = Program::new(&[]).with(name, value);
        let line = program.run(&["serve", "--listen", "127.0.0.1:0"]).failed(1);
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("secret-4711"), "{line}");
    }
}
