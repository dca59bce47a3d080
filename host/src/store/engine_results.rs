//! Finished jobs of each version of an engine by minute, for the verdict on it.

use super::database::query;
use super::{Store, now};

/// How long results are stored, in minutes: a verdict looks at seven days.
const MAX_AGE_MINUTES: i64 = 8 * 24 * 60;

/// Finished jobs of a version with one outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineResult {
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// `ok`, `crash`, `own` or `upstream`.
    pub outcome: String,
    pub jobs: i64,
    /// Their CPU time in milliseconds.
    pub own_ms: i64,
}

impl Store {
    /// Adds jobs that ended in this minute. Deletes old ones.
    pub async fn add_engine_results(&self, results: &[EngineResult]) -> sqlx::Result<()> {
        let minute = now() / 60;
        let mut write = self.begin().await?;
        for result in results {
            query(
                "INSERT INTO engine_results (digest, minute, outcome, jobs, own_ms)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (digest, minute, outcome) DO UPDATE SET
                     jobs = engine_results.jobs + excluded.jobs,
                     own_ms = engine_results.own_ms + excluded.own_ms",
            )
            .bind(&result.digest)
            .bind(minute)
            .bind(&result.outcome)
            .bind(result.jobs)
            .bind(result.own_ms)
            .execute(&mut *write)
            .await?;
        }
        query("DELETE FROM engine_results WHERE minute < $1")
            .bind(minute - MAX_AGE_MINUTES)
            .execute(&mut *write)
            .await?;
        write.commit().await
    }

    /// The jobs of a version that ended since this time, in seconds since 1970, from the start of its minute on.
    pub async fn engine_results(
        &self,
        digest: &str,
        since: i64,
    ) -> sqlx::Result<Vec<EngineResult>> {
        let rows = query(
            "SELECT outcome, CAST(SUM(jobs) AS BIGINT) AS jobs, CAST(SUM(own_ms) AS BIGINT) AS own_ms
             FROM engine_results
             WHERE digest = $1 AND minute >= $2 GROUP BY outcome",
        )
        .bind(digest)
        .bind(since / 60)
        .fetch_all(&self.database)
        .await?;
        let read = rows.iter().map(|row| {
            Ok(EngineResult {
                digest: digest.to_owned(),
                outcome: row.try_get("outcome")?,
                jobs: row.try_get("jobs")?,
                own_ms: row.try_get("own_ms")?,
            })
        });
        read.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_database::TestDatabase;

    #[tokio::test]
    async fn results_of_a_minute_are_added_up() {
        TestDatabase::each(async |test| {
            let store = &test.store;
            let result = |outcome: &str, jobs| EngineResult {
                digest: "a".into(),
                outcome: outcome.into(),
                jobs,
                own_ms: 10 * jobs,
            };
            let batch = [result("ok", 2), result("crash", 1)];
            store.add_engine_results(&batch).await.unwrap();
            store.add_engine_results(&batch[..1]).await.unwrap();
            let mut read = store.engine_results("a", now() - 120).await.unwrap();
            read.sort_by(|a, b| a.outcome.cmp(&b.outcome));
            assert_eq!(read, [result("crash", 1), result("ok", 4)]);
            let later = store.engine_results("a", now() + 120).await.unwrap();
            assert!(later.is_empty());
            assert!(store.engine_results("b", 0).await.unwrap().is_empty());
        })
        .await;
    }
}
