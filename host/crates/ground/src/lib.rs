//! What every layer of the server uses: guards, text, the data directory, environment variables,
//! metrics, the memory budget, bounds of JSON and the audit log. Nothing here knows engines, HTTP or SQL.

pub mod audit;
pub mod data_dir;
pub mod environment;
pub mod guard;
pub mod json_bounds;
pub mod memory;
pub mod metrics;
pub mod text;
