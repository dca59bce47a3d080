//! Leases of jobs: which host runs a job until when, and how another one takes it.
//!
//! A host extends its leases while it runs. After a crash they expire, and another host takes the jobs. A host that was
//! only slow then still works on them. It is excluded by the number of the attempt: each write for a job names it, and
//! changes no row if another host took the job meanwhile.

use std::collections::HashSet;

use super::database::{Connection, Row, query};
use super::files::insert_linked;
use super::job_row::{COLUMNS, JobRow, job_from_row};
use super::{MessageLink, NewFile, Store};

/// How long a lease is valid, in seconds.
pub const LEASE_SECS: i64 = 30;
/// Jobs of other hosts whose lease has expired, and all that were handed over. The host is `$1`.
const DUE: &str = "SELECT id FROM jobs WHERE ended_at IS NULL AND (host <> $1 OR (host = $1 AND leased_until = 0))
     AND leased_until < ";

/// Which attempt of a job a write is for.
#[derive(Clone, Copy, Debug)]
pub struct JobAttempt<'a> {
    pub id: &'a str,
    pub attempt: i64,
}

/// A job whose lease a host has extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    pub id: String,
    pub attempt: i64,
    /// A user stopped it on another host.
    pub is_stopped: bool,
}

/// A job that a host has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedJob {
    pub row: JobRow,
    /// What the engine stored with the job.
    pub remembered: Option<String>,
    /// How many processes ended while the engine worked on the job.
    pub crashes: i64,
    /// A user stopped it.
    pub is_stopped: bool,
}

impl Store {
    /// Records that a host runs, and extends the leases of its jobs. Returns those that are still its own.
    pub async fn extend_leases(&self, host: &str) -> sqlx::Result<Vec<LeasedJob>> {
        let now = self.database.dialect().current_secs();
        let mut write = self.begin().await?;
        query("UPDATE hosts SET seen_at = ")
            .push(now)
            .push(" WHERE id = $1")
            .bind(host)
            .execute(&mut *write)
            .await?;
        let rows = query("UPDATE jobs SET leased_until = ")
            .push(now)
            .push(
                " + $2 WHERE host = $1 AND ended_at IS NULL AND leased_until > 0
                 RETURNING id, attempt, stop_requested",
            )
            .bind(host)
            .bind(LEASE_SECS)
            .fetch_all(&mut *write)
            .await?;
        write.commit().await?;
        let leased = rows.iter().map(|row| {
            Ok(LeasedJob {
                id: row.try_get("id")?,
                attempt: row.try_get("attempt")?,
                is_stopped: row.try_get_flag("stop_requested")?,
            })
        });
        leased.collect()
    }

