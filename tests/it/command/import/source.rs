//! The database and the uploads of an Open WebUI server.
//!
//! Source of the tables: the migrations of Open WebUI 0.6.43, with the columns that an import could read.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// Valid for both databases.
const TABLES: [&str; 8] = [
    "CREATE TABLE \"user\" (
        id VARCHAR NOT NULL, name VARCHAR, email VARCHAR, role VARCHAR, profile_image_url TEXT, last_active_at BIGINT,
        updated_at BIGINT, created_at BIGINT, username VARCHAR(50), bio TEXT, gender TEXT, date_of_birth DATE,
        info JSON, settings JSON, oauth JSON, PRIMARY KEY (id))",
    "CREATE TABLE auth (id VARCHAR NOT NULL, email VARCHAR, password TEXT, active BOOLEAN, PRIMARY KEY (id))",
    "CREATE TABLE api_key (
        id TEXT NOT NULL, user_id TEXT, key TEXT NOT NULL, data JSON, expires_at BIGINT, last_used_at BIGINT,
        created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (id), UNIQUE (key))",
    "CREATE TABLE \"group\" (
        id TEXT NOT NULL, user_id TEXT, name TEXT, description TEXT, data JSON, meta JSON, permissions JSON,
        created_at BIGINT, updated_at BIGINT, PRIMARY KEY (id))",
    "CREATE TABLE group_member (
        id TEXT NOT NULL, group_id TEXT NOT NULL, user_id TEXT NOT NULL, created_at BIGINT, updated_at BIGINT,
        PRIMARY KEY (id), UNIQUE (group_id, user_id))",
    "CREATE TABLE file (
        id VARCHAR NOT NULL, user_id VARCHAR, filename TEXT, meta JSON, created_at BIGINT, hash TEXT, data JSON,
        updated_at BIGINT, path TEXT, access_control JSON, PRIMARY KEY (id))",
    "CREATE TABLE chat (
        id VARCHAR NOT NULL, user_id VARCHAR, title TEXT, share_id TEXT, archived BOOLEAN, created_at BIGINT,
        updated_at BIGINT, chat JSON, pinned BOOLEAN, meta JSON DEFAULT '{}' NOT NULL, folder_id TEXT,
        PRIMARY KEY (id), UNIQUE (share_id))",
    "CREATE TABLE config (
        id INTEGER NOT NULL, data JSON NOT NULL, version INTEGER NOT NULL, created_at TIMESTAMP, updated_at TIMESTAMP,
        PRIMARY KEY (id))",
];
/// The cost of the hashes of passwords; Open WebUI's is 12.
const COST: u32 = 4;
/// Where Open WebUI has its uploads.
const UPLOADS_THERE: &str = "/app/backend/data/uploads";

/// A database of Open WebUI, and its directory of uploads.
pub(super) struct Source {
    database: Database,
    directory: TempDir,
}

enum Database {
    Sqlite(Option<SqliteConnection>),
    Postgres {
        connection: Box<PgConnection>,
        server: Box<PgConnectOptions>,
        url: String,
        name: String,
    },
}

