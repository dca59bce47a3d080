//! The database of a test's server, for statements that no API makes.

use std::net::SocketAddr;
use std::path::PathBuf;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tempfile::TempDir;

/// The variable with the URL of a PostgreSQL server, without a database. `cargo xtask test` sets it.
const POSTGRES_URL: &str = "PINHOLE_TEST_POSTGRES";
/// The variable that selects `postgres` for the servers of tests.
const DATABASE: &str = "PINHOLE_TEST_DATABASE";
/// The variables without which the server refuses PostgreSQL.
const KEYS: [(&str, &str); 2] = [
    ("WEBUI_SECRET_KEY", "a secret of the tests"),
    (
        "PINHOLE_SETTINGS_KEY",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
];

/// The database of a server.
pub enum TestDatabase {
    Sqlite(PathBuf),
    Postgres {
        server: String,
        name: String,
        /// Removes the database when it is dropped.
        is_owner: bool,
    },
}

/// A transaction because of which others cannot write.
pub struct DatabaseLock(TestConnection);

enum TestConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// True if the servers of tests use PostgreSQL.
pub fn uses_postgres() -> bool {
    std::env::var(DATABASE).is_ok_and(|value| value == "postgres")
}

/// The URL of a PostgreSQL server, without a database. `None` if this machine has none.
pub fn postgres_server() -> Option<String> {
    std::env::var(POSTGRES_URL).ok()
}

impl TestDatabase {
    /// A new database, as the environment selects it. SQLite's is created by the server.
    pub async fn create(data_dir: &TempDir) -> Self {
        if !uses_postgres() {
            return Self::sqlite(data_dir);
        }
        let server = postgres_server()
            .unwrap_or_else(|| panic!("{POSTGRES_URL} is not set: there is no PostgreSQL server"));
        Self::create_postgres(server).await
    }

    /// A new database of this server.
    pub async fn create_postgres(server: String) -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        administer(&server, create).await;
        Self::Postgres {
            server,
            name,
            is_owner: true,
        }
    }

    /// The database in a data directory.
    pub fn sqlite(data_dir: &TempDir) -> Self {
        Self::Sqlite(data_dir.path().join("pinhole.db"))
    }

    /// The URL of PostgreSQL.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres { server, name, .. } => Some(format!("{server}/{name}")),
        }
    }

    /// The same database, for another server.
    pub fn shared(&self) -> Self {
        match self {
            Self::Sqlite(path) => Self::Sqlite(path.clone()),
            Self::Postgres { server, name, .. } => Self::Postgres {
                server: server.clone(),
                name: name.clone(),
                is_owner: false,
            },
        }
    }

    /// The variables with which a server uses the database.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Some(url) = self.url() else {
            return Vec::new();
        };
        let keys = KEYS.map(|(name, value)| (name, value.to_owned()));
        [("DATABASE_URL", url)].into_iter().chain(keys).collect()
    }

    /// The URL of PostgreSQL through a proxy at this address.
    pub fn url_at(&self, address: SocketAddr) -> String {
        let Self::Postgres { server, name, .. } = self else {
            panic!("SQLite has no URL");
        };
        let options: PgConnectOptions = server.parse().unwrap();
        format!("postgres://{}@{address}/{name}", options.get_username())
    }

    /// Runs a statement with these texts as values. Returns the number of rows that it changed.
    pub async fn execute(&self, statement: impl Into<String>, texts: &[&str]) -> u64 {
        let statement = AssertSqlSafe(statement.into());
        match self.connect().await {
            TestConnection::Sqlite(mut connection) => {
                let query = sqlx::query(statement);
                let query = texts.iter().fold(query, |query, text| query.bind(*text));
                let done = query.execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
            TestConnection::Postgres(mut connection) => {
                let query = sqlx::query(statement);
                let query = texts.iter().fold(query, |query, text| query.bind(*text));
                let done = query.execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
        }
    }

    /// Runs statements without values.
    pub async fn run(&self, statements: String) {
        let statements = AssertSqlSafe(statements);
        match self.connect().await {
            TestConnection::Sqlite(mut connection) => {
                let done = sqlx::raw_sql(statements).execute(&mut connection).await;
                done.unwrap();
            }
            TestConnection::Postgres(mut connection) => {
                let done = sqlx::raw_sql(statements).execute(&mut connection).await;
                done.unwrap();
            }
        }
    }

    /// The number that a statement selects.
    pub async fn number(&self, select: impl Into<String>) -> i64 {
        let select = AssertSqlSafe(select.into());
        match self.connect().await {
            TestConnection::Sqlite(mut connection) => {
                let row = sqlx::query(select).fetch_one(&mut connection).await;
                row.unwrap().get(0)
            }
            TestConnection::Postgres(mut connection) => {
                let row = sqlx::query(select).fetch_one(&mut connection).await;
                row.unwrap().get(0)
            }
        }
    }

    /// The text that a statement with a text as its value selects.
    pub async fn text(&self, select: &'static str, value: &str) -> String {
        match self.connect().await {
            TestConnection::Sqlite(mut connection) => {
                let query = sqlx::query(select).bind(value);
                query.fetch_one(&mut connection).await.unwrap().get(0)
            }
            TestConnection::Postgres(mut connection) => {
                let query = sqlx::query(select).bind(value);
                query.fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// Locks the database, as another process does that writes.
    pub async fn lock(&self) -> DatabaseLock {
        const LOCK_TABLES: &str = "BEGIN;
            DO $$ DECLARE name TEXT; BEGIN
                FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
                    EXECUTE 'LOCK TABLE ' || quote_ident(name) || ' IN SHARE ROW EXCLUSIVE MODE';
                END LOOP;
            END $$";
        let mut connection = self.connect().await;
        connection.run("BEGIN IMMEDIATE", LOCK_TABLES).await;
        DatabaseLock(connection)
    }

    /// The only column, a text, of all rows that a statement with these texts as values selects. For PostgreSQL.
    pub async fn texts(&self, select: &'static str, values: &[&str]) -> Vec<String> {
        let TestConnection::Postgres(mut connection) = self.connect().await else {
            panic!("the database is SQLite");
        };
        let query = sqlx::query_scalar(select);
        let query = values.iter().fold(query, |query, value| query.bind(*value));
        let texts = query.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        texts
    }

    async fn connect(&self) -> TestConnection {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                TestConnection::Sqlite(options.connect().await.unwrap())
            }
            Self::Postgres { server, name, .. } => {
                TestConnection::Postgres(connect(server, name).await)
            }
        }
    }
}

impl DatabaseLock {
    /// Ends the transaction.
    pub async fn unlock(mut self) {
        self.0.run("ROLLBACK", "ROLLBACK").await;
    }
}

impl TestConnection {
    async fn run(&mut self, sqlite: &'static str, postgres: &'static str) {
        match self {
            Self::Sqlite(connection) => {
                sqlx::raw_sql(sqlite).execute(connection).await.unwrap();
            }
            Self::Postgres(connection) => {
                sqlx::raw_sql(postgres).execute(connection).await.unwrap();
            }
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Self::Postgres {
            server,
            name,
            is_owner: true,
        } = self
        else {
            return;
        };
        let (server, name) = (std::mem::take(server), std::mem::take(name));
        // The runtime of the test cannot wait here.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let remove = format!("DROP DATABASE {name} WITH (FORCE)");
            runtime.block_on(administer(&server, remove));
        });
        // A test that has failed already reports its own failure.
        _ = removal.join();
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = connect(server, "postgres").await;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn connect(server: &str, database: &str) -> PgConnection {
    let options: PgConnectOptions = format!("{server}/{database}").parse().unwrap();
    options.connect().await.unwrap()
}
