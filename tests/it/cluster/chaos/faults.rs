//! What fails, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::LONG_RUN;
use super::hosts::{Host, Hosts};
use super::upstreams::Upstreams;
use crate::cut::Network;

/// Time between two failures.
const INTERVAL: Duration = Duration::from_secs(2);
/// Longer than a lease of 30 s.
const LONG_STALL: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stall,
    CutRedis,
    CutDatabase,
    RestartUpstreams,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Kill,
        Self::Stall,
        Self::CutRedis,
        Self::CutDatabase,
        Self::RestartUpstreams,
    ];

    fn duration(self, random: &mut fastrand::Rng, is_long_run: bool) -> Duration {
        let milliseconds = match self {
            Self::Kill => 0..3_000,
            Self::RestartUpstreams => 100..2_000,
            Self::Stall if is_long_run => return LONG_STALL,
            Self::CutDatabase if is_long_run && random.u8(..3) == 0 => 25_000..45_000,
            Self::Stall | Self::CutRedis | Self::CutDatabase => 1_000..6_000,
        };
        Duration::from_millis(random.u64(milliseconds))
    }
}

/// The times of the jobs of each killed host until another one took them.
pub(super) type TakeOvers = JoinSet<Vec<Duration>>;

/// Lets something fail every 2 seconds. Returns when all failures have ended.
pub(super) async fn disturb(
    hosts: &Arc<Hosts>,
    upstreams: &Arc<Upstreams>,
    mut random: fastrand::Rng,
    length: Duration,
) -> TakeOvers {
    let end = Instant::now() + length;
    let mut faults = JoinSet::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    let upstream_disturbance = Arc::<tokio::sync::Mutex<()>>::default();
    while Instant::now() < end {
        ticks.tick().await;
        let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
        let index = random.usize(..hosts.all.len());
        let duration = fault.duration(&mut random, length >= LONG_RUN);
        let host = hosts.all[index].clone();
        let disturbance = match fault {
            Fault::RestartUpstreams => &upstream_disturbance,
            _ => &host.disturbance,
        };
        // One failure at a time for each.
        let Ok(held) = disturbance.clone().try_lock_owned() else {
            continue;
        };
        eprintln!("chaos: {fault:?} of host {index} for {duration:?}");
        let (hosts, upstreams) = (hosts.clone(), upstreams.clone());
        faults.spawn(async move {
            let killed = run(fault, duration, &hosts, &host, &upstreams).await;
            drop(held);
            killed
        });
    }
    let killed = faults.join_all().await;
    let mut take_overs = JoinSet::new();
    for take_over in killed.into_iter().flatten() {
        take_overs.spawn(async { take_over.await.unwrap() });
    }
    take_overs
}

/// Returns the measurement of a killed host.
async fn run(
    fault: Fault,
    duration: Duration,
    hosts: &Arc<Hosts>,
    host: &Host,
    upstreams: &Upstreams,
) -> Option<tokio::task::JoinHandle<Vec<Duration>>> {
    match fault {
        Fault::Kill => {
            let id = hosts.kill(host);
            let (measured, killed) = (hosts.clone(), Instant::now());
            let take_over =
                tokio::spawn(async move { measured.take_over_times(&id, killed).await });
            tokio::time::sleep(duration).await;
            hosts.start_host(host).await;
            return Some(take_over);
        }
        Fault::Stall => {
            host.signal("STOP");
            tokio::time::sleep(duration).await;
            host.signal("CONT");
        }
        Fault::CutRedis => {
            host.redis.set(Network::Cut);
            tokio::time::sleep(duration).await;
            host.redis.set(Network::Open);
        }
        Fault::CutDatabase => {
            host.database.set(Network::Cut);
            tokio::time::sleep(duration).await;
            host.database.set(Network::Open);
        }
        Fault::RestartUpstreams => {
            upstreams.set(Network::Cut);
            tokio::time::sleep(duration).await;
            upstreams.set(Network::Open);
        }
    }
    None
}
