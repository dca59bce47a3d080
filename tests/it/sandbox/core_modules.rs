//! Engines written in WebAssembly text. `tests/guests/core` describes the fault of each.

use super::*;

/// The component built from this file.
fn core_component(name: &str) -> Vec<u8> {
    std::fs::read(guests().join(name).with_extension("wasm")).unwrap()
}

/// A server whose engine `core` is this component.
async fn core_server(name: &str) -> TestServer {
    let engines = engine_dir_of(&[("core.wasm", &core_component(name))]);
    let server = TestServer::start(&[("PINHOLE_ENGINES", engines.path().to_str().unwrap())]).await;
    let snapshot = server.app.jobs.snapshot();
    let refused = &snapshot.engines.rejected;
    assert!(refused.is_empty(), "{name}: {refused:?}");
    server
}

/// A directory with these components.
fn engine_dir_of(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    }
    directory
}

/// Opens a server with these components and a valid one. Returns file and reason of each rejection.
async fn rejections(files: &[(&str, &[u8])]) -> Vec<(String, String)> {
    let good = core_component("core");
    let all = [files, &[("z-good.wasm", good.as_slice())]].concat();
    let engines = engine_dir_of(&all);
    let server = TestServer::start(&[("PINHOLE_ENGINES", engines.path().to_str().unwrap())]).await;
    assert!(server.app.jobs.snapshot().engines.get("core").is_some());
    let snapshot = server.app.jobs.snapshot();
    let refused = &snapshot.engines.rejected;
    assert_eq!(refused.len(), files.len(), "{refused:?}");
    let pairs = refused.iter();
    pairs
        .map(|it| (it.file.clone(), it.reason.clone()))
        .collect()
}

