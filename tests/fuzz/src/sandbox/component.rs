//! A component is refused, or runs within its limits.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pinhole_ground::audit::AuditLog;
use pinhole_images::Decoder;
use pinhole_sandbox::internals::{
    CallSetup, LastComputing, Pre, Sandbox, State, check_description, check_kind, check_world,
    describe,
};
use pinhole_sandbox::{Compiler, JobContext, Limits, Options};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component as Code, Instance, InstancePre, Val};

/// Longer components take long to compile and have no other content.
const MAX_BYTES: usize = 256 << 10;
/// Length of the reason of a refusal in bytes.
const MAX_REASON_BYTES: usize = 1000;
/// Time for an instance and its functions. Their own limits are far shorter.
const PATIENCE: Duration = Duration::from_secs(60);

struct Host {
    runtime: Runtime,
    sandbox: Arc<Sandbox>,
}

static HOST: LazyLock<Host> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = Options {
        data: directory.path().to_owned(),
        cache: None,
        slots: 2,
        slots_per_user: 2,
        // The target compiles in this process, so that a crash of the compiler is found.
        compiler: Compiler {
            program: PathBuf::new(),
            time: Duration::ZERO,
            memory_bytes: 0,
            code_bytes: 0,
            urgent_time: Duration::ZERO,
        },
        audit: AuditLog::default(),
        decoder: Decoder::default(),
    };
    let sandbox = Sandbox::new(&options).unwrap();
    Host {
        runtime,
        sandbox: Arc::new(sandbox),
    }
});

/// Input: a component, or any bytes. Returns true if it was instantiated.
///
/// The server's own compiler, linker and limits refuse the component with a short reason, or instantiate
/// it, and all its functions without parameters return or are stopped. If it has our world, it is asked
/// for its description, which is checked.
pub fn component(bytes: &[u8]) -> bool {
    if bytes.len() > MAX_BYTES {
        return false;
    }
    if let Err(refusal) = check_kind(bytes) {
        check_reason(&refusal.reason);
        return false;
    }
    let Host { runtime, sandbox } = &*HOST;
    let Ok(code) = Code::from_binary(&sandbox.engine, bytes) else {
        return false;
    };
    if let Err(refusal) = check_world(&sandbox.engine, &code) {
        check_reason(&refusal.reason);
    }
    let Ok(pre) = sandbox.linker.instantiate_pre(&code) else {
        return false;
    };
    runtime.block_on(async {
        let was_instantiated = timeout(PATIENCE, run(sandbox, &code, &pre)).await;
        check_describe(sandbox, pre).await;
        was_instantiated.expect("the limits stop it far earlier")
    })
}

/// Instantiates a component and calls its exports. Returns false if it cannot be instantiated.
async fn run(sandbox: &Sandbox, code: &Code, pre: &InstancePre<State>) -> bool {
    let limits = Limits {
        memory_bytes: 16 << 20,
        running: Duration::from_millis(50),
        ..Limits::describe()
    };
    let (state, driver) = State::new(CallSetup {
        engine: "fuzz",
        context: JobContext::new("fuzz".to_owned()),
        upstreams: Arc::default(),
        image_hosts: Arc::default(),
        redactor: Arc::default(),
        limits,
        audit: AuditLog::default(),
        engine_log: Arc::default(),
        call_usage: Arc::default(),
        decoder: Decoder::default(),
        last_computing: LastComputing::default(),
        epochs: sandbox.epochs.clone(),
    });
    let meter = state.cpu_meter();
    let calls = async {
        let mut store = state.into_store(&sandbox.engine);
        let Ok(instance) = pre.instantiate_async(&mut store).await else {
            return false;
        };
        for (name, item) in code.component_type().exports(&sandbox.engine) {
            if let ComponentItem::ComponentFunc(function) = item.ty
                && function.params().len() == 0
            {
                let result_count = function.results().len();
                call_export(&mut store, &instance, name, result_count).await;
            }
        }
        true
    };
    driver.drive(meter, Box::pin(calls)).await
}

async fn call_export(
    store: &mut Store<State>,
    instance: &Instance,
    name: &str,
    result_count: usize,
) {
    let Some(function) = instance.get_func(&mut *store, name) else {
        return;
    };
    let mut results = vec![Val::Bool(false); result_count];
    // Any error is allowed, as long as this process survives it.
    function.call_async(store, &[], &mut results).await.ok();
}

/// Describes a component of our world as admission does.
async fn check_describe(sandbox: &Arc<Sandbox>, pre: InstancePre<State>) {
    let Ok(engine_pre) = Pre::new(pre) else {
        return;
    };
    match describe(sandbox, "fuzz.wasm", &Arc::new(engine_pre)).await {
        Ok(description) => {
            if let Err(refusal) = check_description(&description) {
                check_reason(&refusal.reason);
            }
        }
        Err(error) => check_reason(&error.to_string()),
    }
}

/// A reason is for the operator: short, and without control characters.
fn check_reason(reason: &str) {
    assert!(reason.len() <= MAX_REASON_BYTES, "{reason}");
    assert!(!reason.contains(char::is_control), "{reason:?}");
}
