//! One host and three hosts with 20 slots each, and an upstream of 50 ms.
//!
//! The slots are the bound, and not the processors: of 20 slots, jobs of one engine have 15, so a host makes at most 300
//! images a second.

use crate::HostsBench;
use crate::bench_server::BenchServer;
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::database::{BenchDatabase, Commit};
use crate::load::{Load, RETURNED, Round};
use crate::spread::median;

const HOSTS: usize = 3;
const SLOTS: usize = 20;
const CLIENTS_A_HOST: usize = 30;
const ROUNDS: usize = 9;
/// Of one host.
const GOAL: f64 = 2.8;

pub(crate) fn run(bench: &HostsBench) {
    let database = BenchDatabase::create(bench, Commit::AtOnce);
    let options = HostOptions {
        database: Some(&database),
        redis_prefix: Some("throughput"),
        variables: vec![("PINHOLE_SLOTS", SLOTS.to_string())],
        ..HostOptions::default()
    };
    let hosts = ClusterHosts::start(bench, "throughput", HOSTS, options);
    let servers: Vec<&BenchServer> = hosts.servers.iter().collect();
    let (mut of_one, mut of_all) = (Vec::new(), Vec::new());
    for round in 0..=bench.repetitions(ROUNDS) {
        let one = load(1).run(&servers[..1]);
        let all = load(HOSTS).run(&servers);
        // The first round warms up.
        if round > 0 {
            of_one.push(one);
            of_all.push(all);
        }
    }
    let rate = |rounds: &[Round]| median(rounds.iter().map(Round::images_per_second).collect());
    let cpu = |rounds: &[Round]| median(rounds.iter().map(|round| round.cpu_share).collect());
    bench.goals.figure("one host", rate(&of_one), "images/s");
    bench.goals.figure("three hosts", rate(&of_all), "images/s");
    let name = |of| format!("CPU of the machine in use, {of}");
    bench
        .goals
        .figure(&name("one host"), 100.0 * cpu(&of_one), "%");
    bench
        .goals
        .figure(&name("three hosts"), 100.0 * cpu(&of_all), "%");
    let pairs = of_all.iter().zip(&of_one);
    let ratios = pairs.map(|(all, one)| all.images_per_second() / one.images_per_second());
    let ratio = median(ratios.collect());
    bench.goals.at_least("three hosts, of one", ratio, "", GOAL);
}

fn load(hosts: usize) -> Load {
    Load {
        path: RETURNED,
        has_rows: false,
        image_bytes: 1 << 10,
        delay_ms: 50,
        clients: CLIENTS_A_HOST * hosts,
        requests: 20,
    }
}
