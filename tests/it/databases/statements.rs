//! The statements of this version and of those before: the current tables take them, so that hosts of two versions use
//! one database during an upgrade. `cargo xtask statements` writes those of a version.

use std::path::Path;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_each_version_can_be_prepared() {
    let Some(server) = server().await else { return };
    let url = server.database.url().unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let (mut files, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("statements-"), "{name}");
        files += 1;
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let statement = AssertSqlSafe(with_types(line)).into_sql_str();
            let prepared = (&mut connection).prepare(statement).await;
            if let Err(error) = prepared {
                failures.push(format!("{name}: {error}: {line}"));
            }
        }
    }
    assert!(files > 0, "no statements");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The statement with the type of the values that may be NULL. The store sends it with the statement.
fn with_types(statement: &str) -> String {
    (1..=9).fold(statement.to_owned(), |typed, number| {
        let optional = format!("(${number} IS NULL");
        typed.replace(&optional, &format!("(CAST(${number} AS TEXT) IS NULL"))
    })
}