impl Source {
    pub(super) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(directory.path().join("webui.db"))
            .create_if_missing(true);
        let database = Database::Sqlite(Some(options.connect().await.unwrap()));
        Self::new(database, directory).await
    }

    /// A new database of the server that `PINHOLE_TEST_POSTGRES` names. `None` without the variable.
    pub(super) async fn postgres() -> Option<Self> {
        let url = std::env::var("PINHOLE_TEST_POSTGRES").ok()?;
        let server: PgConnectOptions = url.parse().unwrap();
        let name = format!("open_webui_{:016x}", rand());
        let mut connection = server.connect().await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let base = url.replacen("postgres://", "postgresql://", 1);
        let new_url = format!("{base}/{name}");
        let created = server.clone().database(&name).connect().await.unwrap();
        let database = Database::Postgres {
            connection: Box::new(created),
            server: Box::new(server),
            url: new_url,
            name,
        };
        Some(Self::new(database, tempfile::tempdir().unwrap()).await)
    }

    async fn new(database: Database, directory: TempDir) -> Self {
        fs::create_dir(directory.path().join("uploads")).unwrap();
        let mut source = Self {
            database,
            directory,
        };
        for table in TABLES {
            source.run(table).await;
        }
        source
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The value of `--database`.
    pub(super) fn url(&self) -> String {
        match &self.database {
            Database::Sqlite(_) => {
                let path = self.directory.path().join("webui.db");
                format!("sqlite:///{}", path.display())
            }
            Database::Postgres { url, .. } => url.clone(),
        }
    }

    /// The value of `--uploads`.
    pub(super) fn uploads(&self) -> String {
        let path = self.directory.path().join("uploads");
        path.to_str().unwrap().to_owned()
    }

    /// Closes an SQLite database, so that its file does not change any more.
    pub(super) async fn close(&mut self) {
        if let Database::Sqlite(connection) = &mut self.database {
            connection.take().unwrap().close().await.unwrap();
        }
    }

    /// Removes a database of a server.
    pub(super) async fn remove(self) {
        if let Database::Postgres {
            connection,
            server,
            name,
            ..
        } = self.database
        {
            connection.close().await.unwrap();
            let mut of_server = server.connect().await.unwrap();
            let drop = format!("DROP DATABASE {name}");
            sqlx::query(AssertSqlSafe(drop))
                .execute(&mut of_server)
                .await
                .unwrap();
        }
    }

    pub(super) async fn run(&mut self, statement: &str) {
        let statement = AssertSqlSafe(statement.to_owned());
        let run = sqlx::raw_sql(statement);
        match &mut self.database {
            Database::Sqlite(connection) => {
                run.execute(connection.as_mut().unwrap()).await.map(|_| ())
            }
            Database::Postgres { connection, .. } => {
                run.execute(&mut **connection).await.map(|_| ())
            }
        }
        .unwrap();
    }

    /// A user with an account. The name is the id.
    pub(super) async fn user(
        &mut self,
        id: &str,
        email: &str,
        role: &str,
        password: &str,
    ) -> String {
        let hash = bcrypt::hash(password, COST).unwrap();
        self.run(&format!(
            "INSERT INTO \"user\" (id, name, email, role, profile_image_url, last_active_at, updated_at, created_at)
             VALUES ('{id}', '{id}', '{email}', '{role}', '/user.png', 7, 7, 7)"
        ))
        .await;
        self.run(&format!(
            "INSERT INTO auth (id, email, password, active) VALUES ('{id}', '{email}', '{hash}', TRUE)"
        ))
        .await;
        id.to_owned()
    }

    /// A group whose id is its name.
    pub(super) async fn group(&mut self, name: &str, permissions: &str, members: &[&str]) {
        let id = if name.is_empty() { "unnamed" } else { name };
        self.run(&format!(
            "INSERT INTO \"group\" (id, user_id, name, description, permissions, created_at, updated_at)
             VALUES ('{id}', 'ada', '{name}', 'about', '{permissions}', 7, 7)"
        ))
        .await;
        for member in members {
            self.run(&format!(
                "INSERT INTO group_member (id, group_id, user_id, created_at, updated_at)
                 VALUES ('{id}-{member}', '{id}', '{member}', 7, 7)"
            ))
            .await;
        }
    }

    /// A file, and its bytes in the directory of uploads.
    pub(super) async fn file(
        &mut self,
        id: &str,
        user: &str,
        name: &str,
        meta: &Value,
        bytes: Option<&[u8]>,
    ) {
        let stored = format!("{}_{name}", id.replace('/', "-"));
        if let Some(bytes) = bytes {
            fs::write(self.directory.path().join("uploads").join(&stored), bytes).unwrap();
        }
        self.run(&format!(
            "INSERT INTO file (id, user_id, filename, path, data, meta, created_at, updated_at)
             VALUES ('{id}', '{user}', '{name}', '{UPLOADS_THERE}/{stored}', '{{}}', '{meta}', 7, 7)"
        ))
        .await;
    }

    pub(super) async fn chat(&mut self, id: &str, user: &str, title: &str, chat: &str) {
        let (title, chat) = (quoted(title), quoted(chat));
        self.run(&format!(
            "INSERT INTO chat (id, user_id, title, archived, created_at, updated_at, chat, pinned)
             VALUES ('{id}', '{user}', '{title}', FALSE, 1000, 2000, '{chat}', TRUE)"
        ))
        .await;
    }

    pub(super) async fn settings(&mut self, tree: &Value) {
        let tree = quoted(&tree.to_string());
        self.run(&format!(
            "INSERT INTO config (id, data, version) VALUES (1, '{{\"old\": true}}', 0), (2, '{tree}', 0)"
        ))
        .await;
    }
}

/// A text between the quotation marks of a statement.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// A random number, so that tests do not share a database.
fn rand() -> u64 {
    let mut bytes = [0; 8];
    let random = fs::File::open("/dev/urandom");
    std::io::Read::read_exact(&mut random.unwrap(), &mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}
