//! A child process compiles components within limits.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use pinhole::config::Config;
use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::{Compiler, Engines};
use pinhole_tests::{TestServer, compiler, engines, environment, program};
use tempfile::TempDir;
use wasm_encoder::{
    BlockType, CodeSection, Component, CustomSection, Function, FunctionSection, Module,
    ModuleSection, NestedComponentSection, TypeSection,
};

fn sketch() -> Vec<u8> {
    fs::read(engines().join("sketch.wasm")).unwrap()
}

/// A component with a core module of these functions, which have no parameters and no results.
fn component(functions: impl IntoIterator<Item = Function>) -> Vec<u8> {
    let (mut types, mut declared, mut code) = (
        TypeSection::new(),
        FunctionSection::new(),
        CodeSection::new(),
    );
    types.ty().function([], []);
    for function in functions {
        declared.function(0);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// Half a million functions with a body.
fn many_functions() -> Vec<u8> {
    let mut function = Function::new([(2, wasm_encoder::ValType::I64)]);
    let mut body = function.instructions();
    for _ in 0..10 {
        body.local_get(0)
            .local_get(1)
            .i64_mul()
            .i64_const(7)
            .i64_rem_s()
            .local_set(0);
    }
    body.end();
    component(std::iter::repeat_n(function, 500_000))
}

/// Functions with a jump table of the maximum length.
fn wide_jumps() -> Vec<u8> {
    let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
    let mut body = function.instructions();
    for _ in 0..1000 {
        body.block(BlockType::Empty);
    }
    let targets: Vec<u32> = (0..60_000).map(|target| target % 1000).collect();
    body.local_get(0).br_table(targets, 0);
    for _ in 0..1000 {
        body.end();
    }
    body.end();
    component(std::iter::repeat_n(function, 300))
}

/// One function of nested blocks.
fn deep_blocks() -> Vec<u8> {
    let mut function = Function::new([]);
    let mut body = function.instructions();
    for _ in 0..1_500_000 {
        body.block(BlockType::Empty);
    }
    for _ in 0..1_500_000 {
        body.end();
    }
    body.end();
    component([function])
}

/// Nested components.
fn deep_components() -> Vec<u8> {
    let mut inner = Component::new();
    for _ in 0..5000 {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        inner = outer;
    }
    inner.finish()
}

/// A custom section with a name and very many bytes.
fn long_section() -> Vec<u8> {
    let mut component = Component::new();
    component.section(&CustomSection {
        name: "padding".into(),
        data: vec![0; 60 << 20].into(),
    });
    component.finish()
}

async fn open(engines: &TempDir, data: &TempDir, compiler: &Compiler) -> Engines {
    let engines = engines.path().to_str().unwrap();
    let config = Config::new(environment(data, &[("PINHOLE_ENGINES", engines)])).unwrap();
    let config = Config {
        compiler: compiler.clone(),
        ..config
    };
    let options = config.engine_options(AuditLog::default(), Decoder::default());
    Engines::open(&options, &config.engines).await.unwrap()
}

/// Opens a directory with this file and an empty data directory. Returns the reason of the rejection.
async fn refusal(bytes: &[u8], compiler: &Compiler) -> String {
    let (directory, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("x.wasm"), bytes).unwrap();
    let engines = open(&directory, &data, compiler).await;
    match engines.rejected.as_slice() {
        [rejected] => rejected.reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// A shell script as the compiler. It exists as long as the directory.
fn script(lines: &str) -> (TempDir, Compiler) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("compiler");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    let compiler = Compiler {
        program: path,
        ..compiler()
    };
    (directory, compiler)
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_compilation_is_refused_while_the_server_responds() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let compiler = Compiler {
        time: Duration::from_secs(1),
        ..compiler()
    };
    let bomb = many_functions();
    let answering = async {
        loop {
            let response = server.client.get(server.url("/health")).send().await;
            assert_eq!(response.unwrap().status(), 200);
        }
    };
    let reason = tokio::select! {
        reason = refusal(&bomb, &compiler) => reason,
        () = answering => unreachable!(),
    };
    assert_eq!(
        reason,
        "takes more than 1 s to compile: increase PINHOLE_COMPILE_SECS if you trust it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn compilation_over_the_memory_limit_is_refused() {
    let compiler = Compiler {
        memory_bytes: 512 << 20,
        time: Duration::from_secs(3600),
        ..compiler()
    };
    let reason = refusal(&many_functions(), &compiler).await;
    assert_eq!(
        reason,
        "needs more than 512 MiB of memory to compile: increase PINHOLE_COMPILE_MIB if you trust it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_compilation_bombs_end() {
    let compiler = Compiler {
        time: Duration::from_secs(5),
        ..compiler()
    };
    for (bomb, reasons) in [
        (
            wide_jumps(),
            &["takes more than 5 s", "does not export"] as &[_],
        ),
        (
            deep_blocks(),
            &["takes more than 5 s", "needs more", "does not export"],
        ),
        (
            deep_components(),
            &["takes more than 5 s", "does not export"],
        ),
        (long_section(), &["does not export"]),
    ] {
        let reason = refusal(&bomb, &compiler).await;
        assert!(
            reasons.iter().any(|start| reason.starts_with(start)),
            "{reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_compiler_is_reported_with_its_remedy() {
    let compiler = Compiler {
        program: PathBuf::from("/nonexistent/pinhole"),
        ..compiler()
    };
    let reason = refusal(&sketch(), &compiler).await;
    assert!(
        reason.starts_with("cannot be compiled, because /nonexistent/pinhole cannot be started ("),
        "{reason}"
    );
    assert!(
        reason.ends_with("): set PINHOLE_COMPILER to the path of `pinhole`"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaving_compiler_rejects_only_its_file() {
    for (lines, expected) in [
        ("kill -SEGV $$", "crashed the compiler (signal 11)"),
        (
            "kill -KILL $$",
            "cannot be compiled: the system killed the compiler",
        ),
        ("exit 7", "crashed the compiler: "),
        (
            "printf 'no\\033[31m\\nengine' >&2; exit 1",
            "is not a valid component: no [31m engine",
        ),
        // More output than the server reads.
        ("yes no >&2; exit 1", "is not a valid component: no no"),
        (
            "cat /dev/zero",
            "compiles to more than 268435456 bytes of code",
        ),
        ("echo hello", "is not a valid component: "),
        // The input, which is not compiled code.
        ("cat", "is not a valid component: "),
    ] {
        let (_directory, compiler) = script(lines);
        let reason = refusal(&sketch(), &compiler).await;
        assert!(reason.starts_with(expected), "{lines}: {reason}");
        assert!(reason.len() < 500, "{lines}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compiler_that_does_not_respond_is_stopped() {
    let (_directory, mut compiler) = script("exec sleep 1000");
    compiler.time = Duration::from_millis(100);
    let reason = refusal(&sketch(), &compiler).await;
    assert!(reason.starts_with("takes more than 0 s"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiler_gets_its_limits_and_no_environment() {
    let log = tempfile::tempdir().unwrap();
    let (log, program) = (log.path().join("told"), program());
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    let (_directory, compiler) = script(&format!(
        "env > {log}; pwd >> {log}; echo \"$@\" >> {log}; exec {program} \"$@\"",
        log = log.display(),
        program = program.display(),
    ));
    let (directory, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("sketch.wasm"), sketch()).unwrap();
    let engines = open(&directory, &data, &compiler).await;
    assert!(engines.get("sketch").is_some(), "{:?}", engines.rejected);

    let log = fs::read_to_string(log).unwrap();
    let threads = |line: &&str| line.starts_with("RAYON_NUM_THREADS=");
    // The shell sets some variables itself.
    let shell = |line: &&str| {
        ["PWD=", "SHLVL=", "_=", "OLDPWD="]
            .iter()
            .any(|it| line.starts_with(it))
    };
    let lines: Vec<_> = log.lines().filter(|line| !shell(line)).collect();
    assert!(threads(&lines[0]), "{log}");
    assert_eq!(
        lines[1..],
        [
            "/",
            "compile --memory-bytes 2147483648 --cpu-secs 60 --urgent"
        ],
        "{log}"
    );
}

#[test]
fn compiler_sets_its_limits_before_it_reads() {
    let mut child = Command::new(program())
        .args([
            "compile",
            "--memory-bytes",
            "1073741824",
            "--cpu-secs",
            "3600",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = PathBuf::from(format!("/proc/{}", child.id()));
    let of = |file: &str| fs::read_to_string(own.join(file)).unwrap();
    let bomb = many_functions();
    let (first, rest) = bomb.split_at(1 << 20);
    let mut stdin = child.stdin.take().unwrap();
    // More than a pipe can hold, so the child has begun to read when this ends.
    stdin.write_all(first).unwrap();
    let limits = of("limits");
    for (name, soft, hard) in [
        ("Max cpu time", "3600", "3601"),
        ("Max address space", "1073741824", "1073741824"),
        ("Max core file size", "0", "0"),
        ("Max file size", "0", "0"),
        ("Max open files", "3", "3"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<_> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [soft, hard], "{line}");
    }
    let nice = of("stat");
    let nice = nice.rsplit(')').next().unwrap().split_whitespace().nth(16);
    assert_eq!(nice, Some("12"));
    assert_eq!(of("oom_score_adj").trim(), "1000");
    assert!(of("status").contains("Seccomp:\t0"), "too early");

    stdin.write_all(rest).unwrap();
    drop(stdin);
    // The child compiles for a while now, without system calls.
    while !of("status").contains("Seccomp:\t2") {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    assert!(of("status").contains("NoNewPrivs:\t1"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn compiler_ends_with_its_server() {
    let (directory, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(directory.path().join("x.wasm"), many_functions()).unwrap();
    let alive = data.path().join("alive");
    assert!(
        Command::new("mkfifo")
            .arg(&alive)
            .status()
            .unwrap()
            .success()
    );
    // The pipe is open as long as the child lives.
    let (_script, compiler) = script(&format!(
        "exec 9> {}; echo >&9; exec {} \"$@\"",
        alive.display(),
        program().display(),
    ));
    let mut server = Command::new(program())
        .args(["engine", "list"])
        .env_clear()
        .env("PINHOLE_DATA", data.path().join("data"))
        .env("PINHOLE_ENGINES", directory.path())
        .env("PINHOLE_COMPILER", &compiler.program)
        .env("PINHOLE_COMPILE_SECS", "3600")
        .env("PINHOLE_COMPILE_MIB", "16384")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut alive = File::open(alive).unwrap();
    alive.read_exact(&mut [0]).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(alive.read_to_end(&mut Vec::new()).unwrap(), 0);
}
