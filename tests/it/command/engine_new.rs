//! `pinhole engine new` and `encode`: what they write, and what they refuse.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// All files below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn engine_new_writes_a_folder_with_the_name_of_the_engine() {
    for language in ["rust", "js", "python", "c"] {
        let program = Program::new(&[]);
        program
            .run(&["engine", "new", "flux-2", "--lang", language])
            .done();
        let folder = program.path("work/flux-2");
        for path in files_below(&folder) {
            let text = fs::read_to_string(&path).unwrap();
            for name in ["my-engine", "MY_ENGINE", "My engine"] {
                let is_foreign = path.starts_with(folder.join("pinhole-sdk"));
                assert!(is_foreign || !text.contains(name), "{}", path.display());
            }
        }
        assert!(folder.join("cases/flux-2/M1-one-image/case.json").exists());
        assert!(folder.join("pinhole-sdk/wit/engine.wit").exists());
        let script = fs::metadata(folder.join("build.sh")).unwrap();
        assert_eq!(script.permissions().mode() & 0o100, 0o100);
    }
}

#[test]
fn engine_new_refuses_a_folder_that_exists() {
    let program = Program::new(&[]);
    fs::create_dir(program.path("work/flux")).unwrap();
    let message = program
        .run(&["engine", "new", "flux", "--lang", "c"])
        .failed(2);
    assert_eq!(
        message,
        "pinhole: flux already exists: choose another folder with --into\n"
    );
    assert!(files_below(&program.path("work")).is_empty());
}

#[test]
fn engine_new_refuses_a_name_that_admission_refuses() {
    let program = Program::new(&[]);
    for name in ["Flux", "../flux", "2flux", ""] {
        let message = program
            .run(&["engine", "new", name, "--lang", "js"])
            .failed(2);
        assert!(message.contains("lower-case letters"), "{message}");
    }
    assert!(files_below(&program.path("work")).is_empty());
}

#[test]
fn engine_encode_refuses_a_file_that_is_no_engine() {
    let program = Program::new(&[]);
    let module = program.path("work/module");
    for (bytes, code, expected) in [
        (None, 2, "cannot read"),
        (Some(&b"text"[..]), 1, "not a core module"),
        (Some(b"\0asm\x01\0\0\0"), 1, "cannot encode"),
    ] {
        if let Some(bytes) = bytes {
            fs::write(&module, bytes).unwrap();
        }
        let message = program
            .run(&["engine", "encode", "module", "--out", "engine.wasm"])
            .failed(code);
        assert!(message.contains(expected), "{message}");
    }
    assert!(!program.path("work/engine.wasm").exists());
}
