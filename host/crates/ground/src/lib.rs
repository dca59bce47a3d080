//! What every layer of the server uses: guards, shares, text, the data directory, environment variables,
//! metrics and the audit log. Nothing here knows engines, HTTP or SQL.

pub mod audit;
pub mod data_dir;
pub mod environment;
pub mod guard;
pub mod metrics;
pub mod shares;
pub mod text;
