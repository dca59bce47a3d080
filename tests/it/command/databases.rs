//! Which database a command uses, and how one is copied to another.

use pinhole_tests::{TestDatabase, postgres_server};

use super::*;

const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0"];

fn create_postgres() -> Option<TestDatabase> {
    let server = postgres_server()?;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    Some(runtime.block_on(TestDatabase::create_postgres(server)))
}

impl Program {
    /// Uses this database of PostgreSQL.
    fn on(self, database: &TestDatabase) -> Self {
        let variables = database.variables();
        variables
            .iter()
            .fold(self, |program, (name, value)| program.with(name, value))
    }
}

#[test]
fn database_that_cannot_be_used_stops_the_start() {
    let port = {
        let (_socket, url) = closed_port();
        url.rsplit(':').next().unwrap().to_owned()
    };
    let keys = [
        ("WEBUI_SECRET_KEY", "0123456789abcdef".to_owned()),
        ("PINHOLE_SETTINGS_KEY", "00".repeat(32)),
    ];
    let unreachable = format!("postgres://ada:s3cret-4711@127.0.0.1:{port}/images");
    for (url, has_keys, expected) in [
        (unreachable.as_str(), false, "WEBUI_SECRET_KEY is not set"),
        (unreachable.as_str(), true, "cannot connect to 127.0.0.1"),
        (
            "mysql://ada:s3cret-4711@host/x",
            true,
            "DATABASE_URL is not the URL of a database",
        ),
        (
            "postgres://ada:s3cret-4711@host",
            true,
            "DATABASE_URL names no database",
        ),
    ] {
        let mut program = Program::new(&[]).with("DATABASE_URL", url);
        for (name, value) in keys.iter().filter(|_| has_keys) {
            program = program.with(name, value);
        }
        let line = program.run(SERVE).failed(1);
        assert!(line.contains(expected), "{line}");
        assert!(line.contains("DATABASE_URL") || !has_keys, "{line}");
        assert!(!line.contains("s3cret-4711"), "{line}");
        let check = program.run(&["doctor"]);
        assert_eq!(check.code, Some(1), "{check:?}");
        assert!(!check.out.contains("s3cret-4711"), "{check:?}");
    }
}

#[test]
fn redis_that_cannot_be_reached_stops_the_start() {
    let (_socket, url) = closed_port();
    let url = url.replace("http://", "redis://ada:s3cret-4711@");
    let program = Program::new(&[]).with("REDIS_URL", &url);
    let line = program.run(SERVE).failed(1);
    assert!(
        line.contains("cannot reach the Redis of REDIS_URL"),
        "{line}"
    );
    assert!(line.contains("correct or unset the variable"), "{line}");
    assert!(!line.contains("s3cret-4711"), "{line}");
    let check = program.run(&["doctor"]);
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(!check.out.contains("s3cret-4711"), "{check:?}");
}

#[test]
fn missing_database_and_unknown_user_are_named() {
    let Some(server) = postgres_server() else {
        return;
    };
    for (url, expected) in [
        (
            format!("{server}/missing"),
            "create it with `createdb missing`",
        ),
        (
            format!(
                "{}/postgres",
                server.replace("postgres@", "nobody:s3cret-4711@")
            ),
            "refuses user nobody: correct the user or the password",
        ),
    ] {
        let program = Program::new(&[])
            .with("DATABASE_URL", &url)
            .with("WEBUI_SECRET_KEY", "0123456789abcdef")
            .with("PINHOLE_SETTINGS_KEY", &"00".repeat(32));
        let line = program.run(SERVE).failed(1);
        assert!(
            line.contains("cannot use the database of DATABASE_URL"),
            "{line}"
        );
        assert!(line.contains(expected), "{line}");
        assert!(!line.contains("s3cret-4711"), "{line}");
    }
}

