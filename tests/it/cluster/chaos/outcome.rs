//! What holds after all failures have ended.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::Method;

use super::callers::Callers;
use super::hosts::Hosts;
use super::upstreams::{Upstreams, find_prompt};

/// Time between two looks at what is active.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Jobs whose images are read at the same time.
const READERS: usize = 8;

/// Waits until no job and no turn is active, also those whose callers do not know them.
pub(super) async fn wait_for_ends(hosts: &Hosts) {
    let active = "SELECT (SELECT COUNT(*) FROM jobs WHERE ended_at IS NULL)
         + (SELECT COUNT(*) FROM running_turns)";
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    while hosts.database.number(active).await > 0 {
        looks.tick().await;
    }
}

/// Prints how long the jobs of killed hosts waited.
pub(super) fn print_take_overs(mut times: Vec<Duration>) {
    times.sort();
    let percentile = |percent: usize| times.get(times.len() * percent / 100);
    if let (Some(median), Some(slowest)) = (percentile(50), percentile(99)) {
        let (median, slowest) = (median.as_secs_f64(), slowest.as_secs_f64());
        let count = times.len();
        eprintln!("chaos: {count} jobs of killed hosts: p50 {median:.1} s, p99 {slowest:.1} s");
    }
}

/// Nothing was ordered twice, and each order has its mark.
pub(super) async fn check_orders(hosts: &Hosts, upstreams: &Upstreams) {
    let orders = upstreams.orders();
    let repeated: Vec<_> = orders.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "ordered more than once: {repeated:?}");
    let select = "SELECT request FROM jobs WHERE ordered = 1";
    let requests = hosts.database.texts(select, &[]).await;
    let marked: BTreeSet<&str> = requests
        .iter()
        .map(|request| find_prompt(request))
        .collect();
    let unmarked: Vec<_> = orders
        .keys()
        .filter(|prompt| !marked.contains(prompt.as_str()))
        .collect();
    assert!(unmarked.is_empty(), "ordered without a mark: {unmarked:?}");
    eprintln!("chaos: {} orders, each once", orders.len());
}

/// Each host has each image of each job that is done.
pub(super) async fn check_images(hosts: &Hosts, callers: &Callers) {
    let states = "SELECT state || ': ' || COUNT(*) FROM jobs GROUP BY state ORDER BY state";
    eprintln!("chaos: jobs {:?}", hosts.database.texts(states, &[]).await);
    let done = hosts
        .database
        .texts("SELECT id FROM jobs WHERE state = 'done'", &[])
        .await;
    assert!(!done.is_empty(), "no job is done");
    let reads = stream::iter(&done).map(|id| async move {
        let path = format!("/api/v1/jobs/{id}");
        let job = callers
            .send(&hosts.all[0], Method::GET, &path, None, None)
            .await;
        let job = job.unwrap().body;
        let files = job["files"].as_array().unwrap();
        assert_eq!(files.len(), 1, "{job}");
        let url = files[0]["url"].as_str().unwrap();
        for host in &hosts.all {
            let image = callers.image(host, url).await;
            assert!(image.starts_with(b"\x89PNG"), "{job}");
        }
    });
    reads.buffer_unordered(READERS).collect::<()>().await;
    let rows = hosts.database.number("SELECT COUNT(*) FROM files").await;
    assert_eq!(rows, i64::try_from(done.len()).unwrap(), "rows of images");
}