    /// Takes the oldest job of another host whose lease has expired, or that was handed over. Its state is `waiting`
    /// from then on; `started_at` tells whether an engine has worked on it.
    pub async fn claim_job(&self, host: &str) -> sqlx::Result<Option<ClaimedJob>> {
        let dialect = self.database.dialect();
        let now = dialect.current_secs();
        let due = query(DUE).push(now).push(" LIMIT 1").bind(host);
        // Nothing to claim is the usual case, and needs no turn among the writers.
        if due.fetch_optional(&self.database).await?.is_none() {
            return Ok(None);
        }
        let mut write = self.begin().await?;
        // Hosts that claim at the same time take different jobs.
        let row = query("UPDATE jobs SET attempt = attempt + 1, host = $1, state = 'waiting', leased_until = ")
            .push(now)
            .push(
                " + $2, crashes = crashes + CASE WHEN state = 'running' AND leased_until > 0 THEN 1 ELSE 0 END
                 WHERE id = (",
            )
            .push(DUE)
            .push(now)
            .push(" ORDER BY id LIMIT 1")
            .skip_locked(dialect)
            .push(") RETURNING ")
            .push(COLUMNS)
            .push(", remembered, crashes, stop_requested")
            .bind(host)
            .bind(LEASE_SECS)
            .fetch_optional(&mut *write)
            .await?;
        let claimed = row.as_ref().map(claimed_from_row).transpose()?;
        if let Some(job) = claimed.as_ref().map(|it| &it.row)
            && job.chat_id.is_some()
        {
            // The turn ends with the job, and other hosts leave it alone meanwhile.
            query("UPDATE running_turns SET host = $1 WHERE chat_id = $2 AND message_id = $3")
                .bind(host)
                .bind(&job.chat_id)
                .bind(&job.message_id)
                .execute(&mut *write)
                .await?;
        }
        write.commit().await?;
        Ok(claimed)
    }

    /// Gives a job to whichever host takes it first. Returns false if it was taken already, or has ended.
    pub async fn hand_over_job(&self, job: JobAttempt<'_>) -> sqlx::Result<bool> {
        self.update_attempt("leased_until = 0", job, None).await
    }

    /// Records that an upstream may receive an order. Returns false if the job is no longer this attempt's.
    pub async fn mark_ordered(&self, job: JobAttempt<'_>) -> sqlx::Result<bool> {
        self.update_attempt("ordered = 1", job, None).await
    }

    /// Stores what an engine notes. Returns false if the job is no longer this attempt's.
    pub async fn set_remembered(&self, job: JobAttempt<'_>, note: &str) -> sqlx::Result<bool> {
        self.update_attempt("remembered = $3", job, Some(note))
            .await
    }

    async fn update_attempt(
        &self,
        change: &'static str,
        job: JobAttempt<'_>,
        value: Option<&str>,
    ) -> sqlx::Result<bool> {
        let mut update = query("UPDATE jobs SET ")
            .push(change)
            .push(" WHERE id = $1 AND attempt = $2 AND ended_at IS NULL")
            .bind(job.id)
            .bind(job.attempt);
        if let Some(value) = value {
            update = update.bind(value);
        }
        let mut write = self.begin_statement().await?;
        let updated = update.execute(&mut *write).await?;
        write.commit().await?;
        Ok(updated > 0)
    }

    /// Records that another component carries out a job, which has ordered nothing so far.
    pub async fn set_component(&self, row: &JobRow) -> sqlx::Result<bool> {
        let mut write = self.begin_statement().await?;
        let updated = query(
            "UPDATE jobs SET binding = $3, engine = $4, engine_version = $5, digest = $6, ordered = 0, remembered = NULL
             WHERE id = $1 AND attempt = $2 AND ended_at IS NULL",
        )
        .bind(&row.id)
        .bind(row.attempt)
        .bind(&row.binding)
        .bind(&row.engine)
        .bind(&row.engine_version)
        .bind(&row.digest)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(updated > 0)
    }

    /// Stops active jobs of other hosts: one, or all of a user, or all. Their hosts notice it when they extend their
    /// leases. Returns the number of those that were not stopped before.
    pub async fn request_stop(
        &self,
        host: &str,
        id: Option<&str>,
        user_id: Option<&str>,
    ) -> sqlx::Result<u64> {
        let mut write = self.begin_statement().await?;
        let stopped = query(
            "UPDATE jobs SET stop_requested = 1 WHERE ended_at IS NULL AND host IS NOT NULL AND host <> $1
                 AND stop_requested = 0 AND (CAST($2 AS TEXT) IS NULL OR id = $2)
                 AND (CAST($3 AS TEXT) IS NULL OR user_id = $3)",
        )
        .bind(host)
        .bind(id)
        .bind(user_id)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(stopped)
    }

    /// Adds the files of a job, links them to a message, and records the end of the job: all or nothing. Returns false
    /// and changes nothing if the job is no longer this attempt's.
    pub async fn finish_job(
        &self,
        end: &JobRow,
        files: &[NewFile],
        link: Option<MessageLink<'_>>,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        if !end_attempt(&mut transaction, end).await? {
            return Ok(false);
        }
        insert_linked(&mut transaction, files, link).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Those of the ids that are active jobs. Accepts a few hundred, the parameters of one statement.
    pub async fn active_job_ids(&self, ids: &HashSet<String>) -> sqlx::Result<HashSet<String>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let active = query("SELECT id FROM jobs WHERE ended_at IS NULL AND id IN (")
            .push_list(ids)
            .push(")")
            .fetch_values(&self.database)
            .await?;
        Ok(active.into_iter().collect())
    }
}

