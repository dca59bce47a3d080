//! Three hosts whose processes, networks and upstreams fail at random while clients send jobs to all of them.
//!
//! Whatever fails: each job ends, each image of a finished job can be read from each host, nothing is ordered twice, and
//! each caller gets a response or a broken connection. All choices derive from a seed, which is printed. The times at
//! which they meet the jobs differ between runs.
//!
//! `cargo xtask chaos` runs it longer. A second test only restarts the hosts, one after the other, as an upgrade does.

mod callers;
mod faults;
mod hosts;
mod outcome;
mod upstreams;

use std::sync::Arc;
use std::time::Duration;

use pinhole_tests::postgres_server;
use tokio::time::timeout;

use callers::Callers;
use hosts::Hosts;
use upstreams::Upstreams;

/// How long clients send jobs, in seconds, unless `PINHOLE_CHAOS_SECS` says otherwise.
const DEFAULT_SECS: u64 = 60;
/// In a run of this length, failures can outlast a lease.
const LONG_RUN: Duration = Duration::from_secs(300);
/// How long clients send jobs while hosts are upgraded one after the other.
const UPGRADE_TIME: Duration = Duration::from_secs(15);
/// What they may see meanwhile: images, and requests that were not accepted. All but turns are then repeated.
const OUTCOMES_OF_UPGRADE: [&str; 8] = [
    "image: status 200",
    "job of comfyui: done",
    "job of openai: done",
    "request: broken connection",
    "request: status 503",
    "turn: broken connection",
    "turn: image",
    "turn: refused",
];
/// How long jobs may run after all failures have ended: the leases of three attempts, and the work.
const MAX_SETTLE_TIME: Duration = Duration::from_secs(180);

/// The number that a variable has.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is {text:?}: it must be a number")),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn jobs_end_once_whatever_fails() {
    let (Some(postgres), Ok(redis)) = (postgres_server(), std::env::var("PINHOLE_TEST_REDIS"))
    else {
        eprintln!("skipped: no PostgreSQL or no Redis");
        return;
    };
    let length = Duration::from_secs(number("PINHOLE_CHAOS_SECS").unwrap_or(DEFAULT_SECS));
    let seed = number("PINHOLE_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("chaos: {} s, seed {seed}", length.as_secs());
    let upstreams = Arc::new(Upstreams::start().await);
    let hosts = Arc::new(Hosts::start(postgres, &redis, &upstreams, seed).await);
    // One sequence for each, so that none depends on the speed of the other.
    let mut random = fastrand::Rng::with_seed(seed);
    let callers = Arc::new(Callers::new(hosts.clone(), random.fork()));
    let (calls, take_overs) = tokio::join!(
        callers.call_for(length),
        faults::disturb(&hosts, &upstreams, random, length),
    );
    eprintln!("chaos: all failures have ended");
    let settle = async {
        calls.join_all().await;
        outcome::wait_for_ends(&hosts).await;
        take_overs.join_all().await
    };
    let Ok(take_over_times) = timeout(MAX_SETTLE_TIME, settle).await else {
        let active = "SELECT id || ' ' || state || ' ' || host FROM jobs WHERE ended_at IS NULL";
        let active = hosts.database.texts(active, &[]).await;
        hosts.save_logs();
        panic!("jobs do not end, seed {seed}: {active:?}");
    };
    hosts.save_logs();
    outcome::print_take_overs(take_over_times.concat());
    callers.print();
    outcome::check_orders(&hosts, &upstreams).await;
    outcome::check_images(&hosts, &callers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn restart_of_one_host_after_the_other_loses_no_accepted_job() {
    let (Some(postgres), Ok(redis)) = (postgres_server(), std::env::var("PINHOLE_TEST_REDIS"))
    else {
        eprintln!("skipped: no PostgreSQL or no Redis");
        return;
    };
    let seed = fastrand::u64(..);
    let upstreams = Arc::new(Upstreams::start().await);
    let hosts = Arc::new(Hosts::start(postgres, &redis, &upstreams, seed).await);
    let random = fastrand::Rng::with_seed(seed);
    let callers = Arc::new(Callers::new(hosts.clone(), random));
    let (calls, ()) = tokio::join!(callers.call_for(UPGRADE_TIME), async {
        for host in &hosts.all {
            hosts.restart(host).await;
        }
    });
    let settle = async {
        calls.join_all().await;
        outcome::wait_for_ends(&hosts).await;
    };
    timeout(MAX_SETTLE_TIME, settle).await.expect("jobs end");
    hosts.save_logs();
    callers.print();
    let seen = callers.outcomes();
    let is_expected = |outcome: &String| OUTCOMES_OF_UPGRADE.contains(&outcome.as_str());
    assert!(seen.iter().all(is_expected), "{seen:?}");
    outcome::check_orders(&hosts, &upstreams).await;
    outcome::check_images(&hosts, &callers).await;
}
