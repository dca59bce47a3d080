//! What hosts without requests cost PostgreSQL and Redis.

use std::time::{Duration, Instant};

use crate::HostsBench;
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::database::{BenchDatabase, COUNTER_DELAY, Commit};

const HOSTS: usize = 3;
/// Several periods of everything that a host repeats, except once an hour.
const TIME: Duration = Duration::from_secs(60);

pub(crate) fn run(bench: &HostsBench) {
    let database = BenchDatabase::create(bench, Commit::AtOnce);
    let options = HostOptions {
        database: Some(&database),
        redis_prefix: Some("idle"),
        ..HostOptions::default()
    };
    let _hosts = ClusterHosts::start(bench, "idle", HOSTS, options);
    std::thread::sleep(COUNTER_DELAY);
    let (start, before, commands) = (Instant::now(), database.counters(), bench.redis_commands());
    std::thread::sleep(if bench.is_quick { TIME / 3 } else { TIME });
    let counted = database.counters().since(before);
    let commands = bench.redis_commands() - commands;
    let host_secs = HOSTS as f64 * start.elapsed().as_secs_f64();
    for (name, count) in [
        ("an idle host: transactions", counted.transactions as f64),
        ("an idle host: statements", counted.statements as f64),
        ("an idle host: writing statements", counted.writes as f64),
        ("an idle host: Redis commands", commands as f64),
    ] {
        bench.goals.figure(name, count / host_secs, "a second");
    }
}
