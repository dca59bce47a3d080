//! `cargo xtask bench`: runs the benchmarks, optimized.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::postgres::{PostgresServer, PostgresUse};
use crate::redis::TestRedis;
use crate::steps::announce;
use crate::test::{POSTGRES_URL, REDIS_URL, run_with_test_environment};
use crate::workspace::Workspace;
use crate::{engines, packages, programs};

#[derive(Args)]
pub(crate) struct Options {
    /// The only benchmark to run
    benchmark: Option<Benchmark>,
    /// For that benchmark, such as `--quick` or the names of its rows
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    /// A well-behaved client next to hostile ones, and the server's memory
    Clients,
    /// A component compared with native code
    Engine,
    /// The server's APIs compared with a direct request to the upstream
    Faces,
    /// How cost grows with components, bindings, rows, waiting jobs and the length of an image
    Growth,
    /// The egress compared with the same HTTP client without guards
    Guard,
    /// Several hosts with PostgreSQL and Redis: stored images, take-overs, changes of settings, throughput
    Hosts,
    /// Instructions of fixed paths, compared with stored numbers; `--accept` stores the measured ones
    Instructions,
    /// A search in 100 000 messages, and pages of 10 000 images; `gallery` measures only the images
    Search,
    /// Events to many connected sockets
    Sockets,
    /// Swaps of two versions of an engine, and what they leave behind
    Swap,
    /// A well-behaved tenant next to hostile ones
    Tenants,
}

impl Options {
    fn cargo_arguments(&self) -> Vec<&str> {
        let Some(benchmark) = self.benchmark else {
            let name = |benchmark: &Benchmark| ["--bench", benchmark.name()];
            return Benchmark::value_variants().iter().flat_map(name).collect();
        };
        let arguments = self.arguments.iter().map(String::as_str);
        ["--bench", benchmark.name(), "--"]
            .into_iter()
            .chain(arguments)
            .collect()
    }
}

impl Benchmark {
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Engine => "engine",
            Self::Faces => "faces",
            Self::Growth => "growth",
            Self::Guard => "guard",
            Self::Hosts => "hosts",
            Self::Instructions => "instructions",
            Self::Search => "search",
            Self::Sockets => "sockets",
            Self::Swap => "swap",
            Self::Tenants => "tenants",
        }
    }
}

/// Runs the benchmarks. One of them starts the optimized server.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if matches!(options.benchmark, None | Some(Benchmark::Instructions)) {
        packages::install_system_package("valgrind")?;
    }
    engines::build_with_test_guests(workspace)?;
    programs::build_release_server(workspace)?;
    announce("building and running the benchmarks");
    let mut cargo = workspace.cargo(&["bench", "--workspace", "--no-fail-fast"]);
    cargo.args(options.cargo_arguments());
    let has_hosts = matches!(options.benchmark, None | Some(Benchmark::Hosts));
    // Both run until the benchmarks have ended.
    let postgres = if has_hosts {
        PostgresServer::start(PostgresUse::Benchmarks)
    } else {
        None
    };
    if let Some(postgres) = &postgres {
        cargo.env(POSTGRES_URL, postgres.url());
    }
    let redis = if has_hosts { TestRedis::start()? } else { None };
    if let Some(redis) = &redis {
        cargo.env(REDIS_URL, redis.url());
    }
    run_with_test_environment(workspace, cargo, &workspace.release_server_program())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn arguments_belong_to_one_benchmark() {
        let check = |typed: &[&str], expected: &[&str]| {
            let typed = ["bench"].iter().chain(typed);
            let options = Cli::try_parse_from(typed).unwrap().options;
            assert_eq!(options.cargo_arguments(), expected);
        };
        let names = [
            "clients",
            "engine",
            "faces",
            "growth",
            "guard",
            "hosts",
            "instructions",
            "search",
            "sockets",
            "swap",
            "tenants",
        ];
        let all: Vec<_> = names.iter().flat_map(|name| ["--bench", name]).collect();
        check(&[], &all);
        check(&["engine"], &["--bench", "engine", "--"]);
        let faces = ["--bench", "faces", "--", "--quick", "a", "b64"];
        check(&["faces", "--quick", "a", "b64"], &faces);
    }
}
