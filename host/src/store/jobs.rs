//! Jobs of the jobs API and of chats: active and ended ones.

use super::database::{Connection, query};
use super::job_leases::{LEASE_SECS, end_attempt};
use super::job_row::{COLUMNS, Idempotency, JobFilter, JobRow, job_from_row};
use super::{Store, now};

/// Ended jobs of one user that are stored.
pub const MAX_STORED_JOBS: u32 = 1_000;
/// How long ended jobs are stored, in days.
pub const MAX_JOB_AGE_DAYS: u32 = 30;
/// How long a request with an idempotency key gets the job of the first one, in seconds.
pub const IDEMPOTENCY_SECS: u32 = 24 * 3600;

impl Store {
    /// Adds a job. If the user has a job with the same idempotency key already, returns that one and adds nothing.
    /// Removes the user's oldest jobs beyond [`MAX_STORED_JOBS`].
    pub async fn add_job(&self, job: &JobRow) -> sqlx::Result<Option<JobRow>> {
        let mut write = self.begin().await?;
        // Another request with this key may be inserting its job: that one is waited for.
        while !insert(&mut write, job).await? {
            let Some(Idempotency { key, .. }) = &job.idempotency else {
                break;
            };
            if free_key(&mut write, &job.user_id, key).await? {
                continue;
            }
            let existing = find_by_key(&mut write, &job.user_id, key).await?;
            if existing.is_some() {
                write.commit().await?;
                return Ok(existing);
            }
        }
        remove_surplus(&mut write, &job.user_id).await?;
        write.commit().await?;
        Ok(None)
    }

    /// The job that the user's request with this idempotency key started.
    pub async fn job_by_key(&self, user_id: &str, key: &str) -> sqlx::Result<Option<JobRow>> {
        let mut connection = self.database.acquire().await?;
        let found = find_by_key(&mut connection, user_id, key).await?;
        let oldest = now() - i64::from(IDEMPOTENCY_SECS);
        Ok(found.filter(|job| job.created_at > oldest))
    }

    /// Records that the engine works on a job, unless the job has ended or is no longer this attempt's.
    pub async fn start_job(&self, job: &JobRow) -> sqlx::Result<()> {
        let mut write = self.begin_statement().await?;
        query(
            "UPDATE jobs SET state = $3, started_at = $4,
                 ordered = CASE WHEN $5 = CAST(1 AS BIGINT) THEN 1 ELSE ordered END
             WHERE id = $1 AND attempt = $2 AND ended_at IS NULL",
        )
        .bind(&job.id)
        .bind(job.attempt)
        .bind(job.state.name())
        .bind(job.started_at)
        .bind(i64::from(job.ordered))
        .execute(&mut *write)
        .await?;
        write.commit().await
    }

    /// Records how a job ended. Returns false and changes nothing if it is no longer this attempt's, or has ended.
    pub async fn end_job(&self, job: &JobRow) -> sqlx::Result<bool> {
        let mut write = self.begin_statement().await?;
        let is_ended = end_attempt(&mut write, job).await?;
        write.commit().await?;
        Ok(is_ended)
    }

    /// A job of any user.
    pub async fn job(&self, id: &str) -> sqlx::Result<Option<JobRow>> {
        let row = query("SELECT ")
            .push(COLUMNS)
            .push(" FROM jobs WHERE id = ")
            .push_bind(id)
            .fetch_optional(&self.database)
            .await?;
        row.as_ref().map(job_from_row).transpose()
    }

    /// A page of jobs, newest first, each with the name of its user.
    pub async fn jobs(&self, filter: JobFilter<'_>) -> sqlx::Result<Vec<(JobRow, String)>> {
        if filter.states.is_empty() {
            return Ok(Vec::new());
        }
        let names = filter.states.iter().map(|state| state.name());
        let mut select = query("SELECT ")
            .push(COLUMNS)
            .push(", users.name AS user_name FROM jobs JOIN users ON users.id = user_id WHERE state IN (")
            .push_list(names)
            .push(")");
        if filter.states.iter().all(|state| state.is_active()) {
            // Only few rows are active, and they have an index.
            select = select.push(" AND ended_at IS NULL");
        }
        if let Some(user_id) = filter.user_id {
            select = select.push(" AND user_id = ").push_bind(user_id);
        }
        if let Some(binding) = filter.binding {
            select = select.push(" AND jobs.binding = ").push_bind(binding);
        }
        if let Some(before) = filter.before {
            select = select.push(" AND jobs.id < ").push_bind(before);
        }
        let rows = select
            .push(" ORDER BY jobs.id DESC LIMIT ")
            .push_bind(i64::from(filter.limit))
            .fetch_all(&self.database)
            .await?;
        let read = rows
            .iter()
            .map(|row| Ok((job_from_row(row)?, row.try_get("user_name")?)));
        read.collect()
    }

    /// The jobs that have not ended. For the start of a server, before it starts jobs.
    pub async fn active_jobs(&self) -> sqlx::Result<Vec<JobRow>> {
        let rows = query("SELECT ")
            .push(COLUMNS)
            .push(" FROM jobs WHERE ended_at IS NULL ORDER BY jobs.id")
            .fetch_all(&self.database)
            .await?;
        rows.iter().map(job_from_row).collect()
    }

