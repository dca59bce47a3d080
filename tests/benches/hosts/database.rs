//! A database of the hosts, and what PostgreSQL counts of it.

use std::time::{Duration, Instant};

use pinhole_tests::TestDatabase;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::runtime::Handle;

use crate::HostsBench;

/// How long PostgreSQL may count transactions without showing them (`PGSTAT_IDLE_INTERVAL`), and a second more.
pub(crate) const COUNTER_DELAY: Duration = Duration::from_secs(11);

/// How long commits are counted.
const COMMIT_TIME: Duration = Duration::from_secs(3);

/// Whether a commit returns before the disk has it, as SQLite's does in the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    AtOnce,
    AfterDisk,
}

/// A new database. Dropping it removes it.
pub(crate) struct BenchDatabase {
    database: TestDatabase,
    name: String,
    postgres: String,
    runtime: Handle,
}

/// What PostgreSQL has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// All transactions, also those that only read.
    pub(crate) transactions: i64,
    pub(crate) statements: i64,
    /// `INSERT`, `UPDATE` and `DELETE`.
    pub(crate) writes: i64,
    /// Explicit `COMMIT`, of which nearly all are of transactions that write.
    pub(crate) commits: i64,
}

impl BenchDatabase {
    pub(crate) fn create(bench: &HostsBench, commit: Commit) -> Self {
        let runtime = bench.runtime.handle().clone();
        let postgres = bench.postgres.clone();
        let database = runtime.block_on(TestDatabase::create_postgres(postgres.clone()));
        let TestDatabase::Postgres { name, .. } = &database else {
            panic!("PostgreSQL");
        };
        let name = name.clone();
        if commit == Commit::AtOnce {
            let set = format!("ALTER DATABASE {name} SET synchronous_commit = off");
            runtime.block_on(database.run(set));
        }
        let created = Self {
            database,
            name,
            postgres,
            runtime,
        };
        created.administer("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
        created
    }

    /// The variables with which a host uses the database.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.database.variables()
    }

    /// The number that a statement selects.
    pub(crate) fn number(&self, select: &str) -> i64 {
        self.runtime.block_on(self.database.number(select))
    }

    /// What PostgreSQL has counted so far. The caller waits for [`COUNTER_DELAY`] first.
    pub(crate) fn counters(&self) -> Counters {
        let name = &self.name;
        let select = format!(
            "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = '{name}') AS transactions,
                 CAST(COALESCE(SUM(calls), 0) AS BIGINT) AS statements,
                 CAST(COALESCE(SUM(calls) FILTER (WHERE query ~* '^\\s*(insert|update|delete)'), 0) AS BIGINT) AS writes,
                 CAST(COALESCE(SUM(calls) FILTER (WHERE query ~* '^\\s*commit'), 0) AS BIGINT) AS commits
             FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = '{name}')"
        );
        self.runtime.block_on(async {
            let mut connection = self.connect_to_postgres().await;
            let row = sqlx::query(AssertSqlSafe(select));
            let row = row.fetch_one(&mut connection).await.unwrap();
            Counters {
                transactions: row.get("transactions"),
                statements: row.get("statements"),
                writes: row.get("writes"),
                commits: row.get("commits"),
            }
        })
    }

    /// How many transactions that change a row of their own this number of clients commits, with this database's
    /// settings.
    pub(crate) fn commits_per_second(&self, clients: usize) -> f64 {
        let table = "CREATE TABLE IF NOT EXISTS commits (client BIGINT, number BIGINT)";
        self.runtime.block_on(self.database.run(table.to_owned()));
        let url = self.database.url().unwrap();
        let start = Instant::now();
        let commit = async |client: i64| {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let mut count = 0_u64;
            while start.elapsed() < COMMIT_TIME {
                let insert = sqlx::query("INSERT INTO commits (client, number) VALUES ($1, 1)");
                let inserted = insert.bind(client).execute(&mut connection).await;
                count += inserted.unwrap().rows_affected();
            }
            count
        };
        let counts = self.runtime.block_on(futures_util::future::join_all(
            (0..clients).map(|client| commit(client as i64)),
        ));
        counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64()
    }

    fn administer(&self, statement: &'static str) {
        self.runtime.block_on(async {
            let mut connection = self.connect_to_postgres().await;
            sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .unwrap();
        });
    }

    /// A connection that does not count for this database.
    async fn connect_to_postgres(&self) -> PgConnection {
        let url = format!("{}/postgres", self.postgres);
        let options: PgConnectOptions = url.parse().unwrap();
        options.connect().await.unwrap()
    }
}

impl Counters {
    /// Counted since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            transactions: self.transactions - earlier.transactions,
            statements: self.statements - earlier.statements,
            writes: self.writes - earlier.writes,
            commits: self.commits - earlier.commits,
        }
    }
}
