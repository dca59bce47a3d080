//! The migrations of the database, in order.
//!
//! They are listed here and not found by `sqlx::migrate!`: its macros would build sqlx and SQLite
//! twice. A test fails if a file of the directory is missing in the list.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The description and the SQL of each migration. The first has version 1. sqlx stores both in the
/// database, so they never change.
const MIGRATIONS: [(&str, &str); 6] = [
    (
        "people and files",
        include_str!("migrations/0001_people_and_files.sql"),
    ),
    (
        "file hashes",
        include_str!("migrations/0002_file_hashes.sql"),
    ),
    ("people", include_str!("migrations/0003_people.sql")),
    ("settings", include_str!("migrations/0004_settings.sql")),
    ("chats", include_str!("migrations/0005_chats.sql")),
    (
        "first account",
        include_str!("migrations/0006_first_account.sql"),
    ),
];

pub(super) fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (description, sql))| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "reads the source directory, not a data directory"
    )]
    fn migrations_are_the_files_of_the_directory() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let name = |migration: &Migration| {
            let description = migration.description.replace(' ', "_");
            format!("{:04}_{description}.sql", migration.version)
        };
        let listed: Vec<String> = migrator().iter().map(name).collect();
        assert_eq!(listed, files);
    }
}
