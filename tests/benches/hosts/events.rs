//! Events that one Redis carries, by the script and in the groups of the server, while hosts follow them; and the events
//! and commands of a job.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::HostsBench;
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::database::{BenchDatabase, Commit};
use crate::load::{Load, STORED};

/// The script of the server.
const ADD_EVENT: &str = include_str!("../../../host/src/cluster/scripts/add_event.lua");
/// Events that the server sends in one step.
const BATCH: usize = 64;
const EVENT_BYTES: usize = 1 << 10;
/// Entries of a user's stream, and its time in seconds.
const MAX_STREAM_ENTRIES: usize = 256;
const STREAM_SECS: usize = 3_600;
/// Users whose events are published in turn.
const USERS: usize = 100;
/// Hosts that follow all of these users.
const FOLLOWERS: usize = 3;
const TIME: Duration = Duration::from_secs(10);

/// Jobs with a row on a host.
const LOAD: Load = Load {
    path: STORED,
    has_rows: true,
    image_bytes: 1 << 10,
    delay_ms: 0,
    clients: 4,
    requests: 50,
};

pub(crate) fn run(bench: &HostsBench) {
    measure_redis(bench);
    count_events(bench);
}

fn measure_redis(bench: &HostsBench) {
    let followers: Vec<_> = (0..FOLLOWERS).map(|_| follow(bench)).collect();
    let data = "x".repeat(EVENT_BYTES);
    let event = json!({"o": "bench", "n": 1, "e": {"data": data}}).to_string();
    let mut connection = bench.redis_connection();
    let time = if bench.is_quick { TIME / 5 } else { TIME };
    let (start, mut count) = (Instant::now(), 0_usize);
    while start.elapsed() < time {
        let mut batch = redis::pipe();
        for number in count..count + BATCH {
            let user = number % USERS;
            batch
                .cmd("EVAL")
                .arg(ADD_EVENT)
                .arg(2)
                .arg(format!("events:pinhole:events:{{{user}}}"))
                .arg(format!("events:pinhole:newest:{{{user}}}"))
                .arg(format!("events:pinhole:e:{user}"))
                .arg(&event)
                .arg("")
                .arg(MAX_STREAM_ENTRIES)
                .arg(STREAM_SECS)
                .ignore();
        }
        batch.exec(&mut connection).unwrap();
        count += BATCH;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let name = format!("events of {EVENT_BYTES} bytes, followed by {FOLLOWERS} hosts");
    bench.goals.figure(&name, rate, "a second");
    redis::cmd("PUBLISH")
        .arg("events:pinhole:e:0")
        .arg(END)
        .exec(&mut connection)
        .unwrap();
    for follower in followers {
        follower.join().unwrap();
    }
}

/// The message after which followers end.
const END: &str = "end";

/// Receives all events, as a host does, until [`END`].
fn follow(bench: &HostsBench) -> std::thread::JoinHandle<()> {
    let mut connection = bench.redis_connection();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let follower = std::thread::spawn(move || {
        let mut messages = connection.as_pubsub();
        messages.psubscribe("events:pinhole:e:*").unwrap();
        ready.send(()).unwrap();
        loop {
            let message = messages.get_message().unwrap();
            if message.get_payload_bytes() == END.as_bytes() {
                return;
            }
        }
    });
    is_ready.recv().unwrap();
    follower
}

/// What a job of the images API costs Redis.
fn count_events(bench: &HostsBench) {
    let database = BenchDatabase::create(bench, Commit::AtOnce);
    let options = HostOptions {
        database: Some(&database),
        redis_prefix: Some("events-of-jobs"),
        ..HostOptions::default()
    };
    let hosts = ClusterHosts::start(bench, "events", 1, options);
    let host = &hosts.servers[0];
    let before = (bench.redis_commands(), events_so_far(bench));
    LOAD.run(&[host]);
    let after = (bench.redis_commands(), events_so_far(bench));
    let jobs = LOAD.images() as f64;
    let commands = (after.0 - before.0) as f64 / jobs;
    bench.goals.figure("commands of Redis a job", commands, "");
    let events = (after.1 - before.1) as f64 / jobs;
    bench.goals.figure("events a job", events, "");
}

/// The entries that were ever added to the streams of these hosts.
fn events_so_far(bench: &HostsBench) -> u64 {
    let mut connection = bench.redis_connection();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("events-of-jobs:pinhole:events:*")
        .query(&mut connection)
        .unwrap();
    let added = keys.iter().map(|key| -> u64 {
        let fields: Vec<redis::Value> = redis::cmd("XINFO")
            .arg("STREAM")
            .arg(key)
            .query(&mut connection)
            .unwrap();
        let names = fields.iter().step_by(2);
        let values = fields.iter().skip(1).step_by(2);
        let is_count = |name: &redis::Value| {
            redis::from_redis_value_ref::<String>(name).is_ok_and(|it| it == "entries-added")
        };
        let count = names.zip(values).find(|(name, _)| is_count(name));
        redis::from_redis_value_ref(count.unwrap().1).unwrap()
    });
    added.sum()
}
