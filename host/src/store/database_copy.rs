//! Copies a database into an empty one, also from SQLite to PostgreSQL and back.
//!
//! The source is read as of one moment, and one transaction writes the target: it has all rows, or none. Triggers do not
//! run, because what they count is copied too. The index of searches is not copied: all texts count as changed, and the
//! next server indexes them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use pinhole_ground::data_dir;

use super::database::{
    BATCH_ROWS, Connection, Database, Dialect, Parameter, PostgresPool, Query, Row, query,
};
use super::migrations::LATEST;
use super::sqlite_file::SqliteFile;
use super::{DatabaseLocation, Store, schema};

/// The tables with their keys. A table follows those that it refers to.
pub(super) const TABLES: [(&str, &[&str]); 33] = [
    ("users", &["id"]),
    ("accounts", &["user_id"]),
    ("api_keys", &["hash"]),
    ("key_uses", &["hash"]),
    ("user_uses", &["user_id"]),
    ("sessions", &["id"]),
    ("ended_sessions", &["id"]),
    ("first_account", &["id"]),
    ("user_groups", &["id"]),
    ("group_members", &["group_id", "user_id"]),
    ("user_settings", &["user_id"]),
    ("revisions", &["name"]),
    ("settings", &["path"]),
    ("setting_changes", &["id"]),
    ("instance", &["name"]),
    ("files", &["id"]),
    ("chats", &["id"]),
    ("messages", &["chat_id", "id"]),
    ("message_statuses", &["chat_id", "message_id", "position"]),
    ("message_files", &["chat_id", "message_id", "position"]),
    ("running_turns", &["chat_id", "message_id"]),
    ("jobs", &["id"]),
    ("hosts", &["id"]),
    ("leases", &["name"]),
    ("host_engines", &["host", "digest"]),
    ("engine_releases", &["digest"]),
    ("engine_tracks", &["engine"]),
    ("engine_grants", &["engine"]),
    ("engine_files", &["file"]),
    ("engine_results", &["digest", "minute", "outcome"]),
    ("engine_history", &["id"]),
    ("user_storage", &["number"]),
    ("search_rows", &["id"]),
];
/// The table whose rows the migrations add.
const REVISIONS: &str = "revisions";
/// Columns whose values PostgreSQL assigns.
const IDENTITIES: [(&str, &str); 2] = [("user_storage", "number"), ("engine_history", "id")];

/// A table that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    pub name: &'static str,
    pub rows: i64,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// A number, or else a text.
    pub(super) is_number: bool,
}

/// Copies all rows of a database into another one, which must be empty.
pub async fn copy_database(
    from: &DatabaseLocation,
    to: &DatabaseLocation,
) -> Result<Vec<CopiedTable>> {
    let source = open_source(from)
        .await
        .context("cannot read the database of --from")?;
    let context = "cannot write the database of --to";
    let target = open_target(to).await.context(context)?;
    let mut reader = source.snapshot().await.context("cannot read the source")?;
    let mut writer = target.exclusive().await.context(context)?;
    refuse_rows(&mut writer).await?;
    let triggers = disable_triggers(&mut writer).await.context(context)?;
    let mut copied = Vec::with_capacity(TABLES.len());
    for (name, key) in TABLES {
        let copy = TableCopy {
            name,
            key,
            columns: columns(&mut reader, name).await?,
        };
        let rows = copy
            .run(&mut reader, &mut writer)
            .await
            .with_context(|| format!("cannot copy the table {name}"))?;
        copied.push(CopiedTable { name, rows });
    }
    query("UPDATE search_rows SET is_stale = 1")
        .execute(&mut writer)
        .await?;
    enable_triggers(&mut writer, triggers)
        .await
        .context(context)?;
    writer.commit().await.context(context)?;
    Ok(copied)
}

async fn open_source(location: &DatabaseLocation) -> Result<Database> {
    let database = match location {
        DatabaseLocation::DataDirectory => bail!("it is not named: use sqlite:PATH"),
        DatabaseLocation::Sqlite(path) => open_sqlite(path).await?,
        DatabaseLocation::Postgres(server) => {
            server.check().await?;
            Database::Postgres(PostgresPool::new(server, server.pool_size))
        }
    };
    match schema::version(&database).await? {
        Some(LATEST) => Ok(database),
        Some(version) => bail!(
            "its tables have version {version}, and this program copies version {LATEST}: run `pinhole migrate` of this \
             program with it first"
        ),
        None => bail!("it has no tables"),
    }
}

/// Opens a file that exists and that no server uses.
async fn open_sqlite(path: &Path) -> Result<Database> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = data_dir::open(parent.unwrap_or(Path::new(".")))
        .with_context(|| format!("cannot open the directory of {}", path.display()))?;
    let name = path.file_name().unwrap_or_default();
    ensure!(directory.exists(name), "{} does not exist", path.display());
    if let Some(id) = data_dir::lock_holder(&directory) {
        bail!(
            "a server uses {} (process {id}): stop it first",
            path.display()
        );
    }
    let file = SqliteFile::open(path).await?;
    Ok(Database::Sqlite(file.pool))
}

/// Opens or creates a database with tables.
async fn open_target(location: &DatabaseLocation) -> Result<Database> {
    let unused = Path::new("");
    match location {
        DatabaseLocation::DataDirectory => bail!("it is not named: use sqlite:PATH"),
        _ => Ok(Store::connect(unused, location).await?.database),
    }
}

