//! The database of an Open WebUI server, which is only read: SQLite or PostgreSQL.
//!
//! Every column is read as text, so that both databases are the same and a value of another type is not an error.
//!
//! Source: the models and migrations of Open WebUI 0.6.43.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Database, Decode, Row, Type};
use tokio::time::timeout;

/// How long a statement of SQLite waits for Open WebUI.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to PostgreSQL takes at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that one statement reads.
pub const PAGE_ROWS: usize = 200;
/// Characters that are read of a column without JSON. No valid value is longer.
const MAX_TEXT_CHARS: usize = 4_000;
/// Length of the permissions of a group, in bytes of JSON.
const MAX_PERMISSIONS_BYTES: usize = 64 << 10;

/// Where the database is.
#[derive(Clone)]
pub enum SourceDatabase {
    /// A file.
    Sqlite(PathBuf),
    /// The options contain a password.
    Postgres(Box<PgConnectOptions>),
}

/// A connection to the database of an Open WebUI server.
pub struct OpenWebUi(SourceConnection);

enum SourceConnection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Columns of a row. `None` is NULL.
type Columns = Vec<Option<String>>;

/// A row that could be read, or the reason.
pub type ReadRow<T> = Result<T, UnreadableRow>;

/// A row with a column that is not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Empty if the id is unreadable too.
    pub id: String,
}

/// A user with the password of its account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceUser {
    pub id: String,
    pub name: String,
    pub email: String,
    pub role: String,
    /// Seconds since 1970.
    pub created_at: Option<i64>,
    /// A bcrypt hash. `None` without an account.
    pub password: Option<String>,
    /// The account may be used.
    pub is_active: bool,
}

/// An API key in plain text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceKey {
    pub id: String,
    pub user_id: String,
    pub key: String,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
    pub created_at: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceGroup {
    pub id: String,
    pub name: String,
    pub description: String,
    /// JSON; may be empty.
    pub permissions: String,
    pub created_at: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceMember {
    pub id: String,
    pub group_id: String,
    pub user_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    pub id: String,
    pub user_id: String,
    pub name: String,
    /// Where the bytes are: a path, or a URL of a bucket.
    pub path: String,
    /// JSON; may be empty.
    pub meta: String,
    /// Seconds since 1970.
    pub created_at: Option<i64>,
}

/// A chat without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceChat {
    pub id: String,
    pub user_id: String,
    pub title: String,
    pub is_archived: bool,
    pub is_pinned: bool,
    /// Seconds since 1970.
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
    /// Length of the content.
    pub bytes: u64,
}

impl SourceDatabase {
    /// Parses the `DATABASE_URL` of Open WebUI, or the path of an SQLite file. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Sqlite(PathBuf::from(text)));
        };
        // SQLAlchemy also names its driver, as in `postgresql+psycopg2`.
        let kind = scheme.split('+').next().unwrap_or(scheme);
        match kind {
            "sqlite" if kind == scheme => {
                let path = rest.split('?').next().unwrap_or(rest);
                let Some(path) = path.strip_prefix('/') else {
                    return Err("it needs the form sqlite:////DIRECTORY/webui.db".to_owned());
                };
                // For SQLAlchemy, a fourth slash starts an absolute path. People write three as well.
                if Path::new(path).is_absolute() || Path::new(path).exists() {
                    return Ok(Self::Sqlite(path.into()));
                }
                Ok(Self::Sqlite(format!("/{path}").into()))
            }
            "postgres" | "postgresql" => {
                let options = PgConnectOptions::from_str(&format!("postgres://{rest}"));
                let options = options.map_err(|_| {
                    "it needs the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned()
                })?;
                Ok(Self::Postgres(Box::new(options)))
            }
            _ => Err("only sqlite:// and postgresql:// are supported".to_owned()),
        }
    }

    /// Where the database is, without a password.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(options) => format!(
                "{} on {}:{}",
                options.get_database().unwrap_or_default(),
                options.get_host(),
                options.get_port()
            ),
        }
    }
}

