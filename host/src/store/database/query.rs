//! Statements for either database.

use std::borrow::Cow;
use std::fmt::Write as _;

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Decode, Either, Executor as _, Sqlite, Type};

use super::postgres::{PostgresConnection, PostgresPool, limited};
use super::{Connection, Database, Dialect, Row};

/// What stands for NUL, which PostgreSQL does not store in a text.
const NUL_REPLACEMENT: &str = "\u{fffd}";

/// A statement with its values. Its text consists of constants and placeholders only.
pub(in crate::store) struct Query<'q> {
    text: Cow<'static, str>,
    values: Vec<Parameter<'q>>,
}

/// A value of a statement.
#[derive(Clone)]
pub(in crate::store) enum Parameter<'q> {
    Text(Option<Cow<'q, str>>),
    Integer(Option<i64>),
}

/// What runs a statement.
pub(in crate::store) enum Executor<'c> {
    SqlitePool(&'c SqlitePool),
    Sqlite(&'c mut SqliteConnection),
    /// Statements that only read: they are repeated once if the connection is lost.
    PostgresPool(&'c PostgresPool),
    Postgres(&'c mut PostgresConnection),
}

/// The result of a statement on PostgreSQL.
#[derive(Default)]
struct Output {
    rows: Vec<Row>,
    affected: u64,
}

/// A statement whose placeholders are bound in their order.
pub(in crate::store) fn query<'q>(text: &'static str) -> Query<'q> {
    Query {
        text: Cow::Borrowed(text),
        values: Vec::new(),
    }
}

impl<'q> Query<'q> {
    /// A statement whose text is made of names of the schema.
    pub(in crate::store) fn of_names(text: String) -> Self {
        Query {
            text: Cow::Owned(text),
            values: Vec::new(),
        }
    }

    /// Appends a text that is made of names of the schema.
    pub(in crate::store) fn push_names(mut self, text: String) -> Self {
        self.text.to_mut().push_str(&text);
        self
    }

    /// Binds the next value.
    pub(in crate::store) fn bind(mut self, value: impl Into<Parameter<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Appends a text.
    pub(in crate::store) fn push(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Appends a placeholder for the next value.
    pub(in crate::store) fn push_bind(mut self, value: impl Into<Parameter<'q>>) -> Self {
        self.values.push(value.into());
        let number = self.values.len();
        // Writing to a string does not fail.
        _ = write!(self.text.to_mut(), "${number}");
        self
    }

    /// Appends placeholders for the values of a list, with commas between them.
    pub(in crate::store) fn push_list<V: Into<Parameter<'q>>>(
        self,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let mut separator = "";
        values.into_iter().fold(self, |query, value| {
            let query = query.push(separator).push_bind(value);
            separator = ", ";
            query
        })
    }

    /// Appends a list in parentheses for each row, with commas between them.
    pub(in crate::store) fn push_rows<V: Into<Parameter<'q>>, R: IntoIterator<Item = V>>(
        self,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let mut separator = "(";
        rows.into_iter().fold(self, |query, row| {
            let query = query.push(separator).push_list(row).push(")");
            separator = ", (";
            query
        })
    }

    /// Appends the text with which a `SELECT` locks its rows, and skips those that are locked already.
    pub(in crate::store) fn skip_locked(self, dialect: Dialect) -> Self {
        match dialect {
            Dialect::Sqlite => self,
            Dialect::Postgres => self.push(" FOR NO KEY UPDATE SKIP LOCKED"),
        }
    }

    /// Runs the statement. Returns the number of rows that it changed.
    pub(in crate::store) async fn execute<'c>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<u64> {
        match executor.into() {
            Executor::SqlitePool(pool) => Ok(self.sqlite().execute(pool).await?.rows_affected()),
            Executor::Sqlite(connection) => {
                Ok(self.sqlite().execute(connection).await?.rows_affected())
            }
            Executor::PostgresPool(pool) => Ok(self.read(pool).await?.affected),
            Executor::Postgres(connection) => Ok(self.run(connection).await?.affected),
        }
    }

    /// All rows.
    pub(in crate::store) async fn fetch_all<'c>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<Vec<Row>> {
        let rows = match executor.into() {
            Executor::SqlitePool(pool) => self.sqlite().fetch_all(pool).await?,
            Executor::Sqlite(connection) => self.sqlite().fetch_all(connection).await?,
            Executor::PostgresPool(pool) => return Ok(self.read(pool).await?.rows),
            Executor::Postgres(connection) => return Ok(self.run(connection).await?.rows),
        };
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    /// The row of a statement that has at most one.
    pub(in crate::store) async fn fetch_optional<'c>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<Option<Row>> {
        let row = match executor.into() {
            Executor::SqlitePool(pool) => self.sqlite().fetch_optional(pool).await?,
            Executor::Sqlite(connection) => self.sqlite().fetch_optional(connection).await?,
            Executor::PostgresPool(pool) => return Ok(self.read(pool).await?.rows.pop()),
            Executor::Postgres(connection) => return Ok(self.run(connection).await?.rows.pop()),
        };
        Ok(row.map(Row::Sqlite))
    }

    /// The row of a statement that has exactly one.
    pub(in crate::store) async fn fetch_one<'c>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<Row> {
        let row = self.fetch_optional(executor).await?;
        row.ok_or(sqlx::Error::RowNotFound)
    }

    /// The only column of all rows.
    pub(in crate::store) async fn fetch_values<'c, T: Column>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<Vec<T>> {
        let rows = self.fetch_all(executor).await?;
        rows.iter().map(Row::try_get_only).collect()
    }

    /// The only column of a statement that has at most one row.
    pub(in crate::store) async fn fetch_optional_value<'c, T: Column>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<Option<T>> {
        let row = self.fetch_optional(executor).await?;
        row.as_ref().map(Row::try_get_only).transpose()
    }

    /// The only column of a statement that has exactly one row.
    pub(in crate::store) async fn fetch_value<'c, T: Column>(
        self,
        executor: impl Into<Executor<'c>>,
    ) -> sqlx::Result<T> {
        self.fetch_one(executor).await?.try_get_only()
    }

    /// Calls a function with each row, without collecting them.
    pub(in crate::store) async fn for_each(
        self,
        connection: &mut Connection,
        mut each: impl FnMut(&Row) -> sqlx::Result<()>,
    ) -> sqlx::Result<()> {
        match connection.into() {
            Executor::Sqlite(connection) => {
                let mut rows = self.sqlite().fetch(connection);
                while let Some(row) = rows.try_next().await? {
                    each(&Row::Sqlite(row))?;
                }
            }
            Executor::Postgres(connection) => {
                let statement = self.postgres(connection.has_named_statements());
                let mut rows = statement.fetch(connection.get()?);
                while let Some(row) = rows.try_next().await? {
                    each(&Row::Postgres(row))?;
                }
            }
            Executor::SqlitePool(_) | Executor::PostgresPool(_) => {}
        }
        Ok(())
    }

    fn sqlite(self) -> sqlx::query::Query<'q, Sqlite, SqliteArguments> {
        let statement = sqlx::query::<Sqlite>(AssertSqlSafe(self.text));
        self.values
            .into_iter()
            .fold(statement, |query, value| match value {
                Parameter::Text(text) => query.bind(text),
                Parameter::Integer(number) => query.bind(number),
            })
    }

    fn postgres(&self, is_named: bool) -> sqlx::query::Query<'_, Postgres, PgArguments> {
        let statement = sqlx::query::<Postgres>(AssertSqlSafe(self.text.clone()));
        let statement = statement.persistent(is_named);
        self.values
            .iter()
            .fold(statement, |query, value| match value {
                Parameter::Text(text) => query.bind(text.as_deref().map(without_nul)),
                Parameter::Integer(number) => query.bind(*number),
            })
    }

    /// Boxed, so that the futures of SQLite, and of all that wait for it, stay small.
    fn read<'a>(&'a self, pool: &'a PostgresPool) -> BoxFuture<'a, sqlx::Result<Output>> {
        Box::pin(async move {
            let mut connection = pool.acquire().await?;
            match self.run(&mut connection).await {
                Err(_) if connection.is_lost() => {
                    drop(connection);
                    let mut other = pool.acquire().await?;
                    self.run(&mut other).await
                }
                read => read,
            }
        })
    }

    /// Boxed for the same reason.
    fn run<'a>(
        &'a self,
        connection: &'a mut PostgresConnection,
    ) -> BoxFuture<'a, sqlx::Result<Output>> {
        Box::pin(async move {
            let result = limited(self.output(connection)).await;
            if let Err(error) = &result {
                connection.note(error);
            }
            result
        })
    }

    async fn output(&self, connection: &mut PostgresConnection) -> sqlx::Result<Output> {
        let mut output = Output::default();
        let statement = self.postgres(connection.has_named_statements());
        let mut results = connection.get()?.fetch_many(statement);
        while let Some(result) = results.try_next().await? {
            match result {
                Either::Left(done) => output.affected += done.rows_affected(),
                Either::Right(row) => output.rows.push(Row::Postgres(row)),
            }
        }
        Ok(output)
    }
}

