//! Reports how long something takes.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When a report is due.
#[derive(Clone, Copy, Debug)]
pub struct Reports {
    /// Time until the first report. Shorter work is not reported.
    pub first: Duration,
    /// Between the others. The second is due after this time, too.
    pub interval: Duration,
}

impl Reports {
    /// Waits for the work. Calls `report` with the time since the start, whenever it is due.
    pub async fn until_done<T>(
        self,
        work: impl Future<Output = T>,
        mut report: impl FnMut(Duration),
    ) -> T {
        let start = Instant::now();
        let mut work = pin!(work);
        let mut due = self.first;
        let mut next = self.interval;
        loop {
            if let Ok(done) = timeout_at(start + due, &mut work).await {
                return done;
            }
            report(due);
            due = next;
            next = due.saturating_add(self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn reports_repeat_until_the_work_is_done() {
        let reports = Reports {
            first: Duration::from_millis(1),
            interval: Duration::from_millis(4),
        };
        let reported = watch::Sender::new(Vec::new());
        let mut seen = reported.subscribe();
        let work = async {
            let three = seen.wait_for(|it: &Vec<Duration>| it.len() >= 3).await;
            three.map(|it| it.len()).unwrap()
        };
        let count = reports
            .until_done(work, |it| reported.send_modify(|all| all.push(it)))
            .await;
        assert_eq!(count, 3);
        assert_eq!(
            *reported.borrow(),
            [1, 4, 8].map(Duration::from_millis).to_vec()
        );
    }

    #[tokio::test]
    async fn short_work_has_no_report() {
        let reports = Reports {
            first: Duration::from_secs(60),
            interval: Duration::from_secs(60),
        };
        let done = reports.until_done(async { 7 }, |_| panic!("a report"));
        assert_eq!(done.await, 7);
    }
}