impl OpenWebUi {
    /// Opens the database for reading only.
    pub async fn open(database: &SourceDatabase) -> sqlx::Result<Self> {
        let connection = match database {
            SourceDatabase::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .read_only(true)
                    .busy_timeout(BUSY_TIMEOUT);
                // No transaction for all statements: it would block an Open WebUI server that writes.
                SourceConnection::Sqlite(options.connect().await?)
            }
            SourceDatabase::Postgres(options) => {
                let connecting = timeout(CONNECT_TIMEOUT, options.connect()).await;
                let mut connection = connecting.map_err(|_| sqlx::Error::PoolTimedOut)??;
                // One moment for all statements, and no statement can write.
                sqlx::query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .execute(&mut connection)
                    .await?;
                SourceConnection::Postgres(connection)
            }
        };
        Ok(Self(connection))
    }

    pub async fn close(self) -> sqlx::Result<()> {
        match self.0 {
            SourceConnection::Sqlite(connection) => connection.close().await,
            SourceConnection::Postgres(connection) => connection.close().await,
        }
    }

    /// The names of the columns of a table. Empty if there is no such table.
    pub async fn columns(&mut self, table: &str) -> sqlx::Result<Vec<String>> {
        let statement = match &self.0 {
            SourceConnection::Sqlite(_) => "SELECT name FROM pragma_table_info($1)",
            SourceConnection::Postgres(_) => {
                "SELECT CAST(attname AS TEXT) FROM pg_attribute
                 WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0 AND NOT attisdropped"
            }
        };
        let rows = self.read(statement, &[table]).await?;
        let names = rows.into_iter().filter_map(Result::ok);
        Ok(names
            .filter_map(|row| row.into_iter().next().flatten())
            .collect())
    }

    /// The users after this id, in the order of their ids.
    pub async fn users(&mut self, after: &str) -> sqlx::Result<Vec<ReadRow<SourceUser>>> {
        let fields = [
            "u.id",
            "u.name",
            "u.email",
            "u.role",
            "u.created_at",
            "a.password",
            "a.active",
        ];
        let tables = "\"user\" AS u LEFT JOIN auth AS a ON a.id = u.id";
        let rows = self
            .page(&fields.map(short).join(", "), tables, "u.id", after)
            .await?;
        let user = |row: Columns| {
            let [id, name, email, role, created_at, password, active] = columns(row);
            SourceUser {
                id: text(id),
                name: text(name),
                email: text(email),
                role: text(role),
                created_at: number(created_at),
                password: password.filter(|it| !it.is_empty()),
                is_active: is_true(active),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(user)).collect())
    }

    /// The API keys after this id.
    pub async fn keys(&mut self, after: &str) -> sqlx::Result<Vec<ReadRow<SourceKey>>> {
        let fields = ["id", "user_id", "key", "expires_at", "created_at"].map(short);
        let rows = self
            .page(&fields.join(", "), "api_key", "id", after)
            .await?;
        let key = |row: Columns| {
            let [id, user_id, key, expires_at, created_at] = columns(row);
            SourceKey {
                id: text(id),
                user_id: text(user_id),
                key: text(key),
                expires_at: number(expires_at),
                created_at: number(created_at),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(key)).collect())
    }

    /// The groups after this id.
    pub async fn groups(&mut self, after: &str) -> sqlx::Result<Vec<ReadRow<SourceGroup>>> {
        let fields = ["id", "name", "description", "created_at"].map(short);
        let bounded_permissions = bounded("permissions", MAX_PERMISSIONS_BYTES);
        let fields = format!("{}, {bounded_permissions}", fields.join(", "));
        let rows = self.page(&fields, "\"group\"", "id", after).await?;
        let group = |row: Columns| {
            let [id, name, description, created_at, permissions] = columns(row);
            SourceGroup {
                id: text(id),
                name: text(name),
                description: text(description),
                permissions: text(permissions),
                created_at: number(created_at),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(group)).collect())
    }

    /// The memberships after this id.
    pub async fn members(&mut self, after: &str) -> sqlx::Result<Vec<ReadRow<SourceMember>>> {
        let fields = ["id", "group_id", "user_id"].map(short).join(", ");
        let rows = self.page(&fields, "group_member", "id", after).await?;
        let member = |row: Columns| {
            let [id, group_id, user_id] = columns(row);
            SourceMember {
                id: text(id),
                group_id: text(group_id),
                user_id: text(user_id),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(member)).collect())
    }

    /// The files after this id. Metadata of more than `max_meta_bytes` is left out.
    pub async fn files(
        &mut self,
        after: &str,
        max_meta_bytes: usize,
    ) -> sqlx::Result<Vec<ReadRow<SourceFile>>> {
        let fields = ["id", "user_id", "filename", "path", "created_at"].map(short);
        let fields = format!("{}, {}", fields.join(", "), bounded("meta", max_meta_bytes));
        let rows = self.page(&fields, "\"file\"", "id", after).await?;
        let file = |row: Columns| {
            let [id, user_id, name, path, created_at, meta] = columns(row);
            SourceFile {
                id: text(id),
                user_id: text(user_id),
                name: text(name),
                path: text(path),
                meta: text(meta),
                created_at: number(created_at),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(file)).collect())
    }

    /// The chats after this id.
    pub async fn chats(&mut self, after: &str) -> sqlx::Result<Vec<ReadRow<SourceChat>>> {
        let fields = [
            "id",
            "user_id",
            "title",
            "archived",
            "pinned",
            "created_at",
            "updated_at",
            "OCTET_LENGTH(CAST(chat AS TEXT))",
        ];
        let rows = self
            .page(&fields.map(short).join(", "), "chat", "id", after)
            .await?;
        let chat = |row: Columns| {
            let [
                id,
                user_id,
                title,
                archived,
                pinned,
                created_at,
                updated_at,
                bytes,
            ] = columns(row);
            SourceChat {
                id: text(id),
                user_id: text(user_id),
                title: text(title),
                is_archived: is_true(archived),
                is_pinned: is_true(pinned),
                created_at: number(created_at),
                updated_at: number(updated_at),
                bytes: number(bytes)
                    .and_then(|it| u64::try_from(it).ok())
                    .unwrap_or_default(),
            }
        };
        Ok(rows.into_iter().map(|row| row.map(chat)).collect())
    }

    /// The JSON of a chat. `None` if it is NULL or not text.
    pub async fn chat_json(&mut self, id: &str) -> sqlx::Result<Option<String>> {
        let statement = "SELECT CAST(chat AS TEXT) FROM chat WHERE id = $1";
        self.first(statement, &[id]).await
    }

    /// The settings: the newest row of the table `config`, a tree in JSON, if it has at most `max_bytes`.
    pub async fn config_tree(&mut self, max_bytes: usize) -> sqlx::Result<Option<String>> {
        let data = bounded("data", max_bytes);
        let statement = format!("SELECT {data} FROM config ORDER BY id DESC LIMIT 1");
        self.first(&statement, &[]).await
    }

    /// One setting of a later release, whose table `config` has a row for each: its value in JSON.
    pub async fn config_value(
        &mut self,
        key: &str,
        max_bytes: usize,
    ) -> sqlx::Result<Option<String>> {
        let value = bounded("value", max_bytes);
        let statement = format!("SELECT {value} FROM config WHERE key = $1");
        self.first(&statement, &[key]).await
    }

    async fn first(
        &mut self,
        statement: &str,
        parameters: &[&str],
    ) -> sqlx::Result<Option<String>> {
        let rows = self.read(statement, parameters).await?;
        let row = rows.into_iter().next().and_then(Result::ok);
        Ok(row.and_then(|row| row.into_iter().next().flatten()))
    }

    /// The rows after this id, in the order of their ids.
    async fn page(
        &mut self,
        fields: &str,
        tables: &str,
        id: &str,
        after: &str,
    ) -> sqlx::Result<Vec<ReadRow<Columns>>> {
        // SQLite has bytes after all texts, wherever a page starts.
        let condition = match &self.0 {
            SourceConnection::Sqlite(_) => format!("{id} > $1 AND typeof({id}) = 'text'"),
            SourceConnection::Postgres(_) => format!("{id} > $1"),
        };
        let statement = format!(
            "SELECT {fields} FROM {tables} WHERE {condition} ORDER BY {id} LIMIT {PAGE_ROWS}"
        );
        self.read(&statement, &[after]).await
    }

    async fn read(
        &mut self,
        statement: &str,
        parameters: &[&str],
    ) -> sqlx::Result<Vec<ReadRow<Columns>>> {
        match &mut self.0 {
            SourceConnection::Sqlite(connection) => {
                let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
                for parameter in parameters {
                    query = query.bind(*parameter);
                }
                let rows = query.fetch_all(connection).await?;
                Ok(rows.iter().map(read_columns::<SqliteRow>).collect())
            }
            SourceConnection::Postgres(connection) => {
                let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
                for parameter in parameters {
                    query = query.bind(*parameter);
                }
                let rows = query.fetch_all(connection).await?;
                Ok(rows.iter().map(read_columns::<PgRow>).collect())
            }
        }
    }
}

