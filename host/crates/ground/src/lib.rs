//! What every layer of the server uses: guards, text, the data directory, environment variables, queues,
//! shares, rate limits, the memory budget, bounds of JSON, metrics and the audit log. Nothing here knows
//! engines, HTTP or SQL.

pub mod audit;
pub mod ballast;
pub mod data_dir;
pub mod disk;
pub mod duration;
pub mod environment;
pub mod fair_queue;
pub mod guard;
pub mod ip_network;
pub mod json_bounds;
pub mod low_priority;
pub mod memory;
pub mod metrics;
pub mod rate_limit;
pub mod shares;
pub mod text;
pub mod waiting;