    /// Removes jobs that ended more than [`MAX_JOB_AGE_DAYS`] before this time.
    pub async fn remove_old_jobs(&self, now: i64) -> sqlx::Result<u64> {
        let oldest = now - i64::from(MAX_JOB_AGE_DAYS) * 24 * 3600;
        let mut write = self.begin_removal().await?;
        let removed = query("DELETE FROM jobs WHERE ended_at IS NOT NULL AND ended_at < $1")
            .bind(oldest)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(removed)
    }
}

/// Returns false if the user has a job with the same idempotency key.
async fn insert(connection: &mut Connection, job: &JobRow) -> sqlx::Result<bool> {
    let (key, request_hash) = match &job.idempotency {
        Some(it) => (Some(it.key.as_str()), Some(it.request_hash.as_str())),
        None => (None, None),
    };
    query(
        "INSERT INTO jobs (id, user_id, origin, chat_id, message_id, operation, state, request, binding, engine,
             engine_version, digest, ordered, result, idempotency_key, request_hash, created_at, attempt, host,
             continuation, leased_until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, ",
    )
    .push(connection.dialect().current_secs())
    .push(
        " + $21)
         ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
    )
    .bind(&job.id)
    .bind(&job.user_id)
    .bind(&job.origin)
    .bind(&job.chat_id)
    .bind(&job.message_id)
    .bind(&job.operation)
    .bind(job.state.name())
    .bind(&job.request)
    .bind(&job.binding)
    .bind(&job.engine)
    .bind(&job.engine_version)
    .bind(&job.digest)
    .bind(i64::from(job.ordered))
    .bind(&job.result)
    .bind(key)
    .bind(request_hash)
    .bind(job.created_at)
    .bind(job.attempt)
    .bind(&job.host)
    .bind(&job.continuation)
    .bind(LEASE_SECS)
    .execute(connection)
    .await
    .map(|inserted| inserted > 0)
}

/// Removes a key from its job if it has expired. Returns false if it has not.
async fn free_key(connection: &mut Connection, user_id: &str, key: &str) -> sqlx::Result<bool> {
    query(
        "UPDATE jobs SET idempotency_key = NULL
         WHERE user_id = $1 AND idempotency_key = $2 AND created_at <= $3",
    )
    .bind(user_id)
    .bind(key)
    .bind(now() - i64::from(IDEMPOTENCY_SECS))
    .execute(connection)
    .await
    .map(|freed| freed > 0)
}

async fn find_by_key(
    connection: &mut Connection,
    user_id: &str,
    key: &str,
) -> sqlx::Result<Option<JobRow>> {
    let row = query("SELECT ")
        .push(COLUMNS)
        .push(" FROM jobs WHERE user_id = ")
        .push_bind(user_id)
        .push(" AND idempotency_key = ")
        .push_bind(key)
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(job_from_row).transpose()
}