#[test]
fn server_with_other_keys_than_the_others_is_refused() {
    let Some(database) = create_postgres() else {
        return;
    };
    let secret = ("WEBUI_SECRET_KEY", "s3cret-4711-s3cret-4711");
    let settings_key = ("PINHOLE_SETTINGS_KEY", "4711".repeat(16));
    let settings_key = (settings_key.0, settings_key.1.as_str());
    let running = Program::new(&["sketch"]).on(&database).serve();
    for (name, value) in [secret, settings_key] {
        let other = Program::new(&["sketch"]).on(&database).with(name, value);
        let line = other.run(SERVE).failed(1);
        let expected = format!("{name} differs from that of another server of the database");
        assert!(line.contains(&expected), "{line}");
        assert!(!line.contains("4711"), "{line}");
    }
    let same = Program::new(&["sketch"]).on(&database).serve();
    for server in [running, same] {
        server.signal("TERM");
        server.end();
    }
    // Without another server, the keys can change.
    let changed = Program::new(&["sketch"]).on(&database);
    let changed = changed.with(secret.0, secret.1).serve();
    changed.signal("TERM");
    changed.end();
}

#[test]
fn migrate_creates_the_tables_once() {
    let sqlite = Program::new(&[]);
    let created = sqlite.run(&["migrate"]).done();
    assert!(
        created[0].starts_with("created the tables of version "),
        "{created:?}"
    );
    let again = sqlite.run(&["migrate"]).done();
    assert!(again[0].ends_with(" already"), "{again:?}");
    let Some(database) = create_postgres() else {
        return;
    };
    let postgres = Program::new(&[]).on(&database);
    assert_eq!(postgres.run(&["migrate"]).done(), created);
    assert_eq!(postgres.run(&["migrate"]).done(), again);
}

#[test]
fn database_is_copied_to_postgresql_and_back() {
    let Some(database) = create_postgres() else {
        return;
    };
    let sqlite = Program::new(&["sketch"]);
    let key = {
        let server = sqlite.serve();
        let key = server.key();
        let image = json!({"prompt": "a fox", "response_format": "url"}).to_string();
        let made = http(
            server.address(),
            "POST",
            "/v1/images/generations",
            &key,
            &image,
        );
        assert_eq!(made.0, 200, "{made:?}");
        let chat = json!({"chat": {"title": "Foxes", "history": {"messages": {}}}}).to_string();
        let added = http(server.address(), "POST", "/api/v1/chats/new", &key, &chat);
        assert_eq!(added.0, 200, "{added:?}");
        let from = format!("sqlite:{}", sqlite.path("data/pinhole.db").display());
        let to = database.url().unwrap();
        let refused = sqlite
            .run(&["db", "copy", "--from", &from, "--to", &to])
            .failed(1);
        assert!(refused.contains("stop it first"), "{refused}");
        server.signal("TERM");
        server.end();
        key
    };
    let from = format!("sqlite:{}", sqlite.path("data/pinhole.db").display());
    let to = database.url().unwrap();
    let copied = sqlite
        .run(&["db", "copy", "--from", &from, "--to", &to])
        .done();
    for expected in ["users: 1", "files: 1", "chats: 1"] {
        assert!(copied.iter().any(|line| line == expected), "{copied:?}");
    }
    let refused = sqlite
        .run(&["db", "copy", "--from", &from, "--to", &to])
        .failed(1);
    assert!(
        refused.contains("is not empty: the table users has 1 row(s)"),
        "{refused}"
    );

    let users = sqlite.run(&["user", "list"]).done();
    let postgres = sqlite.on(&database);
    assert_eq!(postgres.run(&["user", "list"]).done(), users);
    {
        let server = postgres.serve();
        let files = http(server.address(), "GET", "/api/v1/files/", &key, "");
        assert_eq!(files.0, 200, "{files:?}");
        assert!(files.1.contains("generated-image.png"), "{files:?}");
        let image = json!({"prompt": "a hen", "response_format": "url"}).to_string();
        let made = http(
            server.address(),
            "POST",
            "/v1/images/generations",
            &key,
            &image,
        );
        assert_eq!(made.0, 200, "{made:?}");
        server.signal("TERM");
        server.end();
    }
    let back = format!("sqlite:{}", postgres.path("work/back.db").display());
    let returned = postgres
        .run(&["db", "copy", "--from", &to, "--to", &back])
        .done();
    assert!(
        returned.iter().any(|line| line == "files: 2"),
        "{returned:?}"
    );
    let sqlite_again = postgres.with("DATABASE_URL", &back);
    assert_eq!(sqlite_again.run(&["user", "list"]).done(), users);
    assert!(sqlite_again.run(&["migrate"]).done()[0].ends_with(" already"));
}
