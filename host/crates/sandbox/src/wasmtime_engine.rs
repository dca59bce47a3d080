//! The configuration of wasmtime.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;

/// Core instances of one component, nested components included.
pub(crate) const MAX_INSTANCES: u32 = 40;
/// Linear memories of one component, nested components included.
pub(crate) const MAX_MEMORIES: u32 = 4;
/// Tables of one component, nested components included.
pub(crate) const MAX_TABLES: u32 = 16;

/// The settings that determine compiled code. The server and the compiler process must agree on them.
pub(crate) fn compile_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .consume_fuel(false)
        .memory_init_cow(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20);
    config
}

/// The engine that runs guests, for this many calls at the same time.
///
/// It allocates from a pool, which reuses memory between calls, if the machine has the address space.
pub(crate) fn new_engine(slots: u32) -> wasmtime::Result<Engine> {
    let mut config = compile_config();
    // Otherwise the stacks of the most calls that ever ran at once would stay in memory.
    config.async_stack_zeroing(true);
    let pool = InstanceAllocationStrategy::Pooling(pool_config(slots));
    config.allocation_strategy(pool);
    if let Ok(engine) = Engine::new(&config) {
        return Ok(engine);
    }
    tracing::warn!(
        "not enough address space for a pool of {slots} engine slots; instances are allocated on demand, which is slower"
    );
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// Nothing stays resident, which is the default: a pool that held pages would hold 20 KB for each of the most calls that
/// ever ran at once. It costs a call about ten page faults.
fn pool_config(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(MAX_INSTANCES))
        // Enough for all slots together, so that an engine which uses its maximum takes nothing from others.
        .total_memories(slots.saturating_mul(MAX_MEMORIES))
        .total_tables(slots.saturating_mul(MAX_TABLES))
        .total_stacks(slots)
        .max_core_instances_per_component(MAX_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_tables_per_module(MAX_TABLES)
        .max_memory_size(Limits::describe().memory_bytes)
        .table_elements(20_000)
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(1 << 20)
        .max_unused_warm_slots(64);
    pool
}
