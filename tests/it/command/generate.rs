//! `pinhole generate`: images, files and refusals.

use super::*;

#[test]
fn generate_prints_only_the_path_and_uses_the_requested_size() {
    let program = Program::new(&["sketch"]);
    let prompt = "A red fox, at dawn!";
    let lines = program.run(&["generate", prompt, "--size", "96x64"]).done();
    assert_eq!(lines, ["a-red-fox-at-dawn.png"]);
    let first = program.path("work").join("a-red-fox-at-dawn.png");
    assert_eq!(png_size(&first), (96, 64));

    // An existing file is not overwritten.
    let before = fs::read(&first).unwrap();
    let second_lines = program.run(&["generate", prompt, "--size", "32x32"]).done();
    assert_eq!(second_lines, ["a-red-fox-at-dawn-2.png"]);
    assert_eq!(fs::read(&first).unwrap(), before);

    // Without a requested size, the settings' size applies.
    let program = program.with("IMAGE_SIZE", "48x40");
    let out = program.path("here.png");
    let out_lines = program
        .run(&["generate", "x", "--out", out.to_str().unwrap()])
        .done();
    assert_eq!(out_lines, [out.to_str().unwrap()]);
    assert_eq!(png_size(&out), (48, 40));
}

#[test]
fn several_images_are_numbered_and_differ() {
    let program = Program::new(&["sketch"]);
    let work = program.path("work");
    let few = ["--size", "32x32", "--count", "2"];
    let lines = program
        .run(&[&["generate", "two hills"], &few[..]].concat())
        .done();
    assert_eq!(lines, ["two-hills-1.png", "two-hills-2.png"]);
    let bytes = [0, 1].map(|index| fs::read(work.join(&lines[index])).unwrap());
    assert_ne!(bytes[0], bytes[1]);

    let named = ["generate", "two hills", "--out", "hill.png"];
    let named_lines = program.run(&[&named[..], &few[..]].concat()).done();
    assert_eq!(named_lines, ["hill-1.png", "hill-2.png"]);
    assert_eq!(fs::read_dir(work).unwrap().count(), 4);
}

#[test]
fn same_seed_generates_the_same_bytes() {
    let program = Program::new(&["sketch"]);
    let draw = |seed: &str, out: &str| {
        let arguments = [
            "generate", "a hill", "--size", "64x64", "--seed", seed, "--out", out,
        ];
        program.run(&arguments).done();
        fs::read(program.path("work").join(out)).unwrap()
    };
    let first = draw("7", "a.png");
    assert_eq!(draw("7", "b.png"), first);
    assert_ne!(draw("8", "c.png"), first);
}

#[test]
fn invalid_use_is_one_line_and_exit_code_2() {
    let program = Program::new(&["sketch", "automatic1111", "hostile"]);
    fs::write(program.path("pixel.png"), pinhole_tests::PIXEL).unwrap();
    let long = "x".repeat(32_001);
    for (arguments, expected) in [
        (&["generate", ""][..], "the prompt is empty"),
        (&["generate", " \n"], "the prompt is empty"),
        (
            &["generate", &long],
            "the prompt has 32001 bytes, more than the 32000 allowed",
        ),
        (
            &["generate", "x", "--size", "axb"],
            "size \"axb\" is neither WxH, such as 1024x1024",
        ),
        (
            &["generate", "x", "--size", "0x64"],
            "size 0x64 is not allowed",
        ),
        (
            &["generate", "x", "--size", "8192x8192"],
            "size 8192x8192 is not allowed",
        ),
        (
            &["generate", "x", "--engine", "nobody"],
            "unknown engine nobody: use one of automatic1111, hostile, sketch",
        ),
        (&["generate", "x", "--engine", ""], "unknown engine "),
        (
            &["generate", "x", "--count", "0"],
            "0 images were requested, but engine sketch generates 1 to 10",
        ),
        (
            &["generate", "x", "--count", "11"],
            "11 images were requested",
        ),
        (
            &["generate", "x", "--out", "."],
            "is not a file path: name a file with --out",
        ),
        (
            &["generate", "x", "--engine", "automatic1111"],
            "set AUTOMATIC1111_BASE_URL to the URL of AUTOMATIC1111",
        ),
        (
            &["generate", "x", "--engine", "hostile"],
            "set HOSTILE_BASE_URL",
        ),
        (
            &["generate", "x", "--image", "nowhere.png"],
            "cannot read nowhere.png: No such file",
        ),
        (
            &["generate", "x", "--image", "../engines/sketch.wasm"],
            "cannot use ../engines/sketch.wasm: the bytes are not a PNG",
        ),
        (
            &["generate", "x", "--parameters", "[1]"],
            "--parameters is not a JSON object",
        ),
        (
            &["generate", "x", "--image", "../pixel.png"],
            "engine sketch cannot edit images",
        ),
    ] {
        let line = program.run(arguments).failed(2);
        assert!(line.contains(expected), "{arguments:?}: {line}");
    }
    let program = program.with("HOSTILE_BASE_URL", "http://127.0.0.1:9");
    let line = program
        .run(&["generate", "x", "--engine", "hostile", "--seed", "1"])
        .failed(2);
    assert!(
        line.contains("engine hostile does not support seed: leave it out"),
        "{line}"
    );
    assert_eq!(fs::read_dir(program.path("work")).unwrap().count(), 0);
}

#[test]
fn invalid_command_line_is_exit_code_2() {
    let program = Program::new(&[]);
    for (arguments, expected) in [
        (&["generate"][..], "<PROMPT>"),
        (
            &["generate", "x", "--count", "many"],
            "'many' for '--count <N>'",
        ),
        (&["generate", "x", "--seed", "-1"], "'-1'"),
        (&["generate", "x", "--out", ""], "--out <FILE>"),
        (&["generate", "x", "--size"], "--size <WxH>"),
        (&["generate", "x", "y"], "'y'"),
        (&["generate", "x", "--mask", "m.png"], "--image <FILE>"),
        (
            &["serve", "--listen", "nowhere"],
            "'nowhere' for '--listen <LISTEN>'",
        ),
        (&["engine", "sing"], "'sing'"),
        (&["frobnicate"], "'frobnicate'"),
    ] {
        let output = program.run(arguments);
        assert_eq!(
            (output.code, output.out.as_str()),
            (Some(2), ""),
            "{output:?}"
        );
        assert!(
            output.err.starts_with("error: ") && output.err.contains(expected),
            "{output:?}"
        );
    }
    assert!(!program.path("data").exists());
}
