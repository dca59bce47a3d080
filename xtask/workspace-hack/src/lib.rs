//! Contains no code: `Cargo.toml` says what the package is for.
