//! Stored images of 64 clients: SQLite without durable jobs, and PostgreSQL with them.

use crate::HostsBench;
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::database::{BenchDatabase, COUNTER_DELAY, Commit};
use crate::load::{Load, Round, STORED};
use crate::spread::median;

const ROUNDS: usize = 9;
/// The same for an upstream that takes as long as a fast model.
const SLOW_ROUNDS: usize = 3;
const SLOW_MS: u64 = 1_000;
const SLOW_REQUESTS: usize = 4;
/// Of SQLite without durable jobs.
const GOAL: f64 = 0.9;

/// A host with its rounds.
struct Side<'a> {
    name: &'static str,
    load: Load,
    hosts: ClusterHosts<'a>,
    rounds: Vec<Round>,
}

pub(crate) fn run(bench: &HostsBench) {
    let at_once = BenchDatabase::create(bench, Commit::AtOnce);
    let after_disk = BenchDatabase::create(bench, Commit::AfterDisk);
    let start = |name, database| {
        let options = HostOptions {
            database,
            ..HostOptions::default()
        };
        ClusterHosts::start(bench, name, 1, options)
    };
    let new_side = |name, load, hosts| Side {
        name,
        load,
        hosts,
        rounds: Vec::new(),
    };
    let mut sides = [
        new_side(
            "SQLite, no rows",
            load(bench, false),
            start("stored-sqlite", None),
        ),
        new_side(
            "PostgreSQL, durable",
            load(bench, true),
            start("stored-at-once", Some(&at_once)),
        ),
        new_side(
            "PostgreSQL, durable, each commit waits for the disk",
            load(bench, true),
            start("stored-after-disk", Some(&after_disk)),
        ),
    ];
    measure(&mut sides, bench.repetitions(ROUNDS));
    let [sqlite, durable, on_disk] = &sides;
    for side in &sides {
        let rate = median(side.rounds.iter().map(Round::images_per_second).collect());
        bench.goals.figure(side.name, rate, "images/s");
    }
    let goals = &bench.goals;
    goals.at_least("durable, of SQLite", ratio(durable, sqlite), "", GOAL);
    let name = "durable, each commit waits for the disk, of SQLite";
    goals.figure(name, ratio(on_disk, sqlite), "");
    bench.count_statements(&durable.hosts, &at_once);
    bench.measure_commits(&after_disk);
    for side in &mut sides {
        side.rounds.clear();
        side.load.delay_ms = SLOW_MS;
        side.load.requests = SLOW_REQUESTS;
    }
    measure(&mut sides, bench.repetitions(SLOW_ROUNDS));
    for side in &sides[1..] {
        let slow = format!("{}, of SQLite, upstream of 1 s", side.name);
        bench.goals.figure(&slow, ratio(side, &sides[0]), "");
    }
}

/// Runs all sides in turn, this often after a round that warms up.
fn measure(sides: &mut [Side<'_>], rounds: usize) {
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            // Each side is first equally often.
            let index = (turn + round) % sides.len();
            let side = &mut sides[index];
            let measured = side.load.run(&[&side.hosts.servers[0]]);
            if round > 0 {
                side.rounds.push(measured);
            }
        }
    }
}

/// With `has_rows`, each image is a job with a row.
fn load(bench: &HostsBench, has_rows: bool) -> Load {
    Load {
        path: STORED,
        has_rows,
        image_bytes: 20 << 10,
        delay_ms: 50,
        clients: 64,
        requests: if bench.is_quick { 4 } else { 20 },
    }
}

/// The median of pairs of rounds: the machine was the same for both.
fn ratio(side: &Side<'_>, of: &Side<'_>) -> f64 {
    let pairs = side.rounds.iter().zip(&of.rounds);
    let ratios = pairs.map(|(it, other)| it.images_per_second() / other.images_per_second());
    median(ratios.collect())
}

impl HostsBench {
    /// What a stored image with a row costs the database.
    fn count_statements(&self, hosts: &ClusterHosts<'_>, database: &BenchDatabase) {
        std::thread::sleep(COUNTER_DELAY);
        let before = database.counters();
        let load = load(self, true);
        let round = load.run(&[&hosts.servers[0]]);
        std::thread::sleep(COUNTER_DELAY);
        let counted = database.counters().since(before);
        let jobs = load.images() as f64;
        assert_eq!(round.wall_ms.len(), load.images());
        let done = database.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'");
        let all = database.number("SELECT COUNT(*) FROM jobs");
        assert_eq!(done, all, "a job is not done");
        for (name, count) in [
            ("transactions a job", counted.transactions),
            ("explicit commits a job", counted.commits),
            ("statements a job", counted.statements),
            ("writing statements a job", counted.writes),
        ] {
            self.goals.figure(name, count as f64 / jobs, "");
        }
    }

    /// How long a commit takes that waits for the disk: one client, and eight.
    fn measure_commits(&self, database: &BenchDatabase) {
        for clients in [1, 8] {
            let rate = database.commits_per_second(clients);
            let name = format!("commits that wait for the disk, {clients} client(s)");
            self.goals.figure(&name, rate, "a second");
        }
    }
}
