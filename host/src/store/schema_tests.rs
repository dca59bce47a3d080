//! Whether both databases have the same tables, and which versions of them are opened.

use std::collections::BTreeMap;

use super::Store;
use super::database::{Dialect, query};
use super::database_copy::TABLES;
use super::migrations::LATEST;
use super::test_database::{TestDatabase, create_postgres};

/// Names, types and whether a column may be NULL, by table.
async fn columns(test: &TestDatabase) -> BTreeMap<String, Vec<(String, String, bool)>> {
    let select = match test.store.database.dialect() {
        Dialect::Sqlite => {
            "SELECT sqlite_master.name AS table_name, columns.name AS column_name, columns.type AS kind,
                 CASE WHEN columns.\"notnull\" = 1 OR columns.pk > 0 THEN 0 ELSE 1 END AS is_nullable
             FROM sqlite_master JOIN pragma_table_info(sqlite_master.name) AS columns
             WHERE sqlite_master.type = 'table' ORDER BY sqlite_master.name, columns.name"
        }
        Dialect::Postgres => {
            "SELECT CAST(table_name AS TEXT) AS table_name, CAST(column_name AS TEXT) AS column_name,
                 CAST(data_type AS TEXT) AS kind,
                 CAST(CASE is_nullable WHEN 'YES' THEN 1 ELSE 0 END AS BIGINT) AS is_nullable
             FROM information_schema.columns WHERE table_schema = current_schema()
             ORDER BY table_name, column_name COLLATE \"C\""
        }
    };
    let mut columns: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in test.fetch_all(query(select)).await {
        let table: String = row.try_get("table_name").unwrap();
        // Each database has its own index of searches, and sqlx its own table.
        if table.starts_with("search_index") || table == "_sqlx_migrations" {
            continue;
        }
        let kind: String = row.try_get("kind").unwrap();
        let kind = kind.to_ascii_uppercase().replace("INTEGER", "BIGINT");
        let column = row.try_get("column_name").unwrap();
        let is_nullable = row.try_get_flag("is_nullable").unwrap();
        columns
            .entry(table)
            .or_default()
            .push((column, kind, is_nullable));
    }
    columns
}

#[tokio::test]
async fn databases_have_the_same_tables_and_columns() {
    TestDatabase::on_postgres(async |postgres| {
        let sqlite = TestDatabase::sqlite().await;
        let columns_of_sqlite = columns(&sqlite).await;
        assert_eq!(columns(&postgres).await, columns_of_sqlite);
        let mut copied: Vec<_> = TABLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        copied.push("schema_compatibility".to_owned());
        copied.sort();
        assert!(copied.iter().eq(columns_of_sqlite.keys()), "{copied:?}");
    })
    .await;
}

#[tokio::test]
async fn newer_tables_are_opened_only_if_they_allow_it() {
    TestDatabase::each(async |test| {
        let record = match test.store.database.dialect() {
            Dialect::Sqlite => {
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES ($1, 'later', 1, '', 0)"
            }
            Dialect::Postgres => {
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES ($1, 'later', TRUE, '', 0)"
            }
        };
        test.execute(query(record).bind(LATEST + 1)).await;
        let opened = test.connect().await.schema_versions();
        assert_eq!((opened.before, opened.after), (Some(LATEST + 1), LATEST + 1));
        let raise = query("UPDATE schema_compatibility SET oldest_version = $1").bind(LATEST + 1);
        test.execute(raise).await;
        let error = test.try_connect().await.unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("upgrade pinhole, or restore a backup"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    })
    .await;
}

#[tokio::test]
async fn tables_of_another_program_are_left_alone() {
    let Some(location) = create_postgres().await else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let store = Store::connect(data.path(), &location).await.unwrap();
    let mut write = store.begin().await.unwrap();
    query("ALTER TABLE _sqlx_migrations RENAME TO other")
        .execute(&mut *write)
        .await
        .unwrap();
    write.commit().await.unwrap();
    let error = Store::connect(data.path(), &location).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("tables of another program"),
        "{error:#}"
    );
}

#[tokio::test]
async fn servers_that_start_at_once_migrate_once() {
    let Some(location) = create_postgres().await else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let start = (0..5).map(|_| Store::connect(data.path(), &location));
    let stores = futures_util::future::join_all(start).await;
    let versions: Vec<_> = stores
        .into_iter()
        .map(|store| store.unwrap().schema_versions())
        .collect();
    let migrated = versions.iter().filter(|it| it.before.is_none()).count();
    assert_eq!(migrated, 1, "{versions:?}");
}
