//! Whether the database responds.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Store;
use super::database::query;

/// How long a statement may take.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(2);
/// How long a result is used again, so that many requests for it run one statement.
const RESULT_LIFETIME: Duration = Duration::from_secs(1);

/// The last look at the database.
#[derive(Debug, Default)]
pub(super) struct DatabaseProbe(Mutex<Option<ProbeResult>>);

#[derive(Clone, Copy, Debug)]
struct ProbeResult {
    time: Instant,
    responds: bool,
}

impl Store {
    /// True if the database responds within 2 seconds. A result is up to a second old.
    pub async fn responds(&self) -> bool {
        let mut last = self.probe.0.lock().await;
        if let Some(result) = *last
            && result.time.elapsed() < RESULT_LIFETIME
        {
            return result.responds;
        }
        let select = query("SELECT CAST(1 AS BIGINT) AS one").fetch_one(&self.database);
        let responds = matches!(timeout(MAX_RESPONSE_TIME, select).await, Ok(Ok(_)));
        *last = Some(ProbeResult {
            time: Instant::now(),
            responds,
        });
        responds
    }
}