/// Removes the user's ended jobs that are older than the newest ones.
async fn remove_surplus(connection: &mut Connection, user_id: &str) -> sqlx::Result<()> {
    query(
        "DELETE FROM jobs WHERE user_id = $1 AND ended_at IS NOT NULL AND id <= (
             SELECT id FROM jobs WHERE user_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
    )
    .bind(user_id)
    .bind(i64::from(MAX_STORED_JOBS))
    .execute(connection)
    .await
    .map(|_| ())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::JobState;
    use crate::store::test_database::TestDatabase;

    pub(in crate::store) async fn add_users(test: &TestDatabase) {
        let users = "INSERT INTO users (id, name, role, created_at)
             VALUES ('ada', 'ada', 'user', 0), ('bob', 'bob', 'user', 0)";
        test.execute(query(users)).await;
    }

    pub(in crate::store) fn job(id: &str, user_id: &str) -> JobRow {
        JobRow {
            id: id.to_owned(),
            user_id: user_id.to_owned(),
            origin: "api".to_owned(),
            chat_id: None,
            message_id: None,
            operation: "generate".to_owned(),
            state: JobState::Waiting,
            request: None,
            binding: "sketch".to_owned(),
            engine: "sketch".to_owned(),
            engine_version: "1.0.0".to_owned(),
            digest: "d".to_owned(),
            ordered: false,
            result: "{}".to_owned(),
            error: None,
            idempotency: None,
            created_at: now(),
            started_at: None,
            ended_at: None,
            duration_ms: None,
            attempt: 1,
            host: None,
            continuation: None,
        }
    }

    async fn ids(store: &Store, filter: JobFilter<'_>) -> Vec<String> {
        let rows = store.jobs(filter).await.unwrap();
        rows.into_iter().map(|(job, _)| job.id).collect()
    }

    const ALL: JobFilter<'static> = JobFilter {
        user_id: None,
        binding: None,
        states: &JobState::ALL,
        before: None,
        limit: 10,
    };

    #[tokio::test]
    async fn row_is_read_as_it_was_written() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let mut row = JobRow {
                chat_id: Some("c".to_owned()),
                message_id: Some("m".to_owned()),
                request: Some("{}".to_owned()),
                idempotency: Some(Idempotency {
                    key: "k".to_owned(),
                    request_hash: "h".to_owned(),
                }),
                ..job("1", "ada")
            };
            assert_eq!(store.add_job(&row).await.unwrap(), None);
            assert_eq!(store.job("1").await.unwrap().as_ref(), Some(&row));
            (row.state, row.started_at, row.ordered) = (JobState::Running, Some(5), true);
            store.start_job(&row).await.unwrap();
            assert_eq!(store.active_jobs().await.unwrap(), [row.clone()]);
            (row.state, row.ended_at, row.duration_ms) = (JobState::Failed, Some(6), Some(1_000));
            row.error = Some("{}".to_owned());
            assert!(store.end_job(&row).await.unwrap());
            // A start that is late changes nothing.
            store.start_job(&row).await.unwrap();
            assert_eq!(store.job("1").await.unwrap(), Some(row));
            assert_eq!(store.active_jobs().await.unwrap(), []);
            assert_eq!(store.job("2").await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn jobs_are_filtered_by_user_state_and_position() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            for (id, user) in [("1", "ada"), ("2", "bob"), ("3", "ada"), ("4", "ada")] {
                store.add_job(&job(id, user)).await.unwrap();
            }
            let mut ended = job("3", "ada");
            (ended.state, ended.ended_at) = (JobState::Done, Some(now()));
            store.end_job(&ended).await.unwrap();
            assert_eq!(ids(store, ALL).await, ["4", "3", "2", "1"]);
            let of_ada = JobFilter {
                user_id: Some("ada"),
                ..ALL
            };
            assert_eq!(ids(store, of_ada).await, ["4", "3", "1"]);
            let older = JobFilter {
                before: Some("4"),
                limit: 1,
                ..of_ada
            };
            assert_eq!(ids(store, older).await, ["3"]);
            let active = JobFilter {
                states: &[JobState::Waiting, JobState::Running],
                ..of_ada
            };
            assert_eq!(ids(store, active).await, ["4", "1"]);
            let other = JobFilter {
                binding: Some("none"),
                ..ALL
            };
            assert_eq!(ids(store, other).await, [""; 0]);
            let names: Vec<_> = store.jobs(ALL).await.unwrap();
            assert_eq!(names[2].1, "bob");
        })
        .await;
    }

    #[tokio::test]
    async fn key_belongs_to_one_job_of_a_user_for_a_day() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let with_key = |id: &str, user: &str, created_at| JobRow {
                idempotency: Some(Idempotency {
                    key: "k".to_owned(),
                    request_hash: id.to_owned(),
                }),
                created_at,
                ..job(id, user)
            };
            let expired = now() - i64::from(IDEMPOTENCY_SECS);
            let first = with_key("1", "ada", expired);
            assert_eq!(store.add_job(&first).await.unwrap(), None);
            assert_eq!(store.job_by_key("ada", "k").await.unwrap(), None);
            let second = with_key("2", "ada", now());
            assert_eq!(store.add_job(&second).await.unwrap(), None);
            let repeated = with_key("3", "ada", now());
            assert_eq!(
                store.add_job(&repeated).await.unwrap(),
                Some(second.clone())
            );
            assert_eq!(store.job_by_key("ada", "k").await.unwrap(), Some(second));
            assert_eq!(store.job_by_key("bob", "k").await.unwrap(), None);
            let other_user = with_key("4", "bob", now());
            assert_eq!(store.add_job(&other_user).await.unwrap(), None);
        })
        .await;
    }

    #[tokio::test]
    async fn ended_jobs_beyond_number_and_age_are_removed() {
        TestDatabase::each(async |test| {
            add_users(&test).await;
            let store = &test.store;
            let new_id = |number: u32| format!("{number:05}");
            for number in 0..MAX_STORED_JOBS {
                let row = job(&new_id(number), "ada");
                let mut write = store.begin().await.unwrap();
                insert(&mut write, &row).await.unwrap();
                write.commit().await.unwrap();
                if number < 3 {
                    let ended = JobRow {
                        ended_at: Some(1_000_000_000),
                        ..row
                    };
                    store.end_job(&ended).await.unwrap();
                }
            }
            store
                .add_job(&job(&new_id(MAX_STORED_JOBS), "ada"))
                .await
                .unwrap();
            assert_eq!(store.job(&new_id(0)).await.unwrap(), None);
            assert!(store.job(&new_id(1)).await.unwrap().is_some());
            let age = i64::from(MAX_JOB_AGE_DAYS) * 24 * 3600;
            let remove = async |now| store.remove_old_jobs(now).await.unwrap();
            assert_eq!(remove(1_000_000_000 + age).await, 0);
            assert_eq!(remove(1_000_000_001 + age).await, 2);
            // Active ones remain, whatever their age.
            assert!(store.job(&new_id(3)).await.unwrap().is_some());
        })
        .await;
    }
}
