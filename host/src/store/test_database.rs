//! Databases for tests. A test that runs on each is one body.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use super::database::{Query, Row};
use super::{DatabaseLocation, Store};

/// The variable with the URL of a PostgreSQL server, without a database. `cargo xtask test` sets it.
const POSTGRES_URL: &str = "PINHOLE_TEST_POSTGRES";

/// A database of its own.
pub(super) struct TestDatabase {
    /// For the messages of failures.
    pub(super) name: &'static str,
    pub(super) store: Store,
    location: DatabaseLocation,
    data: TempDir,
}

impl TestDatabase {
    /// Runs a test on SQLite, and on PostgreSQL if there is a server.
    pub(super) async fn each(test: impl AsyncFn(Self)) {
        test(Self::sqlite().await).await;
        Self::on_postgres(test).await;
    }

    /// Runs a test on PostgreSQL if there is a server.
    pub(super) async fn on_postgres(test: impl AsyncFn(Self)) {
        if let Some(location) = create_postgres().await {
            test(Self::open("PostgreSQL", location).await).await;
        }
    }

    pub(super) async fn sqlite() -> Self {
        Self::open("SQLite", DatabaseLocation::DataDirectory).await
    }

    async fn open(name: &'static str, location: DatabaseLocation) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self {
            name,
            store: Store::connect(data.path(), &location).await.unwrap(),
            location,
            data,
        }
    }

    /// Another server of the same database.
    pub(super) async fn connect(&self) -> Store {
        self.try_connect().await.unwrap()
    }

    pub(super) async fn try_connect(&self) -> anyhow::Result<Store> {
        Store::connect(self.data.path(), &self.location).await
    }

    pub(super) async fn execute(&self, statement: Query<'_>) -> u64 {
        let mut write = self.store.begin().await.unwrap();
        let changed = statement.execute(&mut *write).await.unwrap();
        write.commit().await.unwrap();
        changed
    }

    pub(super) async fn fetch_all(&self, select: Query<'_>) -> Vec<Row> {
        select.fetch_all(&self.store.database).await.unwrap()
    }
}

/// A new, empty database. The server is removed after all tests.
pub(super) async fn create_postgres() -> Option<DatabaseLocation> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a variable of tests, not of the server"
    )]
    let server = std::env::var(POSTGRES_URL).ok()?;
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let options: PgConnectOptions = format!("{server}/postgres").parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    Some(DatabaseLocation::parse(&format!("{server}/{name}")).unwrap())
}
