//! `cargo xtask chaos`: hosts fail at random while clients send jobs to them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::test;
use crate::workspace::Workspace;

/// The suite, with its output.
const TEST: [&str; 3] = ["-E", "test(/^cluster::chaos::jobs_end/)", "--no-capture"];

#[derive(Args)]
pub(crate) struct Options {
    /// How long clients send jobs. From 300 on, failures can outlast a lease
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// The seed of all choices, as an earlier run printed it
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the suite. The exit code is that of nextest.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let seconds = options.seconds.to_string();
    let seed = options.seed.map(|seed| seed.to_string());
    let mut variables = vec![("PINHOLE_CHAOS_SECS", seconds.as_str())];
    variables.extend(seed.as_deref().map(|seed| ("PINHOLE_CHAOS_SEED", seed)));
    let setup = test::Setup {
        variables: &variables,
        ..test::Setup::default()
    };
    test::run(workspace, &test::Options::of_nextest(&TEST), setup)
}
