//! The commands of the program.

pub(crate) mod engine_grant;
pub(crate) mod engine_test;
pub(crate) mod generate;
pub(crate) mod serve;