/// The type of a column of either database.
pub(in crate::store) trait Column:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl Column for i64 {}
impl Column for String {}
impl Column for Option<i64> {}
impl Column for Option<String> {}

fn without_nul(text: &str) -> Cow<'_, str> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace('\0', NUL_REPLACEMENT))
    } else {
        Cow::Borrowed(text)
    }
}

impl<'c> From<&'c Database> for Executor<'c> {
    fn from(database: &'c Database) -> Self {
        match database {
            Database::Sqlite(pool) => Self::SqlitePool(pool),
            Database::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'c> From<&'c mut Connection> for Executor<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::SqliteWriter(connection) => Self::Sqlite(connection),
            Connection::Sqlite(connection) => Self::Sqlite(connection),
            Connection::SqliteTransaction(transaction) => Self::Sqlite(transaction),
            Connection::Postgres(connection) => Self::Postgres(connection),
        }
    }
}

impl From<i64> for Parameter<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Parameter<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Parameter<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl From<Option<String>> for Parameter<'_> {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Cow::Owned))
    }
}

impl<'q> From<&'q String> for Parameter<'q> {
    fn from(text: &'q String) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'q> From<&'q str> for Parameter<'q> {
    fn from(text: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'q> From<Option<&'q str>> for Parameter<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl<'q> From<&'q Option<String>> for Parameter<'q> {
    fn from(text: &'q Option<String>) -> Self {
        Self::Text(text.as_deref().map(Cow::Borrowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_later_values_are_numbered_after_the_bound_ones() {
        let ids = ["a".to_owned(), "b".to_owned()];
        let query = query("SELECT 1 FROM files WHERE user_id = $1 AND id IN (")
            .bind("ada")
            .push_list(&ids)
            .push(") LIMIT ")
            .push_bind(5);
        let expected = "SELECT 1 FROM files WHERE user_id = $1 AND id IN ($2, $3) LIMIT $4";
        assert_eq!((&*query.text, query.values.len()), (expected, 4));
    }

    #[test]
    fn nul_is_replaced_for_postgresql() {
        assert_eq!(without_nul("a\0b"), "a\u{fffd}b");
        assert!(matches!(without_nul("ab"), Cow::Borrowed("ab")));
    }
}