async fn refuse_rows(writer: &mut Connection) -> Result<()> {
    for (name, _) in TABLES {
        let rows = count(writer, name).await?;
        ensure!(
            name == REVISIONS || rows == 0,
            "the database of --to is not empty: the table {name} has {rows} row(s); name an empty database"
        );
    }
    query("DELETE FROM revisions").execute(writer).await?;
    Ok(())
}

async fn count(connection: &mut Connection, table: &str) -> sqlx::Result<i64> {
    Query::of_names(format!("SELECT COUNT(*) FROM {table}"))
        .fetch_value(connection)
        .await
}

/// The columns of a table, in their order.
pub(super) async fn columns(connection: &mut Connection, table: &str) -> Result<Vec<Column>> {
    let select = match connection.dialect() {
        Dialect::Sqlite => "SELECT name, type AS kind FROM pragma_table_info($1) ORDER BY cid",
        Dialect::Postgres => {
            "SELECT CAST(column_name AS TEXT) AS name, CAST(data_type AS TEXT) AS kind
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
        }
    };
    let rows = query(select).bind(table).fetch_all(connection).await?;
    let column = |row: &Row| {
        let kind: String = row.try_get("kind")?;
        Ok(Column {
            name: row.try_get("name")?,
            is_number: !kind.eq_ignore_ascii_case("text"),
        })
    };
    rows.iter().map(column).collect()
}

/// The copy of one table.
struct TableCopy {
    name: &'static str,
    key: &'static [&'static str],
    columns: Vec<Column>,
}

impl TableCopy {
    /// Returns the number of rows.
    async fn run(&self, reader: &mut Connection, writer: &mut Connection) -> Result<i64> {
        let mut after = None;
        loop {
            let rows = self.read_page(reader, after.as_deref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(self.key_of(last)?);
            let is_last = rows.len() < BATCH_ROWS;
            self.write_page(writer, &rows).await?;
            if is_last {
                break;
            }
        }
        let (read, written) = (
            count(reader, self.name).await?,
            count(writer, self.name).await?,
        );
        ensure!(
            read == written,
            "{written} of {read} rows were copied: report this as a bug"
        );
        Ok(written)
    }

    async fn read_page(
        &self,
        reader: &mut Connection,
        after: Option<&[Parameter<'static>]>,
    ) -> sqlx::Result<Vec<Row>> {
        let (names, key) = (self.names(), quoted(self.key.iter().copied()));
        let mut select = Query::of_names(format!("SELECT {names} FROM {}", self.name));
        if let Some(after) = after {
            select = select
                .push_names(format!(" WHERE ({key}) > ("))
                .push_list(after.iter().cloned())
                .push(")");
        }
        select
            .push_names(format!(" ORDER BY {key} LIMIT {BATCH_ROWS}"))
            .fetch_all(reader)
            .await
    }

    async fn write_page(&self, writer: &mut Connection, rows: &[Row]) -> sqlx::Result<()> {
        let names = self.names();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            let columns = self.columns.iter();
            let row: Vec<Parameter<'static>> = columns
                .map(|column| value(row, &column.name, column.is_number))
                .collect::<sqlx::Result<_>>()?;
            values.push(row);
        }
        Query::of_names(format!("INSERT INTO {} ({names}) VALUES ", self.name))
            .push_rows(values)
            .execute(writer)
            .await
            .map(|_| ())
    }

    fn key_of(&self, row: &Row) -> sqlx::Result<Vec<Parameter<'static>>> {
        let is_number = |name: &str| {
            let column = self.columns.iter().find(|column| column.name == name);
            column.is_some_and(|column| column.is_number)
        };
        self.key
            .iter()
            .map(|name| value(row, name, is_number(name)))
            .collect()
    }

    fn names(&self) -> String {
        quoted(self.columns.iter().map(|column| column.name.as_str()))
    }
}

fn value(row: &Row, column: &str, is_number: bool) -> sqlx::Result<Parameter<'static>> {
    Ok(if is_number {
        row.try_get::<Option<i64>>(column)?.into()
    } else {
        row.try_get::<Option<String>>(column)?.into()
    })
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
    quoted.join(", ")
}

/// Removes the triggers of SQLite, and returns the statements that create them. Switches those of PostgreSQL off.
async fn disable_triggers(writer: &mut Connection) -> sqlx::Result<Vec<String>> {
    if writer.dialect() == Dialect::Postgres {
        for (table, _) in TABLES {
            writer
                .run_script(format!("ALTER TABLE {table} DISABLE TRIGGER USER"))
                .await?;
        }
        return Ok(Vec::new());
    }
    let triggers = query("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        .fetch_all(&mut *writer)
        .await?;
    let mut statements = Vec::new();
    for trigger in &triggers {
        let name: String = trigger.try_get("name")?;
        writer.run_script(format!("DROP TRIGGER {name}")).await?;
        statements.push(trigger.try_get("sql")?);
    }
    Ok(statements)
}

/// Makes the triggers work again, and the assigned values continue after those that were copied.
async fn enable_triggers(writer: &mut Connection, triggers: Vec<String>) -> sqlx::Result<()> {
    for statement in triggers {
        writer.run_script(statement).await?;
    }
    if writer.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    for (table, _) in TABLES {
        writer
            .run_script(format!("ALTER TABLE {table} ENABLE TRIGGER USER"))
            .await?;
    }
    for (table, column) in IDENTITIES {
        let script = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),
                 (SELECT COALESCE(MAX({column}), 0) + 1 FROM {table}), FALSE)"
        );
        writer.run_script(script).await?;
    }
    Ok(())
}