/// Records how a job ended. Returns false if it is no longer this attempt's, or has ended.
pub(super) async fn end_attempt(connection: &mut Connection, job: &JobRow) -> sqlx::Result<bool> {
    let ended = query(
        "UPDATE jobs SET state = $3, binding = $4, engine = $5, engine_version = $6, digest = $7,
             ordered = $8, result = $9, error = $10, started_at = $11, ended_at = $12, duration_ms = $13
         WHERE id = $1 AND attempt = $2 AND ended_at IS NULL",
    )
    .bind(&job.id)
    .bind(job.attempt)
    .bind(job.state.name())
    .bind(&job.binding)
    .bind(&job.engine)
    .bind(&job.engine_version)
    .bind(&job.digest)
    .bind(i64::from(job.ordered))
    .bind(&job.result)
    .bind(&job.error)
    .bind(job.started_at)
    .bind(job.ended_at)
    .bind(job.duration_ms)
    .execute(connection)
    .await?;
    Ok(ended > 0)
}

fn claimed_from_row(row: &Row) -> sqlx::Result<ClaimedJob> {
    Ok(ClaimedJob {
        row: job_from_row(row)?,
        remembered: row.try_get("remembered")?,
        crashes: row.try_get("crashes")?,
        is_stopped: row.try_get_flag("stop_requested")?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::JobState;
    use crate::store::jobs::tests::{add_users, job};
    use crate::store::test_database::TestDatabase;

    fn leased(id: &str) -> JobRow {
        JobRow {
            host: Some("a".to_owned()),
            continuation: Some("{}".to_owned()),
            ..job(id, "ada")
        }
    }

    /// As if all leases had expired.
    async fn age_leases(test: &TestDatabase) {
        let update = "UPDATE jobs SET leased_until = leased_until - $1 WHERE leased_until > 0";
        test.execute(query(update).bind(LEASE_SECS + 2)).await;
    }

    #[tokio::test]
    async fn expired_job_is_taken_once_and_lost_by_its_host() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let first = leased("1");
            store.add_job(&first).await.unwrap();
            store.add_job(&job("2", "ada")).await.unwrap();
            assert_eq!(store.claim_job("b").await.unwrap(), None);
            age_leases(&test).await;
            // The host itself extends its lease instead.
            assert_eq!(store.claim_job("a").await.unwrap(), None);
            let taken = store.claim_job("b").await.unwrap().unwrap();
            assert_eq!((taken.row.attempt, taken.crashes), (2, 0));
            assert_eq!(taken.row.host.as_deref(), Some("b"));
            assert_eq!(store.claim_job("c").await.unwrap(), None);
            assert_eq!(store.extend_leases("a").await.unwrap(), []);
            let [held] = &store.extend_leases("b").await.unwrap()[..] else {
                panic!("one job")
            };
            assert_eq!((held.id.as_str(), held.attempt), ("1", 2));
        })
        .await;
    }

    #[tokio::test]
    async fn hosts_that_claim_at_once_take_different_jobs() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            for id in ["1", "2", "3"] {
                store.add_job(&leased(id)).await.unwrap();
            }
            age_leases(&test).await;
            let claims = ["b", "c", "d"].map(|host| store.claim_job(host));
            let taken = futures_util::future::join_all(claims).await;
            let ids = taken.into_iter().map(|it| it.unwrap().unwrap().row.id);
            let ids: BTreeSet<_> = ids.collect();
            assert!(ids.iter().eq(["1", "2", "3"]), "{}: {ids:?}", test.name);
        })
        .await;
    }

    #[tokio::test]
    async fn writes_of_an_older_attempt_change_nothing() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let old = leased("1");
            store.add_job(&old).await.unwrap();
            assert!(store.mark_ordered(old.attempt()).await.unwrap());
            assert!(store.set_remembered(old.attempt(), "p1").await.unwrap());
            age_leases(&test).await;
            let taken = store.claim_job("b").await.unwrap().unwrap();
            assert_eq!(taken.remembered.as_deref(), Some("p1"));
            assert!(taken.row.ordered);
            let ended = JobRow {
                state: JobState::Done,
                ended_at: Some(1),
                ..old.clone()
            };
            assert!(!store.mark_ordered(old.attempt()).await.unwrap());
            assert!(!store.set_remembered(old.attempt(), "p2").await.unwrap());
            assert!(!store.set_component(&old).await.unwrap());
            assert!(!store.hand_over_job(old.attempt()).await.unwrap());
            assert!(!store.end_job(&ended).await.unwrap());
            assert!(!store.finish_job(&ended, &[], None).await.unwrap());
            store.start_job(&ended).await.unwrap();
            assert_eq!(store.job("1").await.unwrap(), Some(taken.row.clone()));
            let own_end = JobRow {
                attempt: 2,
                ..ended
            };
            assert!(store.finish_job(&own_end, &[], None).await.unwrap());
            assert!(!store.end_job(&own_end).await.unwrap());
        })
        .await;
    }

    #[tokio::test]
    async fn only_a_crash_of_a_running_job_counts() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let mut row = leased("1");
            store.add_job(&row).await.unwrap();
            assert!(store.hand_over_job(row.attempt()).await.unwrap());
            for (host, is_running, crashes) in [
                ("b", true, 0),
                ("c", true, 1),
                ("d", false, 2),
                ("e", false, 2),
            ] {
                let taken = store.claim_job(host).await.unwrap().unwrap();
                assert_eq!(taken.crashes, crashes, "{host}");
                assert_eq!(taken.row.state, JobState::Waiting);
                row = taken.row;
                if is_running {
                    (row.state, row.started_at) = (JobState::Running, Some(1));
                    store.start_job(&row).await.unwrap();
                }
                age_leases(&test).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn other_component_forgets_what_the_first_one_noted() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let mut row = leased("1");
            store.add_job(&row).await.unwrap();
            store.set_remembered(row.attempt(), "p1").await.unwrap();
            store.mark_ordered(row.attempt()).await.unwrap();
            row.binding = "other".to_owned();
            assert!(store.set_component(&row).await.unwrap());
            store.hand_over_job(row.attempt()).await.unwrap();
            let taken = store.claim_job("b").await.unwrap().unwrap();
            assert_eq!((taken.remembered, taken.row.ordered), (None, false));
            assert_eq!(taken.row.binding, "other");
        })
        .await;
    }

    #[tokio::test]
    async fn job_of_another_host_is_stopped_by_its_row() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            for id in ["1", "2"] {
                store.add_job(&leased(id)).await.unwrap();
            }
            let stop = async |host: &str, id: Option<&str>, user: Option<&str>| {
                store.request_stop(host, id, user).await.unwrap()
            };
            assert_eq!(stop("a", Some("1"), None).await, 0);
            assert_eq!(stop("b", Some("1"), None).await, 1);
            assert_eq!(stop("b", None, Some("bob")).await, 0);
            assert_eq!(stop("b", None, Some("ada")).await, 1);
            let leases = store.extend_leases("a").await.unwrap();
            assert!(leases.iter().all(|job| job.is_stopped) && leases.len() == 2);
        })
        .await;
    }

    #[tokio::test]
    async fn start_of_a_database_alone_frees_the_jobs_of_the_last_process() {
        let test = TestDatabase::sqlite().await;
        add_users(&test).await;
        let store = &test.store;
        store.add_host("a", "", "1").await.unwrap();
        store.add_job(&leased("1")).await.unwrap();
        assert!(store.hold_lease("reaper", "a").await.unwrap());
        assert!(!store.hold_lease("reaper", "b").await.unwrap());
        store.add_host("b", "", "1").await.unwrap();
        assert!(store.claim_job("b").await.unwrap().is_some());
        assert!(store.hold_lease("reaper", "b").await.unwrap());
        store.remove_host("b").await.unwrap();
        assert!(store.hold_lease("reaper", "c").await.unwrap());
    }
}
