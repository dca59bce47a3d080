use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;

type Waiting<'a> = BoxFuture<'a, Result<Permit, QueueFull>>;

fn queue(slots: usize) -> FairQueue {
    FairQueue::new(QueueLimits {
        slots,
        slots_per_user: slots,
        reserved_slots: reserved_share(slots),
        waiting: 8,
        waiting_per_user: 4,
        items: "jobs",
    })
}

fn of(user: &str) -> QueuedJob<'_> {
    QueuedJob {
        user: Some(user),
        group: None,
    }
}

fn start_waiting<'a>(queue: &'a FairQueue, job: QueuedJob<'a>) -> Waiting<'a> {
    let mut waiting = queue.acquire(job).boxed();
    assert!(!is_running(&mut waiting), "{job:?} has a slot");
    waiting
}

fn is_running(waiting: &mut Waiting<'_>) -> bool {
    waiting.now_or_never().is_some_and(|it| {
        // The permit is not released.
        std::mem::forget(it.unwrap());
        true
    })
}

fn acquire_now(queue: &FairQueue, job: QueuedJob<'_>) -> Permit {
    let acquired = queue.acquire(job).now_or_never();
    acquired.expect("no slot is free").unwrap()
}

#[test]
fn user_alone_uses_all_slots_but_the_reserve() {
    let queue = queue(8);
    let _permits: Vec<_> = (0..6).map(|_| acquire_now(&queue, of("a"))).collect();
    let _waiting = start_waiting(&queue, of("a"));
    // Users without a running job get the reserved slots.
    let _reserved = (acquire_now(&queue, of("b")), acquire_now(&queue, of("c")));
    let _late = start_waiting(&queue, of("d"));
    let load = queue.load();
    assert_eq!((load.used, load.waiting), (8, 2));
}

#[test]
fn two_greedy_users_do_not_starve_a_third() {
    let queue = queue(8);
    let mut permits: Vec<_> = (0..3).map(|_| acquire_now(&queue, of("a"))).collect();
    permits.extend((0..3).map(|_| acquire_now(&queue, of("b"))));
    let mut of_a = start_waiting(&queue, of("a"));
    let mut of_b = start_waiting(&queue, of("b"));
    let _first = acquire_now(&queue, of("c"));
    let mut second = start_waiting(&queue, of("c"));
    let mut third = start_waiting(&queue, of("c"));
    // The third user came last, and catches up with the others.
    permits.pop();
    assert!(!is_running(&mut second), "only the reserve is free");
    permits.remove(0);
    assert!(is_running(&mut second));
    // Now each user has two running jobs.
    permits.remove(0);
    assert!(is_running(&mut of_a));
    permits.pop();
    assert!(is_running(&mut of_b));
    drop(permits);
    assert!(is_running(&mut third));
}

#[test]
fn users_with_equally_many_jobs_are_served_in_order_of_arrival() {
    let queue = queue(1);
    let first = acquire_now(&queue, of("a"));
    let mut b = start_waiting(&queue, of("b"));
    let mut server = start_waiting(&queue, QueuedJob::default());
    drop(first);
    let second = (&mut b).now_or_never().unwrap();
    assert!(!is_running(&mut server));
    drop(second);
    assert!(is_running(&mut server));
}

#[test]
fn queue_limits_a_user_to_their_slots() {
    let queue = FairQueue::new(QueueLimits {
        slots_per_user: 2,
        ..queue(8).0.limits
    });
    let first = acquire_now(&queue, of("a"));
    let _second = acquire_now(&queue, of("a"));
    let mut third = start_waiting(&queue, of("a"));
    let _of_b = acquire_now(&queue, of("b"));
    drop(first);
    assert!(is_running(&mut third));
}

#[test]
fn full_group_waits_and_lets_other_jobs_pass() {
    let queue = queue(8);
    let in_group = |user, max_running| QueuedJob {
        user: Some(user),
        group: Some(JobGroup {
            name: "slow",
            max_running,
            max_running_per_user: 2,
            reserved: 0,
        }),
    };
    let first = acquire_now(&queue, in_group("a", 3));
    let _second = acquire_now(&queue, in_group("a", 3));
    let mut third = start_waiting(&queue, in_group("a", 3));
    let _of_b = acquire_now(&queue, in_group("b", 3));
    let mut of_c = start_waiting(&queue, in_group("c", 3));
    // Jobs outside the group run, those of the same user too.
    drop(acquire_now(&queue, of("a")));
    drop(first);
    assert!(is_running(&mut of_c), "c has no job, a has one");
    assert!(!is_running(&mut third));
    // The limit of the job applies, not that of earlier ones.
    let _wider = acquire_now(&queue, in_group("d", 4));
}

#[test]
fn group_reserves_places_for_users_without_a_job_in_it() {
    let queue = queue(16);
    let in_group = |user| QueuedJob {
        user: Some(user),
        group: Some(JobGroup {
            name: "slow",
            max_running: 4,
            max_running_per_user: 4,
            reserved: 1,
        }),
    };
    let first = acquire_now(&queue, in_group("a"));
    let _others = [
        acquire_now(&queue, in_group("a")),
        acquire_now(&queue, in_group("b")),
    ];
    let mut of_a = start_waiting(&queue, in_group("a"));
    drop(acquire_now(&queue, in_group("c")));
    drop(acquire_now(&queue, in_group("c")));
    drop(first);
    assert!(is_running(&mut of_a));
}

