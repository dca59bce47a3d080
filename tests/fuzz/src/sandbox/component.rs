//! Any component is refused, or runs within its limits.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component as Code, Instance, InstancePre};

use crate::engine::bindings::ImageEnginePre;
use crate::engine::call::{self, State};
use crate::engine::{ResolvedSettings, Compiler, JobContext, Limits, Sandbox, admit};

/// Larger ones take long to compile, and have no other parts.
const MAX_BYTES: usize = 256 << 10;
/// Length of why one is refused, in bytes.
const MAX_REASON_BYTES: usize = 1000;
/// Instance and functions are to be done in this time; their own limits come long before.
const PATIENCE: Duration = Duration::from_secs(60);

struct Host {
    runtime: Runtime,
    sandbox: Arc<Sandbox>,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // Here it is compiled in place, which shows a crash of the compiler, and nothing is kept.
    let compiler = Compiler {
        program: PathBuf::new(),
        time: Duration::ZERO,
        memory_bytes: 0,
        code_bytes: 0,
    };
    let data = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(data.path(), (2, 2), &compiler).unwrap();
    Host {
        runtime,
        sandbox: Arc::new(sandbox),
    }
});

/// A component, or what shall be none. True where an instance of it was made.
///
/// With the server's own compiler, linker and limits it is refused in a few words, or it is
/// instantiated and all its functions without parameters return or are ended. Where it is of our
/// world, it is asked to describe itself, and what it says is checked.
pub fn component(bytes: &[u8]) -> bool {
    if bytes.len() > MAX_BYTES {
        return false;
    }
    if let Err(reason) = admit::check_kind(bytes) {
        check_reason(&reason);
        return false;
    }
    let Host { runtime, sandbox } = &*HOST;
    let Ok(code) = Code::from_binary(&sandbox.engine, bytes) else {
        return false;
    };
    if let Err(reason) = admit::check_world(sandbox, &code) {
        check_reason(&reason);
    }
    let Ok(pre) = sandbox.linker.instantiate_pre(&code) else {
        return false;
    };
    runtime.block_on(async {
        let ran = timeout(PATIENCE, run(sandbox, &code, &pre)).await;
        describe(sandbox, pre).await;
        ran.expect("it ends long before")
    })
}

/// Makes an instance and calls what it exports. False where no instance could be made.
async fn run(sandbox: &Sandbox, code: &Code, pre: &InstancePre<State>) -> bool {
    let limits = Limits {
        memory_bytes: 16 << 20,
        running: Duration::from_millis(50),
        ..Limits::describe()
    };
    let control = JobContext::new("fuzz".to_owned());
    let (state, runner) = State::new("fuzz", control, ResolvedSettings::default(), limits);
    let computed = state.computed.clone();
    let calls = async {
        let mut store = call::bounded(sandbox, state);
        let Ok(instance) = pre.instantiate_async(&mut store).await else {
            return false;
        };
        for (name, item) in code.component_type().exports(&sandbox.engine) {
            if let ComponentItem::ComponentFunc(function) = item.ty
                && function.params().len() == 0
            {
                let results = function.results().len();
                call_export(&mut store, &instance, name, results).await;
            }
        }
        true
    };
    // What they compute is counted here.
    runner.beside(computed, calls).await
}

async fn call_export(store: &mut Store<State>, instance: &Instance, name: &str, results: usize) {
    let Some(function) = instance.get_func(&mut *store, name) else {
        return;
    };
    let mut results = vec![wasmtime::component::Val::Bool(false); results];
    // It may fail in any way but one that this process does not survive.
    function.call_async(store, &[], &mut results).await.ok();
}

/// What an admission does with one of our world.
async fn describe(sandbox: &Arc<Sandbox>, pre: InstancePre<State>) {
    let Ok(pre) = ImageEnginePre::new(pre) else {
        return;
    };
    match call::describe(sandbox, "fuzz.wasm", &Arc::new(pre)).await {
        Ok(description) => {
            if let Err(reason) = admit::check_description(&description) {
                check_reason(&reason);
            }
        }
        Err(error) => check_reason(&error.to_string()),
    }
}

/// It is for a person: short, and without what could disturb a terminal.
fn check_reason(reason: &str) {
    assert!(reason.len() <= MAX_REASON_BYTES, "{reason}");
    assert!(!reason.contains(char::is_control), "{reason:?}");
}
