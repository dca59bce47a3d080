//! Engines that no compiler would make: `tests/guests/core` says what is wrong with each.

use super::*;

/// The component of a file there.
fn core(name: &str) -> Vec<u8> {
    std::fs::read(guests().join(name).with_extension("wasm")).unwrap()
}

/// A server with the engine `core`, made of this file.
async fn server(name: &str) -> TestServer {
    let engines = holding(&[("core.wasm", &core(name))]);
    let server = TestServer::start(&[("PINHOLE_ENGINES", engines.path().to_str().unwrap())]).await;
    let refused = server.app.jobs.engines.rejected_files();
    assert!(refused.is_empty(), "{name}: {refused:?}");
    server
}

/// A folder with these components.
fn holding(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Why each of these components is refused, beside one that is not.
async fn refusals(files: &[(&str, &[u8])]) -> Vec<(String, String)> {
    let good = core("core");
    let all = [files, &[("z-good.wasm", good.as_slice())]].concat();
    let engines = holding(&all);
    let server = TestServer::start(&[("PINHOLE_ENGINES", engines.path().to_str().unwrap())]).await;
    assert!(server.app.jobs.engines.get("core").is_some());
    let refused = server.app.jobs.engines.rejected_files();
    assert_eq!(refused.len(), files.len(), "{refused:?}");
    let pairs = refused.iter();
    pairs
        .map(|it| (it.file.clone(), it.reason.clone()))
        .collect()
}

/// The engine `core` draws under these limits, and is stopped for this.
async fn is_stopped(name: &str, limits: Limits, gist: &str) {
    let server = server(name).await;
    let ended = run(&server, "core", "", limits, &control()).await.unwrap();
    match ended {
        Err(Error::Limit(Refusal { reason, .. }) | Error::Crashed(reason)) => {
            assert!(reason.contains(gist), "{name}: {reason}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_nothing_wrong_answers() {
    let server = server("core").await;
    let (kind, message) = said(run(&server, "core", "", LIMITS, &control()).await.unwrap());
    assert_eq!((kind, message.as_str()), (ErrorKind::Invalid, "core"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_an_engine_computes_for_ever_it_is_stopped() {
    let names = ["start", "describe", "allocate", "after", "drop"];
    let files = names.map(|name| (format!("{name}.wasm"), core(&format!("spin-{name}"))));
    let files = files
        .each_ref()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    for (file, reason) in refusals(&files).await {
        // On a machine that has no time for it, the other limit comes first.
        let computed = reason.contains("it ran for more than 1s");
        let waited = reason.contains("it took longer than 20s");
        assert!(computed || waited, "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memories_and_tables_count_together() {
    let grows = core("grow-memories");
    let refused = refusals(&[("grows.wasm", &grows)]).await;
    let gist = "it needs more than 268435456 bytes of memory";
    assert!(refused[0].1.contains(gist), "{refused:?}");
    // Its own memory, and two of the four tables.
    let memory_bytes = (256 << 10) + 2 * 5000 * 16;
    let limits = Limits {
        memory_bytes,
        ..LIMITS
    };
    is_stopped("grow-tables", limits, "bytes of memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_and_a_memory_end() {
    is_stopped("recurse", LIMITS, "call stack exhausted").await;
    is_stopped("beyond", LIMITS, "out of bounds memory access").await;
}

/// A length as WebAssembly writes it.
fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// How many components a component has inside it.
fn insides(component: &[u8]) -> usize {
    let (mut place, mut count) = (8, 0);
    while place < component.len() {
        let is_component = component[place] == 4;
        let (mut size, mut shift) = (0, 0);
        loop {
            place += 1;
            size |= usize::from(component[place] & 0x7f) << shift;
            shift += 7;
            if component[place] < 0x80 {
                break;
            }
        }
        place += 1 + size;
        count += usize::from(is_component);
    }
    count
}

/// The component with another one inside it, of which so many instances are made. It comes last, so
/// that nothing which stands before gets another number.
fn with_inside(component: &[u8], inside: Vec<u8>, instances: usize) -> Vec<u8> {
    let number = length(insides(component));
    let mut made = length(instances);
    for _ in 0..instances {
        made.push(0);
        made.extend(&number);
        made.push(0);
    }
    let mut bytes = component.to_vec();
    for (kind, content) in [(4, inside), (5, made)] {
        bytes.push(kind);
        bytes.extend(length(content.len()));
        bytes.extend(content);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn components_inside_a_component_share_its_limits() {
    // A hundred megabytes each.
    let memory = "(component (core module $m (memory 1600)) (core instance (instantiate $m)))";
    let table =
        "(component (core module $m (table 15000 funcref)) (core instance (instantiate $m)))";
    let small = "(component (core module $m (memory 1)) (core instance (instantiate $m)))";
    let empty = "(component (core module $m) (core instance (instantiate $m)))";
    let empty_component = || b"\0asm\x0d\0\x01\0".to_vec();
    let deep = (0..5_000).fold(empty_component(), |inside, _| {
        with_inside(&empty_component(), inside, 1)
    });
    let good = core("core");
    let inside =
        |text: &str, instances| with_inside(&good, wat::parse_str(text).unwrap(), instances);
    // What is within the limits is not refused because it is inside, however deep.
    for within in [inside(memory, 2), with_inside(&good, deep, 1)] {
        let engines = holding(&[("core.wasm", &within)]);
        let path = engines.path().to_str().unwrap();
        let server = TestServer::start(&[("PINHOLE_ENGINES", path)]).await;
        let refused = server.app.jobs.engines.rejected_files();
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
    for (file, reason) in refusals(&files).await {
        let gist = match file.as_str() {
            "memory.wasm" => "it needs more than 268435456 bytes of memory",
            "instances.wasm" => "instances",
            "memories.wasm" => "memories",
            _ => "tables",
        };
        assert!(reason.contains(gist), "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_tasks_of_later_wasi_are_not_there() {
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
        let refused = refusals(&[("later.wasm", &component)]).await;
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
async fn calls_of_wasi_are_counted_too() {
    let limits = Limits {
        host_calls: 1000,
        ..LIMITS
    };
    for name in ["wasi-random", "wasi-clock", "wasi-stdout"] {
        is_stopped(name, limits, "it called the host more than 1000 times").await;
    }
    is_stopped(
        "wasi-handles",
        LIMITS,
        "it holds more handles than a job may",
    )
    .await;
    let files = [
        ("describe.wasm", core("wasi-describe")),
        ("flood.wasm", core("wasi-random-flood")),
    ];
    let files = files
        .each_ref()
        .map(|(name, bytes)| (*name, bytes.as_slice()));
    let refused = refusals(&files).await;
    let gists = [
        "it called the host more than 100 times",
        "requested len 131072 exceeds limit 65536",
    ];
    for ((file, reason), gist) in refused.iter().zip(gists) {
        assert!(reason.contains(gist), "{file}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_sleeps_in_wasi_ends_when_its_time_is_over() {
    let server = server("wasi-sleep").await;
    let limits = Limits {
        wall: SHORT,
        grace: Duration::ZERO,
        ..LIMITS
    };
    let ended = run(&server, "core", "", limits, &control()).await.unwrap();
    assert!(matches!(ended, Err(Error::Deadline(SHORT))), "{ended:?}");
}