/// A column whose values are short.
fn short(column: &str) -> String {
    format!("SUBSTR(CAST({column} AS TEXT), 1, {MAX_TEXT_CHARS})")
}

/// A column with JSON. NULL if it is longer.
fn bounded(column: &str, max_bytes: usize) -> String {
    format!(
        "CASE WHEN OCTET_LENGTH(CAST({column} AS TEXT)) <= {max_bytes} THEN CAST({column} AS TEXT) END"
    )
}

/// The columns of a row as text.
fn read_columns<R: Row>(row: &R) -> ReadRow<Columns>
where
    usize: ColumnIndex<R>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: Database<Row = R>,
{
    let column = |index: usize| row.try_get::<Option<String>, _>(index);
    let read: sqlx::Result<Columns> = (0..row.len()).map(column).collect();
    read.map_err(|_| UnreadableRow {
        id: column(0).ok().flatten().unwrap_or_default(),
    })
}

/// The columns of a statement with as many columns.
fn columns<const N: usize>(row: Columns) -> [Option<String>; N] {
    let mut values = row.into_iter();
    std::array::from_fn(|_| values.next().flatten())
}

fn text(column: Option<String>) -> String {
    column.unwrap_or_default()
}

fn number(column: Option<String>) -> Option<i64> {
    column?.parse().ok()
}

fn is_true(column: Option<String>) -> bool {
    column.is_some_and(|text| text == "1" || text == "true")
}