#[test]
fn queue_limits_waiting_jobs_and_forgets_abandoned_ones() {
    let queue = queue(1);
    let _permit = acquire_now(&queue, of("a"));
    let mut waiting: Vec<_> = (0..4).map(|_| start_waiting(&queue, of("a"))).collect();
    let refusal = |user| queue.acquire(of(user)).now_or_never().unwrap().err();
    let of_a = refusal("a").unwrap();
    assert_eq!((of_a.is_of_user, of_a.max_waiting), (true, 4));
    assert!(of_a.to_string().starts_with("4 of your jobs"), "{of_a}");
    waiting.pop();
    waiting.push(start_waiting(&queue, of("a")));
    waiting.extend([
        start_waiting(&queue, of("b")),
        start_waiting(&queue, of("b")),
    ]);
    // The last places are for users who have none.
    let of_b = refusal("b").unwrap();
    assert_eq!((of_b.is_of_user, of_b.max_waiting), (false, 6));
    waiting.extend([
        start_waiting(&queue, of("c")),
        start_waiting(&queue, of("d")),
    ]);
    let of_e = refusal("e").unwrap();
    assert_eq!((of_e.is_of_user, of_e.max_waiting), (false, 8));
}

#[test]
fn slot_of_a_job_that_left_goes_to_the_next() {
    let queue = queue(1);
    let first = acquire_now(&queue, of("a"));
    let b = start_waiting(&queue, of("b"));
    let mut c = start_waiting(&queue, of("c"));
    drop(first);
    assert!(!is_running(&mut c));
    drop(b);
    assert!(is_running(&mut c));
}

#[test]
fn queue_forgets_users_and_groups_without_a_job() {
    let queue = queue(2);
    for n in 0..100 {
        let name = n.to_string();
        let group = JobGroup {
            name: &name,
            max_running: 1,
            max_running_per_user: 1,
            reserved: 0,
        };
        let job = QueuedJob {
            user: Some(&name),
            group: Some(group),
        };
        let permit = acquire_now(&queue, job);
        drop(start_waiting(&queue, job));
        drop(permit);
    }
    let state = queue.0.lock();
    assert!(state.is_empty());
    assert_eq!((state.running, state.waiting), (0, 0));
}

#[test]
fn idle_waits_for_the_last_job() {
    let queue = queue(2);
    assert!(queue.idle().now_or_never().is_some());
    let permit = acquire_now(&queue, of("a"));
    let mut idle = queue.idle().boxed();
    assert!((&mut idle).now_or_never().is_none());
    drop(permit);
    assert!(idle.now_or_never().is_some());
}

#[test]
fn reserved_share_is_a_quarter_but_at_least_one_of_two() {
    let shares = [0, 1, 2, 3, 4, 8, 1000].map(reserved_share);
    assert_eq!(shares, [0, 0, 1, 1, 1, 2, 250]);
}

#[test]
fn waiting_job_counts_the_jobs_ahead_of_it() {
    let queue = queue(8);
    let group = JobGroup {
        name: "g",
        max_running: 1,
        max_running_per_user: 1,
        reserved: 0,
    };
    let of_group = |user| QueuedJob {
        group: Some(group),
        ..of(user)
    };
    let place = |user: &str, ticket| {
        let owner = Owner {
            user: Some(user.into()),
            group: "g".into(),
        };
        queue.0.lock().waiting_job(&owner, ticket)
    };
    let ahead = |jobs_ahead, is_behind_lingering| {
        Some(WaitingJob {
            jobs_ahead,
            is_behind_lingering,
        })
    };
    let running = acquire_now(&queue, of_group("a"));
    let _second = start_waiting(&queue, of_group("a"));
    let third = start_waiting(&queue, of_group("b"));
    let _fourth = start_waiting(&queue, of_group("c"));
    let places = [place("a", 0), place("b", 1), place("c", 2)];
    assert_eq!(places, [ahead(1, false), ahead(2, false), ahead(3, false)]);
    drop(third);
    running.linger();
    running.linger();
    assert_eq!((place("b", 1), place("c", 2)), (None, ahead(2, true)));
    drop(running);
    // The second one runs.
    assert_eq!((place("a", 0), place("c", 2)), (None, ahead(1, false)));
}

#[tokio::test]
async fn acquire_reporting_reports_the_place_and_then_its_end() {
    let queue = queue(1);
    let first = acquire_now(&queue, of("a"));
    let reports = Mutex::new(Vec::new());
    let report = |place: Option<WaitingJob>| {
        reports.lock().unwrap().push(place.map(|it| it.jobs_ahead));
    };
    let mut second = queue.acquire_reporting(of("b"), report).boxed();
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    let _permit = second.await.unwrap();
    assert_eq!(*reports.lock().unwrap(), [Some(0), None]);
    let _third = queue.acquire_reporting(of("c"), report);
    assert_eq!(reports.lock().unwrap().len(), 2);
}