/// Runs the engine `core` with these limits, and asserts that it is stopped for this reason.
async fn assert_stopped(name: &str, limits: Limits, expected: &str) {
    let server = core_server(name).await;
    let ended = spawn_job(&server, "core", "", limits, &job_context())
        .await
        .unwrap();
    match ended {
        Err(Error::Limit(Refusal { reason, .. }) | Error::Crashed(reason)) => {
            assert!(reason.contains(expected), "{name}: {reason}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn core_engine_without_fault_runs() {
    let server = core_server("core").await;
    let (kind, message) = engine_error(
        spawn_job(&server, "core", "", LIMITS, &job_context())
            .await
            .unwrap(),
    );
    assert_eq!((kind, message.as_str()), (ErrorKind::Invalid, "core"));
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_loop_is_stopped_in_every_phase() {
    let names = ["start", "describe", "allocate", "after", "drop"];
    let files = names.map(|name| {
        (
            format!("{name}.wasm"),
            core_component(&format!("spin-{name}")),
        )
    });
    let files = files
        .each_ref()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    for (file, reason) in rejections(&files).await {
        // On a busy machine, the wall-clock limit comes first.
        let computed = reason.contains("it ran for more than 1s");
        let waited = reason.contains("it took longer than 20s");
        assert!(computed || waited, "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memories_and_tables_share_memory_limit() {
    let grows = core_component("grow-memories");
    let refused = rejections(&[("grows.wasm", &grows)]).await;
    let expected = "it needs more than 268435456 bytes of memory";
    assert!(refused[0].1.contains(expected), "{refused:?}");
    // Enough for its memory and two of the four tables.
    let memory_bytes = (256 << 10) + 2 * 5000 * 16;
    let limits = Limits {
        memory_bytes,
        ..LIMITS
    };
    assert_stopped("grow-tables", limits, "bytes of memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stack_overflow_and_out_of_bounds_access_trap() {
    assert_stopped("recurse", LIMITS, "call stack exhausted").await;
    assert_stopped("beyond", LIMITS, "out of bounds memory access").await;
}

/// A number in unsigned LEB128.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The number of components nested directly in a component.
fn nested_component_count(component: &[u8]) -> usize {
    let (mut fixture, mut count) = (8, 0);
    while fixture < component.len() {
        let is_component = component[fixture] == 4;
        let (mut size, mut shift) = (0, 0);
        loop {
            fixture += 1;
            size |= usize::from(component[fixture] & 0x7f) << shift;
            shift += 7;
            if component[fixture] < 0x80 {
                break;
            }
        }
        fixture += 1 + size;
        count += usize::from(is_component);
    }
    count
}

/// Appends a nested component and this many instances of it. At the end, it does not change the index of
/// any other definition.
fn with_nested_component(component: &[u8], inside: Vec<u8>, instances: usize) -> Vec<u8> {
    let number = leb128(nested_component_count(component));
    let mut response = leb128(instances);
    for _ in 0..instances {
        response.push(0);
        response.extend(&number);
        response.push(0);
    }
    let mut bytes = component.to_vec();
    for (kind, content) in [(4, inside), (5, response)] {
        bytes.push(kind);
        bytes.extend(leb128(content.len()));
        bytes.extend(content);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_components_share_limits() {
    // 100 MB each.
    let memory = "(component (core module $m (memory 1600)) (core instance (instantiate $m)))";
    let table =
        "(component (core module $m (table 15000 funcref)) (core instance (instantiate $m)))";
    let small = "(component (core module $m (memory 1)) (core instance (instantiate $m)))";
    let empty = "(component (core module $m) (core instance (instantiate $m)))";
    let empty_component = || b"\0asm\x0d\0\x01\0".to_vec();
    let deep = (0..5_000).fold(empty_component(), |inside, _| {
        with_nested_component(&empty_component(), inside, 1)
    });
    let good = core_component("core");
    let inside = |text: &str, instances| {
        with_nested_component(&good, wat::parse_str(text).unwrap(), instances)
    };
    // Nesting within the limits is accepted, at any depth.
    for within in [inside(memory, 2), with_nested_component(&good, deep, 1)] {
        let engines = engine_dir_of(&[("core.wasm", &within)]);
        let path = engines.path().to_str().unwrap();
        let server = TestServer::start(&[("PINHOLE_ENGINES", path)]).await;
        let snapshot = server.app.jobs.snapshot();
        let refused = &snapshot.engines.rejected;
        assert!(refused.is_empty(), "{refused:?}");
    }

    let files = [
        ("instances.wasm", inside(empty, 50)),
        ("memories.wasm", inside(small, 5)),
        ("memory.wasm", inside(memory, 3)),
        ("tables.wasm", inside(table, 20)),
    ];
    let files = files
        .each_ref()
        .map(|(name, bytes)| (*name, bytes.as_slice()));
    for (file, reason) in rejections(&files).await {
        let expected = match file.as_str() {
            "memory.wasm" => "it needs more than 268435456 bytes of memory",
            "instances.wasm" => "instances",
            "memories.wasm" => "memories",
            _ => "tables",
        };
        assert!(reason.contains(expected), "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn component_model_async_is_unavailable() {
    for (name, text) in [
        (
            "stream",
            "(type $t (stream u8)) (core func (canon stream.new $t))",
        ),
        (
            "future",
            "(type $t (future u8)) (core func (canon future.new $t))",
        ),
        ("task", "(core func (canon task.cancel))"),
        ("waitable", "(core func (canon waitable-set.new))"),
    ] {
        let component = wat::parse_str(format!("(component {text})")).unwrap();
        let refused = rejections(&[("later.wasm", &component)]).await;
        let [(_, reason)] = refused.as_slice() else {
            panic!("{refused:?}");
        };
        assert!(
            reason.contains("is not a valid component"),
            "{name}: {reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_calls_count_as_host_calls() {
    let limits = Limits {
        host_calls: 1000,
        ..LIMITS
    };
    for name in ["wasi-random", "wasi-clock", "wasi-stdout"] {
        assert_stopped(name, limits, "it called the host more than 1000 times").await;
    }
    assert_stopped(
        "wasi-handles",
        LIMITS,
        "it holds more handles than a job may",
    )
    .await;
    let files = [
        ("describe.wasm", core_component("wasi-describe")),
        ("flood.wasm", core_component("wasi-random-flood")),
    ];
    let files = files
        .each_ref()
        .map(|(name, bytes)| (*name, bytes.as_slice()));
    let refused = rejections(&files).await;
    let gists = [
        "it called the host more than 100 times",
        "requested len 131072 exceeds limit 65536",
    ];
    for ((file, reason), expected) in refused.iter().zip(gists) {
        assert!(reason.contains(expected), "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wasi_sleep_ends_at_deadline() {
    let server = core_server("wasi-sleep").await;
    let limits = Limits {
        wall: SHORT,
        grace: Duration::ZERO,
        ..LIMITS
    };
    let ended = spawn_job(&server, "core", "", limits, &job_context())
        .await
        .unwrap();
    assert!(matches!(ended, Err(Error::Deadline(SHORT))), "{ended:?}");
}
